"""Mask files: how their values tell which pixels of a scene may be used for matching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.pixels.header import RasterHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRule:
    """Which values of one band of a mask say that a pixel may be used."""

    band: int = 0
    """Which band, counted from 0."""
    only: tuple[int, ...] = ()
    """The only values of pixels that may be used; empty where all may be that are not named here."""
    values: tuple[int, ...] = ()
    """Values of pixels that may not be used."""
    bits: tuple[tuple[int, int], ...] = ()
    """Bits of pixels that may not be used: where those of the first number are set as in the second."""

    def usable(self, values: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Where a pixel may be used by this band, same shape as `values`."""
        found = np.isin(values, self.only) if self.only else ~np.isin(values, self.values)
        if self.bits:
            whole = values.astype(np.int64)
            for mask, value in self.bits:
                found &= (whole & mask) != value
        return np.asarray(found)

    def outside(self, dtype: str) -> int:
        """A value that stands where the mask file does not reach: one that may not be used."""
        kind = np.dtype(dtype)
        last = int(np.iinfo(kind).max) if kind.kind in "iu" else 255
        known = np.arange(min(last, 65535) + 1)
        unusable = known[~self.usable(known)]
        return int(unusable[0]) if unusable.size else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRule:
    """How a kind of mask is read; a pixel may be used where all bands that are looked at say so.

    Examples
    --------
    >>> rule = MaskRule(name="scl", bands=(BandRule(values=(3, 8, 9, 10)),))
    >>> rule.bands[0].usable(np.array([3, 4, 9])).tolist()
    [False, True, False]
    """

    name: str
    """What it is called where it is told of."""
    bands: tuple[BandRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A mask file: which pixels of a scene may be used."""

    header: RasterHeader
    rule: MaskRule
