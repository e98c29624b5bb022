"""Where a fit of windows settles, and what its last step says of it."""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels._blocks import block_sums
from coregstack.kernels._steps import join_steps, trust_in_windows, window_steps
from coregstack.kernels.compiling import compiled
from coregstack.kernels.smoothing import halfway_taps

if TYPE_CHECKING:
    from coregstack.kernels.refine import Windows

_STEPS = 8
"""Steps at most."""
_LONGEST = 0.5
"""What a step moves a lag by at most along an axis, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settled:
    """The last step of a fit; n are the parts of its windows."""

    lag: NDArray[np.float64]
    """Lag (y, x) beyond the whole pixels read at, after the last step, px."""
    begun: NDArray[np.float64]
    """The same before it."""
    step: NDArray[np.float64]
    """The step (y, x) of all together, px."""
    covariance: NDArray[np.float64]
    """Of the step, px^2, shape (2, 2)."""
    steps: NDArray[np.float64]
    """The step that each part would take by itself, px, shape (n, 2)."""
    precision: NDArray[np.float64]
    """Inverse covariance of each of these about the common one: (yy, yx, xx), shape (n, 3)."""
    share: NDArray[np.float64]
    """Part of all information that lies in each, shape (n,)."""
    trust: NDArray[np.float64]
    """Tukey's biweight of each one's distance from the median, shape (n,)."""
    spread: float
    """Variance per axis between the steps of parts, beyond their own noise, px^2."""
    sums: NDArray[np.float64]
    """Normal equations of every block, as `coregstack.kernels._blocks.block_sums` gives them, shape (n, block, 6)."""

    @property
    def alone(self) -> NDArray[np.float64]:
        """The lag that each part would have alone, shape (n, 2)."""
        return self.begun + self.steps

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of every block, negative where its contrast is reversed, shape (n, blocks)."""
        return self.sums[..., 0]

    @property
    def agreeing(self) -> float:
        """Part of the precision that lies in trusted parts."""
        weight = self.precision[:, 0] + self.precision[:, 2]
        return float((self.trust > 0) @ weight / max(float(weight.sum()), 1e-300))

    def joined(self, trust: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The common step with another trust in each part, and its covariance."""
        step, covariance = np.empty(2), np.empty((2, 2))
        join_steps(self.steps, self.precision, trust, step, covariance)
        return step, covariance


def settled(
    windows: Windows,
    lag: NDArray[np.float64],
    noise: NDArray[np.float64],
    within: float = np.inf,
    sign: int = 0,
) -> Settled:
    """Step from a lag (y, x) beyond the whole pixels that windows were read at, until a step is short.

    Parameters
    ----------
    windows
        Windows of one band.
    lag
        Where to begin, px.
    noise
        Variance, in anchor and item, below which a block counts as flat, shape (2,).
    within
        The first step that is shorter along both axes is the last one, px; by default that is the first one.
    sign
        1 to hear only blocks that keep their contrast, -1 only those that reverse it, 0 both.
    """
    count, blocks = windows.blocks
    ended, begun, step, covariance = np.array(lag, np.float64), np.empty(2), np.empty(2), np.empty((2, 2))
    sums, steps, precision = np.empty((count, blocks, 6)), np.empty((count, 2)), np.empty((count, 3))
    share, trust = np.empty(count), np.empty(count)
    spread = _settle(
        windows.anchor, windows.item, windows.usable, windows.margin, windows.parts, windows.heard, noise, within, sign,
        ended, begun, sums, steps, precision, share, trust, step, covariance,
    )  # fmt: skip
    return Settled(
        lag=ended, begun=begun, step=step, covariance=covariance, steps=steps, precision=precision, share=share,
        trust=trust, spread=spread, sums=sums,
    )  # fmt: skip


@compiled
def _settle(
    anchor, item, usable, margin, parts, heard, noise, within, sign, lag, begun, sums, steps, precision, share,
    trust, step, covariance,
) -> float:  # fmt: skip
    """Move `lag` (2,) until a step is shorter than `within`, and fill what the last one says, which has `begun` (2,).

    `sums` (n, block, 6) are those of `block_sums`, 0 where a part is not `heard` (n,), and, with a `sign` of 1 or -1,
    for blocks of the other contrast. `steps`, `precision`, `share` and `trust` are those of `window_steps` and
    `trust_in_windows`, `step` and `covariance` those of `join_steps`. Returns the variance per axis between parts
    beyond their noise, px^2.
    """
    for _ in range(_STEPS):
        for k in range(2):
            begun[k] = lag[k]
        block_sums(anchor, item, usable, margin, halfway_taps(lag), noise, parts, sums)
        _silence(sums, heard, sign)
        spread = window_steps(sums, steps, precision, share)
        trusted = trust_in_windows(steps, precision, share)
        for n in range(trust.size):
            trust[n] = trusted[n]
        join_steps(steps, precision, trust, step, covariance)
        for k in range(2):
            lag[k] += min(max(step[k], -_LONGEST), _LONGEST)
        if max(abs(step[0]), abs(step[1])) < within:
            break
    return spread


@compiled
def _silence(sums, heard, sign) -> None:
    """Make 0 what parts say that are not heard, and blocks whose weight has not a sign that is asked for."""
    for n in range(len(sums)):
        for k in range(sums.shape[1]):
            if not heard[n] or sums[n, k, 0] * sign < 0 or (sign and sums[n, k, 0] == 0):
                for m in range(sums.shape[2]):
                    sums[n, k, m] = 0.0
