"""Compiled misfit of the split of a coherence into what moves, what stays and noise, of `coregstack.kernels.unheld`."""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_FLAT = 1e-9


@compiled
def split_cost(away, coherence, y, x, ring, rings) -> float:
    """How far the best split at a shift `away` (y, x) is from a coherence that was measured.

    `y`, `x` and `ring` say where in frequency each value of `coherence` lies; `rings` is the number of rings.
    """
    total, difference = np.empty(y.size), np.empty(y.size)
    cosine, sine = np.empty(y.size), np.empty(y.size)
    above, below = np.zeros(rings), np.zeros(rings)
    for k in range(y.size):
        half = (y[k] * away[0] + x[k] * away[1]) / 2
        cosine[k], sine[k] = np.cos(half), np.sin(half)
        total[k] = coherence[k].real * cosine[k] + coherence[k].imag * sine[k]
        difference[k] = coherence[k].imag * cosine[k] - coherence[k].real * sine[k]
        above[ring[k]] += total[k] * cosine[k]
        below[ring[k]] += cosine[k] * cosine[k]
    cost = 0.0
    for k in range(y.size):
        share = min(max(above[ring[k]] / max(below[ring[k]], _FLAT), 0.0), 1.0)
        uneven = total[k] - share * cosine[k]
        negative = max(0.0, abs(difference[k]) - share * abs(sine[k]))
        cost += uneven * uneven + negative * negative
    return cost


@compiled
def least_cost(steps, coherence, y, x, ring, rings) -> NDArray[np.float64]:
    """The shift (y, x) of least `split_cost` of all pairs of steps."""
    best, least = np.zeros(2), np.inf
    away = np.empty(2)
    for down in steps:
        for along in steps:
            away[0], away[1] = down, along
            cost = split_cost(away, coherence, y, x, ring, rings)
            if cost < least:
                least = cost
                best[:] = away
    return best
