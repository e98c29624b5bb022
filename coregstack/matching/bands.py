"""Which bands of the anchor are matched with which ones of an item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from coregstack.errors import InvalidRequest
from coregstack.kernels.standin import MATCH_BANDS
from coregstack.matching.choices import Band
from coregstack.matching.options import MatchOptions, MatchSettings, match_bands
from coregstack.pixels.header import RasterHeader
from coregstack.untrusted.bandnames import (
    file_names_classes,
    find_band,
    names_classes,
    names_nothing,
    same_bands,
)

BY_COLOURS = "its colour table"
BY_NAME = "its name"
BY_FLAGS = "its attributes"
BY_REQUEST = "nearest=..."
"""What tells that a band holds classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """The bands of a scene or a stack: what they are called, and which of them hold classes."""

    names: tuple[str, ...]
    """Names."""
    classes: tuple[str, ...]
    """For each band what tells that it holds classes, or nothing for measurements."""

    @classmethod
    def of(cls, names: Sequence[str], told: Sequence[str] = ()) -> Bands:
        """Bands by their names, and by what is told of each beside it."""
        beside = told or [""] * len(names)
        found = (
            why or (BY_NAME if names_classes(name) else "") for name, why in zip(names, beside, strict=True)
        )
        return cls(names=tuple(names), classes=tuple(found))

    def asked(self, nearest: Iterable[str | int]) -> Bands:
        """The same, where a user names bands, or tells their positions, that hold classes; others are passed over."""
        found = {position_of(self.names, band) for band in nearest}
        return replace(
            self, classes=tuple(BY_REQUEST if k in found else why for k, why in enumerate(self.classes))
        )

    @property
    def nearest(self) -> tuple[int, ...]:
        """Positions of bands whose pixels are moved by nearest neighbour."""
        return tuple(k for k, why in enumerate(self.classes) if why)

    @property
    def matched(self) -> tuple[int, ...]:
        """Positions of bands that may be matched: measurements; pictures of few colours where all bands are such."""
        measured = tuple(k for k, why in enumerate(self.classes) if not why)
        pictures = all(why == BY_COLOURS for why in self.classes)
        return tuple(range(len(self.names))) if pictures else measured


@dataclass(frozen=True, slots=True, kw_only=True)
class BandPairs:
    """Bands of the anchor and of an item that are matched with each other, the ones that are scored first."""

    anchor: tuple[int, ...]
    """Positions among the anchor's bands."""
    item: tuple[int, ...]
    """Positions among the item's bands."""
    options: MatchOptions
    """How they are matched; its bands are counted among these pairs."""

    def held(self, room: int) -> BandPairs:
        """The same where an item has room for so many bands in memory: of more, none stands in for others."""
        if self.options.mean or len(self.item) <= room:
            return self
        return replace(self, anchor=self.anchor[:MATCH_BANDS], item=self.item[:MATCH_BANDS])


