"""What a match says in the pixels of its own frame, in those of the frame that it is told in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.geometry.unlike import match_lattice, pixel_ratio
from coregstack.kernels.displacement import rescaled, sampled
from coregstack.kernels.lattice import Lattice
from coregstack.model import Displacement, DisplacementEstimate, Evidence, Shift, TiePoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The frame that a match is told in, where that has other pixels than the frame it was made in.

    Both frames begin at the same corner of the first pixel, and their axes are parallel.
    """

    pixel: Shift
    """Height and width of a matched pixel, in pixels of the frame that is told in."""
    lattice: Lattice
    """The control lattice of the frame that is told in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Where items meet an anchor of other pixels."""

    told: GeoBox
    """Lattice of the output, in whose pixels shifts are told, as a box that covers the anchor."""
    matched: GeoBox
    """Lattice of the match, as a box that covers the anchor."""

    @classmethod
    def of(cls, anchor: GeoBox, output: GeoBox, item: GeoBox) -> Frames:
        """Those of an item of some box where the lattice of the output is known."""
        return cls(told=output, matched=match_lattice(output, anchor, item))

    @property
    def ratio(self) -> Told | None:
        """What a matched pixel is in those that are told; None where they are the same."""
        if self.told == self.matched:
            return None
        height, width = self.told.shape
        return Told(pixel=pixel_ratio(self.matched, self.told), lattice=Lattice.of((height, width)))


def told_estimate(found: DisplacementEstimate, told: Told | None) -> DisplacementEstimate:
    """An estimate in pixels of the frame that it is told in.

    A displacement comes on the control lattice of that frame, as any other does.
    """
    if told is None:
        return found
    size = told.pixel
    return replace(
        found,
        shift=_times(found.shift, size),
        sigma=_times(found.sigma, size),
        displacement=None if found.displacement is None else _displacement(found.displacement, told),
        spread=told_length(found.spread, told),
        residual=told_length(found.residual, told),
        details=told_remark(found.details, told),
        ties=_ties(found.ties, size),
        residual_y=found.residual_y * size.y,
        residual_x=found.residual_x * size.x,
    )


def told_evidence(evidence: Evidence, told: Told | None) -> Evidence:
    """Evidence whose places and shifts are counted in the frame that it is told in; its picture stays."""
    if told is None:
        return evidence
    size = told.pixel
    return replace(
        evidence,
        ties=_ties(evidence.ties, size),
        chips=None if evidence.chips is None else Shift(*_place(evidence.chips, size)),
        origin=Shift(*_place(evidence.origin, size)),
        factor=evidence.factor * math.sqrt(size.y * size.x),
        residual_y=None if evidence.residual_y is None else evidence.residual_y * size.y,
        residual_x=None if evidence.residual_x is None else evidence.residual_x * size.x,
    )


def told_length(length: float | None, told: Told | None) -> float | None:
    """A length in any direction, px, in the frame that it is told in."""
    return length if length is None or told is None else length * math.sqrt(told.pixel.y * told.pixel.x)


def told_remark(details: str, told: Told | None) -> str:
    """Words of the match, which say of their numbers of pixels how large these are."""
    if told is None:
        return details
    size = math.sqrt(told.pixel.y * told.pixel.x)
    return f"{details} (in pixels {size:.3g} times as large)" if "px" in details else details


def _times(pair: Shift | None, size: Shift) -> Shift | None:
    return None if pair is None else Shift(pair.y * size.y, pair.x * size.x)


def _place(at: Shift, size: Shift) -> tuple[float, float]:
    """A place of the frame; both frames begin half a pixel before the centre of their first one."""
    return (at.y + 0.5) * size.y - 0.5, (at.x + 0.5) * size.x - 0.5


def _ties(ties: TiePoints, size: Shift) -> TiePoints:
    y, x = _places(ties.y, size.y), _places(ties.x, size.x)
    return replace(ties, y=y, x=x, shift_y=ties.shift_y * size.y, shift_x=ties.shift_x * size.x)


def _places(at: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    return (at + 0.5) * size - 0.5


def _displacement(found: Displacement, told: Told) -> Displacement:
    scale = Shift(1 / told.pixel.y, 1 / told.pixel.x)
    first = Shift(scale.y / 2 - 0.5, scale.x / 2 - 0.5)
    y, x, sigma = (
        values.astype(np.float32) for values in sampled(rescaled(found, scale, first), *told.lattice.nodes)
    )
    return Displacement(origin=told.lattice.origin, step=told.lattice.step, y=y, x=x, sigma=sigma)
