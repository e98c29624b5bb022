"""Which pairs of items are worth matching."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from coregstack.errors import InvalidRequest
from coregstack.kernels.descriptor import similarity
from coregstack.network.seasons import season_apart

_DAYS = 30.0
"""Difference of date or season, in days, over which the likeness of items falls by a factor e."""
_WEIGHTS = (0.2, 0.3, 0.5)
"""Weights of nearness in date, nearness in season and likeness of content."""
_LEAST = 0.01
_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Items:
    """What is known about the items before any is matched."""

    days: NDArray[np.float64]
    features: NDArray[np.number] | None
    clear: NDArray[np.float64]
    boxes: NDArray[np.float64] | None

    def overlap(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Shared area over the smaller area, of the items `rows` with all, shape (len(rows), n)."""
        if self.boxes is None:
            return np.ones((rows.size, self.days.size))
        low = np.maximum(self.boxes[rows, None, :2], self.boxes[None, :, :2])
        high = np.minimum(self.boxes[rows, None, 2:], self.boxes[None, :, 2:])
        shared = np.maximum(high - low, 0).prod(axis=2)
        area = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1)
        share: NDArray[np.float64] = shared / np.minimum(area[rows, None], area)
        return share

    def likeness(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How likely the items `rows` match each item, by all together, date, season and content.

        Shape (4, len(rows), n); 0 where two items do not overlap or are the same.
        """
        apart = np.abs(self.days[rows, None] - self.days)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        kinds = [np.exp(-apart / _DAYS), np.exp(-season_apart(apart) / _DAYS)]
        if self.features is not None:
            alike = np.nan_to_num(similarity(self.features[rows], self.features)).astype(np.float64)
            kinds.append(np.maximum(alike, 0))
        weights = np.array(_WEIGHTS[: len(kinds)])
        together = np.tensordot(weights / weights.sum(), np.stack(kinds), axes=1)
        if self.features is None:
            kinds.append(together)
        chance = np.sqrt(self.overlap(rows)) * self.clear[rows, None] * self.clear
        chance[np.arange(rows.size), rows] = 0
        likely: NDArray[np.float64] = np.maximum(np.stack([together, *kinds]), _LEAST) * chance
        return likely


def choose_pairs(
    times: ArrayLike,
    *,
    anchor: int,
    features: NDArray[np.number] | None = None,
    clear: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    neighbours: int = 4,
) -> list[tuple[int, int]]:
    """Choose the pairs of items to match for a network.

    Every item is paired with the anchor. The other pairs are those of the forest that joins all items by the
    most likely pairs, and for each item its most similar partners by season, content and date in turn:
    `neighbours`
    an item on average, so that there are at most ``(1 + neighbours / 2) n`` pairs. Season comes first, as two
    dates of one season also agree in light and shadow, which bias a match and do not show in content.

    Parameters
    ----------
    times : array_like
        Shape (n,), datetime64: need not be sorted, may repeat, may be NaT.
    anchor : int
        Position of the anchor.
    features : NDArray, optional
        Shape (n, k), real or complex, 0 where unknown: what the items look like, for example the `texture`
        of `coregstack.kernels.descriptor.describe`.
    clear : array_like, optional
        Shape (n,), 0 to 1: share of each item that is usable; all 1 by default.
    boxes : array_like, optional
        Shape (n, 4): top, left, bottom and right of each item's footprint, in any one unit. Items whose boxes
        do not overlap are never paired. By default all overlap wholly.
    neighbours : int
        Partners beside the anchor that an item has on average; even, at least 2.

    Returns
    -------
    list of tuple of int
        Pairs ``(i, j)`` with i < j, sorted, none twice. They connect all items that overlaps connect.

    Raises
    ------
    InvalidRequest
        If an argument has the wrong length or range.

    Examples
    --------
    >>> times = np.array(["2020-06-01", "2020-06-04", "2020-12-01", "2021-06-02"], "datetime64[D]")
    >>> choose_pairs(times, anchor=0, neighbours=2)
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    """
    items = _checked_items(times, anchor, features, clear, boxes, neighbours)
    count = items.days.size
    first, second, value = _candidates(items, anchor, neighbours + 4)
    forest = _forest(items, anchor, first, second, value[0])
    chosen = set(forest)
    load = np.bincount(np.array(forest, np.int64).reshape(-1), minlength=count)
    for kind in [(2, 3, 1)[k % 3] for k in range(neighbours // 2 - 1)]:
        order = np.lexsort((second, -value[kind], first))
        starts = np.searchsorted(first[order], np.arange(count + 1))
        for item in np.lexsort((items.days, load)):
            for other in second[order[starts[item] : starts[item + 1]]]:
                pair = (min(int(item), int(other)), max(int(item), int(other)))
                if pair not in chosen and load[other] < 3 * neighbours:
                    chosen.add(pair)
                    load[[item, other]] += 1
                    break
    seen = np.flatnonzero(items.overlap(np.array([anchor]))[0] > 0)
    chosen |= {(min(anchor, int(k)), max(anchor, int(k))) for k in seen if k != anchor}
    return sorted(chosen)


def _checked_items(
    times: ArrayLike,
    anchor: int,
    features: NDArray[np.number] | None,
    clear: ArrayLike | None,
    boxes: ArrayLike | None,
    neighbours: int,
) -> _Items:
    stamps = np.asarray(times, "datetime64[s]")
    count = stamps.size
    days = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 86400)
    share = np.ones(count) if clear is None else np.asarray(clear, np.float64)
    corners = None if boxes is None else np.asarray(boxes, np.float64)
    lengths = {"clear": share.shape, "features": None if features is None else np.shape(features)[:1]}
    for name, shape in lengths.items():
        if shape not in (None, (count,)):
            raise InvalidRequest(
                f"{name} needs one entry for each of the {count} times, but has shape {shape}."
            )
    if corners is not None and (corners.shape != (count, 4) or not (corners[:, 2:] > corners[:, :2]).all()):
        raise InvalidRequest(f"boxes has to be of shape ({count}, 4), top < bottom and left < right.")
    if not 0 <= anchor < count:
        raise InvalidRequest(f"The anchor has to be one of the {count} items, counted from 0, not {anchor}.")
    if neighbours < 2 or neighbours % 2:
        raise InvalidRequest(f"neighbours has to be an even number, at least 2, not {neighbours}.")
    share = np.clip(np.nan_to_num(share), _LEAST, 1)
    return _Items(days=days, features=features, clear=share, boxes=corners)


def _row_blocks(count: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, count, _ROWS):
        yield np.arange(start, min(start + _ROWS, count))


def _candidates(
    items: _Items, anchor: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Both directions of every pair that is among the `most` most similar pairs of one of its items, of any
    kind."""
    count = items.days.size
    keys, values = [], []
    for rows in _row_blocks(count):
        likeness = items.likeness(rows)
        likeness[:, :, anchor] = 0
        likeness[:, rows == anchor] = 0
        top = np.argsort(-likeness, axis=2, kind="stable")[:, :, :most]
        best = np.zeros(likeness.shape[1:], bool)
        for kind in top:
            np.put_along_axis(best, kind, True, axis=1)
        row, col = np.nonzero(best & (likeness[0] > 0))
        keys.append(np.stack([rows[row], col]))
        values.append(likeness[:, row, col])
    (first, second), value = np.concatenate(keys, axis=1), np.concatenate(values, axis=1)
    both = np.concatenate([first * count + second, second * count + first])
    unique, where = np.unique(both, return_index=True)
    return unique // count, unique % count, np.tile(value, 2)[:, where]


def _forest(
    items: _Items,
    anchor: int,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    value: NDArray[np.float64],
) -> list[tuple[int, int]]:
    """Pairs of the likeliest spanning forest of all items but the anchor.

    Parts that the candidates leave apart are joined by their likeliest pair with another part, until no
    part overlaps another.
    """
    count = items.days.size
    while True:
        # The solver takes the smallest sum, drops zeros, and likeness is at most 1.
        graph = sp.csr_matrix((2 - value, (first, second)), shape=(count, count))
        parts, part = connected_components(graph, directed=False)
        links = _links(items, anchor, part) if parts > 2 else []
        if not links:
            tree = minimum_spanning_tree(graph).tocoo()
            ends = zip(tree.row.tolist(), tree.col.tolist(), strict=True)
            return sorted((min(pair), max(pair)) for pair in ends)
        extra_first, extra_second, extra = (np.array(part) for part in zip(*links, strict=True))
        first, second = np.append(first, extra_first), np.append(second, extra_second)
        value = np.append(value, extra)


def _links(items: _Items, anchor: int, part: NDArray[np.int32]) -> list[tuple[int, int, float]]:
    """For every part of the items but the largest its likeliest pair with an item of another part."""
    largest = np.bincount(part).argmax()
    best: dict[int, tuple[int, int, float]] = {}
    for rows in _row_blocks(part.size):
        rows = rows[(part[rows] != largest) & (rows != anchor)]
        value = items.likeness(rows)[0]
        value[:, anchor] = 0
        value[part[rows, None] == part] = 0
        for row, other in zip(rows.tolist(), value.argmax(axis=1).tolist(), strict=True):
            found = float(value[np.searchsorted(rows, row), other])
            if found > best.get(int(part[row]), (0, 0, 0.0))[2]:
                best[int(part[row])] = (row, other, found)
    # Two parts may name the same pair: kept once, as the solver would sum it.
    return list({(min(a, b), max(a, b)): (min(a, b), max(a, b), v) for a, b, v in best.values()}.values())
