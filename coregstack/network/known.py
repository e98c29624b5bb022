"""Patterns of a stack out of the displacements that its dates were given, for dates that come later.

A displacement of `coregstack.network.terrain` is a linear map of its own and a few patterns times numbers, so the
displacements of some dates, but for their linear parts, span the patterns exactly. No pixel is needed, and nothing has
to be kept beside the displacements themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.lattice import Lattice
from coregstack.kernels.patterns import LINEAR, Patterns
from coregstack.model import Displacement, Shift
from coregstack.network.terrain import MOST

_PART = 0.02
"""Parts of the displacements that are smaller than this, in terms of the largest, are rounding and no patterns."""
_OFFSETS = 3
"""Dates from which it is told whether their views are counted from another one than their displacements."""


def known_patterns(
    displacements: Sequence[Displacement], views: Sequence[Shift], lattice: Lattice, dates: int
) -> Patterns | None:
    """The patterns that dates follow.

    Parameters
    ----------
    displacements
        Of dates that follow the same patterns, on `lattice`.
    views
        Of each of them its numbers for the first pattern (y, x), px, which give that its scale and its sign.
    lattice
        Control lattice of the patterns.
    dates
        How many dates the patterns were found from.

    Returns
    -------
    Patterns or None
        Each with no linear part, for that belongs to each date. Of a pattern nothing is known better than by the date
        that tells most of it, so its variance is not below what it was for the dates. None where the displacements
        differ by linear maps alone.

    Examples
    --------
    >>> lattice = Lattice.of((64, 64))
    >>> relief = np.random.default_rng(0).normal(size=lattice.shape)
    >>> moved = [Displacement(origin=lattice.origin, step=lattice.step, y=np.float32(1 + y * relief),
    ...                       x=np.float32(x * relief), sigma=np.full_like(relief, 0.05, np.float32))
    ...          for y, x in ((0.5, 0.2), (-0.3, 0.4))]
    >>> found = known_patterns(moved, [Shift(0.5, 0.2), Shift(-0.3, 0.4)], lattice, 2)
    >>> found.count, round(float(np.sqrt(found.variance.min())), 3)
    (1, 0.131)
    """
    rows = np.concatenate([np.stack([one.y, one.x]).reshape(2, -1) for one in displacements]).astype(float)
    linear = lattice.linear(*lattice.nodes).reshape(-1, LINEAR)
    own = np.linalg.lstsq(linear, rows.T, rcond=None)[0].T
    bent = rows - own @ linear.T
    powers, vectors = np.linalg.eigh(bent @ bent.T)
    sizes = np.sqrt(np.maximum(powers[::-1], 0.0))
    count = min(MOST, int(np.count_nonzero(sizes > max(_PART * sizes[0], 1e-6 * np.sqrt(rows.size)))))
    if count == 0:
        return None
    numbers = vectors[:, ::-1][:, :count] * sizes[:count]
    values = np.linalg.lstsq(numbers, bent, rcond=None)[0]
    turn = _turn(numbers, np.array(views, float).ravel())
    numbers, values = numbers @ turn, np.linalg.solve(turn, values)
    squares = np.square(numbers).reshape(-1, 2, count).mean(axis=1)
    told = [np.square(one.sigma.astype(float)) / max(sum(square), 1e-12)
            for one, square in zip(displacements, squares.tolist(), strict=True)]  # fmt: skip
    precision = 1 / np.maximum(np.square(np.concatenate([own, numbers], axis=1)).mean(axis=0), 1e-12)
    precision[0] = 0.0
    return Patterns(
        lattice=lattice,
        linear=np.zeros((count, LINEAR)),
        nodes=np.stack([_coefficients(lattice, one.reshape(lattice.shape)) for one in values]),
        variance=np.broadcast_to(np.min(told, axis=0), (count, *lattice.shape)),
        precision=precision,
        dates=dates,
    )


def _turn(numbers: NDArray[np.float64], views: NDArray[np.float64]) -> NDArray[np.float64]:
    """What takes numbers of dates, shape (2 dates, patterns), to ones of which the first are the views."""
    count = numbers.shape[1]
    parts = [numbers]
    if len(views) >= 2 * _OFFSETS:
        # where the datum is not the anchor, the displacements lie off by what one more date would have
        parts.append(np.tile(np.eye(2), (len(views) // 2, 1)))
    first = np.linalg.lstsq(np.concatenate(parts, axis=1), views, rcond=None)[0][:count]
    others = np.linalg.qr(first[:, None], mode="complete")[0][:, 1:] * np.linalg.norm(first)
    return np.concatenate([first[:, None], others], axis=1)


def _coefficients(lattice: Lattice, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the splines that have some values at the nodes."""
    down, across = lattice.nodes
    some = np.linalg.solve(lattice.rows(down).dense(), values)
    coefficients: NDArray[np.float64] = np.linalg.solve(lattice.cols(across).dense(), some.T).T
    return coefficients
