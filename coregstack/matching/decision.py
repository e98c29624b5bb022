"""The one place that decides what is done with an item."""

from __future__ import annotations

from dataclasses import dataclass

from coregstack.errors import printable
from coregstack.matching.options import MatchSettings
from coregstack.model import NO_SHIFT, ItemQuality, Scores, Shift, ShiftEstimate, Status

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
    """Quality of an item that cannot be matched at all.

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


def decide(estimate: ShiftEstimate, scores: Scores, settings: MatchSettings) -> ItemQuality:
    """Decide what is done with one item that is not the anchor.

    Parameters
    ----------
    estimate : ShiftEstimate
        The shift, or the reason why there is none.
    scores : Scores
        Scores before and after the shift, on the same pixels.
    settings : MatchSettings
        When an item counts as aligned, and as improved.

    Returns
    -------
    ItemQuality
        Status and reason in words; `after` and `improvement` are None unless an attempt was made.

    Examples
    --------
    >>> import numpy as np
    >>> from coregstack.model import TiePoints
    >>> none = np.empty(0)
    >>> ties = TiePoints(y=none, x=none, shift_y=none, shift_x=none, weight=none,
    ...                  inlier=none.astype(bool), band=none.astype(int))
    >>> found = ShiftEstimate(shift=Shift(1.5, -0.5), sigma=Shift(0.01, 0.01), reason="", ties=ties)
    >>> decide(found, Scores(before=0.5, after=0.9), MatchSettings()).status
    <Status.COREGISTERED: 'coregistered'>
    """
    before, after, shift = scores.before, scores.after, estimate.shift
    improvement: float | None = None
    if before is not None and before >= settings.threshold:
        status, after = Status.ALREADY_ALIGNED, None
        words = f"The score {before:.3f} is at least {settings.threshold:g}: it is aligned already."
    elif shift is None:
        status, after = Status.FAILED, None
        words = "" if estimate.reason else "No shift could be found."
    elif before is None or after is None:
        status, after = Status.FAILED, None
        words = "Too few pixels are valid and clear in both to score the shift: it is not applied."
    else:
        improvement = after - before
        if improvement >= settings.min_improvement:
            status, words = Status.COREGISTERED, f"The shift improves the score by {improvement:.3f}."
        else:
            status = Status.NO_IMPROVEMENT
            words = (
                f"The shift changes the score by {improvement:+.4f}, less than "
                f"{settings.min_improvement:g}: it is not applied."
            )
    return ItemQuality(
        shift=shift,
        sigma=estimate.sigma,
        before=before,
        after=after,
        improvement=improvement,
        status=status,
        details=" ".join(part for part in (_sentence(estimate.reason), words) if part),
    )


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
    shift: Shift
    """What is applied on the way, px."""


def treat(quality: ItemQuality, *, same_crs: bool) -> Treatment:
    """Say what is done with an item's files.

    Parameters
    ----------
    quality : ItemQuality
        What was decided.
    same_crs : bool
        Whether the item's images have the anchor's CRS.

    Returns
    -------
    Treatment

    Examples
    --------
    >>> treat(ANCHOR_QUALITY, same_crs=True)
    Treatment(suffix='_anchor', placed=False, shift=Shift(y=0.0, x=0.0))
    """
    match quality.status:
        case Status.ANCHOR:
            return Treatment(suffix="_anchor", placed=False, shift=NO_SHIFT)
        case Status.ALREADY_ALIGNED:
            return Treatment(suffix="_coreg", placed=not same_crs, shift=NO_SHIFT)
        case Status.COREGISTERED if quality.shift is not None:
            return Treatment(suffix="_coreg", placed=True, shift=quality.shift)
    return Treatment(suffix="", placed=False, shift=NO_SHIFT)
