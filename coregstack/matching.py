"""One item against the anchor: estimate its shift, score it, decide."""

from __future__ import annotations

from dataclasses import dataclass

from coregstack.errors import InvalidRequest
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.shift import PreparedAnchor, estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.model import ItemQuality
from coregstack.policy import Thresholds, decide
from coregstack.scene import MatchPixels

METHODS = ("direct",)
"""Ways to estimate: "direct" matches every item with the anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOptions:
    """How items are matched, scored and decided on.

    Raises
    ------
    InvalidRequest
        If an option lies outside its range.
    """

    bands: tuple[int, ...]
    """Match bands, counted among the stack's bands; the first is the one that is scored."""
    mean: bool = False
    """Whether the mean of the bands is the match image."""
    max_shift: float | None = None
    """Largest shift that is looked for along each axis, px; None for a quarter of the overlap."""
    limits: Thresholds
    """When an item counts as aligned, and as improved."""

    def __post_init__(self) -> None:
        if self.max_shift is not None and not 0 < self.max_shift < float("inf"):
            raise InvalidRequest(f"max_shift has to be a positive number of pixels, not {self.max_shift!r}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The anchor, prepared once for all items."""

    source: ArraySource
    """Its match bands."""
    prepared: PreparedAnchor
    """What the estimator needs of it."""
    value_range: float
    """98th minus 2nd percentile of its valid pixels in the scored band."""


def prepare(anchor: MatchPixels) -> Reference:
    """Prepare the anchor for being matched with many items."""
    valid = ArraySource(values=anchor.source.values, usable=anchor.valid, origin=anchor.source.origin)
    return Reference(
        source=anchor.source,
        prepared=prepare_anchor(anchor.source),
        value_range=anchor_range(valid, 0),
    )


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
    estimate = estimate_shift(reference.prepared, item.source, max_shift=options.max_shift)
    scores = matching_scores(
        reference.source, item.source, estimate.shift, band=0, value_range=reference.value_range
    )
    return decide(estimate, scores, options.limits)
