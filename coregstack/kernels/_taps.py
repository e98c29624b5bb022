"""Weights of the interpolation kernels along one axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest

KERNELS = ("nearest", "bilinear", "cubic", "lanczos", "allpass")
QUANTUM = 2.0**-20
"""Positions are rounded to this, so that whole pixels added to a position never change its fraction."""

_PHASES = 1024
_ALLPASS_REACH = 8
_DEGREE = 9
_ALLPASS_EDGE = 0.6 * np.pi


class Taps(NamedTuple):
    """Weights of an output pixel's sources along one axis; output pixel 0 stands at a source position."""

    first: int
    """Source index of the first tap of output pixel 0."""
    weights: NDArray[np.float64]
    """Shape (n,); they add up to 1 and their centre of mass is the source position."""
    nearest: int
    """Source index nearest to the position of output pixel 0, halves up."""


@lru_cache(maxsize=64)
def taps_at(kernel: str, position: float) -> Taps:
    """Weights that interpolate at one source position.

    Parameters
    ----------
    kernel : str
        One of `KERNELS`.
    position : float
        Source position in pixels, rounded to `QUANTUM`.

    Returns
    -------
    Taps
        A single weight of 1 where the position is a whole pixel or the kernel is "nearest".

    Raises
    ------
    InvalidRequest
        If the kernel is unknown or the position is not finite.

    Examples
    --------
    >>> taps_at("bilinear", 10.25)
    Taps(first=10, weights=array([0.75, 0.25]), nearest=10)
    """
    _check(kernel)
    if not np.isfinite(position):
        raise InvalidRequest(f"A position to resample at has to be a finite number, not {position!r}.")
    position = round(position / QUANTUM) * QUANTUM
    floor = int(np.floor(position))
    fraction = position - floor
    nearest = floor + (fraction >= 0.5)
    if kernel == "nearest" or fraction == 0:
        return Taps(nearest, np.ones(1), nearest)
    offsets, weights = _SHAPES[kernel](fraction)
    return Taps(floor + offsets, weights, nearest)


class TapTable(NamedTuple):
    """Weights along one axis for any position, as loops look them up."""

    kind: int
    """`LINEAR` and `CUBIC` are computed at each position; `TABLE` is interpolated between rows of `weights`."""
    first: int
    """Source index of the first tap, counted from the pixel that the position is counted from."""
    begin: float
    """What a position lies beyond that pixel at least: 0 where it is the last one before, else -0.5, the nearest."""
    weights: NDArray[np.float64]
    """Shape (phases + 1, taps), for positions from `begin` to ``begin + 1``; only the taps count for other kinds."""


LINEAR, CUBIC, TABLE = range(3)


