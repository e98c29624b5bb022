"""A procedural landscape: reflectance as a function of position, so that any shift is exact.

The ground is not a picture that is resampled but a function that is evaluated. A scene whose
content is moved by a third of a pixel is the same function at positions moved by a third of a
pixel, with no interpolation in between: what a test knows as truth is truth.

The parts are a hash of lattice points, value noise and its fractal sums (Perlin 1985,
doi:10.1145/325165.325247), and the nearest two points of a jittered lattice (Worley 1996,
doi:10.1145/237170.237267).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.kernels.compiling import compiled

BAND_NAMES = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}
"""Names of the bands that can be rendered, by their number, as a PlanetScope product orders them."""

_FOUR_OF_EIGHT = np.array([1, 3, 5, 7])

# Materials, as rows of the table below.
_SOIL, _STUBBLE, _CROP, _GRASS, _BROADLEAF, _CONIFER, _WATER, _ASPHALT, _PALE, _TILES = range(10)

_SPECTRA = np.array(
    [
        [0.060, 0.075, 0.095, 0.115, 0.145, 0.175, 0.200, 0.260],
        [0.080, 0.105, 0.140, 0.165, 0.205, 0.240, 0.275, 0.340],
        [0.022, 0.030, 0.052, 0.070, 0.052, 0.036, 0.125, 0.450],
        [0.028, 0.038, 0.062, 0.080, 0.070, 0.058, 0.140, 0.350],
        [0.016, 0.021, 0.036, 0.050, 0.037, 0.027, 0.095, 0.360],
        [0.013, 0.017, 0.026, 0.034, 0.027, 0.022, 0.058, 0.210],
        [0.035, 0.042, 0.052, 0.050, 0.038, 0.028, 0.022, 0.015],
        [0.075, 0.085, 0.095, 0.100, 0.108, 0.114, 0.122, 0.140],
        [0.150, 0.170, 0.190, 0.205, 0.220, 0.230, 0.240, 0.265],
        [0.055, 0.065, 0.080, 0.100, 0.160, 0.200, 0.220, 0.260],
    ]
)
"""Reflectance of each material in the eight bands."""

# Where the aperture of a pixel is sampled, in pixels from its centre: five rows and five columns,
# each once, symmetric, so that the centroid is the pixel's centre. It is 1.4 px wide, since optics
# and the provider's own resampling leave no scene as sharp as its pixels.
_APERTURE = np.array([[-2, -1], [-1, 2], [0, 0], [1, -2], [2, 1]]) * 0.28


@compiled
def _hash(i: int, j: int, salt: int) -> float:
    """A number from 0 to 1 that belongs to a lattice point."""
    mask = np.uint64(0xFFFFFFFF)
    word = np.uint64(i) * np.uint64(0x9E3779B1) + np.uint64(salt) * np.uint64(0xC2B2AE3D)
    word = (word ^ (word >> np.uint64(15))) * np.uint64(0x2C1B3C6D) + np.uint64(j) * np.uint64(0x85EBCA77)
    word &= mask
    word = ((word ^ (word >> np.uint64(16))) * np.uint64(0x7FEB352D)) & mask
    word = ((word ^ (word >> np.uint64(15))) * np.uint64(0x846CA68B)) & mask
    word ^= word >> np.uint64(16)
    return float(word) / 4294967296.0


@compiled
def _noise(v: float, u: float, salt: int) -> float:
    """Value noise of period 1: smooth, 0 to 1."""
    i, j = math.floor(v), math.floor(u)
    a, b = v - i, u - j
    a, b = a * a * (3.0 - 2.0 * a), b * b * (3.0 - 2.0 * b)
    top = _hash(i, j, salt) * (1.0 - b) + _hash(i, j + 1, salt) * b
    low = _hash(i + 1, j, salt) * (1.0 - b) + _hash(i + 1, j + 1, salt) * b
    return top * (1.0 - a) + low * a


@compiled
def fractal(v: float, u: float, octaves: int, salt: int) -> float:
    """Sum of octaves of noise, each twice as fine and half as strong, 0 to 1."""
    total, weight, norm = 0.0, 1.0, 0.0
    for octave in range(octaves):
        total += weight * _noise(v, u, salt + octave)
        norm += weight
        weight *= 0.5
        # Turned by about 37 degrees, so that the lattices of the octaves do not line up.
        v, u = 1.6 * v + 1.2 * u + 17.3, 1.6 * u - 1.2 * v + 5.1
    return total / norm


@compiled
def _block(v: float, u: float, size: float, salt: int) -> tuple[int, int, float, float, float]:
    """The block of land around a position: its lattice point, the position in it, distance to its border."""
    row, col = math.floor(v / size), math.floor(u / size)
    first, second = 1e18, 1e18
    best_i, best_j, best_v, best_u, next_v, next_u = 0, 0, 0.0, 0.0, 0.0, 0.0
    for i in range(row - 1, row + 2):
        for j in range(col - 1, col + 2):
            dv = v - size * (i + 0.15 + 0.7 * _hash(i, j, salt))
            du = u - size * (j + 0.15 + 0.7 * _hash(i, j, salt + 1))
            distance = dv * dv + du * du
            if distance < first:
                second, next_v, next_u = first, best_v, best_u
                first, best_i, best_j, best_v, best_u = distance, i, j, dv, du
            elif distance < second:
                second, next_v, next_u = distance, dv, du
    apart = math.hypot(next_v - best_v, next_u - best_u)
    return best_i, best_j, best_v, best_u, (second - first) / (2.0 * apart)


@compiled
def _turned(v: float, u: float, turn: float) -> tuple[float, float]:
    """A position along and across a direction."""
    cos, sin = math.cos(turn), math.sin(turn)
    return v * cos + u * sin, u * cos - v * sin


@compiled
def _winding(v: float, u: float, spacing: float, bend: float, period: float, salt: int) -> float:
    """Distance to the winding line that runs along `u` in this band of `spacing`."""
    line = math.floor(v / spacing)
    start = spacing * (line + 0.5 + 0.4 * (_hash(int(line), 3, salt) - 0.5))
    here = start + bend * (fractal(u / period, 7.7 * line, 2, salt) - 0.5)
    there = start + bend * (fractal((u + 2.0) / period, 7.7 * line, 2, salt) - 0.5)
    return abs(v - here) / math.hypot(1.0, (there - here) / 2.0)


@compiled
def _field(
    i: int, j: int, dv: float, du: float, border: float, season: float, salt: int
) -> tuple[int, int, float, float]:
    """Cover of farmed land: two materials, the share of the second, and brightness."""
    along, across = _turned(dv, du, math.pi * _hash(i, j, salt + 2))
    width, length = 14.0 + 30.0 * _hash(i, j, salt + 3), 60.0 + 90.0 * _hash(i, j, salt + 4)
    strip = math.floor(across / width)
    part = math.floor(along / length + _hash(i + 31 * strip, j, salt + 5))
    name = 1009 * i + 9176 * j
    edge = across - strip * width
    edge = min(edge, width - edge)
    if border < 1.0 or edge < 0.5:
        return _GRASS, _SOIL, 0.35, 0.9
    kind = _hash(name + strip, part, salt + 6)
    if kind < 0.16:
        return _GRASS, _STUBBLE, 0.5 * fractal(dv / 25.0, du / 25.0, 3, salt + 7), 0.85 + 0.3 * kind
    # Winter crops green in spring, summer crops later; what is not green is bare or stubble.
    start = (0.28 if kind < 0.55 else 0.55) + 0.16 * (_hash(name + strip, part, salt + 8) - 0.5)
    green = 0.5 + 0.75 * math.cos(2.0 * math.pi * (season - start))
    patch = fractal(dv / 40.0 + strip, du / 40.0 + part, 5, salt + 9) - 0.5
    green = min(max(green + 0.9 * patch, 0.03), 0.97)
    tilled = math.floor(3.0 * season + _hash(name + strip, part, salt + 10))
    bright = 0.75 + 0.5 * _hash(name + strip, part + 77 * tilled, salt + 11) + 0.3 * patch
    lane = across / 8.0 - math.floor(across / 8.0)
    if lane < 0.08 and kind < 0.75:
        green, bright = 0.6 * green, 0.95 * bright
    bright *= 1.0 + 0.05 * math.sin(2.0 * math.pi * across / 3.1)
    return (_STUBBLE if kind > 0.7 else _SOIL), _CROP, green, bright


@compiled
def _built(dv: float, du: float, salt: int) -> tuple[int, int, float, float]:
    """Cover of a settlement: streets, roofs with their shadows, gardens."""
    row, col = dv / 6.0, du / 7.0
    i, j = math.floor(row), math.floor(col)
    if i % 4 == 0 and row - i < 0.4:
        return _ASPHALT, _PALE, 0.15, 1.0
    if j % 6 == 0 and col - j < 0.35:
        return _ASPHALT, _PALE, 0.15, 1.0
    kind = _hash(i, j, salt)
    wide, tall = 0.3 + 0.45 * _hash(i, j, salt + 1), 0.3 + 0.35 * _hash(i, j, salt + 2)
    a, b = row - i - 0.4, col - j - 0.35
    if kind < 0.72:
        if 0.0 < a < tall and 0.0 < b < wide:
            roof = _TILES if kind < 0.4 else (_PALE if kind < 0.58 else _ASPHALT)
            return roof, _PALE, 0.5 * _hash(i, j, salt + 3), 0.8 + 0.5 * _hash(i, j, salt + 4)
        if -0.2 < a < tall - 0.2 and -0.2 < b < wide - 0.2:
            return _ASPHALT, _GRASS, 0.2, 0.45
    return _GRASS, _BROADLEAF, _noise(dv / 3.0, du / 3.0, salt + 5), 0.9


@compiled
def _river(v: float, u: float, salt: int) -> float:
    """Distance to the nearest river."""
    return _winding(0.8 * v + 0.6 * u, 0.8 * u - 0.6 * v, 1100.0, 420.0, 230.0, salt + 100)


@compiled
def _road(v: float, u: float, salt: int) -> float:
    """Distance to the nearest road, all of which run down the rows."""
    return _winding(u, v, 520.0, 120.0, 330.0, salt + 120)


@compiled
def _lane(v: float, u: float, salt: int) -> float:
    """Distance to the nearest lane, all of which run along the columns."""
    return _winding(v, u, 700.0, 200.0, 400.0, salt + 130)


@compiled
def _cover(
    v: float, u: float, season: float, by_river: bool, by_road: bool, by_lane: bool, salt: int
) -> tuple[int, int, float, float]:
    """What lies at a position: two materials, the share of the second, and brightness."""
    river = banks = 0.0
    if by_river:
        river = _river(v, u, salt)
        banks = 4.0 + 5.0 * _noise(v / 90.0, u / 90.0, salt + 110)
        if river < banks:
            bright = 0.85 + 0.3 * _noise(v / 50.0, u / 50.0, salt)
            return _WATER, _SOIL, 0.25 * max(0.0, river - banks + 1.5), bright
    if by_road and _road(v, u, salt) < 1.3:
        return _ASPHALT, _PALE, 0.2, 1.0
    if by_lane and _lane(v, u, salt) < 0.9:
        return _ASPHALT, _SOIL, 0.3, 1.1

    i, j = math.floor(v / 330.0), math.floor(u / 330.0)
    dv = v - 330.0 * (i + 0.35 + 0.3 * _hash(i, j, salt + 140))
    du = u - 330.0 * (j + 0.35 + 0.3 * _hash(i, j, salt + 141))
    radius = 75.0 * _hash(i, j, salt + 142) - 30.0
    if radius > 0.0:
        radius += 60.0 * (_noise(v / 28.0, u / 28.0, salt + 143) - 0.5)
        if dv * dv + du * du < radius * abs(radius):
            along, across = _turned(dv, du, math.pi * _hash(i, j, salt + 144))
            return _built(along, across, salt + 150)

    i, j, dv, du, border = _block(v, u, 120.0, salt + 160)
    wild = fractal(v / 260.0, u / 260.0, 5, salt + 170) + 0.16 * (_hash(i, j, salt + 161) - 0.5)
    if wild > 0.57 or (by_river and river < banks + 8.0 * _noise(v / 12.0, u / 12.0, salt + 176)):
        stand = min(max(6.0 * (_noise(v / 70.0, u / 70.0, salt + 180) - 0.45), 0.0), 1.0)
        crowns = 0.6 * _noise(v / 2.3, u / 2.3, salt + 181) + 0.4 * _noise(v / 6.0, u / 6.0, salt + 182)
        return _CONIFER, _BROADLEAF, stand, 0.55 + 0.9 * crowns
    return _field(i, j, dv, du, border, season, salt + 200)


@compiled
def _relief(v: float, u: float, salt: int) -> float:
    """Brightness of a slope under a sun in the upper left, about 1."""
    here = fractal(v / 300.0, u / 300.0, 4, salt + 300)
    sunward = fractal((v - 3.0) / 300.0, (u - 3.0) / 300.0, 4, salt + 300)
    return min(max(1.0 + 22.0 * (here - sunward), 0.7), 1.3)


@compiled
def _render(
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    where: NDArray[np.bool_],
    spectra: NDArray[np.float64],
    aperture: NDArray[np.float64],
    season: float,
    salt: int,
) -> NDArray[np.float32]:
    height, width = rows.shape
    bands = spectra.shape[1]
    out = np.zeros((bands, height, width), np.float32)
    pixel = np.empty(bands)
    for y in range(height):
        for x in range(width):
            if not where[y, x]:
                continue
            pixel[:] = 0.0
            # Most pixels are so far from any line that none of their samples can lie on it.
            by_river = _river(rows[y, x], cols[y, x], salt) < 25.0
            by_road = _road(rows[y, x], cols[y, x], salt) < 4.0
            by_lane = _lane(rows[y, x], cols[y, x], salt) < 4.0
            for k in range(aperture.shape[0]):
                v, u = rows[y, x] + aperture[k, 0], cols[y, x] + aperture[k, 1]
                first, second, share, bright = _cover(v, u, season, by_river, by_road, by_lane, salt)
                for band in range(bands):
                    mixed = spectra[first, band] * (1.0 - share) + spectra[second, band] * share
                    pixel[band] += bright * mixed
            light = _relief(rows[y, x], cols[y, x], salt) / aperture.shape[0]
            for band in range(bands):
                out[band, y, x] = pixel[band] * light
    return out


def reflectance(
    rows: NDArray[np.floating],
    cols: NDArray[np.floating],
    *,
    seed: int = 0,
    season: float = 0.4,
    bands: int = 4,
    where: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Reflectance of the landscape in pixels that are centred at any real positions.

    Parameters
    ----------
    rows, cols : array of float, shapes that broadcast to (y, x)
        Positions of the pixels' centres, in pixels, rows down and columns right.
    seed : int
        Which landscape.
    season : float
        Part of the year, 0 to 1: fields green, ripen and are tilled each at its own time.
    bands : {4, 8}
        How many bands, see `BAND_NAMES`.
    where : array of bool, shape (y, x), optional
        Pixels to evaluate; the others hold 0. By default all.

    Returns
    -------
    array of float32, shape (band, y, x)
        Mean reflectance over each pixel's aperture, 0 to about 0.8.

    Raises
    ------
    InvalidRequest
        If there are no names for that number of bands.

    Examples
    --------
    >>> rows, cols = np.ogrid[0.0:40.0, 0.0:50.0]
    >>> here = reflectance(rows, cols)
    >>> moved = reflectance(rows + 5, cols - 3)
    >>> np.array_equal(here[:, 5:, :-3], moved[:, :-5, 3:])
    True
    """
    if bands not in BAND_NAMES:
        raise InvalidRequest(f"bands has to be one of {sorted(BAND_NAMES)}, but {bands!r} was given.")
    spectra = _SPECTRA if bands == 8 else np.ascontiguousarray(_SPECTRA[:, _FOUR_OF_EIGHT])
    v, u = np.broadcast_arrays(np.asarray(rows, np.float64), np.asarray(cols, np.float64))
    v, u = np.ascontiguousarray(v), np.ascontiguousarray(u)
    seen = np.ones(v.shape, bool) if where is None else where
    return _render(v, u, seen, spectra, _APERTURE, season, 1000 * seed)


def landscape(
    shape: tuple[int, int], *, seed: int = 0, season: float = 0.4, bands: int = 4
) -> NDArray[np.float32]:
    """A landscape of fields, woods, a river, roads and villages, as reflectance.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    seed, season, bands
        See `reflectance`.

    Returns
    -------
    array of float32, shape (band, y, x)
        Reflectance, 0 to about 0.8; the same arguments give the same values.

    Examples
    --------
    >>> landscape((64, 64), seed=1).shape
    (4, 64, 64)
    """
    rows, cols = np.ogrid[0 : shape[0], 0 : shape[1]]
    return reflectance(rows, cols, seed=seed, season=season, bands=bands)
