"""Detail of a field that is finer than its control lattice: how much there may be, and where blocks show it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from coregstack.kernels.symmetric import inverse

if TYPE_CHECKING:
    from coregstack.kernels.prior import Prior
    from coregstack.kernels.selection import Weighed
    from coregstack.kernels.state import State

TAIL = 1 / 6
"""Part of the detail beyond the lattice, as the prior goes on, that there is: what displaces scenes ends somewhere."""
_SHARP = 0.1
"""Blocks that know their displacement better have no more say in what a field leaves, px."""
_SURE = 2.0
"""Standard errors by which what blocks show together has to exceed 0."""
GATHERED = 2.0
"""Mean of the squares over the square of the mean of the power of a field's finest detail, at most where it is alike
all over the scene, as where it is smooth or rough by one law."""
_CLIFFS = 3.5
"""What is left beside cliffs and seams, in terms of the power of the finest detail that is followed there."""
_FOLLOWED = 1.4
"""The same where edges are followed as such."""
_AROUND = 1.5
"""Blocks about which what a field leaves is told as one: standard deviation of a Gaussian."""


def blurred(weighed: Weighed, prior: Prior | None) -> Weighed:
    """The same where a field has detail that is finer than its lattice: it moves blocks, however sure they are."""
    if prior is None:
        return weighed
    finer = TAIL * prior.beyond(weighed.basis.lattice.step) / weighed.texture
    return replace(weighed, equations=weighed.equations.blurred(finer))


def unfollowed(state: State) -> tuple[NDArray[np.float64], float]:
    """Mean square length of what blocks show beyond a field and more than noise, px^2: about each block, and overall.

    A seam is followed as a slope, and what is left of it lies beside it.
    """
    equations = state.plain
    known = inverse(equations.matrix)
    variance = (known[..., 0] + known[..., 2]) * state.noise
    away = equations.steps - (state.now - equations.here)
    good = equations.heard & (np.abs(away).max(axis=-1) < 1.5) & (variance > 0)
    if not good.any():
        return np.zeros(good.shape), 0.0
    weight = np.where(good, 1 / np.maximum(variance, _SHARP**2), 0.0)
    more = weight * (np.square(away).sum(axis=-1) - variance)
    overall = max(0.0, more.sum() / weight.sum() - float(np.median(variance[good])))
    local = np.maximum(*(_alike(away, weight, axis) for axis in (0, 1)))
    return local, float(np.sqrt(overall))


def sharper(state: State) -> NDArray[np.float64]:
    """Mean square length about each block of detail that is sharper than the lattice, px^2.

    Blocks that lie further off than a fit reaches do not show it. But where the finest detail that is followed is
    gathered in few places, as beside cliffs and seams, it is not the end of what there is.
    """
    fine, gathered = finest(state)
    left = _CLIFFS if state.prior is None or np.isinf(state.prior.freedom) else _FOLLOWED
    sharper: NDArray[np.float64] = fine * (left * min(max(gathered - GATHERED, 0.0), 1.0))
    return sharper


def finest(state: State) -> tuple[NDArray[np.float64], float]:
    """Power of the finest detail of a field about each block, px^2, and how gathered it is: 1 if even, more if not."""
    width = state.weighed.basis.lattice.step / state.plain.grid.pitch
    coarse = np.stack(
        [gaussian_filter(axis, width, mode="nearest") for axis in np.moveaxis(state.now, -1, 0)]
    )
    fine = gaussian_filter(np.square(np.moveaxis(state.now, -1, 0) - coarse).sum(axis=0), 1.0)
    power = fine[state.plain.heard]
    return fine, float(np.square(power).mean() / max(float(power.mean()) ** 2, 1e-24))


def _alike(steps: NDArray[np.float64], weight: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean product about each block of the steps of blocks that lie two apart along an axis, as far as it is sure."""
    products, both = np.zeros(weight.shape), np.zeros(weight.shape)
    here, there, middle = ([slice(None)] * 2 for _ in range(3))
    here[axis], there[axis], middle[axis] = slice(None, -2), slice(2, None), slice(1, -1)
    one, two, at = tuple(here), tuple(there), tuple(middle)
    both[at] = np.sqrt(weight[one] * weight[two])
    products[at] = both[at] * (steps[one] * steps[two]).sum(axis=-1)
    around, sure = (gaussian_filter(values, _AROUND, mode="constant") for values in (products, both))
    scatter = gaussian_filter(np.square(products), _AROUND / np.sqrt(2), mode="constant")
    error = np.sqrt(scatter / (4 * np.pi * _AROUND**2))
    return np.where(sure > 0, np.maximum(around - _SURE * error, 0.0) / np.where(sure > 0, sure, 1), 0.0)