def image_bands(header: RasterHeader, known: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the bands of an image, alpha left out: described, else `known`, else 1, 2, 3 and so on."""
    positions = [k for k in range(header.count) if k != header.alpha]
    described = [header.names[k] for k in positions]
    if all(described) and len(set(described)) == len(described):
        return tuple(str(name) for name in described)
    if known is not None and len(known) == len(positions):
        return tuple(known)
    return tuple(str(k + 1) for k in range(len(positions)))


def band_classes(header: RasterHeader, names: Sequence[str]) -> tuple[str, ...]:
    """For each band of an image, alpha left out, what tells that it holds classes; empty where none does.

    Parameters
    ----------
    header : RasterHeader
    names : sequence of str
        Of these bands. A band that has none is called after its file, where it is the only one.
    """
    positions = [k for k in range(header.count) if k != header.alpha]
    told = [
        BY_FLAGS if k in header.flagged else BY_COLOURS if k in header.coloured else "" for k in positions
    ]
    if len(positions) == 1 and names_nothing(names) and file_names_classes(header.stem):
        told = [BY_NAME]
    found = Bands.of(names, told).classes
    return found if any(found) else ()


def pair_bands(settings: MatchSettings, anchor: Bands, item: Bands) -> BandPairs:
    """Choose the bands in which an item is matched with the anchor.

    Bands are the same by name. Where no two are, one band of the anchor is matched with each of the item's, or the
    one of the item with each of the anchor's, and the fit of all these pairs chooses.

    Parameters
    ----------
    settings : MatchSettings
        What is asked for; a pair of bands is taken as it is.
    anchor, item : Bands
        What there is.

    Raises
    ------
    InvalidRequest
        If a band that is asked for is not there, or holds classes, or all bands of one side do.

    Examples
    --------
    >>> pairs = pair_bands(MatchSettings(), Bands.of(["pan"]), Bands.of(["blue", "green", "red", "nir"]))
    >>> pairs.anchor, pairs.item
    ((0, 0, 0, 0), (2, 0, 1, 3))
    """
    anchor, item = anchor.asked(settings.nearest), item.asked(settings.nearest)
    _check_measured(anchor, "the anchor")
    _check_measured(item, "the item")
    band = settings.band
    if isinstance(band, tuple):
        pair = _asked(anchor, band[0], "anchor"), _asked(item, band[1], "item")
        return _pairs(settings, [pair], _both(anchor, item, [pair]))
    shared = dict(same_bands(anchor.names, item.names))
    both = [k for k in shared if k in anchor.matched and shared[k] in item.matched]
    if both:
        return _in_common(settings, anchor, {k: shared[k] for k in both})
    if band == "mean":
        raise InvalidRequest(
            f"There is no band that all have, so no mean of the bands can be compared: the anchor has "
            f"{', '.join(anchor.names)}, the item {', '.join(item.names)}. Name one of each, as band=('pan', 'red')."
        )
    return _crossed(settings, anchor, item)


def anchor_bands(settings: MatchSettings, anchor: Bands) -> BandPairs:
    """The bands of the anchor that are matched, whatever the items have: each paired with itself.

    Raises
    ------
    InvalidRequest
        If it does not have the band that is asked for, or that holds classes, or all of them do.
    """
    if not isinstance(settings.band, tuple):
        return pair_bands(settings, anchor, anchor)
    anchor = anchor.asked(settings.nearest)
    _check_measured(anchor, "the anchor")
    own = _asked(anchor, settings.band[0], "anchor")
    return _pairs(settings, [(own, own)], [anchor.names[own]])


def position_of(names: Sequence[str], band: Band | object) -> int | None:
    """Position of a band that is named, in any case or by a synonym, or counted; None if there is no such band."""
    count = len(names)
    if isinstance(band, int | np.integer) and not isinstance(band, bool):
        return int(band) % count if -count <= band < count else None
    return find_band(names, band) if isinstance(band, str) else None


def _asked(bands: Bands, band: object, whose: str) -> int:
    found = position_of(bands.names, band)
    if found is None:
        raise InvalidRequest(
            f"There is no band {band!r} in the {whose}, which has {', '.join(bands.names)} "
            f"(positions 0 to {len(bands.names) - 1}). band=(of the anchor, of the items) names one of each."
        )
    if found not in bands.matched:
        raise InvalidRequest(
            f"The band {bands.names[found]!r} of the {whose} holds classes, as {bands.classes[found]} tells: it cannot "
            "be matched. Name another band."
        )
    return found


def _check_measured(bands: Bands, whose: str) -> None:
    if not bands.matched:
        told = ", ".join(f"{name} ({why})" for name, why in zip(bands.names, bands.classes, strict=True))
        raise InvalidRequest(
            f"All bands of {whose} hold classes or flags, which are never matched: {told}. Estimate the shift in an "
            "image of the same item, and apply it to the classes with coregstack.apply."
        )


def _in_common(settings: MatchSettings, anchor: Bands, shared: dict[int, int]) -> BandPairs:
    """Pairs of bands that are the same, given by the anchor's positions."""
    places = list(shared)
    names = [anchor.names[k] for k in places]
    band = settings.band
    if band is not None and band != "mean":
        wanted = position_of(anchor.names, band)
        if wanted is not None and wanted not in anchor.matched:
            _asked(anchor, band, "anchor")
        if wanted not in shared:
            raise InvalidRequest(
                f"There is no band {settings.band!r} that all have: they share {', '.join(names)} of the anchor's "
                f"{', '.join(anchor.names)} (positions 0 to {len(anchor.names) - 1}), and 'mean' stands for the mean "
                "of all. Bands of different names are paired by band=(of the anchor, of the items)."
            )
        band = places.index(wanted)
    chosen, mean = match_bands(names, band)
    pairs = [(places[k], shared[places[k]]) for k in chosen]
    return _pairs(settings, pairs, [names[k] for k in chosen], mean=mean)


def _crossed(settings: MatchSettings, anchor: Bands, item: Bands) -> BandPairs:
    """The anchor's scored band with each of the item's, or each of the anchor's with the only one of the item."""
    band = None if settings.band is None else _asked(anchor, settings.band, "anchor")
    own = _ranked(anchor, band)
    others = _ranked(item, None)
    one = len(others) > 1 or band is not None
    pairs = [(own[0], other) for other in others] if one else [(mine, others[0]) for mine in own]
    return _pairs(settings, pairs, _both(anchor, item, pairs))


def _both(anchor: Bands, item: Bands, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """What pairs of bands of unlike names are called."""
    return [f"{anchor.names[mine]}/{item.names[other]}" for mine, other in pairs]


def _ranked(bands: Bands, first: int | None) -> list[int]:
    """Bands to match, the one that is scored first."""
    places = list(bands.matched)
    band = None if first is None else places.index(first)
    return [places[k] for k in match_bands([bands.names[k] for k in places], band)[0]]


def _pairs(
    settings: MatchSettings, pairs: Sequence[tuple[int, int]], names: Sequence[str], *, mean: bool = False
) -> BandPairs:
    given = {field.name: getattr(settings, field.name) for field in fields(MatchSettings)}
    given["band"] = "mean" if mean else 0
    return BandPairs(
        anchor=tuple(mine for mine, _ in pairs),
        item=tuple(other for _, other in pairs),
        options=MatchOptions(**given, bands=tuple(range(len(pairs))), names=tuple(names)),
    )


def class_bands(header: RasterHeader, asked: Sequence[str | int]) -> tuple[int, ...]:
    """Bands of an image file, counted from 0, that hold classes: they tell so, or `asked` names them."""
    positions = [k for k in range(header.count) if k != header.alpha]
    names = image_bands(header)
    told = Bands.of(names, band_classes(header, names)).asked(asked)
    return tuple(positions[k] for k in told.nearest)
