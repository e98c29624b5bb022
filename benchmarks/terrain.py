"""Stacks whose dates are displaced by one relief, each under its own view: what is left after `model="terrain"`.

    python benchmarks/terrain.py                            all rows, three real scenes each
    python benchmarks/terrain.py --quick                    a smoke test of seconds
    python benchmarks/terrain.py --rows "6 dates" "no relief"
    python benchmarks/terrain.py --only frames              aerial photographs with several height errors
    python benchmarks/terrain.py --only time                seconds of one core a date of 2000 x 2000
    python benchmarks/terrain.py --only mean                stacks with a noisy anchor, by datum="mean"

Dates are block means of a real scene, seen at positions that a known displacement gives at its fine resolution: a
shift of up to 2 px, and a relief of all scales down to 6 px times the view of the date. Columns: root mean square over
all dates and pixels of what is left, px, away from a rim of 16 px and from clouds, one figure a scene, by one shift,
by fields (of every sixth date) and by the patterns of all dates; `told` is the mean `residual`; error over the sigma of
the map; how many patterns were found. With the interpreter of an environment that has AROSICS in AROSICS_PYTHON, what
its `COREG_LOCAL` leaves of every sixth date stands beside it.

Real frames: aerial photographs of one ground, taken from two places and put onto the map by models whose error is of
one form and differs in size from date to date (`frames.py`); the anchor is one of them with the right heights.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cases
import frames
import numpy as np
from _common import table
from fields import AROSICS, FACTOR, RIM, SCENES, Made, grown, left_by_arosics, relief, seen
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from coregstack.kernels.displacement import Spline, sigma_on
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, assess, prepare
from coregstack.matching.options import MatchOptions
from coregstack.model import NO_SHIFT, ItemQuality
from coregstack.network.dates import conclude_date, match_again, match_date, place_again, place_dates
from coregstack.network.datum import find_datum
from coregstack.pixels.scene import MatchPixels

OPTIONS = MatchOptions(bands=(0,), threshold=1.0, decide="evidence")
EVERY = 6
"""One date in so many is displaced by a field of its own as well, for comparison."""
_INVERSIONS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kind of stack."""

    count: int = 24
    """Dates beside the anchor."""
    view: float = 0.5
    """Deviation of the views along an axis, px."""
    noise: float = 0.05
    """Part of the scene's deviation."""
    season: bool = False
    """Whether every second date is one of another season."""
    cloud: float = 0.0
    """Part of each date that is below unmasked cloud."""


