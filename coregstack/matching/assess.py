"""One item against the anchor: estimate its shift, score it, decide."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import CoregError
from coregstack.kernels.blank import filling_value, is_flat, is_noise
from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.score import anchor_range, beyond, matching_scores
from coregstack.kernels.shift import PreparedAnchor, estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.standin import MATCH_BANDS
from coregstack.matching.decision import ANCHOR_QUALITY, decide, failure
from coregstack.matching.estimators import OWN, estimator_name
from coregstack.matching.filled import without_filling
from coregstack.matching.options import MatchOptions
from coregstack.matching.preview import picture_alone, picture_item
from coregstack.matching.told import told_estimate, told_evidence, told_remark
from coregstack.model import (
    NO_TIES,
    DisplacementEstimate,
    ItemQuality,
    PixelSource,
    ShiftEstimate,
    TiePoints,
    ValidArea,
    WindowEstimator,
)

if TYPE_CHECKING:
    from coregstack.pixels.scene import MatchPixels

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The anchor, prepared once for all items."""

    source: ArraySource
    """Its match bands."""
    prepared: PreparedAnchor
    """What the estimator needs of it."""
    value_range: float
    """98th minus 2nd percentile of its valid pixels in the scored band."""
    area: ValidArea | None
    """Where its whole image is valid; None where that is not known."""
    stable: NDArray[np.bool_] | None = None
    """True on ground that may drive a displacement, shape of the anchor's frame; None for all ground."""


def prepare(anchor: MatchPixels, stable: NDArray[np.bool_] | None = None) -> Reference:
    """Prepare the anchor for being matched with many items; `stable` is True on ground that stays where it is."""
    return Reference(
        source=anchor.source,
        prepared=prepare_anchor(anchor.source),
        value_range=value_range(anchor),
        area=anchor.area,
        stable=stable,
    )


def value_range(pixels: MatchPixels) -> float:
    """98th minus 2nd percentile of the valid pixels in the scored band."""
    valid = ArraySource(values=pixels.source.values, usable=pixels.valid, origin=pixels.source.origin)
    return anchor_range(valid, 0)


def assess(reference: Reference, item: MatchPixels, options: MatchOptions) -> ItemQuality:
    """Estimate, score and decide on one item.

    Parameters
    ----------
    reference : Reference
        The anchor.
    item : MatchPixels
        The item's match bands, in the same order as the anchor's.
    options : MatchOptions

    Returns
    -------
    ItemQuality
    """
    reference, item, left_out = apart_from_filling(reference, item)
    estimate = shift_between(reference.prepared, item.source, options.estimator, options.max_shift)
    found = estimate_displacement(
        reference.prepared, item.source, estimate, model=options.model, stable=reference.stable
    )
    return judge(reference, item, estimate, found, options, left_out)


def apart_from_filling(reference: Reference, item: MatchPixels) -> tuple[Reference, MatchPixels, str]:
    """Anchor and item as they are matched, and what is left out of the match of both because one value fills it."""
    found = without_filling(reference.source, item.source)
    if not found.remark:
        return reference, item, ""
    known = replace(
        reference,
        source=found.anchor,
        prepared=prepare_anchor(found.anchor),
        value_range=anchor_range(found.anchor, 0),
    )
    return known, replace(item, source=found.item), found.remark


def judge(
    reference: Reference,
    item: MatchPixels,
    estimate: ShiftEstimate,
    found: DisplacementEstimate,
    options: MatchOptions,
    left_out: str = "",
) -> ItemQuality:
    """Score an item whose shift and displacement against the anchor were estimated, and decide.

    `left_out` tells what was left out of the match of both.
    """
    band, dead = scored_band(reference.source, item.source, options.names, estimate.ties)
    scores = matching_scores(
        reference.source,
        item.source,
        found.displacement or found.shift,
        band=band,
        value_range=anchor_range(reference.source, band) if band else reference.value_range,
        beyond=beyond(estimate.shift, reference.source) if estimate.patterned else None,
    )
    evidence = picture_item(reference.source, item.source, item.valid, found)
    words = told_remark(named_bands(estimate.reason, options.names), options.told)
    if estimate.shift is None:
        words = without_image(reference.source, item.source, options.names)
    remark = remarks(dead, left_out, words)
    return replace(
        decide(told_estimate(found, options.told), scores, options, remark),
        evidence=replace(told_evidence(evidence, options.told), area=item.area),
    )


