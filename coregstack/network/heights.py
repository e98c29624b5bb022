"""The error of the height model behind a stack, from views that were found and angles that metadata tell.

Where the ground lies higher by `e` than the model that orthorectified a scene, the scene shows it too far from the
satellite, by ``e tan(incidence)``. Against the anchor a date is so displaced by ``e (T - T_anchor)`` with ``T`` the
tilt of its line of sight. That is one pattern under views that are known, in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.model import Shift, Viewing

LEAST_DATES = 3
"""Dates beside the anchor whose angles have to be known."""


def tilt_of(viewing: Viewing, pixel: Shift) -> NDArray[np.float64]:
    """Pixels (y, x) towards the satellite for each metre of height.

    Parameters
    ----------
    viewing
        From where the scene was seen.
    pixel
        Step of a row to the north and of a column to the east, m; negative where it runs the other way.

    Examples
    --------
    >>> tilt_of(Viewing(incidence=45.0, azimuth=90.0), Shift(-10.0, 10.0)).round(3).tolist()
    [-0.0, 0.1]
    """
    turn = np.radians(viewing.azimuth)
    tilt: NDArray[np.float64] = np.tan(np.radians(viewing.incidence)) * np.array(
        [np.cos(turn) / pixel.y, np.sin(turn) / pixel.x]
    )
    return tilt


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFit:
    """How views that were found follow tilts that are told."""

    scale: float
    """Metres of height that one unit of the first pattern is."""
    sigma: float
    """1 sigma of `scale`, m."""
    correlation: float
    """Of views and tilts, -1 to 1; the sign of a pattern, and so of this, has no meaning."""
    dates: int
    """Dates that tell it."""

    @property
    def known(self) -> bool:
        """Whether the views follow the tilts by more than chance."""
        return self.dates >= LEAST_DATES and abs(self.scale) > 3 * self.sigma


def fit_views(views: Sequence[Shift], tilts: NDArray[np.float64]) -> ViewFit:
    """Fit views by tilts, through 0.

    Parameters
    ----------
    views
        View of each date (y, x), px.
    tilts
        Tilt of each, less that of the anchor, px / m, shape (dates, 2).

    Examples
    --------
    >>> tilts = np.array([[0.0, 0.1], [0.0, -0.2], [0.1, 0.0]])
    >>> found = fit_views([Shift(*(5 * tilt)) for tilt in tilts], tilts)
    >>> round(found.scale, 6), round(found.correlation, 6), found.known
    (5.0, 1.0, True)
    """
    found = np.array(views, float).reshape(-1, 2)
    square, length = float(np.square(tilts).sum()), float(np.square(found).sum())
    if square == 0 or length == 0:
        return ViewFit(scale=0.0, sigma=np.inf, correlation=0.0, dates=len(found))
    shared = float((found * tilts).sum())
    scale = shared / square
    rest = float(np.square(found - scale * tilts).sum()) / max(found.size - 1, 1)
    return ViewFit(
        scale=scale,
        sigma=float(np.sqrt(rest / square)),
        correlation=shared / float(np.sqrt(square * length)),
        dates=len(found),
    )