@lru_cache(maxsize=64)
def tap_table(kernel: str, scale: float = 1.0) -> TapTable:
    """Weights of a kernel at any position, and wider where source pixels are finer than those of the output.

    Parameters
    ----------
    kernel : str
        One of `KERNELS`, but not "nearest".
    scale : float
        Source pixels along one output pixel. Above 1 the kernel is stretched by it, so that what the output cannot
        show is averaged and does not come back as a pattern of another width.

    Returns
    -------
    TapTable
        Between two of its phases weights are interpolated linearly, by which they still add up to 1 with their
        centre of mass at the position.

    Raises
    ------
    InvalidRequest
        If the kernel is unknown.

    Examples
    --------
    >>> tap_table("cubic").first, tap_table("cubic", 2.0).weights.shape
    (-1, (513, 8))
    """
    _check(kernel)
    if kernel == "allpass":
        weights = np.stack([_delay(k / _PHASES - 0.5) for k in range(_PHASES + 1)])
        weights[_PHASES // 2] = np.arange(-_ALLPASS_REACH, _ALLPASS_REACH + 1) == 0
        return TapTable(TABLE, -_ALLPASS_REACH, -0.5, weights)
    radius, profile = _PROFILES[kernel]
    if scale <= 1 and kernel != "lanczos":
        return TapTable(LINEAR if kernel == "bilinear" else CUBIC, 1 - radius, 0.0, np.zeros((0, 2 * radius)))
    stretch = max(scale, 1.0)
    reach = math.ceil(radius * stretch)
    phases = math.ceil(_PHASES / stretch)
    offsets = np.arange(1 - reach, reach + 1)
    distances = (offsets - k / phases for k in range(phases + 1))
    weights = np.stack([_exact_on_ramps(profile(d / stretch) / stretch, d) for d in distances])
    if stretch == 1:
        weights[0], weights[-1] = offsets == 0, offsets == 1
    return TapTable(TABLE, 1 - reach, 0.0, weights)


@lru_cache(maxsize=1)
def allpass_powers() -> NDArray[np.float32]:
    """Weights of the kernel "allpass" as polynomials of what a position lies beyond its nearest pixel.

    Returns
    -------
    ndarray of float32, shape (taps // 2 + 1, 2, 5)
        Coefficients of the tap that lies 0, 1, 2 and so on behind the nearest pixel: of even powers and of odd ones,
        the highest first. The tap as far before it has odd ones of the other sign; the nearest one is halved, for it
        is both. Weights are those of `tap_table` to 1e-6.
    """
    places = 0.5 * np.cos(np.pi * (np.arange(4 * _DEGREE) + 0.5) / (4 * _DEGREE))
    behind = np.stack([_delay(float(place)) for place in places])[:, _ALLPASS_REACH:]
    powers = np.polyfit(places, behind, _DEGREE).T.reshape(_ALLPASS_REACH + 1, -1, 2)
    powers[0, :, 0] = 0
    powers[0] /= 2
    return np.ascontiguousarray(powers[..., ::-1].swapaxes(1, 2), np.float32)


def _check(kernel: str) -> None:
    if kernel not in KERNELS:
        raise InvalidRequest(f"The resampling kernel has to be one of {', '.join(KERNELS)}, not {kernel!r}.")


def _triangle(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    weights: NDArray[np.floating] = np.maximum(1 - np.abs(distance), 0)
    return weights


def _keys(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    d = np.minimum(np.abs(distance), 2)
    near, far = 1 + d * d * (3 * d - 5) / 2, 2 + d * (-4 + d * (5 - d) / 2)
    weights: NDArray[np.floating] = np.where(d < 1, near, far)
    return weights


def _windowed_sinc(distance: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


_PROFILES: dict[str, tuple[int, Callable[[NDArray[np.floating]], NDArray[np.floating]]]] = {
    "bilinear": (1, _triangle),
    "cubic": (2, _keys),
    "lanczos": (3, _windowed_sinc),
}
"""How far kernels reach, px, and their weights over the distance."""


def _bilinear(fraction: float) -> tuple[int, NDArray[np.float64]]:
    return 0, np.array([1 - fraction, fraction])


def _cubic(fraction: float) -> tuple[int, NDArray[np.float64]]:
    """Keys' cubic convolution with a = -1/2, doi:10.1109/TASSP.1981.1163711."""
    f = fraction
    weights = (f * (-1 + f * (2 - f)), 2 + f * f * (3 * f - 5), f * (1 + f * (4 - 3 * f)), f * f * (f - 1))
    return -1, np.array(weights) / 2


def _lanczos(fraction: float) -> tuple[int, NDArray[np.float64]]:
    """Duchon (1979), Lanczos filtering in one and two dimensions, J. Appl. Meteorol. 18, 1016-1022."""
    distance = np.arange(-2, 4) - fraction
    return -2, _exact_on_ramps(_windowed_sinc(distance), distance)


@lru_cache(maxsize=1024)
def _allpass(fraction: float) -> tuple[int, NDArray[np.float64]]:
    """A fractional delay that leaves the power at every frequency as it is.

    Every kernel with a linear phase up to the Nyquist frequency has to lose power there, and so smooths
    noise. Here the phase follows the shift up to 0.6 of the Nyquist frequency and then turns back to
    zero along a smooth step, which a short kernel can follow: by least squares over frequencies, exact on
    constants and ramps, it keeps the gain within 0.7 % of 1 everywhere, the power of white noise within
    0.003 %, and the delay within 0.003 px where the phase follows.
    """
    floor_to_nearest = int(fraction >= 0.5)
    return floor_to_nearest - _ALLPASS_REACH, _delay(fraction - floor_to_nearest)


def _delay(delta: float) -> NDArray[np.float64]:
    """Weights of the delay for what a position lies beyond its nearest pixel, -0.5 to 0.5."""
    phase, waves, solve = _allpass_design()
    # sums, not products of matrices: for those BLAS would wake threads that cost more than the work
    wanted = (waves.real * np.cos(delta * phase) - waves.imag * np.sin(delta * phase)).sum(axis=1)
    weights: NDArray[np.float64] = (solve * np.concatenate((wanted, (1.0, delta)))).sum(axis=1)
    return weights


@lru_cache(maxsize=1)
def _allpass_design() -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.float64]]:
    """What of the least squares is the same for all fractions.

    Phases of the frequencies for a delay of 1, the matrix that projects what is wanted of them onto the
    taps, and the one that solves for the taps, whose sum and centre of mass come last on its right side.
    """
    offsets = np.arange(-_ALLPASS_REACH, _ALLPASS_REACH + 1)
    omega = np.linspace(0, np.pi, 257)
    turn = np.clip((omega - _ALLPASS_EDGE) / (np.pi - _ALLPASS_EDGE), 0, 1)
    phase = omega * (1 - turn**3 * (10 - 15 * turn + 6 * turn**2))
    stress = 1 + (turn == 0) / np.maximum(omega, 0.05) ** 2
    waves = np.exp(1j * np.outer(offsets, omega))
    normal = ((waves.conj() * stress) @ waves.T).real
    exact = np.stack([np.ones(offsets.size), offsets])
    whole = np.block([[normal, exact.T], [exact, np.zeros((2, 2))]])
    return phase, waves.conj() * stress, np.linalg.inv(whole)[: offsets.size]


def _exact_on_ramps(weights: NDArray[np.floating], distance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Add the small linear term, tapered to the kernel's ends, that gives sum 1 and first moment 0."""
    taper = np.cos(np.pi * distance / (distance.size + 1)) ** 2
    moments = [(taper * distance**power).sum() for power in range(3)]
    missing = [1 - weights.sum(), -(weights * distance).sum()]
    level, slope = np.linalg.solve([moments[:2], moments[1:]], missing)
    exact: NDArray[np.float64] = weights + taper * (level + slope * distance)
    return exact


_SHAPES: dict[str, Callable[[float], tuple[int, NDArray[np.float64]]]] = {
    "bilinear": _bilinear,
    "cubic": _cubic,
    "lanczos": _lanczos,
    "allpass": _allpass,
}
