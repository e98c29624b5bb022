"""Displacements of all items from those of their pairs, adjusted together at the nodes of one control lattice.

At each node an item's displacement is an unknown, and a pair tells the difference of two of them with the sigma that
its own map has there: the adjustment of shifts, once a node. A pair was measured where its first item lies before it is
moved, so its field is looked up there, which a second round knows well enough. Nodes are adjusted each for itself.

Pairs of an item share its errors: its noise, and what of its own ground another date does not show, move the matches
with all dates that look alike in the same way. Such errors close around loops, and no mean over pairs makes them less.
So an item is as sure as its surest way to the anchor, and less so where pairs contradict each other. Means of fields,
known much better than any node, are asked apart whether they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.displacement import Spline, constant, sigma_at
from coregstack.kernels.lattice import Lattice
from coregstack.model import Displacement, Shift
from coregstack.network.consensus import PRIOR

_ROUNDS = 3
_NU = 4.0
"""Degrees of freedom of Student's t, by which pairs that contradict the others lose their say."""
_LEAST = 1e-3
"""Smallest sigma, px."""
_BEYOND = 0.5
"""Sigma of a pair's field one step beyond the nodes that it was measured on, px."""
_ALIKE = 2
"""Nodes along each axis over which a field is off alike."""
_AT_ONCE = 1 << 22
"""Numbers at most in the matrices of the nodes that are solved together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairField:
    """What the match of two items tells of how the second is displaced against the first."""

    first: int
    """Position of the item that was taken as the anchor."""
    second: int
    """Position of the item that was matched with it."""
    corner: Shift
    """Position of the first item's first pixel in the frame of the network, from which the field counts."""
    field: Displacement
    """A single node where they are displaced as one."""
    of_mean: Shift
    """Sigma of the mean of the field, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSolution:
    """What all pairs together tell of the displacements of items onto the anchor."""

    displacement: Mapping[int, Displacement]
    """Of each item that the pairs lead to, without the anchor."""
    mean_factor: float
    """Factor, 1 or more, by which the means of pairs are further from these than the sigmas of the means allow."""


def pair_field(
    first: int,
    second: int,
    corner: Shift,
    field: Displacement | None,
    shift: Shift,
    sigma: Shift,
    spread: float | None,
    doubt: float = 0.0,
) -> PairField:
    """The field of a pair; one that was matched by one shift is as uncertain as its parts lie apart.

    `doubt` is the sigma of what the match may be off by beyond its own sigma, px.
    """
    if field is None:
        field = constant(shift, float(np.hypot(max(sigma), (spread or 0.0) / np.sqrt(2))))
    field = replace(field, sigma=np.hypot(field.sigma, np.float32(doubt)))
    return PairField(first=first, second=second, corner=corner, field=field, of_mean=sigma)


def adjust_fields(
    pairs: Sequence[PairField], shifts: NDArray[np.float64], anchor: int, lattice: Lattice
) -> FieldSolution:
    """Find the displacement of every item onto the anchor from the fields of pairs.

    Parameters
    ----------
    pairs : sequence of PairField
        Those that agree with the others, see `coregstack.network.adjust`.
    shifts : ndarray, shape (n, 2)
        Shift of each item, px (y, x), to begin with; NaN where it is not reached.
    anchor : int
        The item whose displacement is 0.
    lattice : Lattice
        Where the displacements are wanted, in the frame of the anchor.

    Returns
    -------
    FieldSolution

    Examples
    --------
    >>> lattice = Lattice.of((40, 40))
    >>> pairs = [pair_field(0, 1, Shift(0, 0), None, Shift(1, 0), Shift(0.1, 0.1), None),
    ...          pair_field(1, 2, Shift(0, 0), None, Shift(0, 2), Shift(0.1, 0.1), None)]
    >>> found = adjust_fields(pairs, np.array([[0, 0], [1, 0], [1, 2.0]]), 0, lattice).displacement
    >>> float(found[2].y[0, 0]), float(found[2].x[0, 0]), round(float(found[2].sigma[0, 0]), 2)
    (1.0, 2.0, 0.14)
    """
    ends = np.array([(p.first, p.second) for p in pairs], np.int64).reshape(-1, 2)
    items = np.setdiff1d(ends, [anchor])
    column = np.full(len(shifts), -1)
    column[items] = np.arange(items.size)
    ends = column[ends]
    rows, cols = lattice.nodes
    at = np.broadcast_to(shifts[items, :, None, None], (items.size, 2, *lattice.shape))
    trust, factor = np.ones(len(pairs)), 1.0
    splines = [Spline.of(pair.field) for pair in pairs]
    for _ in range(_ROUNDS if items.size else 0):
        seen = [
            _looked_up(pair, spline, None if i < 0 else at[i], rows, cols)
            for pair, spline, (i, _) in zip(pairs, splines, ends, strict=True)
        ]
        observed = np.stack([values for values, _ in seen])
        sigma = np.stack([values for _, values in seen])
        at, variance = _solved(ends, observed, sigma, trust, items.size)
        away = _residuals(ends, observed, at)
        misfit = np.square(away).sum(axis=1) / np.square(sigma)
        factor = _mean_factor(pairs, away, sigma, trust, items.size)
        trust = np.minimum((_NU + 2) / (_NU + misfit.mean(axis=(1, 2))), 1.0)
    displacement = {
        int(item): Displacement(
            origin=lattice.origin,
            step=lattice.step,
            y=at[k, 0].astype(np.float32),
            x=at[k, 1].astype(np.float32),
            sigma=np.sqrt(variance[k]).astype(np.float32),
        )
        for k, item in enumerate(items)
    }
    return FieldSolution(displacement=displacement, mean_factor=factor)


def _looked_up(
    pair: PairField,
    spline: Spline,
    first: NDArray[np.float64] | None,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Displacement (2, rows, cols) and sigma of a pair where its first item lies; `first` is that item's own."""
    y, x = np.meshgrid(rows - pair.corner.y, cols - pair.corner.x, indexing="ij")
    if first is not None:
        y, x = y - first[0], x - first[1]
    field = pair.field
    sigma = np.maximum(sigma_at(field, y, x), _LEAST)
    if field.y.size > 1:
        steps = [
            np.maximum(np.maximum(start - values, values - start - (count - 1) * field.step), 0) / field.step
            for values, start, count in zip((y, x), field.origin, field.y.shape, strict=True)
        ]
        sigma = np.hypot(sigma, _BEYOND * np.hypot(*steps))
    return np.stack(spline.at_points(y, x)), sigma


