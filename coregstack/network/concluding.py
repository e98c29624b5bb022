"""The decision on an item where the network puts it.

An item that was reached through others is scored against the aligned item before it on that way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from coregstack.kernels.displacement import Spline, mean_and_rms, rescaled, sigma_on
from coregstack.kernels.score import anchor_range, beyond, matching_scores
from coregstack.kernels.told import as_one_shift
from coregstack.matching.assess import Reference, remarks, scored_band, usable_pixels, value_range
from coregstack.matching.decision import decide
from coregstack.matching.filled import without_filling
from coregstack.matching.options import MatchOptions
from coregstack.matching.preview import picture_alone, picture_item
from coregstack.matching.told import told_estimate, told_evidence, told_length, told_remark
from coregstack.model import (
    NO_SHIFT,
    DisplacementEstimate,
    ItemQuality,
    Shift,
    ShiftEstimate,
    TiePoints,
)

if TYPE_CHECKING:
    from coregstack.network.places import Place
    from coregstack.pixels.scene import MatchPixels


def conclude(
    reference: Reference, partner: MatchPixels | None, item: MatchPixels, place: Place, options: MatchOptions
) -> ItemQuality:
    """Score an item where the network puts it, and decide.

    Parameters
    ----------
    reference : Reference
        The anchor, in the frame that counts from its first pixel.
    partner : MatchPixels or None
        The item, other than the anchor, that it is scored against; in the anchor's frame, not moved.
    item : MatchPixels
        In the anchor's frame.
    place : Place
        Where the network puts the item, and the partner.
    options : MatchOptions
    """
    against = reference.source if partner is None else partner.source
    apart = without_filling(against, item.source.seen_from(against))
    against = apart.anchor
    item = replace(item, source=replace(apart.item, origin=item.source.origin))
    # The partner is aligned by moving all else back: so both scores are those of the aligned partner.
    ahead = Shift(against.origin.y + place.partner_shift.y, against.origin.x + place.partner_shift.x)
    back = Shift(item.source.origin.y - ahead.y, item.source.origin.x - ahead.x)
    still, seen = replace(against, origin=NO_SHIFT), replace(item.source, origin=back)
    scale = reference.value_range if partner is None else value_range(partner)
    ties = _windows(place, back)
    found = _displaced(place, item, ties, ahead)
    band, dead = scored_band(still, seen, options.names, ties)
    scale = anchor_range(still, band) if band else scale
    scores = matching_scores(
        still,
        seen,
        found.displacement or place.shift,
        band=band,
        value_range=scale,
        beyond=beyond(place.shift, still) if place.patterned else None,
    )
    shown = picture_alone(seen, item.valid) if place.alone else picture_item(still, seen, item.valid, found)
    corner, origin, windows = shown.chips, shown.origin, shown.ties
    evidence = replace(
        shown,
        ties=replace(windows, y=windows.y + ahead.y, x=windows.x + ahead.x),
        against=place.against,
        chips=None if corner is None else Shift(corner.y + ahead.y, corner.x + ahead.x),
        origin=Shift(origin.y + ahead.y, origin.x + ahead.x),
        area=item.area,
    )
    found = replace(found, displacement=place.displacement)
    told = options.told
    reason = "" if place.shift is None else told_remark(place.reason, told)
    remark = remarks(dead, apart.remark, reason)
    return replace(
        decide(told_estimate(found, told), scores, options, remark),
        redundancy=place.redundancy,
        closure=told_length(place.closure, told),
        against=place.against,
        evidence=told_evidence(evidence, told),
    )


def _displaced(place: Place, item: MatchPixels, ties: TiePoints, ahead: Shift) -> DisplacementEstimate:
    """What the network says of an item, in the frame of the aligned item that it is scored against.

    `ahead` is the position of that item's first pixel in the frame of the anchor.
    """
    known = as_one_shift(
        ShiftEstimate(
            shift=place.shift, sigma=place.sigma, reason=place.reason, ties=ties, spread=place.spread
        )
    )
    whole, against = place.displacement, place.against_partner
    if whole is None or against is None or place.sigma is None:
        return known
    source = item.source
    # a displacement moves whole scenes by a few pixels: where its item lies is where it is looked at
    area = (round(source.origin.y), round(source.origin.x), *source.shape)
    usable = usable_pixels(source)
    mean, spread = mean_and_rms(whole, area, usable)
    if not spread >= 0:
        return known
    sigma = sigma_on(whole, area)[usable]
    against = rescaled(against, Shift(1.0, 1.0), ahead)
    dy, dx = Spline.of(against).at_points(ties.y, ties.x)
    return replace(
        known,
        model=place.model,
        shift=mean,
        displacement=against,
        spread=spread,
        view=place.view,
        pattern_dates=place.pattern_dates,
        residual=float(np.sqrt(2 * np.square(sigma).mean())),
        details="",
        residual_y=ties.shift_y - dy,
        residual_x=ties.shift_x - dx,
    )


def _windows(place: Place, back: Shift) -> TiePoints:
    """An item's windows in the frame of the aligned item that it is scored against.

    Each window's shift is the whole shift of the item to the anchor: the partner's own shift is added.

    Parameters
    ----------
    place : Place
        Of the item.
    back : Shift
        Position of the item's first pixel in that frame.
    """
    ties, more = place.ties, place.partner_shift
    if not place.turned:
        return replace(ties, shift_y=ties.shift_y + more.y, shift_x=ties.shift_x + more.x)
    # the pair was matched in the other direction
    own = place.shift or NO_SHIFT
    return replace(
        ties,
        y=ties.y + back.y + own.y,
        x=ties.x + back.x + own.x,
        shift_y=more.y - ties.shift_y,
        shift_x=more.x - ties.shift_x,
    )