def shift_between(
    anchor: PreparedAnchor,
    item: PixelSource,
    estimator: str | WindowEstimator,
    max_shift: float | None,
) -> ShiftEstimate:
    """The shift of an item against the anchor by an estimator of any kind; see `estimate_shift`."""
    if estimator == OWN:
        return estimate_shift(anchor, item, max_shift=max_shift)
    # what only some ask for is loaded only where it is asked for
    from coregstack.kernels.phase import phase
    from coregstack.kernels.windowed import estimate_by_windows

    call = phase if isinstance(estimator, str) else estimator
    return estimate_by_windows(anchor, item, call, name=estimator_name(estimator), max_shift=max_shift)


def scored_band(
    anchor: ArraySource, item: ArraySource, names: Sequence[str], ties: TiePoints = NO_TIES
) -> tuple[int, str]:
    """The match band that is scored, and what is to be said of it.

    It is the first one where neither side is dead; where that holds noise and told nothing of the shift, it is the
    one whose windows agree best.

    Parameters
    ----------
    anchor, item : ArraySource
        Match bands.
    names : sequence of str
        What these are called; empty where that is not known.
    ties : TiePoints
        Windows that have told the shift.
    """
    sides = {"anchor": anchor, "item": item}
    bands = range(min(anchor.bands, item.bands))
    first = next((k for k in bands if not any(_flat(side, k) for side in sides.values())), 0)
    trust = np.bincount(ties.band, ties.weight, minlength=first + 1)
    told = [
        name for name, side in sides.items() if trust.any() and not trust[first] and is_noise(side, first)
    ]
    band = int(trust.argmax()) if told else first
    filled = remarks(*(_filled(name, side, band) for name, side in sides.items()))
    if band == 0:
        return 0, filled
    own, other = (names[k] if names else f"number {k + 1}" for k in (0, band))
    if first:
        side = "anchor" if _flat(anchor, 0) else "item"
        what = f"the {side} is dead, all its usable pixels hold one value"
    else:
        what = f"the {' and the '.join(told)} holds noise"
    return band, remarks(f"the band {own} of {what}: {other} is scored", filled)


def _flat(side: ArraySource, band: int) -> bool:
    return side.once(("flat", band), partial(is_flat, side, band))


def _filled(name: str, side: ArraySource, band: int) -> str:
    """What to do where one value far from all others counts as an image, as missing data does that no one declared."""
    found = side.once(("filled", band), partial(filling_value, side, band))
    if found is None:
        return ""
    return (
        f"{found[1]:.0%} of the {name}'s pixels hold {found[0]:g}, far from all others: if it marks missing data, "
        "declare it as nodata"
    )


def without_image(anchor: PixelSource, item: PixelSource, names: Sequence[str]) -> str:
    """What to do where the bands that were matched, a few of many, are all dead or hold noise on one side."""
    if len(names) < MATCH_BANDS:
        return ""
    for whose, side in (("anchor", anchor), ("item", item)):
        if all(is_flat(side, k) or is_noise(side, k) for k in range(side.bands)):
            told = ", ".join(names)
            return (
                f"matched were the bands {told}, and in the {whose} none holds an image: name another by band= if "
                "there is one"
            )
    return ""


def named_bands(text: str, names: Sequence[str]) -> str:
    """A remark of the estimator, which counts bands, with their names.

    Examples
    --------
    >>> named_bands("the shift of band 2 differs by x +0.20, y -0.10 px from the others", ["red", "nir"])
    'the shift of band nir differs by x +0.20, y -0.10 px from the others'
    """
    known = {str(k + 1): name for k, name in enumerate(names)}
    return re.sub(r"(?<=\bband )\d+(?= differs)", lambda found: known.get(found.group(), found.group()), text)


def remarks(*parts: str) -> str:
    """Several remarks as one."""
    return "; ".join(part for part in parts if part)


def anchor_quality(reference: Reference) -> ItemQuality:
    """The anchor's own quality, with its picture."""
    evidence = replace(picture_alone(reference.source, reference.source.usable), area=reference.area)
    return replace(ANCHOR_QUALITY, evidence=evidence)


def reference_quality(reference: Reference | ItemQuality) -> ItemQuality:
    """What is said of the anchor itself, which may have become unreadable."""
    if isinstance(reference, ItemQuality):
        return replace(ANCHOR_QUALITY, details=reference.details, unreadable=True)
    return anchor_quality(reference)


def unmatched(item: str, error: Exception) -> ItemQuality:
    """What becomes of an item whose matching was stopped, so that it stops no other."""
    if isinstance(error, CoregError):
        return failure(str(error), unreadable=True)
    log.error("item %s: not matched", item, exc_info=error, extra={"item": item})
    words = f"An unexpected error stopped its matching ({type(error).__name__}: {error}); please report it."
    return failure(words, unreadable=True)


def usable_pixels(source: ArraySource) -> NDArray[np.bool_]:
    """Pixels that are usable in any band."""
    return np.asarray(source.usable.reshape(-1, *source.shape).any(axis=0), np.bool_)
