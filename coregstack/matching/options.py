"""How items are matched: options as users name them, checked, and bound to the bands that there are."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coregstack.errors import InvalidRequest
from coregstack.kernels.standin import MATCH_BANDS
from coregstack.matching.choices import (
    ANCHOR_DATUM,
    DECISIONS,
    LATTICES,
    METHODS,
    MIN_IMPROVEMENT,
    MODELS,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Known,
    Method,
    Model,
    OutputLattice,
)
from coregstack.matching.estimators import OWN, checked_estimator
from coregstack.model import WindowEstimator
from coregstack.untrusted.addresses import shown, typed
from coregstack.untrusted.bandnames import common_names, find_band

if TYPE_CHECKING:
    from coregstack.kernels.lattice import Lattice
    from coregstack.matching.told import Told

RED_NAMES = ("b4", "sr_b4")
"""What the band may be called, in lower case, that is scored unless another is asked for or one is known to be red."""

_MANY = 10
"""Stacks of more bands than this are asked for others where those that are matched are dead."""

_CANDIDATES = 12
"""Bands of such a stack that are matched or stand in for others."""

_NUMBERS = (int, float, np.integer, np.floating)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSettings:
    """How items are matched, scored and decided on, as users ask for it; only the band needs the bands to be checked.

    Every function that estimates takes these fields as keywords, of the same names, types and defaults.

    Raises
    ------
    InvalidRequest
        If an option lies outside its range.
    """

    band: Band | None = None
    """Band that is scored: name, position, "mean" for the mean of all, or None for red where the bands have names. A
    pair of names or positions is the one band of the anchor and the one of the items that are matched."""
    max_shift: float | None = None
    """Largest shift that is looked for along each axis, px; None for a quarter of the overlap."""
    threshold: float = SCORE_THRESHOLD
    """An item whose score before is at or above this is already aligned, 0 to 1."""
    min_improvement: float = MIN_IMPROVEMENT
    """A shift is applied only if it improves the score by at least this much, 0 to 1."""
    method: Method = "direct"
    """One of `coregstack.matching.choices.METHODS`."""
    nearest: Sequence[str | int] = ()
    """Names or positions of bands that hold classes, beside those that tell so: they are never matched."""
    model: Model = "shift"
    """One of `coregstack.matching.choices.MODELS`."""
    decide: Decide = "score"
    """One of `coregstack.matching.choices.DECISIONS`."""
    datum: Datum = ANCHOR_DATUM
    """What holds the position of the stack: "anchor", "mean" for the weighted mean of all items, ids of items, or what
    is known from outside; the last becomes a tuple of `Known`."""
    estimator: Estimator | WindowEstimator = field(default="coregstack", hash=False)
    """One of `coregstack.matching.choices.ESTIMATORS`, or a function of two windows."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nearest", checked_nearest(self.nearest))
        object.__setattr__(self, "band", _checked_band(self.band))
        for name, known in (("method", METHODS), ("model", MODELS), ("decide", DECISIONS)):
            if getattr(self, name) not in known:
                raise InvalidRequest(f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}.")
        object.__setattr__(self, "datum", _checked_datum(self.datum))
        if self.datum != ANCHOR_DATUM and self.decide != "evidence":
            raise InvalidRequest(
                f"datum={self.datum_name!r} moves all items to a place that is not the anchor's, which the score "
                "against the anchor cannot judge: use it with decide='evidence'."
            )
        checked_estimator(self.estimator)
        if self.model != "shift" and self.estimator != OWN:
            raise InvalidRequest(
                f"model={self.model!r} is fitted to the blocks of estimator='coregstack', which windows of another "
                "estimator do not replace: use model='shift', or estimator='coregstack'."
            )
        for name in ("threshold", "min_improvement"):
            value = getattr(self, name)
            if not isinstance(value, _NUMBERS) or not 0 <= value <= 1:
                raise InvalidRequest(f"{name} has to lie between 0 and 1, but {value!r} was given.")
        reach = self.max_shift
        if reach is not None and not (isinstance(reach, _NUMBERS) and 0 < reach < float("inf")):
            raise InvalidRequest(f"max_shift has to be a positive number of pixels, not {reach!r}.")

    @property
    def together(self) -> bool:
        """Whether what is said of an item follows from all items, and not from it and the anchor alone."""
        return self.method == "network" or self.model == "terrain" or self.datum != ANCHOR_DATUM

    @property
    def known(self) -> tuple[Known, ...]:
        """What is known from outside of where the stack lies, where that is its datum."""
        return tuple(one for one in self.holders if isinstance(one, Known))

    @property
    def holders(self) -> tuple[str | Known, ...]:
        """What the datum names: ids, or what is known from outside; empty for "anchor" and "mean"."""
        return self.datum if isinstance(self.datum, tuple) else ()

    @property
    def datum_name(self) -> str:
        """The datum in a few words, for attributes and messages.

        Examples
        --------
        >>> MatchSettings(decide="evidence", datum={"a": 0.5, "b": 1}).datum_name
        'a: 0.5, b: 1'
        """
        named = (
            f"{shown(one.name)}: {one.sigma:g}" if isinstance(one, Known) else one for one in self.holders
        )
        return ", ".join(named) or str(self.datum)

    @property
    def with_reference(self) -> MatchSettings:
        """How items are matched with a reference image that tells the datum: each as one, and with it alone."""
        return replace(self, method="direct", model="shift", datum=ANCHOR_DATUM)

    def bound(self, bands: Sequence[str]) -> MatchOptions:
        """The same for a stack of known bands.

        Parameters
        ----------
        bands : sequence of str
            Names of the bands that all items share.

        Raises
        ------
        InvalidRequest
            If there is no such band.

        Examples
        --------
        >>> MatchSettings(max_shift=5).bound(["blue", "green", "red"]).bands
        (2, 0, 1)
        """
        if isinstance(self.band, tuple):
            raise InvalidRequest(f"One band was expected here, but two were given: {self.band!r}.")
        positions, mean = match_bands(bands, self.band)
        others = {one.name: getattr(self, one.name) for one in fields(MatchSettings)}
        return MatchOptions(**others | {"band": "mean" if mean else positions[0]}, bands=positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOptions(MatchSettings):
    """How items are matched, scored and decided on, of a stack of known bands; `band` is a position or "mean"."""

    bands: tuple[int, ...]
    """Match bands, counted among the stack's bands; the first is the one that is scored. More than a few stand in
    where the first ones hold no image."""
    names: tuple[str, ...] = ()
    """What the match bands are called in what is told of an item; empty where that is not known."""

    told: Told | None = None
    """The frame that shifts are told in; None where that is the frame that is matched in. `max_shift` counts pixels of
    the latter."""

    def told_in(self, told: Told | None) -> MatchOptions:
        """The same where what was asked for counts pixels of a frame that has others than those that are matched."""
        if told is None:
            return self
        size = math.sqrt(told.pixel.y * told.pixel.x)
        return replace(self, told=told, max_shift=None if self.max_shift is None else self.max_shift / size)

    def told_over(self, lattice: Lattice) -> MatchOptions:
        """The same where displacements are told on a control lattice that covers more than the anchor."""
        return self if self.told is None else replace(self, told=replace(self.told, lattice=lattice))

    def check_told(self) -> None:
        """Refuse patterns of all dates that would have to be told in other pixels than they are matched in.

        Raises
        ------
        InvalidRequest
        """
        if self.model == "terrain" and self.told is not None:
            raise InvalidRequest(
                "model='terrain' needs an anchor whose pixels are those of the items. Choose an item as the anchor, or "
                "another model."
            )

    @property
    def mean(self) -> bool:
        """Whether the mean of the bands is the match image."""
        return self.band == "mean"

    @property
    def at_once(self) -> int:
        """How many of the bands are needed in any case."""
        return len(self.bands) if self.mean else min(len(self.bands), MATCH_BANDS)


def checked_nearest(nearest: Sequence[str | int]) -> tuple[str | int, ...]:
    """Names or positions of bands of classes, as a tuple.

    Raises
    ------
    InvalidRequest
        If they are something else.
    """
    found = [nearest] if isinstance(nearest, str | int) else nearest
    wrong = not isinstance(found, list | tuple)
    if wrong or any(isinstance(band, bool) or not isinstance(band, str | int | np.integer) for band in found):
        raise InvalidRequest(
            f"nearest has to be a list of names or positions of bands, as ['scl', 'qa_pixel'], not {nearest!r}."
        )
    return tuple(band if isinstance(band, str) else int(band) for band in found)


def _checked_datum(datum: object) -> Datum:
    """A datum in the form that `MatchSettings` holds."""
    if isinstance(datum, str) and datum in (ANCHOR_DATUM, "mean"):
        return datum
    if isinstance(datum, str | os.PathLike):
        datum = {datum: 0.0}
    if isinstance(datum, Mapping):
        parts = [_known(name, sigma) for name, sigma in datum.items()]
    else:
        parts = list(datum) if isinstance(datum, list | tuple) else []
    names = [part.name if isinstance(part, Known) else part for part in parts]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidRequest(
            "datum has to be 'anchor', 'mean', a list of ids of items that are trusted, the path of a reference image, "
            f"or a mapping of ids and paths to their sigma in pixels, as {{'a': 0.2, 'map.tif': 0.5}}, not {datum!r}."
        )
    if repeated := [name for k, name in enumerate(names) if name in names[:k]]:
        raise InvalidRequest(f"The datum names {repeated[0]!r} more than once.")
    return tuple(parts)


def _known(name: object, sigma: Any) -> Known:
    """A part of a mapping; without a name where it has no fitting one."""
    number = isinstance(sigma, _NUMBERS) and not isinstance(sigma, bool)
    if not number or not 0 <= sigma < math.inf:
        raise InvalidRequest(
            f"The sigma of {name!r} in the datum has to be a number of pixels from 0 on, not {sigma!r}."
        )
    return Known(name=typed(name) if isinstance(name, str | os.PathLike) else "", sigma=float(sigma))


def checked_lattice(lattice: OutputLattice) -> OutputLattice:
    """Refuse an unknown choice of the output's lattice.

    Raises
    ------
    InvalidRequest
    """
    if lattice not in LATTICES:
        raise InvalidRequest(f"lattice is one of {', '.join(LATTICES)}, not {lattice!r}.")
    return lattice


def _checked_band(band: object) -> Band | None:
    one = str | int | np.integer
    if band is None or (isinstance(band, one) and not isinstance(band, bool)):
        return band if band is None or isinstance(band, str) else int(band)
    if isinstance(band, tuple | list) and len(band) == 2:
        parts = [part if isinstance(part, str) else int(part) for part in band if isinstance(part, one)]
        if len(parts) == 2 and not any(isinstance(part, bool) for part in band) and "mean" not in parts:
            return parts[0], parts[1]
    raise InvalidRequest(
        "band has to be the name or position of a band, 'mean', or a pair of the anchor's band and the items' band, as "
        f"('pan', 'red'), not {band!r}."
    )


def match_bands(bands: Sequence[str], band: str | int | None) -> tuple[tuple[int, ...], bool]:
    """Bands that are matched, the one of the score first, and whether their mean is the match image.

    Parameters
    ----------
    bands : sequence of str
        Names of the stack's bands.
    band : str, int or None
        Name or position (from 0) of the band that is scored; "mean" for the mean of all bands; None for red
        where the bands have names, else the middle band.

    Returns
    -------
    positions : tuple of int
        At most `MATCH_BANDS`, the others spread evenly. Of more than ten bands, behind them those that stand in
        where these hold no image, spread as evenly.
    mean : bool

    Raises
    ------
    InvalidRequest
        If there is no such band.
    """
    names = [name.lower() for name in bands]
    common = common_names(bands)
    count = len(names)
    if band == "mean":
        return tuple(range(count)), True
    if band is None:
        known = "red" in common
        first = (
            common.index("red")
            if known
            else next((names.index(r) for r in RED_NAMES if r in names), count // 2)
        )
    elif isinstance(band, int | np.integer) and not isinstance(band, bool) and -count <= band < count:
        first = int(band) % count
    elif isinstance(band, str) and (found := find_band(bands, band)) is not None:
        first = found
    else:
        raise InvalidRequest(
            f"There is no band {band!r}: the stack has {', '.join(bands)} "
            f"(positions 0 to {count - 1}), and 'mean' stands for the mean of all."
        )
    others = [k for k in range(count) if k != first]
    picked = _spread(others, MATCH_BANDS - 1)
    rest = [k for k in others if k not in picked] if count > _MANY else []
    return (first, *picked, *_spread(rest, _CANDIDATES - MATCH_BANDS)), False


def _spread(bands: Sequence[int], most: int) -> list[int]:
    """At most so many of some bands, spread evenly."""
    return [bands[int(i)] for i in np.linspace(0, len(bands) - 1, min(most, len(bands))).round()]
