"""Why a scene shows no texture at all, in words that tell one cause from another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from coregstack.model import PixelSource

_STRIP = 512
"""Rows that are looked at, at a time."""
_FIRST = 16
"""Rows that are looked at first for pixels that differ, which those of most scenes do."""
_APART = 4
"""Distance of pixels that images have something in common over, px."""
_UNLIKE = 0.2
"""Correlation over that distance below which a band holds noise."""
_ROWS, _AT_ONCE = 128, 8
"""Rows that tell whether one value fills a part of a band, and how many of them lie side by side."""
_FILLED = 0.01
"""Part of the pixels that one value has to fill."""
_SURROUNDED = 0.05
"""Part of the usable pixels whose neighbours are all usable, below which gaps run through all of a scene."""
_APART_WORDS = (
    "its usable pixels lie apart, with gaps between neighbours "
    "(as where an image of larger pixels was put on a finer lattice without filling it)"
)
_LEAST = 400
"""Pairs of pixels without which nothing is said."""


def why_blank(source: PixelSource, name: str) -> str:
    """Say why no band of a scene has a gradient anywhere.

    Parameters
    ----------
    source
        The scene.
    name
        What it is called.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> why_blank(ArraySource(values=np.full((1, 9, 9), 5), usable=np.ones((9, 9), bool)), "item")
    'the item has no usable texture: it is flat, every usable pixel of every band has one value (5)'
    """
    seen, beside, low, high = 0, 0, [np.inf] * source.bands, [-np.inf] * source.bands
    height, width = source.shape
    for band in range(source.bands):
        for top in range(0, height, _STRIP):
            rows = slice(top, min(top + _STRIP + 2, height))
            values, usable = source.read(band, rows, slice(0, width))
            count = int(np.count_nonzero(usable))
            seen += count
            beside += int(np.count_nonzero(usable[:, 1:] & usable[:, :-1]))
            if count:
                low[band] = min(low[band], float(values[usable].min()))
                high[band] = max(high[band], float(values[usable].max()))
    start = f"the {name} has no usable texture: "
    if not seen:
        return start + (
            "none of its pixels is usable, all are nodata, not finite, or masked as cloud "
            "(check the nodata value and the mask if there should be)"
        )
    if all(not most > least for least, most in zip(low, high, strict=True)):
        values_of = sorted({f"{one:g}" for one in low if np.isfinite(one)})
        only = f"one value ({values_of[0]})" if len(values_of) == 1 else "the value of its band alone"
        return start + f"it is flat, every usable pixel of every band has {only}"
    if beside < 0.1 * seen:
        return start + _APART_WORDS
    return start + "too few of its usable pixels lie side by side, or they hardly differ"


def why_gaps(source: PixelSource, band: int, name: str) -> str:
    """What is wrong with a scene whose gaps hardly leave a pixel with all its neighbours; empty for others.

    Parameters
    ----------
    source
        The scene.
    band
        Match band.
    name
        What it is called.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> every_other = np.arange(90) % 2 * np.ones((90, 1)) > 0
    >>> why_gaps(ArraySource(values=np.ones((1, 90, 90)), usable=every_other), 0, "item").partition(",")[0]
    "the item's usable pixels lie apart"
    """
    height, width = source.shape
    top = max(0, (height - _STRIP) // 2)
    _, usable = source.read(band, slice(top, min(top + _STRIP, height)), slice(0, width))
    seen = int(np.count_nonzero(usable))
    whole = int(np.count_nonzero(binary_erosion(usable, np.ones((3, 3), bool), border_value=1)))
    return f"the {name}'s {_APART_WORDS.removeprefix('its ')}" if seen and whole < _SURROUNDED * seen else ""


def is_flat(source: PixelSource, band: int) -> bool:
    """Whether all usable pixels of a band hold one value, or none is usable; reads on until two differ.

    Parameters
    ----------
    source
        The scene.
    band
        Match band.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> source = ArraySource(values=np.stack([np.eye(9), np.ones((9, 9))]), usable=np.ones((9, 9), bool))
    >>> is_flat(source, 0), is_flat(source, 1)
    (False, True)
    """
    height, width = source.shape
    first = None
    top, rows = 0, _FIRST
    while top < height:
        values, usable = source.read(band, slice(top, min(top + rows, height)), slice(0, width))
        top, rows = top + rows, min(2 * rows, _STRIP)
        seen = values[usable]
        if seen.size:
            first = seen[0] if first is None else first
            if (seen != first).any():
                return False
    return True


def is_noise(source: PixelSource, band: int) -> bool:
    """Whether pixels of a band a few pixels apart, along rows or along columns, hardly have anything in common.

    The middle of the scene tells it. Noise that was interpolated is like itself over a pixel or two, stripes are along
    one axis; images are over more, along both.

    Parameters
    ----------
    source
        The scene.
    band
        Match band.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> noise = np.random.default_rng(0).normal(size=(2, 90, 90))
    >>> noise[1] = noise[1].cumsum(axis=0).cumsum(axis=1)
    >>> source = ArraySource(values=noise, usable=np.ones((90, 90), bool))
    >>> is_noise(source, 0), is_noise(source, 1)
    (True, False)
    """
    spans = [
        slice(max(0, (size - _STRIP) // 2), min(size, (size + _STRIP) // 2 + 1)) for size in source.shape
    ]
    values, usable = source.read(band, spans[0], spans[1])
    return any(_alike(*pair) < _UNLIKE for pair in ((values, usable), (values.T, usable.T)))


def filling_value(source: PixelSource, band: int) -> tuple[float, float] | None:
    """A value that looks as if it marked missing data, and the part of the usable pixels that hold it; else None.

    It is the least or the greatest, fills a hundredth of the pixels or more, and lies further from all others than
    these lie from each other.

    Parameters
    ----------
    source
        The scene, in which that value counts as usable.
    band
        Match band.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> image = np.random.default_rng(0).normal(size=(1, 90, 90))
    >>> image[:, :30] = -9999
    >>> value, share = filling_value(ArraySource(values=image, usable=np.ones((90, 90), bool)), 0)
    >>> value, round(share, 2)
    (-9999.0, 0.33)
    """
    height, width = source.shape
    tall, count = (_AT_ONCE, _ROWS // _AT_ONCE) if height > _ROWS else (height, 1)
    tops = np.linspace(0, height - tall, count).round().astype(int).tolist()
    parts = [source.read(band, slice(top, top + tall), slice(0, width)) for top in tops]
    seen = np.concatenate([values[usable] for values, usable in parts])
    for value in (seen.min(), seen.max()) if seen.size else ():
        here = seen == value
        if here.mean() < _FILLED or np.count_nonzero(~here) < _LEAST:
            continue
        others = seen[~here].astype(np.float64)
        low, high = np.percentile(others, (2, 98))
        if np.abs(others - value).min() > high - low > 0:
            return float(value), float(here.mean())
    return None


def _alike(values: NDArray[np.floating], usable: NDArray[np.bool_]) -> float:
    """Correlation of pixels with those `_APART` rows on; 1 where too few tell it."""
    both = usable[_APART:] & usable[:-_APART]
    if np.count_nonzero(both) < _LEAST:
        return 1.0
    ahead, behind = (part[both].astype(np.float64) for part in (values[_APART:], values[:-_APART]))
    scale = ahead.std() * behind.std()
    return float(((ahead - ahead.mean()) * (behind - behind.mean())).mean() / scale) if scale else 1.0
