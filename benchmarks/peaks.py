"""How far right and wrong peaks of the search lead over the next, which is what the search believes them by.

Run ``python benchmarks/peaks.py``; it prints one table. Pairs are those of the accuracy benchmark, and made
landscapes against themselves and against each other, also turned in a box of nodata. A peak is right within
3 px of the overview.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import cases
import numpy as np
from _common import table

from coregstack.kernels.coarse import LEAST_LEAD
from coregstack.kernels.correlation import Peak, correlate_all
from coregstack.kernels.overview import factor_for, look
from coregstack.kernels.sources import ArraySource
from coregstack.testing import sample_stack

SIDE = 256
RIGHT = 3.0
"""Distance from the truth, px of the overview, within which a peak is right."""


def made(seeds: int, count: int = 8) -> Iterator[cases.Pair]:
    """Red of made dates against the first of their own landscape, and of another one."""
    y, x = np.indices((SIDE, SIDE)) - SIDE / 2
    turned = (np.abs(0.95 * x + 0.3 * y) < 0.42 * SIDE) & (np.abs(0.95 * y - 0.3 * x) < 0.38 * SIDE)
    stacks = [sample_stack(count, (SIDE, SIDE), seed=seed, max_shift=3).compute() for seed in range(seeds)]
    for own, other in zip(stacks, stacks[1:] + stacks[:1], strict=True):
        true = np.stack([own.true_shift_y, own.true_shift_x], axis=-1)
        anchor = own.values[0, 2].astype(np.float32)
        for k in range(1, count):
            for name, usable in (("made", np.ones_like(turned)), ("made, turned", turned)):
                masks = {"anchor_usable": usable, "item_usable": usable}
                item, strange = (stack.values[k, 2].astype(np.float32) for stack in (own, other))
                truth = tuple(true[k] - true[0])
                yield cases.Pair(family=name, anchor=anchor, item=item, truth=truth, **masks)
                yield cases.Pair(family=f"{name}, another", anchor=anchor, item=strange, truth=None, **masks)


def peak(pair: cases.Pair) -> tuple[Peak | None, int]:
    """The best lag of a pair's overviews, and how much they are reduced."""
    factor = factor_for(max(pair.anchor.shape))
    sources = (
        ArraySource(values=pair.anchor[None], usable=pair.anchor_usable),
        ArraySource(values=pair.item[None], usable=pair.item_usable),
    )
    first, second = (look(source, 0, factor).values[None] for source in sources)
    reach = tuple(size // 4 + 2 for size in first.shape[1:])
    (surface,) = correlate_all(first, second, (0, 0), (reach[0], reach[1]))
    return surface.peak(max(100, 0.1 * float(surface.pairs.max()))), factor


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2, help="known shifts for each scene and case")
    parser.add_argument("--seeds", type=int, default=12, help="made landscapes")
    parser.add_argument("--quick", action="store_true", help="two made landscapes alone, seconds")
    options = parser.parse_args(arguments)
    families = () if options.quick else ("effects", "large", "tiny", "water", "refusals")
    leads: dict[str, list[float]] = {"right": [], "wrong": []}
    known = [cases.FAMILIES[name](options.count) for name in families]
    for pairs in (*known, made(2 if options.quick else options.seeds)):
        for pair in pairs:
            found, factor = peak(pair)
            if found is None:
                continue
            right = (
                pair.truth is not None
                and np.hypot(found.y - pair.truth[0] / factor, found.x - pair.truth[1] / factor) < RIGHT
            )
            leads["right" if right else "wrong"].append(found.lead)
    row = table("peaks", "number", "least lead", "median", "most", f"of {LEAST_LEAD:g} or more")
    for name, values in leads.items():
        row(
            name, len(values), f"{min(values):.1f}", f"{np.median(values):.1f}", f"{max(values):.1f}",
            sum(value >= LEAST_LEAD for value in values),
        )  # fmt: skip


if __name__ == "__main__":
    main()