COLUMNS = {
    "shift": "one shift, px",
    "field": "fields, px",
    **({AROSICS: "AROSICS local, px"} if "AROSICS_PYTHON" in os.environ else {}),
    "terrain": "terrain, px",
    "told": "told, px",
    "ratio": "error over sigma",
    "patterns": "patterns",
}
ROWS = {
    "24 dates": Row(),
    "6 dates": Row(count=6),
    "24 dates, views of 0.15 px": Row(view=0.15),
    "no relief": Row(count=12, view=0.0),
    "24 dates, 20 % noise": Row(noise=0.2),
    "24 dates, 30 % cloud without mask": Row(cloud=0.3),
    "24 dates, every second of another season": Row(season=True),
    "60 dates": Row(count=60),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An anchor and its dates, with exact truth."""

    anchor: NDArray[np.float32]
    dates: list[NDArray[np.float32]]
    truth: list[NDArray[np.float64]]
    """Displacement of each date (2, y, x): ``item(y - dy, x - dx) = anchor(y, x)``."""
    counts: list[NDArray[np.bool_]]
    """Where what is left of each date is counted."""


def made(fine: NDArray[np.float32], row: Row, rng: np.random.Generator) -> Stack:
    """A stack of one kind out of a fine scene."""
    height, width = (n // FACTOR - 16 for n in fine.shape)
    hills = relief((height, width), rng)
    inside = np.zeros((height, width), bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    still = np.zeros((2, height, width))
    clean = seen(fine, still)
    dates, truth, counts = [], [], []
    for k in range(row.count):
        true = rng.uniform(-2, 2, (2, 1, 1)) + rng.normal(0, row.view, (2, 1, 1)) * hills
        item = (1.1 * seen(fine, -_inverse(true))).astype(np.float32)
        clear = np.ones((height, width), bool)
        if row.season and k % 2:
            item = cases.seasonal(item, rng)
        if row.cloud:
            item, clear = cases.cloud(item, row.cloud, rng)
            # what is below a cloud in the date lies elsewhere in the anchor's frame
            clear = ~grown(~clear, 3)
        dates.append(cases.noisy(item, row.noise, rng))
        truth.append(true)
        counts.append(inside & clear)
    return Stack(anchor=cases.noisy(clean, row.noise, rng), dates=dates, truth=truth, counts=counts)


def _inverse(displacement: NDArray[np.float64]) -> NDArray[np.float64]:
    """The displacement of the way back: ``item(q) = anchor(q + e(q))``, ``e(q) = d(q + e(q))``."""
    y, x = np.mgrid[: displacement.shape[1], : displacement.shape[2]].astype(float)
    back = np.broadcast_to(displacement, (2, *y.shape)).copy()
    for _ in range(_INVERSIONS):
        at = [y + back[0], x + back[1]]
        back = np.stack([map_coordinates(one, at, order=3, mode="nearest") for one in displacement])
    return back


def pixels(image: NDArray[np.float32]) -> MatchPixels:
    """One band of an item in memory."""
    usable = np.isfinite(image)
    values = np.ascontiguousarray(np.where(usable, image, 0)[None], np.float32)
    source = ArraySource(values=values, usable=usable, origin=NO_SHIFT)
    return MatchPixels(source=source, valid=usable[None])


def by_terrain(reference: Reference, dates: Sequence[NDArray[np.float32]]) -> tuple[list[ItemQuality], int]:
    """The quality of all dates together, and how many patterns they have."""
    options = replace(OPTIONS, model="terrain")
    matches = [match_date(reference, pixels(date), options, learn=True) for date in dates]
    places = place_dates(matches, reference.source.shape)
    again = [match_again(reference, pixels(date), place) for date, place in zip(dates, places, strict=True)]
    places = place_again(places, again)
    found = []
    patterns = 0
    for date, place in zip(dates, places, strict=True):
        assert place is not None
        patterns = 0 if place.patterns is None else place.patterns.count
        found.append(conclude_date(reference, pixels(date), place, options))
    return found, patterns


def left(found: ItemQuality, true: NDArray[np.float64], counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What is left along both axes where it counts, px; NaN where nothing was found."""
    height, width = counts.shape
    if found.displacement is not None:
        known = np.stack(Spline.of(found.displacement).on((0, 0, height, width)))
    else:
        known = np.broadcast_to(np.array(found.shift or (np.nan, np.nan))[:, None, None], (2, height, width))
    return (known - true)[:, counts]


def row_of(name: str, row: Row, scenes: Sequence[tuple[str, int]]) -> list[str]:
    """A row of the table."""
    columns: dict[str, list[str]] = {key: [] for key in COLUMNS}
    for k, scene in enumerate(scenes):
        _fill(columns, made(cases.read(*scene), row, np.random.default_rng(100 * k + 5)))
    return [name, *(" ".join(values) for values in columns.values())]


def _fill(columns: dict[str, list[str]], stack: Stack) -> None:
    """Add what is found of a stack to the columns of its row."""
    reference = prepare(pixels(stack.anchor))
    parts = list(zip(stack.dates, stack.truth, stack.counts, strict=True))
    for key, model, some in (("shift", "shift", parts), ("field", "field", parts[::EVERY])):
        rests = [
            left(assess(reference, pixels(date), replace(OPTIONS, model=model)), true, counts)
            for date, true, counts in some
        ]
        columns[key].append(_rms(rests))
    if "AROSICS_PYTHON" in os.environ:
        pairs = [
            Made(anchor=stack.anchor, item=date, truth=true, counts=counts)
            for date, true, counts in parts[::EVERY]
        ]
        known = [np.square(rest).mean() for rest in left_by_arosics(pairs)[0] if rest.size]
        columns[AROSICS].append(f"{np.sqrt(np.mean(known)):.3f}" if known else "refused")
    found, patterns = by_terrain(reference, stack.dates)
    rests = [left(one, true, counts) for one, (_, true, counts) in zip(found, parts, strict=True)]
    columns["terrain"].append(_rms(rests))
    told = [np.nan if one.residual is None else one.residual for one in found]
    columns["told"].append(f"{np.sqrt(np.nanmean(np.square(told))):.3f}")
    ratios = [
        np.square(rest / sigma_on(one.displacement, (0, 0, *counts.shape))[counts]).mean()
        for one, rest, counts in zip(found, rests, stack.counts, strict=True)
        if one.displacement is not None
    ]
    columns["ratio"].append(f"{np.sqrt(np.mean(ratios)):.2f}" if ratios else "")
    columns["patterns"].append(str(patterns))


def _rms(rests: Sequence[NDArray[np.float64]]) -> str:
    """Root mean square length over all dates that have a shift, and how many have none."""
    known = [np.square(rest).sum(axis=0).mean() for rest in rests if np.isfinite(rest).all()]
    lost = len(rests) - len(known)
    value = f"{np.sqrt(np.mean(known)):.3f}" if known else "none"
    return f"{value} ({lost} refused)" if lost else value


def made_stacks(names: Sequence[str], scenes: Sequence[tuple[str, int]]) -> None:
    """Print the table of made stacks."""
    row = table("stack", *COLUMNS.values())
    for name in names:
        row(*row_of(name, ROWS[name], scenes))


def real_frames(count: int) -> None:
    """Print the table of aerial frames."""
    ground = frames.Ground.read()
    error = ground.off_by(8, np.random.default_rng(0)).height - ground.height
    views = [frames.Frame.read(name) for name in frames.NAMES]
    x, y = frames.overlap(views, ground)
    seen_by_all = np.all([view.sees(x, y, ground) for view in views], axis=0)
    inside = np.zeros(x.shape, bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    dates, truth, counts = [], [], []
    for k, part in enumerate(np.random.default_rng(1).normal(0, 1, count)):
        # so that the dates that are taken for comparison are from both places
        view = views[(k + k // EVERY) % len(views)]
        wrong = replace(ground, height=ground.height + part * error)
        true, known = frames.displacement(view, wrong, ground, x, y)
        dates.append(frames.ortho(view, wrong, x, y)[1])
        truth.append(true)
        counts.append(inside & seen_by_all & known & np.isfinite(dates[-1]))
    columns: dict[str, list[str]] = {key: [] for key in COLUMNS}
    anchor = frames.ortho(views[0], ground, x, y)[1]
    _fill(columns, Stack(anchor=anchor, dates=dates, truth=truth, counts=counts))
    row = table("real frames", *COLUMNS.values())
    row(f"{count} dates, height errors of 8 m rms", *(" ".join(values) for values in columns.values()))


def times(side: int, count: int) -> None:
    """Print the time of one core that a date takes beyond one shift."""
    rng = np.random.default_rng(1)
    anchor = cases.fractal((side, side), rng, 2.0)
    hills = cases.fractal((side, side), rng, 4.0).astype(float)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    dates = []
    for view in rng.normal(0, 0.5, (count, 2)):
        at = [y + np.float32(one) * hills.astype(np.float32) for one, y in zip(view, (y, x), strict=True)]
        dates.append(cases.noisy(map_coordinates(anchor, at, order=3, mode="nearest"), 0.05, rng))
    reference = prepare(pixels(anchor))
    # all that is compiled is loaded before any time is taken
    by_terrain(reference, dates[:4])
    begin = time.process_time()
    for date in dates:
        assess(reference, pixels(date), OPTIONS)
    shift = (time.process_time() - begin) / count
    begin = time.process_time()
    by_terrain(reference, dates)
    terrain = (time.process_time() - begin) / count
    row = table(f"{count} dates of {side} x {side}", "s of one core a date")
    row("one shift", f"{shift:.2f}")
    row("terrain, beyond one shift", f"{terrain - shift:.2f}")


def noisy_anchors(stacks: int, count: int) -> None:
    """Print the error of dates relative to the anchor and to the mean of all, where the anchor has 20 % noise."""
    rng = np.random.default_rng(11)
    errors: dict[str, list[NDArray[np.float64]]] = {"anchor": [], "mean": []}
    for k in range(stacks):
        fine = cases.read(*SCENES[k % len(SCENES)])[: 96 * FACTOR, : 96 * FACTOR]
        shape = (2, *(n // FACTOR - 16 for n in fine.shape))
        reference = prepare(pixels(cases.noisy(seen(fine, np.zeros(shape)).astype(np.float32), 0.2, rng)))
        truth, found, sigma = (np.zeros((count + 1, 2)) for _ in range(3))
        for t in range(1, count + 1):
            truth[t] = rng.uniform(-1, 1, 2)
            date = seen(fine, np.broadcast_to(-truth[t][:, None, None], shape)).astype(np.float32)
            one = match_date(reference, pixels(cases.noisy(date, 0.05, rng)), OPTIONS, learn=False).found
            if one.shift is None or one.sigma is None:
                raise RuntimeError(f"a date of stack {k} was refused: {one.reason}")
            found[t], sigma[t] = one.shift, one.sigma
        datum = find_datum(found, sigma, np.ones(count + 1, bool), 0)
        errors["anchor"].append((found - truth)[1:])
        errors["mean"].append((found - datum.shift - (truth - truth.mean(axis=0)))[1:])
    fixed = np.array(errors["anchor"])
    # own noise of the dates from how they differ in a stack, that of the anchor from how their means do
    own = fixed.var(axis=1, ddof=1).mean()
    shared = np.square(fixed.mean(axis=1)).mean() - own / count
    theory = np.sqrt((own * (1 - 1 / (count + 1)) + shared / (count + 1) ** 2) / (own + shared))
    rms = {name: np.sqrt(np.square(some).mean()) for name, some in errors.items()}
    row = table(
        f"{stacks} stacks of {count} dates, 5 % noise, the anchor's 20 %", "rms error along an axis, px"
    )
    row("datum='anchor'", f"{rms['anchor']:.4f}")
    row("datum='mean'", f"{rms['mean']:.4f}")
    row("falls to", f"{rms['mean'] / rms['anchor']:.3f}")
    row("by theory", f"{theory:.3f}")


def scenes_of(quick: bool) -> Iterator[tuple[str, int]]:
    """Real scenes that stacks are made of."""
    yield from SCENES[1:2] if quick else SCENES


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one stack of six dates")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--only", nargs="+", choices=("made", "frames", "time", "mean"))
    parser.add_argument("--side", type=int, default=2000, help="of the scenes whose time is taken, px")
    options = parser.parse_args()
    if options.quick:
        made_stacks(["6 dates"], list(scenes_of(quick=True)))
        return
    parts = {
        "made": lambda: made_stacks(options.rows, list(scenes_of(quick=False))),
        "frames": lambda: real_frames(12),
        "time": lambda: times(options.side, 8),
        "mean": lambda: noisy_anchors(30, 12),
    }
    for name in options.only or parts:
        parts[name]()
        print()


if __name__ == "__main__":
    main()
