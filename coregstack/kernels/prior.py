"""How rough a displacement may be: a Gaussian prior of the coefficients of splines, given by its spectrum."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

PIECE = 16
"""Nodes along a side of the piece of a scene that a prior's power is counted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Spectrum ``power * (1 / length^2 + frequency^2) ** (-slope / 2)`` of the displacement about its linear part."""

    power: float
    """Variance of the displacement in a piece of `PIECE` nodes a side, in units of the variance with which a block of
    mean texture knows it. In a larger scene, which has longer waves, it is more, and fine detail the same."""
    length: float
    """Beyond this distance the displacements of two places have little in common, px."""
    slope: float
    """How fast fine detail fades: about 3 as terrain has it, 6 for smooth fields."""
    freedom: float = np.inf
    """Degrees of freedom of the innovations, see `coregstack.kernels.edges`: few where there are edges."""

    def spectrum(self, shape: tuple[int, int], step: float) -> NDArray[np.float64]:
        """Prior variance of each coefficient of the cosine transform of the nodes, 0 for the mean.

        Parameters
        ----------
        shape
            Nodes down and across.
        step
            Distance between nodes, px.
        """
        some = self.decay((PIECE, PIECE), step)
        seen = some * response(PIECE)[:, None] * response(PIECE)[None]
        power: NDArray[np.float64] = self.decay(shape, step) * (self.power / seen.mean())
        return power

    def with_detail_kept(self, step: float, *, length: float, slope: float) -> Prior:
        """A prior of another form that has as much power in the finest details of the lattice as this one."""
        other = replace(self, length=length, slope=slope)
        most = PIECE // 2
        mine, others = (prior.spectrum((PIECE, PIECE), step)[most:, most:].mean() for prior in (self, other))
        return replace(other, power=self.power * float(mine / others))

    def beyond(self, step: float) -> float:
        """Variance of detail up to twice as fine as the lattice can follow, in the unit of `power`."""
        fine = self.decay((2 * PIECE, 2 * PIECE), step / 2)
        coarse = fine[:PIECE, :PIECE].sum()
        return self.power * float(fine.sum() - coarse) / float(coarse)

    def decay(self, shape: tuple[int, int], step: float) -> NDArray[np.float64]:
        """Relative power at each frequency, of which the lattice sees those up to half a wave a step."""
        down, across = (np.pi * np.arange(n) / n for n in shape)
        square = (step / self.length) ** 2 + np.square(down)[:, None] + np.square(across)[None]
        square[0, 0] = np.inf
        power: NDArray[np.float64] = square ** (-self.slope / 2)
        return power


def response(nodes: int) -> NDArray[np.float64]:
    """Mean square over a step of the spline whose coefficients are each cosine of the transform, against their own."""
    angle = np.pi * np.arange(nodes) / nodes
    # autocorrelation of the cubic B-spline: values of the one of degree 7 at whole numbers
    cosines = 1191 * np.cos(angle) + 120 * np.cos(2 * angle) + np.cos(3 * angle)
    square: NDArray[np.float64] = (2416 + 2 * cosines) / 5040
    return square
