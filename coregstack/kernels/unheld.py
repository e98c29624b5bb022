"""The shift of a scene over which a pattern lies that stays on the pixel grid.

What both images hold at one place adds to their cross-spectrum what is real and not negative there, whatever it is:
gains that drift along lines, noise of single pixels, tilted or soft stripes. Moved content turns with frequency. So at
every frequency, with the coherence split into content that turns by the shift, a pattern that stays, and noise,

    coherence = content * exp(i w d) + pattern,     content + pattern = 1 - noise,

the shift ``d`` is the one for which content and pattern are nowhere negative, and their sum is alike for all
directions of one frequency. Nothing needs to be known of the pattern, or of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft, rfft
from scipy.optimize import minimize

from coregstack.kernels._split import least_cost, split_cost
from coregstack.kernels.compiling import compiled

_LONGEST = 1 / 3
"""Waves longer than this part of a window are left out."""
_FINEST = 1.3
"""Frequencies above this, radians a pixel, are left out: they are sampled too coarsely to turn as they should."""
_RINGS = 6
"""Rings of frequency in which noise is the same for all directions."""
_REACH = 8
"""Shifts that are tried, px."""
_STEP = 0.5
"""Distance between the shifts that are tried, px."""
_GROUPS = 8
"""Groups of windows that are left out in turn, to tell how well the shift is known."""
_LEAST = 10
"""Fewer windows than this say too little."""
_BEYOND = 16
"""Shifts on either side at which a lopsided match is looked for, px."""
_SURE = 5.0
"""Standard deviations by which a match that is lopsided has to be so."""
_SURE_THERE = 3.5
"""The same where a pattern would stay: one place is more seldom so by chance than many."""
_LOPSIDED = 0.03
"""Part of the match that has to be on one side only."""
_WHOLE = 0.6
"""Part of a window that has to be usable."""
_FLAT = 1e-9
_METHOD = 0.012
"""What the split gets wrong when all is well, px: with patterns of all kinds it was 0.01 to 0.02 px off."""
_PERIOD = 8
"""Side of the blocks of compression, px."""
_BLOCKY = 1.4
"""Steps between pixels are this much larger on the borders of blocks than inside, where a compression left them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheld:
    """The shift of what moves beside what stays."""

    away: NDArray[np.float64]
    """Lag (y, x) of the content from where the pattern stays, px."""
    sigma: NDArray[np.float64]
    """1 sigma of it, px."""
    coherence: float
    """Mean length of the coherence, 0 to 1: what is not noise."""
    content: float
    """Part of the images that moves, 0 to 1."""
    blocky: bool
    """Whether the pattern is that of compressed blocks, which depends on the scene and is not split off well."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """The frequencies that are looked at of windows of one shape."""

    rows: NDArray[np.int64]
    """Rows of a spectrum that hold any of them."""
    cols: int
    """Columns that do."""
    keep: NDArray[np.bool_]
    """Which values they are there, shape (row, col)."""
    y: NDArray[np.float64]
    """Frequency down the rows, radians a pixel."""
    x: NDArray[np.float64]
    """Frequency along the columns."""
    ring: NDArray[np.int64]
    """Ring of each frequency."""
    beyond: NDArray[np.float32]
    """Their phases' sines at the shifts where a lopsided match is looked for, shape (shift, frequency)."""

    def spectra(self, images: NDArray[np.float32]) -> NDArray[np.complex64]:
        """Spectra of images (n, y, x) at these frequencies, shape (n, frequency)."""
        found: NDArray[np.complex64] = fft(rfft(images)[:, :, : self.cols], axis=1)[:, self.rows]
        return found[:, self.keep]


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> _Grid:
    # windows have one of few shapes, and the sines take longer than what is asked of them
    down, along = np.meshgrid(
        2 * np.pi * np.fft.fftfreq(height), 2 * np.pi * np.fft.rfftfreq(width), indexing="ij"
    )
    length = np.hypot(down, along)
    shortest = 2 * np.pi / (_LONGEST * min(height, width))
    # of the two halves of the first column one is enough
    keep = (length > shortest) & (length < _FINEST) & ~((along == 0) & (down < 0))
    rows, cols = np.flatnonzero(keep.any(axis=1)), int(np.flatnonzero(keep.any(axis=0))[-1]) + 1
    steps = np.arange(-_BEYOND, _BEYOND + 1, 2)
    shifts = np.array([(y, x) for y in steps for x in steps if y > 0 or (y == 0 and x > 0)])
    y, x = down[keep], along[keep]
    return _Grid(
        rows=rows,
        cols=cols,
        keep=keep[rows, :cols],
        y=y,
        x=x,
        ring=np.minimum(length[keep] / _FINEST * _RINGS, _RINGS - 1).astype(np.int64),
        beyond=np.sin(np.outer(shifts[:, 0], y) + np.outer(shifts[:, 1], x)).astype(np.float32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spectra:
    """Spectra of windows at some frequencies."""

    power: NDArray[np.floating]
    """Mean power of anchor and item, shape (window, frequency)."""
    cross: NDArray[np.complexfloating]
    """Cross-spectrum, shape (window, frequency)."""
    grid: _Grid
    """The frequencies."""

    @property
    def y(self) -> NDArray[np.float64]:
        """Frequency down the rows, radians a pixel."""
        return self.grid.y

    @property
    def x(self) -> NDArray[np.float64]:
        """Frequency along the columns."""
        return self.grid.x

    @property
    def ring(self) -> NDArray[np.int64]:
        """Ring of each frequency."""
        return self.grid.ring

    def coherence(self, left_out: int = -1) -> NDArray[np.complex128]:
        """Coherence of all windows, or of those outside one of `_GROUPS`."""
        keep = np.arange(len(self.power)) % _GROUPS != left_out
        found: NDArray[np.complex128] = self.cross[keep].sum(0) / np.maximum(self.power[keep].sum(0), _FLAT)
        return found


def unheld(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
) -> Unheld | None:
    """Find by how much the content of windows is shifted that are read where a pattern stays.

    Parameters
    ----------
    anchor, item, usable
        Band-passed windows and where both may be compared, shape (n, y, x); a pattern lies in the same pixels of both.
    margin
        Pixels on every side that only serve filters.

    Returns
    -------
    Unheld or None
        None where too few windows say anything.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scene = np.fft.ifft2(np.fft.fft2(rng.normal(size=(12, 80, 80))) * np.exp(-np.hypot(*np.meshgrid(
    ...     *[np.fft.fftfreq(80) * 12] * 2)))).real.astype(np.float32)
    >>> scene /= scene.std()
    >>> fixed = rng.normal(size=(12, 64, 64)).astype(np.float32)
    >>> clear = np.ones(fixed.shape, bool)
    >>> found = unheld(scene[:, 8:72, 8:72] + fixed, scene[:, 11:75, 6:70] + fixed, clear, 0)
    >>> np.rint(found.away).tolist()
    [3.0, -2.0]
    """
    spectra = _spectra(anchor, item, usable, margin)
    if spectra is None:
        return None
    coherence = spectra.coherence()
    steps = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    start = least_cost(steps, coherence, spectra.y, spectra.x, spectra.ring, _RINGS)
    away = _refined(start, coherence, spectra)
    others = np.array([_refined(away, spectra.coherence(k), spectra) for k in range(_GROUPS)])
    scatter = np.sqrt((_GROUPS - 1) / _GROUPS * np.square(others - others.mean(axis=0)).sum(axis=0))
    turn = np.sin(spectra.y * away[0] + spectra.x * away[1])
    told = np.abs(turn) > 0.5
    content = (
        float((coherence.imag[told] * turn[told]).sum() / np.square(turn[told]).sum()) if told.any() else 0.0
    )
    return Unheld(
        away=away,
        sigma=np.hypot(scatter, _METHOD),
        coherence=float(np.abs(coherence).mean()),
        content=content,
        blocky=blocky(anchor, item),
    )


def lopsided(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    away: NDArray[np.float64],
    place: NDArray[np.float64],
) -> bool:
    """Whether a match of windows is surely not alike on both sides of a shift (y, x), px, as one that a pattern holds.

    A pattern that stays is alike on both sides of where it stays, and so is content that has moved by that shift
    alone. `place` is the shift at which a pattern would stay: less tells that it does, there, than anywhere else.
    """
    spectra = _spectra(anchor, item, usable, margin)
    if spectra is None:
        return False
    phase = spectra.y * away[0] + spectra.x * away[1]
    turned = spectra.cross * (np.exp(-1j * phase) / spectra.power.mean(axis=0)).astype(np.complex64)
    there = np.sin(spectra.y * (place - away)[0] + spectra.x * (place - away)[1])
    waves = np.concatenate([there[None].astype(np.float32), spectra.grid.beyond])
    # not as a product of matrices, whose sums depend on the processor and its threads
    odd = np.einsum("nf,kf->nk", np.ascontiguousarray(turned.imag), waves) / len(spectra.y)
    match = float(turned.real.mean())
    mean = odd.mean(axis=0) * np.sign(match)
    sure = odd.std(axis=0) / np.sqrt(len(odd))
    part = 2 * mean / max(abs(match), _FLAT)
    told = np.abs(mean[1:]) > _SURE * sure[1:]
    return bool(
        (mean[0] > _SURE_THERE * sure[0] and part[0] > _LOPSIDED)
        or np.any(told & (np.abs(part[1:]) > _LOPSIDED))
    )


def _spectra(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
) -> _Spectra | None:
    height, width = (size - 2 * margin for size in anchor.shape[1:])
    taper = _taper(height, width)
    (own, loud, seen), (other, other_loud, _) = (
        _tapered(image, usable, taper, margin) for image in (anchor, item)
    )
    # gaps stay where they are as well
    heard = (loud > _FLAT * loud.max()) & (other_loud > _FLAT * other_loud.max()) & (seen > _WHOLE)
    if np.count_nonzero(heard) < _LEAST:
        return None
    grid = _grid(height, width)
    first, second = (
        grid.spectra(images[heard]) / size[heard, None].astype(np.float32)
        for images, size in ((own, loud), (other, other_loud))
    )
    power = (first.real**2 + first.imag**2 + second.real**2 + second.imag**2) / 2
    return _Spectra(power=power, cross=first.conj() * second, grid=grid)


@compiled
def _tapered(
    images: NDArray[np.float32], usable: NDArray[np.bool_], taper: NDArray[np.float32], margin: int
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Images less their margin that fade towards their edge, their root mean squares, and the part that is usable."""
    height, width = taper.shape
    faded = np.empty((len(images), height, width), np.float32)
    loud, seen = np.empty(len(images)), np.empty(len(images))
    squares, count = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(len(images)):
        for x in range(width):
            squares[x], count[x] = 0, 0
        for y in range(height):
            # indexes that may be negative would keep the compiler from doing many at once
            row, start = np.uint64(y + margin), np.uint64(margin)
            for x in range(np.uint64(width)):
                keep = np.float32(usable[n, row, start + x])
                faded[n, y, x] = images[n, row, start + x] * (keep * taper[y, x])
                squares[x] += faded[n, y, x] * faded[n, y, x]
                count[x] += keep
        loud[n] = np.sqrt(squares.sum() / (height * width))
        seen[n] = count.sum() / (height * width)
    return faded, loud, seen


@lru_cache(maxsize=4)
def _taper(height: int, width: int) -> NDArray[np.float32]:
    return np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)


def _refined(
    start: NDArray[np.float64], coherence: NDArray[np.complex128], spectra: _Spectra
) -> NDArray[np.float64]:
    corners = start + np.array([(0, 0), (0.2, 0), (0, 0.2)])
    found = minimize(
        split_cost,
        start,
        (coherence, spectra.y, spectra.x, spectra.ring, _RINGS),
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-9, "initial_simplex": corners},
    )
    return np.asarray(found.x, np.float64)


def blocky(anchor: NDArray[np.float32], item: NDArray[np.float32]) -> bool:
    """Whether steps between pixels are larger at one place in eight, along both axes, as compression leaves them."""
    steps = (_steps(images, axis).tolist() for images in (anchor, item) for axis in (1, 2))
    return all(max(places) > _BLOCKY * median(places) for places in steps)


@compiled
def _steps(images: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Sum of the steps along an axis of images (n, y, x), by their place in blocks."""
    count, height, width = images.shape
    down, along = (1, 0) if axis == 1 else (0, 1)
    columns, places = np.empty(width - along, np.float32), np.zeros(_PERIOD)
    whole = (images.shape[axis] - 1) // _PERIOD * _PERIOD
    for n in range(count):
        for y in range(height - down):
            for x in range(columns.size):
                columns[x] = abs(images[n, y + down, x + along] - images[n, y, x])
            if axis == 1 and y < whole:
                places[y % _PERIOD] += columns.sum()
            elif axis == 2:
                for x in range(whole):
                    places[x % _PERIOD] += columns[x]
    return places
