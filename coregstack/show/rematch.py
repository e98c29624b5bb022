"""Items of a stack matched once more, for what a quality does not carry: their windows and pictures.

An item is matched with what it was matched with before: the anchor, or, where a network of pairs reached it only
through others, the aligned item that it was scored against.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import AnchorNotFound, InvalidRequest
from coregstack.geometry.lattice import offset
from coregstack.geometry.validarea import looked_at
from coregstack.graph.sketches import network_frame
from coregstack.matching.assess import Reference, anchor_quality, assess, prepare
from coregstack.matching.bands import BandPairs, pair_bands
from coregstack.matching.choices import ESTIMATORS, Model
from coregstack.matching.estimators import OWN
from coregstack.matching.items import ArrayItem, SceneItem
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.quality import fields_in, missing_in, quality_of
from coregstack.model import NO_SHIFT, OUTSIDE, ItemQuality, Shift, Status
from coregstack.network.concluding import conclude
from coregstack.network.matches import match_with_anchor, match_with_partners
from coregstack.network.places import NOWHERE, Place, placed_by
from coregstack.pixels.scene import MatchPixels, PlacedScene
from coregstack.stack.conform import Stack, conform
from coregstack.stack.lookup import find_anchor
from coregstack.stack.provenance import pristine_scenes

SHIFT: Model = "shift"
TERRAIN: Model = "terrain"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rematch:
    """A stack whose items can be matched one by one, as they were before alignment."""

    stack: Stack
    """The stack, aligned or not."""
    anchor: int
    """Position of the anchor along time."""
    box: GeoBox
    """Place of the anchor: the frame that shifts and windows are counted in."""
    bands: BandPairs
    """In which bands, and how, items are matched with the anchor."""
    applied: tuple[Shift, ...]
    """What the pixels of each item have been moved by already."""
    scenes: tuple[PlacedScene, ...] | None
    """The files behind the items, where there are any: they are matched in place of the stack's pixels."""
    models: tuple[str, ...] | None
    """How each item is displaced by the quality that the stack carries; None where another anchor was asked for."""
    places: tuple[Place, ...] | None
    """Where a network of pairs has put each item, and against which other; None if each was matched by itself."""

    @property
    def options(self) -> MatchOptions:
        """How items are matched; its bands are counted among those that are."""
        return self.bands.options

    def pixels(self, k: int) -> MatchPixels:
        """Match pixels of an item, placed where they lay before alignment."""
        pairs = self.bands if self.scenes is not None else self.bands.held(self.stack.room)
        bands = pairs.anchor if k == self.anchor else pairs.item
        if self.scenes is not None:
            # in a network an item may lie where the anchor does not
            frame = self.box if self.places is None else network_frame(self.scenes, self.anchor)
            item = SceneItem(scene=self.scenes[k].on(frame).only(bands), corner=offset(self.box, frame))
            return item.load_anchor(self.options) if k == self.anchor else item.load(self.options)
        one = self.stack.array.isel(time=k, band=list(bands))
        clear = None if self.stack.clear is None else self.stack.clear.isel(time=k).values
        pixels = ArrayItem(
            id=self.stack.ids[k],
            values=one.values,
            clear=clear,
            nodata=self.stack.empty,
            origin=Shift(-self.applied[k].y, -self.applied[k].x),
        ).load(self.options)
        valid = pixels.valid if pixels.valid.ndim == 2 else pixels.valid[0]
        return pixels if self.box.crs is None else replace(pixels, whole=(looked_at(valid), self.box))

    def reference(self) -> Reference:
        """The anchor, prepared."""
        return prepare(self.pixels(self.anchor))

    def quality(self, reference: Reference, k: int, model: Model = SHIFT) -> ItemQuality:
        """Match an item by the model that it was displaced by, else by `model`; its quality carries the evidence."""
        if k == self.anchor:
            return anchor_quality(reference)
        pixels, options = self.pixels(k), self._options(k, model)
        if self.places is None:
            return assess(reference, pixels, options)
        place = self.places[k]
        if place.partner is None:
            partner = None
            match = match_with_anchor(reference, pixels, (self.anchor, k), options)
        else:
            partner = self.pixels(place.partner)
            (match,) = match_with_partners(partner, place.partner, [(k, pixels)], options)
        return conclude(reference, partner, pixels, placed_by(match, place), options)

    def moved_by_field(self, k: int) -> bool:
        """Whether the pixels of an item were moved by what varies over them, so that it cannot be seen any more."""
        return self.scenes is None and self.applied[k] != NO_SHIFT and self._varies(k)

    def _varies(self, k: int) -> bool:
        return self.models is not None and self.models[k] not in ("", SHIFT)

    def _options(self, k: int, model: Model) -> MatchOptions:
        """How an item is matched: as asked for, else with the model that it is displaced by, if its pixels show it."""
        if self.options.model != SHIFT:
            model = self.options.model
        elif self.models is not None and self._varies(k) and not self.moved_by_field(k):
            model = cast(Model, self.models[k])
        # patterns are those of a whole stack, and one item alone can only follow them by a field
        return replace(self.options, model="field" if model == TERRAIN else model)


