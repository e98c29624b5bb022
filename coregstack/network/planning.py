"""Which pairs of items are matched, and which task matches them.

Every item is matched with the anchor and with a few partners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from coregstack.network.pairs import choose_pairs
from coregstack.network.sketch import Sketch

NEIGHBOURS = 4
"""Partners beside the anchor that an item is matched with on average."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Which pairs are matched, and by whose task."""

    pairs: tuple[tuple[int, int], ...]
    """Pairs (i, j), those with the anchor included."""
    direct: frozenset[int]
    """Items that are matched with the anchor."""
    duties: tuple[tuple[int, ...], ...]
    """For each item, the partners that its task matches with it; the anchor is none of them."""


def plan_by_looks(
    sketches: Sequence[Sketch | None], times: ArrayLike, boxes: ArrayLike | None, anchor: int
) -> Plan:
    """Choose pairs by date, season and content; items without a sketch take no part."""
    known = [k for k, one in enumerate(sketches) if one is not None or k == anchor]
    some = [one for k in known if (one := sketches[k]) is not None]
    if len(some) < len(known):
        return _plan(len(sketches), [], anchor)
    chosen = choose_pairs(
        np.asarray(times, "datetime64[s]")[known],
        anchor=known.index(anchor),
        features=np.stack([one.descriptor.texture for one in some]),
        clear=[one.clear for one in some],
        boxes=None if boxes is None else np.asarray(boxes)[known],
        neighbours=NEIGHBOURS,
    )
    return _plan(len(sketches), [(known[i], known[j]) for i, j in chosen], anchor)


def plan_by_time(times: ArrayLike, anchor: int) -> Plan:
    """Choose pairs by date and season only, before any pixel is read."""
    stamps = np.asarray(times, "datetime64[s]")
    return _plan(len(stamps), choose_pairs(stamps, anchor=anchor, neighbours=NEIGHBOURS), anchor)


def _plan(count: int, pairs: Sequence[tuple[int, int]], anchor: int) -> Plan:
    """Share the pairs out, so that every task has about as many partners to read."""
    duties: list[list[int]] = [[] for _ in range(count)]
    direct = frozenset(i + j - anchor for i, j in pairs if anchor in (i, j))
    for i, j in pairs:
        if anchor not in (i, j):
            owner, other = (i, j) if len(duties[i]) <= len(duties[j]) else (j, i)
            duties[owner].append(other)
    return Plan(pairs=tuple(pairs), direct=direct, duties=tuple(tuple(own) for own in duties))
