"""Where a fit begins that one shift is no start for: local windows that agree on a linear map.

An item that is turned by a degree or larger by a hundredth lies a dozen pixels off at one end of a scene where it fits
at the other. Windows of the overviews are matched apart, each with a peak of its own, then windows at full resolution
where those point to; the map is what most of the sure ones agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.correlation import Peak, correlate_all
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.match_image import orientation
from coregstack.kernels.overview import PreparedAnchor, look
from coregstack.kernels.windows import Box, Lag, centre, grown, overlap, read_pair, spread, window_size
from coregstack.model import PixelSource

_WINDOWS = 25
"""Windows that are matched at full resolution."""
_SURE = 7.0
"""A window whose peak stands out by less has no say."""
_AMBIGUOUS = 0.8
_LEAST_PAIRS = 100
_LEAST = 6
"""Windows that have to agree."""
_MAJORITY = 0.6
"""Part of the sure windows that has to agree."""
_NEAR = 1.5
"""Windows this near to the map agree with it, px of the images that are matched."""
_TRIES = 300
_LEVER = 50.0
"""Condition of the places of three windows above which they hold no map."""
_STEEPEST = 0.06
"""Largest change of the displacement along an axis that is believed, px per px."""
_REACH = 16


def linear_start(
    anchor: PreparedAnchor,
    item: PixelSource,
    lattice: Lattice,
    shift: tuple[float, float] | None,
    bands: Sequence[int],
) -> NDArray[np.float64] | None:
    """The linear map that local windows agree on, as coefficients of `Lattice.linear`, shape (2, 3).

    Parameters
    ----------
    anchor, item
        The scenes.
    lattice
        The anchor's control lattice.
    shift
        Where to look, if one shift is known; else the overviews are searched.
    bands
        Match bands, of which the first that shows something tells.
    """
    for band in bands:
        if shift is None:
            rough = _from_overviews(anchor, item, lattice, band)
        else:
            rough = np.array([[shift[0], 0, 0], [shift[1], 0, 0]])
        if rough is not None:
            found = _from_windows(anchor.source, item, lattice, band, rough)
            if found is not None:
                return found
    return None


def _from_overviews(
    anchor: PreparedAnchor, item: PixelSource, lattice: Lattice, band: int
) -> NDArray[np.float64] | None:
    factor = anchor.factor
    here, there = anchor.look(band).values, look(item, band, factor).values
    side = max(24, min(here.shape) // 4)
    lag0 = tuple(round(o / factor) for o in item.origin)
    reach = tuple(max(8, n // 4) for n in here.shape)
    boxes = [
        Box(y, x, y + side, x + side)
        for y in range(0, here.shape[0] - side + 1, side // 2)
        for x in range(0, here.shape[1] - side + 1, side // 2)
    ]
    first = np.stack([here[b.top : b.bottom, b.left : b.right] for b in boxes])
    pad = [r + abs(c) for r, c in zip(reach, lag0, strict=True)]
    wide = np.pad(there, ((pad[0], pad[0] + here.shape[0]), (pad[1], pad[1] + here.shape[1])))
    second = np.stack(
        [
            wide[
                b.top - lag0[0] - reach[0] + pad[0] : b.bottom - lag0[0] + reach[0] + pad[0],
                b.left - lag0[1] - reach[1] + pad[1] : b.right - lag0[1] + reach[1] + pad[1],
            ]
            for b in boxes
        ]
    )
    # in the larger cut the content of lag `lag0` lies `reach` further down and right
    surfaces = correlate_all(list(first), list(second), (-reach[0], -reach[1]), reach)
    places, lags = [], []
    for box, surface in zip(boxes, surfaces, strict=True):
        peak = surface.peak(_LEAST_PAIRS)
        if _is_sure(peak):
            middle = centre(box)
            places.append([(v + 0.5) * factor - 0.5 for v in middle])
            lags.append([(peak.y + reach[0] + lag0[0]) * factor, (peak.x + reach[1] + lag0[1]) * factor])
    return _agreed(lattice, places, lags, item, _NEAR * factor)


def _from_windows(
    anchor: PixelSource, item: PixelSource, lattice: Lattice, band: int, rough: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    mean = rough[:, 0] + item.origin
    area = overlap(anchor.shape, item.shape, (mean[0], mean[1]))
    size = min(64, window_size(area))
    step = max(size, min(area.height, area.width) // 8)
    boxes = [
        Box(y, x, y + size, x + size)
        for y in range(area.top, area.bottom - size + 1, step)
        for x in range(area.left, area.right - size + 1, step)
    ]
    chosen = spread(boxes, np.ones(len(boxes)), _WINDOWS) if boxes else []
    pairs, starts = [], []
    for box in chosen:
        at = centre(box)
        lag = Lag.of(*(_values(lattice, [at], rough)[0] + item.origin))
        pairs.append(read_pair(anchor, item, band, grown(box, _REACH // 2), lag))
        starts.append((at, lag))
    if not pairs:
        return None
    first = np.stack([orientation(values, usable) for values, usable, _, _ in pairs])
    second = np.stack([orientation(values, usable) for _, _, values, usable in pairs])
    places, lags = [], []
    for (at, lag), surface in zip(
        starts, correlate_all(list(first), list(second), (0, 0), (_REACH, _REACH)), strict=True
    ):
        peak = surface.peak(_LEAST_PAIRS)
        if _is_sure(peak):
            places.append(list(at))
            lags.append([lag.whole_y + peak.y, lag.whole_x + peak.x])
    return _agreed(lattice, places, lags, item, _NEAR)


def _is_sure(peak: Peak | None) -> TypeGuard[Peak]:
    return peak is not None and peak.significance > _SURE and peak.rival < _AMBIGUOUS


def _values(
    lattice: Lattice, places: Sequence[Sequence[float]], linear: NDArray[np.float64]
) -> NDArray[np.float64]:
    return _functions(lattice, places) @ linear.T


def _functions(lattice: Lattice, places: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Values of 1, y, x at places, shape (n, 3)."""
    at = np.array(places, float).reshape(-1, 2)
    frame = np.array(lattice.frame)
    return np.concatenate([np.ones((len(at), 1)), (at - (frame - 1) / 2) / frame], axis=1)


def _agreed(
    lattice: Lattice,
    places: Sequence[Sequence[float]],
    lags: Sequence[Sequence[float]],
    item: PixelSource,
    near: float,
) -> NDArray[np.float64] | None:
    """The map that most windows agree on; None where there are too few."""
    if len(places) < _LEAST:
        return None
    functions, shifts = _functions(lattice, places), np.array(lags) - np.array(item.origin)
    rng = np.random.default_rng(0)
    some = np.stack([rng.choice(len(shifts), 3, replace=False) for _ in range(_TRIES)])
    some = some[np.linalg.cond(functions[some]) <= _LEVER]
    if not len(some):
        return None
    close = _close(functions, shifts, np.linalg.solve(functions[some], shifts[some]), near)
    best = close[close.sum(axis=-1).argmax()]
    for _ in range(3):
        if best.sum() < max(_LEAST, _MAJORITY * len(shifts)):
            return None
        linear = np.linalg.lstsq(functions[best], shifts[best], rcond=None)[0]
        best = _close(functions, shifts, linear, near)
    if np.abs(linear[1:] / np.array(lattice.frame)[:, None]).max() > _STEEPEST:
        return None
    by_axis: NDArray[np.float64] = linear.T
    return by_axis


def _close(
    functions: NDArray[np.float64], shifts: NDArray[np.float64], linear: NDArray[np.float64], near: float
) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.linalg.norm(functions @ linear - shifts, axis=-1) < near
    return close
