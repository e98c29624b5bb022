"""How far the parts of a scene lie apart, beyond noise.

The noise of two neighbouring blocks has next to nothing in common, while what displaces one displaces the other as
well: so the mean product of the steps of two such blocks is the mean square of the displacement that they share. How
much less it is for blocks further apart tells how much is lost already between neighbours.

Blocks that lie far off are also those that match least, and know their step least well. Weighed by what they know,
they would hardly count, and the spread would be that of the blocks that lie well.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.symmetric import inverse, product

_APART = 2, 4
"""Blocks from one to the other, and to one further away."""
_MOST = 1.6
"""Factor at most by which a mean square is raised for what neighbours do not share."""
_EVEN = 4.0
"""Variance that the steps of all blocks are given besides their own, in terms of the typical one."""
_FARTHEST = 2.5
"""Steps of blocks longer than this are no steps of a fit, px."""
_SURE, _SURER = 3.0, 4.5
"""Standard errors by which a mean square must exceed 0, and by which one must that change could account for."""
CHANGE = 0.2
"""What changed between real dates, as crops and shadows, displaces neighbouring blocks alike by up to this much, px."""
_PARTS = 8
"""Parts along each axis that tell the standard error."""


def shared_square(
    steps: NDArray[np.float64], variance: NDArray[np.float64], *, least: float = 0.0
) -> tuple[float, float]:
    """Mean square length of the steps that blocks share with their neighbours, px^2, and its standard error.

    Parameters
    ----------
    steps, variance
        What `own_steps` gives of blocks (n, down, across); the n windows are apart.
    least
        Rms length, px, that the steps of the blocks which know theirs best have to share, or nothing is told.

    Returns
    -------
    square, error : float
        Not cut off at 0; both are 0 where there are no such blocks, or these share less.
    """
    if not np.isfinite(variance).any():
        return 0.0, 0.0
    if least and _shared(steps, 1 / variance, _APART[0])[0] < least**2:
        return 0.0, 0.0
    weight = _evenly(variance)
    square, error = _shared(steps, weight, _APART[0])
    far, _ = _shared(steps, weight, _APART[1])
    # as the square of the distance, where displacements are smooth
    more = min(max((square / far) ** (1 / 3), 1.0), _MOST) if square > 0 and far > 0 else 1.0
    return more * square, more * error


def even_mean(steps: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean step of blocks along each axis, px, in which those count little less that know theirs less well.

    Parameters
    ----------
    steps, variance
        What `own_steps` gives of the blocks.
    """
    weight = _evenly(variance) if np.isfinite(variance).any() else np.zeros(variance.shape)
    mean: NDArray[np.float64] = (weight[..., None] * steps).reshape(-1, 2).sum(axis=0) / max(
        float(weight.sum()), 1e-300
    )
    return mean


def own_steps(
    matrix: NDArray[np.float64], vector: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps of blocks by themselves, px, and the variance of their length, infinite where a block tells nothing.

    Parameters
    ----------
    matrix, vector
        Normal equations of blocks, shapes (..., 3) and (..., 2).
    """
    known = inverse(matrix)
    steps = product(known, vector)
    variance = known[..., 0] + known[..., 2]
    good = (matrix[..., 0] + matrix[..., 2] > 0) & (np.abs(steps).max(axis=-1) < _FARTHEST) & (variance > 0)
    return steps, np.where(good, variance, np.inf)


def _evenly(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of blocks that differ less than their variances."""
    weight: NDArray[np.float64] = 1 / (variance + _EVEN * float(np.median(variance[np.isfinite(variance)])))
    return weight


def _shared(steps: NDArray[np.float64], weight: NDArray[np.float64], apart: int) -> tuple[float, float]:
    """Mean product of the steps of blocks some blocks apart, and its standard error."""
    products, weights = [], []
    for near, far in _pairs(apart):
        products.append((steps[near] * steps[far]).sum(axis=-1).ravel())
        weights.append(np.sqrt(weight[near] * weight[far]).ravel())
    n, down, across = weight.shape
    return _mean(np.concatenate(products), np.concatenate(weights), _parts(n, down, across, apart))


def _pairs(apart: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Which blocks (n, down, across) are the first and the second of pairs, along each axis."""
    for axis in (1, 2):
        near, far = [slice(None)] * 3, [slice(None)] * 3
        near[axis], far[axis] = slice(None, -apart), slice(apart, None)
        yield tuple(near), tuple(far)


@lru_cache(maxsize=16)
def _parts(n: int, down: int, across: int, apart: int) -> NDArray[np.int64]:
    """Number of the part that each pair of blocks lies in."""
    found = []
    for near, _ in _pairs(apart):
        first = np.empty((n, down, across), np.bool_)[near]
        k, y, x = np.indices(first.shape)
        along = [at * _PARTS // max(1, size) for at, size in zip((y, x), (down, across), strict=True)]
        found.append(((k * _PARTS + along[0]) * _PARTS + along[1]).ravel())
    return np.concatenate(found)


def _mean(
    values: NDArray[np.float64], weight: NDArray[np.float64], place: NDArray[np.int64]
) -> tuple[float, float]:
    """Weighted mean, and its standard error from how places differ."""
    total = weight.sum()
    if not total > 0:
        return 0.0, 0.0
    mean = float(weight @ values / total)
    away = np.bincount(place, weight * (values - mean))
    return mean, float(np.sqrt(np.square(away).sum()) / total)


def beyond_noise(square: float, error: float) -> float:
    """Root of a mean square that is surely more than nothing, else 0.

    Examples
    --------
    >>> beyond_noise(0.25, 0.07), beyond_noise(0.01, 0.0028), beyond_noise(0.01, 0.001)
    (0.5, 0.0, 0.1)
    """
    sure = _SURE if square > CHANGE**2 else _SURER
    return float(np.sqrt(square)) if square > sure * error else 0.0
