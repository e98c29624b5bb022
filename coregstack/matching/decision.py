"""The one place that decides what is done with an item."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from coregstack.errors import printable
from coregstack.matching.choices import ANCHOR_DATUM
from coregstack.matching.options import MatchSettings
from coregstack.model import (
    NO_SHIFT,
    NO_TIES,
    Displacement,
    DisplacementEstimate,
    ItemQuality,
    Move,
    Scores,
    Shift,
    Status,
)

ANCHOR_QUALITY = ItemQuality(
    shift=None,
    sigma=None,
    before=None,
    after=None,
    improvement=None,
    status=Status.ANCHOR,
    details="This item is the anchor.",
)


def failure(reason: str, *, unreadable: bool = False) -> ItemQuality:
    """Quality of an item that cannot be matched.

    Parameters
    ----------
    reason : str
        Why, in words.
    unreadable : bool
        Whether its files could not be read.
    """
    return ItemQuality(
        shift=None,
        sigma=None,
        before=None,
        after=None,
        improvement=None,
        status=Status.FAILED,
        details=_sentence(reason),
        unreadable=unreadable,
    )


SIGNIFICANT = 2.0
"""Standard deviations, along either axis, from which a shift counts as one."""
LEAST_SHIFT = 0.02
"""Displacements of a smaller rms length are not worth an interpolation, px."""
WORTH_TELLING = 0.1
"""Rms length, px, from which a displacement that is not applied is mentioned in `details`."""


def decide(
    estimate: DisplacementEstimate, scores: Scores, settings: MatchSettings, remark: str = ""
) -> ItemQuality:
    """Decide what is done with one item that is not the anchor.

    Parameters
    ----------
    estimate : DisplacementEstimate
        The shift or displacement, or the reason why there is none.
    scores : Scores
        Scores before and after it, on the same pixels.
    settings : MatchSettings
        By what is decided, when an item counts as aligned, and as improved.
    remark : str
        A further remark for the user.

    Returns
    -------
    ItemQuality
        Status and reason in words; `after` and `improvement` are None unless an attempt was made.

    Examples
    --------
    >>> import numpy as np
    >>> from coregstack.model import NO_TIES, Shift
    >>> none = np.empty(0)
    >>> found = DisplacementEstimate(model="shift", shift=Shift(1.5, -0.5), sigma=Shift(0.01, 0.01),
    ...                              displacement=None, spread=0.0, residual=0.014, details="", ties=NO_TIES,
    ...                              residual_y=none, residual_x=none)
    >>> decide(found, Scores(before=0.5, after=0.9), MatchSettings()).status
    <Status.COREGISTERED: 'coregistered'>
    """
    by = _by_evidence if settings.decide == "evidence" else _by_score
    status, words = by(estimate, scores, settings)
    # in another datum an item may be moved that lies well on the anchor
    tried = status in (Status.COREGISTERED, Status.NO_IMPROVEMENT) or settings.datum != ANCHOR_DATUM
    after = scores.after if tried else None
    improvement = None if after is None or scores.before is None else after - scores.before
    unapplied = status in (Status.ALREADY_ALIGNED, Status.NO_IMPROVEMENT)
    residual = estimate.residual
    if scores.before is None and status is Status.FAILED and _significant(estimate):
        words += " decide='evidence' applies it."
    if unapplied and estimate.shift is not None:
        residual = _length(estimate)
        if settings.decide == "score" and residual > WORTH_TELLING and _significant(estimate):
            y, x = estimate.shift
            found = f"x {x:+.2f}, y {y:+.2f} px"
            words += f" A shift of {found} was found but is not applied: decide='evidence' applies it."
    if scores.held is not None and scores.before is not None:
        words += (
            f" Of its score as it lies, {scores.held:.3f}, only {scores.before:.3f} is counted: the rest is due to a "
            "pattern that stays on the pixel grid."
        )
    parts = (_sentence(estimate.details), _sentence(remark), words)
    return ItemQuality(
        shift=estimate.shift,
        sigma=estimate.sigma,
        before=scores.before,
        after=after,
        improvement=improvement,
        status=status,
        details=" ".join(part for part in parts if part),
        model=None if estimate.shift is None else estimate.model,
        spread=estimate.spread,
        residual=residual,
        displacement=estimate.displacement,
        view=estimate.view,
        pattern_dates=estimate.pattern_dates,
    )


def in_datum(
    quality: ItemQuality,
    shift: Shift,
    sigma: Shift,
    displacement: Displacement | None,
    datum: str,
    datum_sigma: Shift | None,
    settings: MatchSettings,
) -> ItemQuality:
    """Decide anew on an item in another datum than the anchor, by the evidence.

    Parameters
    ----------
    quality : ItemQuality
        What was decided relative to the anchor; of the anchor itself as well.
    shift, sigma, displacement
        Relative to the datum, px.
    datum : str
        What the datum is, in words.
    datum_sigma : Shift or None
        Its own sigma, px. It is the same for all items, and decides nothing.
    settings : MatchSettings
    """
    square = (
        2 * float(np.square(displacement.sigma, dtype=float).mean()) if displacement is not None else None
    )
    if square is None:
        square = sigma.y**2 + sigma.x**2 + (quality.spread or 0.0) ** 2
    none = np.empty(0)
    estimate = DisplacementEstimate(
        model=quality.model or "shift",
        shift=shift,
        sigma=sigma,
        displacement=displacement,
        spread=quality.spread,
        residual=math.sqrt(square),
        details="",
        ties=NO_TIES,
        residual_y=none,
        residual_x=none,
    )
    found = decide(estimate, Scores(before=quality.before, after=quality.after), settings)
    words = f"The datum is {datum}. {found.details}"
    if quality.status is not Status.ANCHOR:
        words += f" Against the anchor: {quality.details}"
    elif found.status is not Status.COREGISTERED:
        return replace(quality, details=f"{quality.details} {words}", datum_sigma=datum_sigma)
    return replace(
        found,
        details=words,
        redundancy=quality.redundancy,
        closure=quality.closure,
        against=quality.against,
        view=quality.view,
        pattern_dates=quality.pattern_dates,
        evidence=quality.evidence,
        datum_sigma=datum_sigma,
    )


def without_datum(quality: ItemQuality, settings: MatchSettings) -> ItemQuality:
    """An item whose datum could not be found: it stays relative to the anchor, and says so."""
    words = (
        f"The datum {printable(settings.datum_name)!r} could not be found, since nothing that it names has a "
        "shift: the anchor holds the position of all items."
    )
    return replace(quality, details=f"{quality.details} {words}")


def lacks_displacement(quality: ItemQuality) -> bool:
    """Whether an item is to be moved by a displacement that varies, and only its mean is known."""
    varies = quality.model not in (None, "", "shift")
    return quality.status is Status.COREGISTERED and varies and quality.displacement is None


def stays_unapplied(quality: ItemQuality) -> bool:
    """Whether an item has a displacement worth mentioning that the rule does not apply."""
    if quality.status not in (Status.ALREADY_ALIGNED, Status.NO_IMPROVEMENT) or quality.shift is None:
        return False
    known = quality.sigma is not None and any(
        abs(value) > SIGNIFICANT * sigma for value, sigma in zip(quality.shift, quality.sigma, strict=True)
    )
    return known and math.hypot(*quality.shift) > WORTH_TELLING


def _by_score(estimate: DisplacementEstimate, scores: Scores, settings: MatchSettings) -> tuple[Status, str]:
    """The hosted tool's rule."""
    before, after = scores.before, scores.after
    if before is not None and before >= settings.threshold:
        words = f"The score {before:.3f} is at least {settings.threshold:g}: it is aligned already."
        return Status.ALREADY_ALIGNED, words
    if estimate.shift is None:
        return Status.FAILED, "" if estimate.details else "No shift could be found."
    if before is None or after is None:
        words = (
            "Too few pixels are valid and clear in both to score the shift, for a score needs 7 x 7 side by side: "
            "it is not applied."
        )
        return Status.FAILED, words
    what = "shift" if estimate.displacement is None else "displacement"
    if after - before >= settings.min_improvement:
        return Status.COREGISTERED, f"The {what} improves the score by {after - before:.3f}."
    if scores.held is not None and _significant(estimate):
        # the pattern matches itself by chance, more or less so where the item would lie
        return Status.COREGISTERED, f"The {what} is known and applied, for a pattern spoils the score."
    words = (
        f"The {what} changes the score by {after - before:+.4f}, less than "
        f"{settings.min_improvement:g}: it is not applied."
    )
    return Status.NO_IMPROVEMENT, words