def _solved(
    ends: NDArray[np.int64],
    observed: NDArray[np.float64],
    sigma: NDArray[np.float64],
    trust: NDArray[np.float64],
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares at each node: displacements (items, 2, rows, cols) and their variance along an axis."""
    shape = observed.shape[-2:]
    weight = (trust[:, None, None] / np.square(sigma)).reshape(len(ends), -1)
    values = observed.reshape(len(ends), 2, -1)
    at = np.empty((count, 2, weight.shape[1]))
    many = max(1, _AT_ONCE // count**2)
    for start in range(0, weight.shape[1], many):
        some = slice(start, start + many)
        matrix = np.zeros((len(weight[0, some]), count, count))
        right = np.zeros((len(matrix), count, 2))
        for (i, j), w, value in zip(ends, weight[:, some], values[:, :, some], strict=True):
            for end, sign in ((i, -1.0), (j, 1.0)):
                if end >= 0:
                    matrix[:, end, end] += w
                    right[:, end] += sign * (w * value).T
            if min(i, j) >= 0:
                matrix[:, i, j] -= w
                matrix[:, j, i] -= w
        at[:, :, some] = np.moveaxis(np.linalg.solve(matrix, right), 0, -1)
    at = at.reshape(count, 2, *shape)
    factor = _factor(ends, observed, sigma, trust, at)
    variance = max(1.0, factor) * _along_ways(ends, 1 / weight, count)
    return at, variance.reshape(count, *shape)


def _residuals(
    ends: NDArray[np.int64], observed: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each pair says beyond the items' displacements; the anchor, of number -1, has none."""
    every = np.concatenate([at, np.zeros((1, *at.shape[1:]))])
    away: NDArray[np.float64] = observed - (every[ends[:, 1]] - every[ends[:, 0]])
    return away


def _factor(
    ends: NDArray[np.int64],
    observed: NDArray[np.float64],
    sigma: NDArray[np.float64],
    trust: NDArray[np.float64],
    at: NDArray[np.float64],
) -> float:
    """A posteriori variance factor over all nodes, which their neighbours share, with the weight of a prior."""
    squares = trust[:, None, None] * np.square(_residuals(ends, observed, at)).sum(axis=1) / np.square(sigma)
    return float((PRIOR + squares.sum(axis=0).mean()) / (PRIOR + 2 * (len(ends) - len(at))))


def _mean_factor(
    pairs: Sequence[PairField],
    away: NDArray[np.float64],
    sigma: NDArray[np.float64],
    trust: NDArray[np.float64],
    count: int,
) -> float:
    """By how much longer the mean residuals of pairs are than the sigmas of their means allow, at least 1.

    The same as for shifts (`coregstack.network.adjust`), with the weight of a prior.
    """
    weight = 1 / np.square(sigma)
    means = (away * weight[:, None]).sum(axis=(2, 3)) / weight.sum(axis=(1, 2))[:, None]
    of_means = np.maximum([pair.of_mean for pair in pairs], _LEAST)
    squares = trust @ np.square(means / of_means).sum(axis=1)
    return max(1.0, float(np.sqrt((PRIOR + squares) / (PRIOR + 2 * (len(pairs) - count)))))


def _along_ways(ends: NDArray[np.int64], variance: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Variance of each item at each node, shape (items, nodes): the sum along its surest way to the anchor."""
    found = np.full((count + 1, variance.shape[1]), np.inf)
    found[-1] = 0.0
    for _ in range(count):
        before = found.copy()
        for (i, j), more in zip(ends, variance, strict=True):
            np.minimum(found[j], found[i] + more, out=found[j])
            np.minimum(found[i], found[j] + more, out=found[i])
        if np.array_equal(found, before):
            break
    return found[:-1]


def mean_sigma(field: Displacement) -> float:
    """Sigma of the mean of a field along an axis, px, by what its map says: errors of neighbouring nodes are alike."""
    return float(_ALIKE * np.sqrt(np.square(field.sigma, dtype=float).sum()) / field.sigma.size)


def between(item: Displacement, other: Displacement, mean: Shift) -> Displacement:
    """The displacement of an item against another one that is moved by its mean alone.

    Parameters
    ----------
    item, other : Displacement
        Of both against the anchor, on one lattice in its frame.
    mean : Shift
        What the other item is moved by.

    Returns
    -------
    Displacement
        In the frame of the anchor, on nodes where the mean has put those of the lattice.
    """
    spline = Spline.of(other)
    rows, cols = (
        start + item.step * np.arange(count, dtype=float)
        for start, count in zip(item.origin, item.y.shape, strict=True)
    )
    y, x = np.meshgrid(rows, cols, indexing="ij")
    # where the anchor shows what the other item, once moved, shows at the nodes
    at_y, at_x = y, x
    for _ in range(_ROUNDS):
        dy, dx = spline.at_points(at_y, at_x)
        at_y, at_x = y - mean.y + dy, x - mean.x + dx
    own = Spline.of(item).at_points(at_y, at_x)
    dy, dx = spline.at_points(at_y, at_x)
    return replace(
        item,
        y=(own[0] - dy + mean.y).astype(np.float32),
        x=(own[1] - dx + mean.x).astype(np.float32),
        sigma=np.hypot(sigma_at(item, at_y, at_x), sigma_at(other, at_y, at_x)).astype(np.float32),
    )
