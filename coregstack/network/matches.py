"""The match of two items of a network, one being the anchor of the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.shift import prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, apart_from_filling, shift_between, usable_pixels
from coregstack.matching.choices import SIMPLER
from coregstack.matching.filled import without_filling
from coregstack.matching.options import MatchOptions
from coregstack.model import (
    NO_SHIFT,
    NO_TIES,
    SHIFT,
    TERRAIN,
    Displacement,
    DisplacementEstimate,
    Shift,
    ShiftEstimate,
    TiePoints,
)

if TYPE_CHECKING:
    from coregstack.pixels.scene import MatchPixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMatch:
    """The match of two items."""

    first: int
    """Position of the item that was taken as the anchor."""
    second: int
    """Position of the item that was matched with it."""
    shift: Shift | None
    """Shift of `second` onto `first`; None where they could not be matched."""
    sigma: Shift | None
    reason: str
    spread: float | None = None
    """Rms length of the displacement about its mean, px."""
    model: str = SHIFT
    """How `second` is displaced against `first`."""
    displacement: Displacement | None = field(default=None, compare=False, repr=False)
    """The displacement of an affine map or a field, in the frame that counts from the first pixel of `first`."""
    corner: Shift = NO_SHIFT
    """Where that pixel lies in the frame of the anchor."""
    shared: float = 1.0
    """Part of what is usable in either that is so in both."""
    ties: TiePoints = field(default=NO_TIES, compare=False, repr=False)
    """The windows that were matched, in the frame that counts from the first pixel of `first`."""
    patterned: bool = False
    """Whether something was found that stays on the pixel grid."""
    settled: bool = False
    """Whether it was known before, from an adjustment of more pairs: it replaces any other pair of the two
    items."""


def match_with_anchor(
    reference: Reference, item: MatchPixels, positions: tuple[int, int], options: MatchOptions
) -> PairMatch:
    """Match an item with the anchor; `positions` are those of anchor and item."""
    reference, item, _ = apart_from_filling(reference, item)
    source = item.source.seen_from(reference.source)
    estimate = shift_between(reference.prepared, source, options.estimator, options.max_shift)
    found = estimate_displacement(
        reference.prepared, source, estimate, model=_model(options), stable=reference.stable
    )
    return _matched(estimate, found, positions, reference.source, source)


def match_with_partners(
    item: MatchPixels,
    own: int,
    partners: Iterable[tuple[int, MatchPixels | str]],
    options: MatchOptions,
    stable: NDArray[np.bool_] | None = None,
) -> list[PairMatch]:
    """Match an item with others, itself being the anchor.

    A text in place of pixels says why there are none. `stable` is that of the anchor of all, in its frame.
    """
    # Both may be off by the largest shift, in opposite directions.
    limit = None if options.max_shift is None else 2 * options.max_shift
    found = []
    prepared = None
    ground = None if stable is None else _ground(stable, item.source)
    for other, pixels in partners:
        if isinstance(pixels, str):
            found.append(PairMatch(first=own, second=other, shift=None, sigma=None, reason=pixels))
            continue
        prepared = prepared or prepare_anchor(replace(item.source, origin=NO_SHIFT))
        pair = without_filling(item.source, pixels.source.seen_from(item.source))
        whole = not pair.remark
        anchor = prepared if whole else prepare_anchor(replace(pair.anchor, origin=NO_SHIFT))
        source = pair.item
        estimate = shift_between(anchor, source, options.estimator, limit)
        varying = estimate_displacement(anchor, source, estimate, model=_model(options), stable=ground)
        found.append(_matched(estimate, varying, (own, other), item.source, source))
    return found


def _model(options: MatchOptions) -> str:
    """How a pair may be displaced; patterns are found from all of them."""
    return SIMPLER if options.model == TERRAIN else options.model


def _matched(
    estimate: ShiftEstimate,
    found: DisplacementEstimate,
    positions: tuple[int, int],
    anchor: ArraySource,
    item: ArraySource,
) -> PairMatch:
    """What is told of a pair; `item` lies in the frame of `anchor`."""
    first, second = positions
    return PairMatch(
        first=first,
        second=second,
        shift=found.shift,
        sigma=found.sigma,
        reason=estimate.reason,
        patterned=estimate.patterned,
        spread=found.spread,
        model=found.model,
        displacement=found.displacement,
        corner=anchor.origin,
        shared=1.0 if found.displacement is None else _shared(anchor, item),
        ties=found.ties,
    )


def _shared(anchor: ArraySource, item: ArraySource) -> float:
    """Part of the pixels usable in either of two items that is so in both."""
    one, other = usable_pixels(anchor), usable_pixels(item)
    row, col = (round(start) for start in item.origin)
    top, left = max(0, row), max(0, col)
    here = one[top : max(0, row + other.shape[0]), left : max(0, col + other.shape[1])]
    there = other[top - row :, left - col :][: here.shape[0], : here.shape[1]]
    both = int(np.count_nonzero(here & there))
    either = int(np.count_nonzero(one)) + int(np.count_nonzero(other)) - both
    return both / max(1, either)


def _ground(stable: NDArray[np.bool_], item: ArraySource) -> NDArray[np.bool_]:
    """Where stable ground lies in an item that is not moved yet; beyond the anchor none is known."""
    ground = np.zeros(item.shape, bool)
    row, col = (round(start) for start in item.origin)
    top, left = max(0, row), max(0, col)
    seen = stable[top : max(top, row + item.shape[0]), left : max(left, col + item.shape[1])]
    ground[top - row : top - row + seen.shape[0], left - col : left - col + seen.shape[1]] = seen
    return ground