def _by_evidence(
    estimate: DisplacementEstimate, scores: Scores, settings: MatchSettings
) -> tuple[Status, str]:
    """A shift that is known and significant is applied, whatever its score."""
    if estimate.shift is None or estimate.sigma is None:
        return Status.FAILED, "" if estimate.details else "No shift could be found."
    (y, x), (sigma_y, sigma_x) = estimate.shift, estimate.sigma
    told = f"x {x:+.3f}, y {y:+.3f} px with sigma x {sigma_x:.3f}, y {sigma_y:.3f}"
    if not _significant(estimate):
        least = f"{SIGNIFICANT:g} sigma and {LEAST_SHIFT:g} px"
        return Status.ALREADY_ALIGNED, f"Its shift of {told} is not more than {least}: it is aligned already."
    what = "shift" if estimate.displacement is None else "displacement with a mean"
    return Status.COREGISTERED, f"The {what} of {told} is known and applied."


def _significant(estimate: DisplacementEstimate) -> bool:
    if estimate.shift is None or estimate.sigma is None or _length(estimate) <= LEAST_SHIFT:
        return False
    pairs = zip(estimate.shift, estimate.sigma, strict=True)
    # a model beyond one shift was chosen because the evidence asks for it
    bent = estimate.displacement is not None and (estimate.spread or 0.0) > LEAST_SHIFT
    return bent or any(abs(value) > SIGNIFICANT * sigma for value, sigma in pairs)


