"""One value that fills the same region of two scenes: missing data that no one declared, round a static area."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, label

from coregstack.kernels.sources import ArraySource

_ROWS = 24
"""Rows that tell which values fill a part of a scene."""
_AT_ONCE = 8
"""In scenes of so many times these rows, or fewer, all rows are read at once, which takes less time."""
_RUN = 8
"""Pixels of one value in a row that may belong to such a part."""
_LEAST = 0.005
"""Part of a scene that one value has to fill, in one piece."""
_MOST = 0.98
"""Part beyond which a scene holds nothing else."""
_VALUES = 2
"""Values that are looked at, those of most such pixels first."""
_SIDE = 4
"""Side of the blocks that a piece is made of, px."""
_SAME = 0.5
"""Part of the rims of both pieces that has to lie in the same pixels."""
_STRIP = 512
"""Rows that are read at a time."""
_RIM = 20
"""Pixels of a rim without which it tells nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filling:
    """Where one value fills two scenes alike."""

    value: float
    anchor: NDArray[np.bool_]
    """Where it does in the anchor, shape of its frame."""
    item: NDArray[np.bool_]
    """Where it does in the item."""

    @property
    def part(self) -> float:
        """Part of the anchor that it fills."""
        return float(self.anchor.mean())


def shared_filling(anchor: ArraySource, item: ArraySource) -> Filling | None:
    """Find a region that one value fills in two scenes, with its rim in the same pixels, though it counts as usable.

    Such a rim matches itself where it stays, whatever the scenes inside of it do. Water and snow of one value move with
    their scene: their rims lie in the same pixels only where the scenes lie on each other already.

    Parameters
    ----------
    anchor, item
        Match bands of both; the first band that is not flat in either is looked at.

    Returns
    -------
    Filling or None

    Examples
    --------
    >>> scene = np.random.default_rng(0).normal(size=(1, 100, 100)).cumsum(1).cumsum(2)
    >>> clear = np.ones((90, 90), bool)
    >>> sources = []
    >>> for start in (0, 3):
    ...     image = scene[:, start : start + 90, :90].copy()
    ...     image[:, :20] = -1
    ...     sources.append(ArraySource(values=image, usable=clear))
    >>> found = shared_filling(*sources)
    >>> found.value, round(found.part, 2)
    (-1.0, 0.22)
    """
    for band in range(min(anchor.bands, item.bands)):
        mine, theirs = (
            source.once(("filling", band), partial(_filling_values, source, band))
            for source in (anchor, item)
        )
        if mine is None or theirs is None:
            continue
        for value in mine:
            found = _filled_by(value, anchor, item, band) if value in theirs else None
            if found is not None:
                return found
        break
    return None


def _filled_by(value: float, anchor: ArraySource, item: ArraySource, band: int) -> Filling | None:
    """Where a value fills a band of two scenes, if it does so alike."""
    first, second = (_held(source, band, value) for source in (anchor, item))
    one, other = (here & _pieces(here, fringes=False) for here in (first, second))
    if not _coincide(one, other, (round(item.origin.y), round(item.origin.x))):
        return None
    return Filling(
        value=value,
        anchor=first & _pieces(first, fringes=True),
        item=second & _pieces(second, fringes=True),
    )


def _filling_values(source: ArraySource, band: int) -> list[float] | None:
    """Values of which many pixels in a row hold the same; None where all hold one."""
    height, width = source.shape
    rows = np.linspace(0, height - 1, min(height, _ROWS)).round().astype(int)
    if height <= _AT_ONCE * _ROWS:
        values, usable = (part[rows] for part in source.read(band, slice(0, height), slice(0, width)))
    else:
        parts = [source.read(band, slice(row, row + 1), slice(0, width)) for row in rows.tolist()]
        values, usable = (np.concatenate(part) for part in zip(*parts, strict=True))
    if width < _RUN or not (values[usable].size and np.ptp(values[usable]) > 0):
        return None
    ends = (values[:, _RUN - 1 :] == values[:, : 1 - _RUN]) & usable[:, _RUN - 1 :]
    if np.count_nonzero(ends) < _LEAST * values.size:
        return []
    same = (values[:, 1:] == values[:, :-1]) & usable[:, 1:] & usable[:, :-1]
    ends &= sliding_window_view(same, _RUN - 1, axis=1).all(axis=2)
    found, count = np.unique(values[:, _RUN - 1 :][ends], return_counts=True)
    most = np.argsort(-count)[:_VALUES]
    return [float(found[k]) for k in most if count[k] >= _LEAST * values.size]


def _held(source: ArraySource, band: int, value: float) -> NDArray[np.bool_]:
    """Where usable pixels hold a value."""
    height, width = source.shape
    here = np.empty((height, width), np.bool_)
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        values, usable = source.read(band, rows, slice(0, width))
        here[rows] = usable & (values == np.float32(value))
    return here


def _pieces(here: NDArray[np.bool_], *, fringes: bool) -> NDArray[np.bool_]:
    """Blocks in and round large pieces that are true throughout, or with all that hangs together with them."""
    padding = [(0, -size % _SIDE) for size in here.shape]
    blocks = np.pad(here, padding, mode="edge")
    pieces, _ = label(_by_blocks(np.logical_and, blocks))
    large = np.bincount(pieces.ravel()) * _SIDE**2 >= _LEAST * here.size
    large[0] = False
    found, around = large[pieces], np.ones((3, 3), bool)
    if fringes:
        joined, count = label(_by_blocks(np.logical_or, blocks), around)
        with_piece = np.bincount(joined[found], minlength=count + 1) > 0
        found = with_piece[joined]
    found = binary_dilation(found, around)
    wide: NDArray[np.bool_] = found.repeat(_SIDE, axis=0).repeat(_SIDE, axis=1)
    return wide[: here.shape[0], : here.shape[1]]


def _by_blocks(combine: np.ufunc, here: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of each block combined to one; strided slices are many times as fast as reductions of bool."""
    lines = reduce(combine, (here[k::_SIDE] for k in range(_SIDE)))
    found: NDArray[np.bool_] = reduce(combine, (lines[:, k::_SIDE] for k in range(_SIDE)))
    return found


def _coincide(anchor: NDArray[np.bool_], item: NDArray[np.bool_], origin: tuple[int, int]) -> bool:
    """Whether two regions have their rims in the same pixels; `origin` is that of the item in the anchor's frame."""
    if not all(_LEAST / 2 < part.mean() < _MOST for part in (anchor, item)):
        return False
    row, col = origin
    top, left = max(0, row), max(0, col)
    first = _rim(anchor)[top : max(0, row + item.shape[0]), left : max(0, col + item.shape[1])]
    second = _rim(item)[top - row :, left - col :][: first.shape[0], : first.shape[1]]
    least = min(np.count_nonzero(first), np.count_nonzero(second))
    return bool(least >= _RIM and np.count_nonzero(first & second) >= _SAME * least)


def _rim(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a region beside others; the edge of the scene is no rim."""
    rim: NDArray[np.bool_] = region & ~binary_erosion(region, border_value=1)
    return rim
