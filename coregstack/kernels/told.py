"""What is told of a displacement: its mean, spread and residual, its sigma at every node, and its windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.certainty import at_blocks, near_nodes, uncertainty, unseen_sigma
from coregstack.kernels.finer import sharper, unfollowed
from coregstack.kernels.spread import beyond_noise, own_steps, shared_square
from coregstack.kernels.state import NU, State, trust_of
from coregstack.kernels.symmetric import inverse, product
from coregstack.model import (
    FIELD,
    SHIFT,
    TERRAIN,
    Displacement,
    DisplacementEstimate,
    Shift,
    ShiftEstimate,
    TiePoints,
)

_WORTH_SAYING = 0.1
"""Spread that a user is told of, px."""
_TIES = 1024
"""Windows at most that are given as tie points."""


def as_one_shift(found: ShiftEstimate) -> DisplacementEstimate:
    """What one shift says of an item, and what its windows say of the spread."""
    residual = None
    if found.sigma is not None and found.spread is not None:
        residual = float(np.sqrt(found.sigma.y**2 + found.sigma.x**2 + found.spread**2))
    ties = found.ties
    mean = found.shift if found.shift is not None else Shift(np.nan, np.nan)
    return DisplacementEstimate(
        model=SHIFT,
        shift=found.shift,
        sigma=found.sigma,
        displacement=None,
        spread=found.spread if found.shift is not None else None,
        residual=residual,
        details=found.reason if found.shift is None else _words(SHIFT, found.spread or 0.0),
        ties=ties,
        residual_y=ties.shift_y - mean.y,
        residual_x=ties.shift_x - mean.x,
    )


def _words(model: str, spread: float) -> str:
    if model == SHIFT and spread >= _WORTH_SAYING:
        return f"parts of it lie up to {2 * spread:.1f} px apart: model='field' follows them"
    return ""


def result_of(
    state: State, found: ShiftEstimate, known: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
) -> DisplacementEstimate:
    """Everything that is handed on of the last step; where that is a shift, what is said of one shift.

    `known` is the variance of the displacement along an axis at each node, px^2, and the sigma of its mean (y, x), px,
    where these do not follow from the prior of the state.
    """
    if state.model == SHIFT and found.shift is not None and found.sigma is not None:
        return as_one_shift(found)
    usable = state.plain.usable * state.plain.heard
    if known is None:
        state, variance, mean_sigma = uncertainty(state, usable)
    else:
        variance, mean_sigma = known
    total = usable.sum()
    left = state.plain.vector - product(state.plain.matrix, state.now - state.plain.here)
    unseen = beyond_noise(*shared_square(*own_steps(state.plain.matrix[None], left[None])))
    beyond, rough = np.zeros(usable.shape), 0.0
    if state.model in (FIELD, TERRAIN):
        beyond, rough = unfollowed(state)
    if state.model == FIELD:
        beyond += sharper(state)
    unseen = max(unseen, rough)
    mean = np.einsum("ij,ijk->k", usable, state.now) / total
    bent = float(np.einsum("ij,ijk->", usable, np.square(state.now - mean)) / total)
    spread = float(np.sqrt(bent + unseen**2))
    lattice = state.weighed.basis.lattice
    rows, cols = lattice.nodes
    values = state.solution.at(lattice, rows, cols)
    variance = variance + np.maximum(near_nodes(lattice, state.plain.grid, beyond), unseen**2) / 2
    sigma = np.sqrt(np.maximum(variance, unseen_sigma(state, mean) ** 2))
    at = np.sqrt(2 * at_blocks(state, np.square(sigma))[state.plain.heard].mean())
    ties, residuals = _windows(state)
    return DisplacementEstimate(
        model=state.model,
        shift=Shift(*(float(v) for v in mean)),
        sigma=Shift(*(float(v) for v in mean_sigma)),
        displacement=None if state.model == SHIFT else Displacement(
            origin=lattice.origin,
            step=lattice.step,
            y=values[..., 0].astype(np.float32),
            x=values[..., 1].astype(np.float32),
            sigma=sigma.astype(np.float32),
        ),
        spread=spread,
        residual=float(at),
        details=_words(state.model, spread),
        ties=ties,
        residual_y=residuals[:, 0],
        residual_x=residuals[:, 1],
    )  # fmt: skip


def _windows(state: State) -> tuple[TiePoints, NDArray[np.float64]]:
    """Windows with the displacement that each shows by itself, and what it shows beyond the model."""
    equations = state.plain
    trust, noise = trust_of(equations, state.now)
    weighted = equations.weighted(trust)
    left = weighted.vector - product(weighted.matrix, state.now - equations.here)
    side = max(4, int(np.ceil(np.sqrt(equations.heard.size / _TIES))))
    parts = [
        _blocked(values, side)
        for values in (
            weighted.matrix,
            left,
            (state.now * equations.heard[..., None]),
            equations.heard[..., None],
        )
    ]
    matrix, vector, now, count = parts
    good = count[..., 0] > side * side / 4
    known = inverse(matrix)
    step = product(known, vector)
    rows, cols = (
        (places[0] + np.arange(n) * side * equations.grid.pitch + (side - 1) / 2 * equations.grid.pitch)
        for places, n in zip((equations.grid.rows, equations.grid.cols), good.shape, strict=True)
    )
    y, x = np.broadcast_arrays(rows[:, None], cols[None])
    local = now / np.maximum(count, 1) + step
    trusted = _blocked((trust * equations.heard)[..., None], side)[..., 0] / np.maximum(count[..., 0], 1)
    sigma2 = (known[..., 0] + known[..., 2]) * noise
    agrees = np.square(step).sum(axis=-1) < 9 * (sigma2 + 0.02**2)
    ties = TiePoints(
        y=y[good],
        x=x[good],
        shift_y=local[..., 0][good],
        shift_x=local[..., 1][good],
        weight=np.clip(trusted * NU / (NU + 2), 0, 1)[good],
        inlier=agrees[good],
        band=np.zeros(int(good.sum()), np.int64),
    )
    return ties, step[good]


def _blocked(values: NDArray[np.float64] | NDArray[np.bool_], side: int) -> NDArray[np.float64]:
    """Sums over squares of blocks, shape (down, across, k)."""
    down, across = (-(-n // side) for n in values.shape[:2])
    padded = np.zeros((down * side, across * side, values.shape[2]))
    padded[: values.shape[0], : values.shape[1]] = values
    sums: NDArray[np.float64] = padded.reshape(down, side, across, side, -1).sum(axis=(1, 3))
    return sums