def _length(estimate: DisplacementEstimate) -> float:
    """Rms length of the displacement, px."""
    y, x = estimate.shift or NO_SHIFT
    return math.hypot(y, x, estimate.spread or 0.0)


def _sentence(text: str) -> str:
    """Text on one line with a capital at its beginning and a full stop at its end."""
    text = printable(text).replace("\n", " ").strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What is done with the pixels of an item's files."""

    suffix: str
    """What the file names get: ``_anchor``, ``_coreg`` or nothing."""
    placed: bool
    """Whether rasters are put onto the anchor's lattice; if not, files are copied byte for byte."""
    move: Move
    """What is applied on the way, px of the anchor."""


def treat(quality: ItemQuality, *, same_crs: bool) -> Treatment:
    """Say what is done with an item's files.

    Parameters
    ----------
    quality : ItemQuality
        What was decided.
    same_crs : bool
        Whether the item's images have the anchor's CRS, and its pixel size where that is asked for.

    Returns
    -------
    Treatment

    Examples
    --------
    >>> treat(ANCHOR_QUALITY, same_crs=True)
    Treatment(suffix='_anchor', placed=False, move=Shift(y=0.0, x=0.0))
    """
    match quality.status:
        case Status.ANCHOR:
            return Treatment(suffix="_anchor", placed=False, move=NO_SHIFT)
        case Status.ALREADY_ALIGNED:
            return Treatment(suffix="_coreg", placed=not same_crs, move=NO_SHIFT)
        case Status.COREGISTERED if quality.shift is not None:
            return Treatment(suffix="_coreg", placed=True, move=quality.displacement or quality.shift)
    return Treatment(suffix="", placed=False, move=NO_SHIFT)
