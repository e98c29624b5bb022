"""What a reduced image tells about how well it can be matched with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS = 48
_USABLE_SHARE = 0.5
_FILLED_CELL = 0.25
_FEWEST_CELLS = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descriptor:
    """Cheap measures of one item, from a reduced image of it."""

    clear: float
    """Share of the image that is usable, 0 to 1."""
    sharpness: float
    """Mean squared gradient over variance, px⁻²: the same for any gain and offset; 0 for a flat image."""
    texture: NDArray[np.complex64]
    """Shape (2304,): orientation of the texture in 48 x 48 cells as ``exp(2i angle)``, its length how sure
    that is, 0 where nothing is known. The same for any gain, of either sign, and offset."""


def describe(overview: NDArray[np.floating], usable: NDArray[np.generic]) -> Descriptor:
    """Describe an item by its reduced image.

    Parameters
    ----------
    overview : NDArray
        Shape (y, x), real: block means, best of some 200 to 500 px a side, that cover the same area for all
        items that are to be compared. Offsets of less than a cell, a 48th of the image, hardly matter.
    usable : NDArray
        Shape (y, x), bool, or the usable share of each block, 0 to 1.

    Returns
    -------
    Descriptor

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(96, 96)).cumsum(axis=0)
    >>> seen = describe(image, np.ones(image.shape, bool))
    >>> flipped = describe(5 - 2 * image, np.ones(image.shape, bool))
    >>> seen.clear, bool(np.allclose(seen.texture, flipped.texture, atol=1e-5))
    (1.0, True)
    """
    share = np.asarray(usable, np.float64)
    seen = (share >= _USABLE_SHARE) & np.isfinite(overview)
    values = np.where(seen, overview, 0.0).astype(np.float64)
    inside = np.zeros(seen.shape, bool)
    inside[1:-1, 1:-1] = (
        seen[1:-1, 1:-1] & seen[:-2, 1:-1] & seen[2:, 1:-1] & seen[1:-1, :-2] & seen[1:-1, 2:]
    )
    texture = np.zeros(_CELLS * _CELLS, np.complex64)
    clear = float(share.mean()) if share.size else 0.0
    if not inside.any():
        return Descriptor(clear=clear, sharpness=0.0, texture=texture)
    gradient = np.zeros(seen.shape, np.complex128)
    gradient[:, 1:-1] += (values[:, 2:] - values[:, :-2]) / 2
    gradient[1:-1, :] += 1j * (values[2:, :] - values[:-2, :]) / 2
    steep = np.abs(gradient[inside]) ** 2
    variance = float(values[seen].var())
    # Gradients well above the typical one count fully, so that noise on flat ground does not.
    doubled = gradient[inside] ** 2 / np.maximum(steep + np.median(steep), np.finfo(np.float64).tiny)
    cell = _cell_of(seen.shape)
    total = np.bincount(cell.ravel(), minlength=texture.size)
    filled = np.bincount(cell[inside], minlength=texture.size)
    summed = np.bincount(cell[inside], doubled.real, texture.size) + 1j * np.bincount(
        cell[inside], doubled.imag, texture.size
    )
    known = (filled > 0) & (filled >= _FILLED_CELL * total)
    texture[known] = (summed[known] / filled[known]).astype(np.complex64)
    return Descriptor(
        clear=clear, sharpness=float(steep.mean() / variance) if variance > 0 else 0.0, texture=texture
    )


def similarity(textures: NDArray[np.number], others: NDArray[np.number] | None = None) -> NDArray[np.float32]:
    """Correlate descriptors over the entries that both know.

    Parameters
    ----------
    textures, others : NDArray
        Shapes (n, k) and (p, k), real or complex: one descriptor a row, 0 where unknown. `others` are
        `textures` by default.

    Returns
    -------
    NDArray
        Shape (n, p), float32, -1 to 1; NaN where fewer than 64 entries (or all `k`) are known to both.

    Examples
    --------
    >>> similarity(np.array([[1.0, 2, 0], [2, 4, 9]])).round(3)
    array([[nan, nan],
           [nan,  1.]], dtype=float32)
    >>> similarity(np.array([[1.0, 2, 1], [-1, 1, 5]])).round(3)
    array([[1.   , 0.471],
           [0.471, 1.   ]], dtype=float32)
    """
    first = np.asarray(textures)
    second = first if others is None else np.asarray(others)
    known_first, known_second = ((part != 0).astype(np.float32) for part in (first, second))
    power_first, power_second = ((np.abs(part) ** 2).astype(np.float32) for part in (first, second))
    product = (first @ second.conj().T).real
    power = (power_first @ known_second.T) * (known_first @ power_second.T)
    enough = known_first @ known_second.T >= min(_FEWEST_CELLS, first.shape[1])
    defined = enough & (power > 0)
    likeness = product / np.sqrt(np.where(defined, power, 1))
    return np.where(defined, likeness.clip(-1, 1), np.nan).astype(np.float32)


def _cell_of(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Number of the cell that each pixel falls into."""
    rows, cols = (np.arange(length) * _CELLS // max(length, 1) for length in shape)
    return rows[:, None] * _CELLS + cols