def rematch(
    stack: xr.DataArray, anchor: Hashable | None = None, settings: MatchSettings | None = None
) -> Rematch:
    """Make a stack ready to be matched once more, item by item; the quality that it carries is computed.

    Parameters
    ----------
    stack : DataArray
        A stack as `coregstack.estimate` takes it, or an aligned one: then the items are matched as they were
        before, from their files where there are any, else with their shift undone. Of a stack that was aligned by
        ``method="network"`` each item is matched with the one that it was scored against.
    anchor : str, time or int, optional
        The anchor; by default the one that the stack was aligned to. With any other, all items are matched
        with that one.
    settings : MatchSettings, optional
        How items are matched.

    Returns
    -------
    Rematch

    Raises
    ------
    InvalidStack, AnchorNotFound, InvalidRequest
        As `coregstack.estimate`.
    """
    known = conform(stack)
    own = stack.attrs.get("coregstack_anchor")
    name = own if anchor is None else anchor
    if name is None or (anchor is None and name == OUTSIDE):
        raise AnchorNotFound("This stack does not say what it was aligned to: name the item with anchor=...")
    index = find_anchor(known, name)
    scenes = pristine_scenes(known, moved=True)
    told = _carried_qualities(stack)
    same = bool(told) and known.ids[index] == own
    return Rematch(
        stack=known,
        anchor=index,
        box=known.box if scenes is None else scenes[index].scene.image.box,
        bands=pair_bands(_as_aligned(settings or MatchSettings(), stack), known.held, known.held),
        applied=_applied(stack, told) if told else (NO_SHIFT,) * len(known.ids),
        scenes=None if scenes is None else tuple(scenes),
        models=tuple(item.model or "" for item in told) if same else None,
        places=_places(known.ids, told) if "against" in stack.coords and same else None,
    )


def _as_aligned(settings: MatchSettings, stack: xr.DataArray) -> MatchSettings:
    """Settings with the estimator that a stack was aligned by, where it has a name."""
    told = stack.attrs.get("coregstack_estimator", OWN)
    if settings.estimator != OWN or settings.model != SHIFT or told == OWN:
        return settings
    if told not in ESTIMATORS:
        raise InvalidRequest(
            f"This stack was aligned by the estimator {told}: pass it as estimator=... to have items matched once more."
        )
    return replace(settings, estimator=told)


def qualities(
    again: Rematch, ids: Sequence[str] | None = None, model: Model = SHIFT
) -> Iterator[tuple[str, ItemQuality]]:
    """Match items, one after the other.

    Parameters
    ----------
    again : Rematch
        What `rematch` returned.
    ids : sequence of str, optional
        The items; by default all.
    model : str
        Of what was not displaced by another.

    Yields
    ------
    tuple of str and ItemQuality
        Id and quality, with evidence.

    Raises
    ------
    InvalidRequest
        If an id is not one of the stack's.
    """
    positions = {item: k for k, item in enumerate(again.stack.ids)}
    wanted = again.stack.ids if ids is None else [str(i) for i in ids]
    if unknown := [i for i in wanted if i not in positions]:
        raise InvalidRequest(
            f"No item is called {unknown[0]!r}; the first are {', '.join(again.stack.ids[:3])}."
        )
    reference = again.reference()
    for item in wanted:
        yield item, again.quality(reference, positions[item], model)


def _carried_qualities(stack: xr.DataArray) -> list[ItemQuality]:
    """The quality that the stack carries of each item, by the names it is told under; empty where it carries none."""
    if missing_in(stack.coords):
        return []
    names = [field.name for field in fields_in(stack.coords)]
    known = xr.Dataset({name: stack[name].variable for name in names}).compute()
    items = zip(*(known[name].values for name in names), strict=True)
    return [quality_of(dict(zip(names, item, strict=True))) for item in items]


def _applied(stack: xr.DataArray, told: Sequence[ItemQuality]) -> tuple[Shift, ...]:
    """The shift that each item's pixels carry already."""
    moved = stack.attrs.get("coregstack_resampling", "none") != "none"
    return tuple(
        item.shift if moved and item.shift and item.status is Status.COREGISTERED else NO_SHIFT
        for item in told
    )


def _places(ids: Sequence[str], told: Sequence[ItemQuality]) -> tuple[Place, ...]:
    """Where the network has put each item; one whose partner has left the stack is matched with the anchor."""
    shifts = dict(zip(ids, (item.shift for item in told), strict=True))
    places = []
    for item in told:
        place = replace(NOWHERE, shift=item.shift, sigma=item.sigma, reason=item.details)
        partner_shift = shifts.get(item.against or "")
        if item.against and partner_shift is not None:
            place = replace(
                place, partner=ids.index(item.against), partner_shift=partner_shift, against=item.against
            )
        places.append(place)
    return tuple(places)
