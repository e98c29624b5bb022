"""Items of a stack matched once more, for what a quality does not carry: their windows and pictures."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack import graph
from coregstack.api import OUTSIDE, QUALITY
from coregstack.errors import AnchorNotFound, InvalidRequest
from coregstack.matching import MatchOptions, Reference, anchor_quality, assess, match_options, prepare
from coregstack.model import NO_SHIFT, ItemQuality, Shift, Status
from coregstack.opening.provenance import pristine_scenes
from coregstack.pixels.scene import MatchPixels, PlacedScene, load_match
from coregstack.stack import Stack, conform, find_anchor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rematch:
    """A stack whose items can be matched with the anchor one by one, as they were before alignment."""

    stack: Stack
    """The stack, aligned or not."""
    anchor: int
    """Position of the anchor along time."""
    box: GeoBox
    """Place of the anchor: the frame that shifts and windows are counted in."""
    options: MatchOptions
    """How items are matched."""
    applied: tuple[Shift, ...]
    """What the pixels of each item have been moved by already."""
    scenes: tuple[PlacedScene, ...] | None
    """The files behind the items, where there are any: they are matched in place of the stack's pixels."""

    def pixels(self, k: int) -> MatchPixels:
        """Match pixels of an item, placed where they lay before alignment."""
        if self.scenes is not None:
            reach = 0 if k == self.anchor else self.options.max_shift
            bands = self.options.bands
            return load_match(self.scenes[k].on(self.box), bands, mean=self.options.mean, reach=reach)
        one = self.stack.array.isel(time=k, band=list(self.options.bands))
        clear = None if self.stack.clear is None else self.stack.clear.isel(time=k).values
        origin = Shift(-self.applied[k].y, -self.applied[k].x)
        return graph.match_pixels(one.values, clear, self.stack.nodata, origin, self.options)

    def reference(self) -> Reference:
        """The anchor, prepared."""
        return prepare(self.pixels(self.anchor))

    def quality(self, reference: Reference, k: int) -> ItemQuality:
        """Match an item; its quality carries the evidence."""
        return (
            anchor_quality(reference) if k == self.anchor else assess(reference, self.pixels(k), self.options)
        )


def rematch(stack: xr.DataArray, anchor: Hashable | None = None, **options: Any) -> Rematch:
    """Make a stack ready to be matched once more, item by item.

    Parameters
    ----------
    stack : DataArray
        A stack as `coregstack.estimate` takes it, or an aligned one: then the items are matched as they were
        before, from their files where there are any, else with their shift undone.
    anchor : str, time or int, optional
        The anchor; by default the one that the stack was aligned to.
    **options
        `band` and `max_shift`, as in `coregstack.estimate`.

    Returns
    -------
    Rematch

    Raises
    ------
    InvalidStack, AnchorNotFound, InvalidRequest
        As `coregstack.estimate`.
    """
    known = conform(stack)
    name = stack.attrs.get("coregstack_anchor") if anchor is None else anchor
    if name is None or (anchor is None and name == OUTSIDE):
        raise AnchorNotFound("This stack does not say what it was aligned to: name the item with anchor=...")
    index = find_anchor(known, name)
    scenes = pristine_scenes(known, moved=True)
    return Rematch(
        stack=known,
        anchor=index,
        box=known.box if scenes is None else scenes[index].scene.image.box,
        options=match_options(known.bands, **options),
        applied=_applied(stack, len(known.ids)),
        scenes=None if scenes is None else tuple(scenes),
    )


def qualities(again: Rematch, ids: Sequence[str] | None = None) -> Iterator[tuple[str, ItemQuality]]:
    """Match items, one after the other.

    Parameters
    ----------
    again : Rematch
        What `rematch` returned.
    ids : sequence of str, optional
        The items; by default all.

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
        yield item, again.quality(reference, positions[item])


def _applied(stack: xr.DataArray, count: int) -> tuple[Shift, ...]:
    """The shift that each item's pixels carry already."""
    moved = stack.attrs.get("coregstack_resampling", "none") != "none"
    if not moved or any(name not in stack.coords for name in QUALITY):
        return (NO_SHIFT,) * count
    known = xr.Dataset({name: stack[name].variable for name in ("status", "shift_y", "shift_x")}).compute()
    shifts = zip(known.status.values, known.shift_y.values, known.shift_x.values, strict=True)
    return tuple(Shift(float(y), float(x)) if s == Status.COREGISTERED else NO_SHIFT for s, y, x in shifts)
