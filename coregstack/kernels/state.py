"""A displacement after a step, and the trust in the blocks that it was found from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from coregstack.kernels.equations import Equations
    from coregstack.kernels.posterior import Solution
    from coregstack.kernels.prior import Prior
    from coregstack.kernels.selection import Weighed


NU = 4.0
"""Degrees of freedom of Student's t."""
_MEDIAN_CHI2 = 1.386
_BOUND = 0.9
"""Leverage of a block at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The model after a step, and the equations that it was found from."""

    model: str
    prior: Prior | None
    solution: Solution
    weighed: Weighed
    plain: Equations
    """Without trust."""
    now: NDArray[np.float64]
    """Displacement of the blocks by the model, px, shape (down, across, 2)."""
    noise: float
    """Variance of the blocks, in terms of what their equations say."""


def trust_of(equations: Equations, displacement: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Trust in each block by Student's t of its own step against a displacement, and the blocks' noise."""
    misfit = equations.misfit(displacement)
    noise = noise_of(misfit, equations.heard)
    return np.where(equations.heard, (NU + 2) / (NU + misfit / noise), 0.0), noise


def noise_of(
    misfit: NDArray[np.float64], heard: NDArray[np.bool_], leverage: NDArray[np.float64] | float = 0.0
) -> float:
    """Variance of blocks, in terms of what their equations say, that no block that lies far off can raise."""
    free = 1 - np.minimum(leverage, _BOUND)
    return max(float(np.median((misfit / free)[heard])) / _MEDIAN_CHI2, 1e-12)
