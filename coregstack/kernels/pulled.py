"""How far what stays on the pixel grid may have drawn a fit, and the fit freed from it.

Stripes, blocks of a compression and lines that repeat lie where they are in every scene: a fit that ends near them may
be pulled. What stays is taken out where content can be told from it; else the fit says how far it may be pulled.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.refine import Windows, prepare_full
from coregstack.kernels.static import pull
from coregstack.kernels.unheld import lopsided, unheld
from coregstack.kernels.windows import Lag
from coregstack.model import PixelSource, Shift

if TYPE_CHECKING:
    from coregstack.kernels.agreement import Fit
    from coregstack.kernels.coarse import Found
    from coregstack.kernels.overview import PreparedAnchor

CHANCE = 9.0
"""Squared distance between bands, in terms of their own variance, that is chance."""
UNSURE = 0.5
"""Largest sigma, px, with which a shift counts as known."""
_PERIOD = 8
"""Side of the blocks of JPEG, px."""
_PULLED = 7.0
"""Patterns further than this from a lag do not pull it, px."""
_CAUGHT = 0.5
"""What a pattern holds wholly lies this near to where it stays, px."""
_CLOSE = 1.0
"""Patterns nearer than this are told neither by the two sides of a match nor by the split for sure, px."""
_LEANING = 0.04
"""Difference along an axis between full and half resolution that tells of a pattern so near, px."""
_CLEAR = 2.0
"""Content this far from where a pattern stays is told from it for sure, px."""
_SAME = 0.02
"""What is left of a shift once a pattern is taken out, where this changes nothing, px."""
_TOWARDS = 0.05
"""Content that seems to lie nearer to a pattern than the fit, by more than this, is not pulled by it, px."""
_MOVING = 0.1
"""Part of the images that has to move for its shift to be known beside a pattern."""
_VAGUE = 0.1
"""Largest sigma, px, with which a split that agrees with a fit says anything of it."""
_BLOCKS = 1 / 3
"""Part of what the split says of the blocks of a compression, which it does not know well, that they may pull."""
_HEARD = 0.8
"""Coherence of images from which on the split is believed in either direction, clear of a pattern."""
_NOISY, _SILENT = 0.9, 0.98
"""Coherence of images from which on noise can be left out of account near a pattern, and at which it is none."""


def among_gaps(fitted: Fit, origin: Shift, *, compressed: bool) -> Fit:
    """A fit among gaps, not known where compression has left blocks: near these, content cannot be told from them."""
    if compressed and np.hypot(*(fitted.lag - _nearest(fitted.lag, origin))) < _CLEAR:
        return replace(fitted, pull=np.full(2, UNSURE))
    return fitted


def leaning(fitted: Fit, lag: NDArray[np.float64], origin: Shift) -> NDArray[np.float64]:
    """How far a pattern may pull a lag (y, x) that lies so near to it that only half resolution, pulled less, tells."""
    away = lag - _nearest(lag, origin)
    told = fitted.differing > _LEANING**2 and fitted.apart @ fitted.apart > CHANCE * fitted.chance
    if told and np.hypot(*away) < _CLOSE and fitted.apart @ away > 0:
        return 2 * np.abs(fitted.apart)
    return np.zeros(2)


def _nearest(lag: NDArray[np.float64], origin: Shift) -> NDArray[np.float64]:
    """The lag, of the sensor's own pixels and of the frame's, at which a pattern would stay that is nearer to a lag."""
    places = (0.0, 0.0), (float(round(origin.y)), float(round(origin.x)))
    return np.array(min(places, key=lambda at: math.dist(lag, at)))


def hidden(
    windows: Windows, read: NDArray[np.float64], fitted: Fit, origin: Shift, *, compressed: bool
) -> NDArray[np.float64] | None:
    """The lag at which a pattern stays that a fit was drawn to wholly or in part; None where nothing tells that."""
    place = _nearest(fitted.lag, origin)
    away = np.hypot(*(fitted.lag - place))
    if away >= _PULLED:
        return None
    # A pattern pulls full and half resolution unequally, but where it holds both.
    if not compressed and not fitted.differing and away > _CAUGHT:
        return None
    parts = windows.anchor, windows.item, windows.usable, windows.margin
    return place if compressed or lopsided(*parts, fitted.lag - read, place - read) else None


def freed(
    anchor: PreparedAnchor, item: PixelSource, one: Found, fitted: Fit, place: NDArray[np.float64]
) -> Fit:
    """A fit without the pull of a pattern that stays at a lag, or one that says how far it may pull."""
    windows = prepare_full(anchor, item, one.band, one.windows, Lag.of(*place), one.deaf)
    found = None
    if windows is not None:
        parts = windows.apart()
        found = unheld(parts.anchor, parts.item, parts.usable, parts.margin)
    if found is None or found.content < _MOVING:
        return fitted
    gap = place + found.away - fitted.lag
    if np.hypot(*gap) < _SAME + 2 * np.hypot(*found.sigma):
        if max(found.sigma) > _VAGUE:
            return fitted
        # two ways agree: the pattern pulls by no more than they differ
        known = np.maximum(np.square(gap), np.square(found.sigma / 2)) * (_BLOCKS**2 if found.blocky else 1.0)
        wider = np.diag(np.maximum(known, np.diag(fitted.covariance)))
        return replace(fitted, covariance=wider, apart=np.zeros(2), pull=np.zeros(2))
    if max(found.sigma) > UNSURE:
        return fitted if fitted.pull.any() else replace(fitted, pull=np.full(2, UNSURE))
    clear = np.hypot(*found.away) >= _CLEAR
    beyond = np.hypot(*found.away) > np.hypot(*(fitted.lag - place)) - _TOWARDS
    if not beyond and not (clear and found.coherence > _HEARD):
        # a pattern pulls towards itself, but for what filters make of it further off
        return fitted
    if found.blocky:
        return replace(fitted, pull=np.maximum(fitted.pull, np.abs(gap) * _BLOCKS))
    # Near the pattern, content that noise hides looks like less content further off: the truth lies between the two.
    silent = float(np.clip((found.coherence - _NOISY) / (_SILENT - _NOISY), 0, 1))
    trust = 1.0 if clear else 0.5 + 0.5 * silent
    step = trust * gap
    return replace(
        fitted,
        lag=fitted.lag + step,
        local=fitted.local + step,
        freed=step,
        covariance=np.diag(np.square(found.sigma)),
        # half resolution still holds what was taken out
        apart=np.zeros(2),
        pull=(1 - trust) * np.abs(gap),
    )


def held_back(
    windows: Windows, read: NDArray[np.float64], lag: NDArray[np.float64], origin: Shift, *, compressed: bool
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """How far what stays on the pixel grid may pull a lag (y, x), and where it stays; `read` as in `pull`."""
    # on a sensor's own pixels, on the frame's, or on the blocks of a compression
    places = [(0.0, 0.0), (origin.y, origin.x)]
    if compressed:
        y, x = np.round(lag / _PERIOD) * _PERIOD
        places.append((float(y), float(x)))
    return pull(windows.anchor, windows.item, windows.usable, windows.margin, read, lag, places)
