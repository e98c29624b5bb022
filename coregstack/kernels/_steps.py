"""Compiled steps of the fit: what the blocks of every window say together, and what all windows do.

Symmetric 2 x 2 matrices are held as (yy, yx, xx), as in `coregstack.kernels.symmetric`.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_SINGULAR = 1e-6
"""Eigenvalues smaller than the larger one by this factor count as 0."""
_OUTLYING = 4.0
"""Windows this many of their standard deviations away from the shift count nothing."""
_MEDIAN_CHI2 = 1.386
"""Median of the squared length of a vector of two independent unit normals."""
_FEW = 5
"""Fewer windows than this cannot outvote one of them."""


@compiled
def window_steps(sums, steps, precision, share) -> float:
    """Fill what each window would do by itself; returns the variance per axis between windows beyond their noise, px^2.

    `sums` (n, block, 6) is what `coregstack.kernels._blocks.block_sums` gives. `steps` (n, 2) become the step of each
    window, `precision` (n, 3) its inverse covariance about the common one, and `share` (n,) the part of all
    information that lies in each.
    """
    count = len(sums)
    matrices, inverses, promised = np.zeros((count, 3)), np.empty((count, 3)), np.empty(count)
    total = 0.0
    for n in range(count):
        promised[n] = _window(sums[n], matrices[n], inverses[n], steps[n])
        share[n] = matrices[n, 0] + matrices[n, 2]
        total += share[n]
    noise = 0.0
    for n in range(count):
        share[n] /= max(total, 1e-300)
        noise += share[n] * promised[n]
    # One figure for all windows says how far the blocks scatter beyond what their weights promise: in a single window
    # it would rest on too few blocks.
    noise = max(noise, 1e-12)
    spread = _spread(steps, inverses, share, noise) if count >= _FEW else 0.0
    for n in range(count):
        # M @ inverse(noise * identity + spread * M), which holds for singular M as well
        myy, myx, mxx = matrices[n]
        yy, yx, xx = noise + spread * myy, spread * myx, noise + spread * mxx
        det = yy * xx - yx * yx
        precision[n, 0] = (myy * xx - myx * yx) / det
        precision[n, 1] = (myx * yy - myy * yx) / det
        precision[n, 2] = (mxx * yy - myx * yx) / det
    return spread


@compiled
def _window(sums, matrix, inverse, step) -> float:
    """Fill what the blocks of a window say together; returns how far they scatter, in terms of what they promise."""
    down, along, blocks = 0.0, 0.0, 0
    for k in range(len(sums)):
        for m in range(3):
            matrix[m] += sums[k, 1 + m]
        down += sums[k, 4]
        along += sums[k, 5]
        blocks += sums[k, 0] != 0
    _invert(matrix, inverse)
    step[0] = inverse[0] * down + inverse[1] * along
    step[1] = inverse[1] * down + inverse[2] * along
    yy, yx, xx = 0.0, 0.0, 0.0
    for k in range(len(sums)):
        y = sums[k, 4] - (sums[k, 1] * step[0] + sums[k, 2] * step[1])
        x = sums[k, 5] - (sums[k, 2] * step[0] + sums[k, 3] * step[1])
        yy += y * y
        yx += y * x
        xx += x * x
    double = yy * inverse[0] + 2 * yx * inverse[1] + xx * inverse[2]
    return double / 2 * (blocks / max(blocks - 2, 1))


@compiled
def _invert(matrix, inverse) -> None:
    """Fill a pseudo-inverse: a direction that a matrix knows nothing of stays unknown."""
    yy, yx, xx = matrix
    det, trace = yy * xx - yx * yx, yy + xx
    if det > _SINGULAR * trace * trace:
        inverse[0], inverse[1], inverse[2] = xx / det, -yx / det, yy / det
    else:
        # of rank one, a matrix is its own inverse but for the square of its only eigenvalue
        square = trace * trace if trace > 0 else np.inf
        inverse[0], inverse[1], inverse[2] = yy / square, yx / square, xx / square


@compiled
def _spread(steps, inverses, share, noise) -> float:
    """Variance per axis between the windows' steps, beyond their own noise."""
    middle_y, middle_x = _middle(steps, share)
    excess = np.empty(len(steps))
    for n in range(len(steps)):
        y, x = steps[n, 0] - middle_y, steps[n, 1] - middle_x
        excess[n] = (y * y + x * x) / _MEDIAN_CHI2 - noise * (inverses[n, 0] + inverses[n, 2]) / 2
    return max(0.0, _weighted_median(excess, share))


@compiled
def _middle(steps, share) -> tuple[float, float]:
    """Weighted median of the steps, down and along."""
    down, along = np.empty(len(steps)), np.empty(len(steps))
    for n in range(len(steps)):
        down[n], along[n] = steps[n, 0], steps[n, 1]
    return _weighted_median(down, share), _weighted_median(along, share)


@compiled
def _weighted_median(values, weight) -> float:
    """The value that half the weight lies below."""
    order = np.empty(values.size, np.int64)
    # windows are few, and numba's own sorting takes it longer to compile than all the rest of this module
    for k in range(values.size):
        place = k
        while place > 0 and values[order[place - 1]] > values[k]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = k
    half = 0.0
    for k in order:
        half += weight[k]
    half /= 2
    below = 0.0
    for k in order:
        below += weight[k]
        if below >= half:
            return values[k]
    return values[order[-1]]


@compiled
def trust_in_windows(steps, precision, share) -> NDArray[np.float64]:
    """Tukey's biweight of each window's distance from the windows' median, shape (n,)."""
    trust = np.zeros(len(steps))
    heard = 0
    for n in range(len(steps)):
        heard += share[n] != 0
        trust[n] = 1.0 if share[n] > 0 else 0.0
    if heard < _FEW:
        return trust
    middle_y, middle_x = _middle(steps, share)
    for n in range(len(steps)):
        y, x = steps[n, 0] - middle_y, steps[n, 1] - middle_x
        distance = _squared(precision[n], y, x) / (2 * _OUTLYING**2)
        left = 1 - min(distance, 1.0)
        trust[n] *= left * left
    return trust


@compiled
def _squared(matrix, y, x) -> float:
    return (matrix[0] * y + matrix[1] * x) * y + (matrix[1] * y + matrix[2] * x) * x


@compiled
def join_steps(steps, precision, trust, step, covariance) -> None:
    """Fill `step` (2,) with the common step of trusted windows, and `covariance` (2, 2) with its covariance."""
    matrix, inverse = np.zeros(3), np.empty(3)
    down, along, trusted = 0.0, 0.0, 0.0
    for n in range(len(steps)):
        yy, yx, xx = trust[n] * precision[n, 0], trust[n] * precision[n, 1], trust[n] * precision[n, 2]
        matrix[0] += yy
        matrix[1] += yx
        matrix[2] += xx
        down += yy * steps[n, 0] + yx * steps[n, 1]
        along += yx * steps[n, 0] + xx * steps[n, 1]
        trusted += trust[n]
    _invert(matrix, inverse)
    step[0], step[1] = inverse[0] * down + inverse[1] * along, inverse[1] * down + inverse[2] * along
    misfit = 0.0
    for n in range(len(steps)):
        misfit += trust[n] * _squared(precision[n], steps[n, 0] - step[0], steps[n, 1] - step[1])
    misfit = max(1.0, misfit / max(2 * (trusted - 1), 1.0))
    covariance[0, 0], covariance[1, 1] = inverse[0] * misfit, inverse[2] * misfit
    covariance[0, 1] = covariance[1, 0] = inverse[1] * misfit
