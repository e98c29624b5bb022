"""How items are matched: options as users name them, checked, and bound to the bands that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coregstack.choices import METHODS, MIN_IMPROVEMENT, SCORE_THRESHOLD
from coregstack.errors import InvalidRequest
from coregstack.matching.decision import Thresholds

RED_NAMES = ("red", "b04", "b4", "r")
"""What the band is called, in lower case, that is scored unless another is asked for."""

MATCH_BANDS = 4
"""The estimator uses at most this many bands."""


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
    method: str = "direct"
    """One of `METHODS`."""

    def __post_init__(self) -> None:
        if self.max_shift is not None and not 0 < self.max_shift < float("inf"):
            raise InvalidRequest(f"max_shift has to be a positive number of pixels, not {self.max_shift!r}.")


def match_options(
    bands: Sequence[str],
    *,
    band: str | int | None = None,
    max_shift: float | None = None,
    threshold: float = SCORE_THRESHOLD,
    min_improvement: float = MIN_IMPROVEMENT,
    method: str = "direct",
) -> MatchOptions:
    """Options as users name them, checked against the bands there are.

    Parameters
    ----------
    bands : sequence of str
        Names of the bands that all items share.
    band, max_shift, threshold, min_improvement, method
        As in `coregstack.estimate`.

    Raises
    ------
    InvalidRequest
        If an option cannot be honoured.
    """
    if method not in METHODS:
        raise InvalidRequest(f"method is one of {', '.join(METHODS)}, not {method!r}.")
    positions, mean = match_bands(bands, band)
    limits = Thresholds(threshold=threshold, min_improvement=min_improvement)
    return MatchOptions(bands=positions, mean=mean, max_shift=max_shift, limits=limits, method=method)


def match_bands(bands: Sequence[str], band: str | int | None) -> tuple[tuple[int, ...], bool]:
    """Bands that are matched, the one of the score first, and whether their mean is the match image.

    Parameters
    ----------
    bands : sequence of str
        Names of the stack's bands.
    band : str, int or None
        Name or position (from 0) of the band that is scored; "mean" for the mean of all bands; None for
        red where a name tells it, else the middle band.

    Returns
    -------
    positions : tuple of int
        At most `MATCH_BANDS`, the others spread evenly.
    mean : bool

    Raises
    ------
    InvalidRequest
        If there is no such band.
    """
    names = [name.lower() for name in bands]
    count = len(names)
    if band == "mean":
        return tuple(range(count)), True
    if band is None:
        first = next((names.index(red) for red in RED_NAMES if red in names), count // 2)
    elif isinstance(band, int | np.integer) and not isinstance(band, bool) and -count <= band < count:
        first = int(band) % count
    elif isinstance(band, str) and band.lower() in names:
        first = names.index(band.lower())
    else:
        raise InvalidRequest(
            f"There is no band {band!r}: the stack has {', '.join(bands)} "
            f"(positions 0 to {count - 1}), and 'mean' stands for the mean of all."
        )
    others = [k for k in range(count) if k != first]
    take = min(MATCH_BANDS - 1, len(others))
    picked = [others[int(i)] for i in np.linspace(0, len(others) - 1, take).round()] if take > 0 else []
    return (first, *picked), False
