"""How well shifts are found, against known truth: one command, one table.

    python benchmarks/accuracy.py                          everything that is installed
    python benchmarks/accuracy.py --quick                  a smoke test of seconds
    python benchmarks/accuracy.py --cases dates tiny --estimators coregstack --count 8

Columns: median, root mean square and 95th percentile of the length of the error vector of the shift,
px; pairs wrong by more than 0.5 px that were accepted all the same; refused pairs; milliseconds
of one core; root mean square of error / sigma, and its own standard error: few pairs tell it only
roughly. In the rows that begin with "refuse" nothing can be
known, so everything accepted is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import cases
import numpy as np
import peers
import series

WRONG = 0.5
"""An accepted shift further from the truth than this is wrong, px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one estimator made of one pair."""

    pair: cases.Pair
    shift: tuple[float, float] | None
    sigma: tuple[float, float] | None
    reason: str
    seconds: float


def measure(pairs: Iterable[cases.Pair], estimators: dict[str, peers.Estimator]) -> dict[str, list[Outcome]]:
    """Run every estimator on every pair."""
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for pair in pairs:
        for name, estimate in estimators.items():
            start = time.process_time()
            shift, sigma, reason = estimate(pair)
            seconds = time.process_time() - start
            outcomes[name].append(
                Outcome(pair=_bare(pair), shift=shift, sigma=sigma, reason=reason, seconds=seconds)
            )
    return outcomes


def _bare(pair: cases.Pair) -> cases.Pair:
    """The pair without its pixels, so that a long run does not keep them."""
    none = np.zeros((0, 0), np.float32)
    return cases.replace(pair, anchor=none, item=none, anchor_usable=none > 0, item_usable=none > 0)


def errors(outcomes: list[Outcome]) -> np.ndarray:
    """Error vectors of accepted pairs, shape (n, 2); within a group, about the group's median."""
    found = [o for o in outcomes if o.shift is not None and o.pair.truth is not None]
    result = np.array([np.subtract(o.shift, o.pair.truth) for o in found]).reshape(-1, 2)
    groups = np.array([o.pair.group for o in found])
    for group in set(groups) - {""}:
        result[groups == group] -= np.median(result[groups == group], axis=0)
    return result


HEADER = (
    f"{'case':28s} {'estimator':20s} {'n':>4s} {'median':>8s} {'RMSE':>8s} {'p95':>8s} "
    f"{'max':>8s} {'wrong':>5s} {'refused':>7s} {'ms':>6s} {'err/sigma':>14s}"
)


def row(family: str, name: str, outcomes: list[Outcome]) -> str:
    """One line of the table."""
    refused = sum(o.shift is None for o in outcomes)
    ms = 1000 * float(np.median([o.seconds for o in outcomes]))
    start = f"{family:28s} {name:20s} {len(outcomes):4d}"
    if outcomes[0].pair.truth is None:
        return f"{start} {'':35s} {len(outcomes) - refused:5d} {refused:7d} {ms:6.0f}"
    error = errors(outcomes)
    if not len(error):
        return f"{start} {'':35s} {0:5d} {refused:7d} {ms:6.0f}"
    length = np.hypot(*error.T)
    sigma = np.array([o.sigma or (np.nan, np.nan) for o in outcomes if o.shift is not None], float)
    ratio = "" if np.isnan(sigma).any() else over_sigma(error / sigma)
    return (
        f"{start} {np.median(length):8.4f} {np.sqrt(np.mean(length**2)):8.4f} {np.quantile(length, 0.95):8.4f} "
        f"{length.max():8.3f} {np.sum(length > WRONG):5d} {refused:7d} {ms:6.0f} {ratio}"
    )


def over_sigma(ratios: np.ndarray) -> str:
    """Root mean square of errors over sigma, shape (n, 2), and its standard error, from the scatter of the pairs."""
    squares = np.square(ratios).mean(axis=1)
    root = float(np.sqrt(squares.mean()))
    error = squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * root) if len(squares) > 1 and root else np.nan
    return f"{root:7.2f} ± {error:4.2f}"


def table(outcomes: dict[str, list[Outcome]]) -> list[str]:
    """Lines for every family and estimator."""
    lines = []
    names = {o.pair.family: None for found in outcomes.values() for o in found}
    for family, (name, found) in itertools.product(names, outcomes.items()):
        lines.append(row(family, name, [o for o in found if o.pair.family == family]))
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*cases.FAMILIES, *series.SERIES]
    parser.add_argument("--cases", nargs="+", choices=known, default=known)
    parser.add_argument("--estimators", nargs="+", choices=list(peers.ESTIMATORS))
    parser.add_argument("--count", type=int, default=4, help="known shifts for each scene and case")
    parser.add_argument("--quick", action="store_true", help="one shift, small cases, seconds")
    options = parser.parse_args(arguments)
    if not cases.DATA.is_dir():
        parser.error(f"no scenes at {cases.DATA}: set COREGSTACK_DATA to the folder that holds them")
    estimators = peers.available(options.estimators)
    chosen = ["tiny", "refusals"] if options.quick else options.cases
    count = 1 if options.quick else options.count
    for name in peers.ESTIMATORS:
        if name not in estimators and (options.estimators is None or name in options.estimators):
            print(f"not installed, left out: {name}")
    print(HEADER)
    next(iter(measure([next(cases.tiny(1))], estimators)), None)
    for name in chosen:
        if name in cases.FAMILIES:
            for line in table(measure(cases.FAMILIES[name](count), estimators)):
                print(line, flush=True)
        else:
            for line in series.SERIES[name](estimators):
                print(line, flush=True)


if __name__ == "__main__":
    main()
