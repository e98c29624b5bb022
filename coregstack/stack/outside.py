"""An anchor that is no item: a file or a DataArray of any CRS, pixel size, bands and extent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack
from coregstack.geometry.lattice import crs_name, footprint, offset, overlaps, same_pixels
from coregstack.geometry.unlike import output_lattice
from coregstack.graph.matched import array_items
from coregstack.matching.bands import Bands
from coregstack.matching.choices import Known, OutputLattice
from coregstack.matching.items import MatchItem, SceneItem
from coregstack.matching.told import Frames
from coregstack.model import NO_SHIFT, OUTSIDE
from coregstack.pixels.scene import Scene
from coregstack.stack.conform import Stack, conform
from coregstack.stack.dataset import with_grid
from coregstack.stack.lookup import names_item
from coregstack.stack.opening import unreadable_files
from coregstack.stack.placing import check_lattice, scene_bands, with_match_bands
from coregstack.untrusted.addresses import Address, shown, typed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outside:
    """An anchor from outside: a scene behind a file, or a stack of one time."""

    scene: Scene | None = None
    stack: Stack | None = None

    @property
    def name(self) -> str:
        """What it is called in results."""
        return OUTSIDE if self.scene is None else self.scene.id

    @property
    def box(self) -> GeoBox:
        """Its own lattice and extent."""
        return self._known.box if self.scene is None else self.scene.image.box

    @property
    def held(self) -> Bands:
        """Its bands."""
        return self._known.held if self.scene is None else scene_bands(self.scene)

    @property
    def _known(self) -> Stack:
        if self.stack is None:
            raise TypeError("an anchor from outside is a scene or a stack")
        return self.stack

    def item(self, bands: Sequence[int], frame: GeoBox) -> MatchItem | da.Array:
        """Its match bands in a frame that begins at its corner: what `coregstack.graph.matched.reference` takes."""
        if self.scene is not None:
            return SceneItem(scene=with_match_bands(self.scene, bands, frame))
        known = self._known
        usable = None if known.clear is None else known.clear.data
        as_it_is = frame == known.box
        return array_items(
            known.array.data[:, list(bands)], usable, ("the anchor",), nodata=known.empty,
            place=None if as_it_is else (known.box, frame),
        )  # fmt: skip


def outside_anchor(
    anchor: Any, ids: Sequence[str], times: NDArray[np.datetime64], sources: Sequence[str]
) -> Outside | None:
    """The anchor, where it is a DataArray or names a file that is no item; None where it names an item.

    Parameters
    ----------
    anchor : object
        As `coregstack.estimate` takes it.
    ids, times, sources
        Of the items; sources are the paths of their files, where these are known.

    Raises
    ------
    UnreadableFile, InvalidStack
        If it cannot be read, is more than one scene, or has a rotated geotransform.
    """
    if isinstance(anchor, xr.DataArray | xr.Dataset):
        known = conform(_one_time(anchor))
        if len(known.ids) != 1:
            raise InvalidStack(
                f"An anchor from outside is one scene, but this one has {len(known.ids)} times."
            )
        return Outside(stack=known)
    if not isinstance(anchor, str | os.PathLike) or (
        isinstance(anchor, str) and names_item(anchor, ids, times)
    ):
        return None
    path = typed(anchor)
    if not isinstance(path, Address):
        if not os.path.isfile(path):
            return None
        path = os.path.abspath(path)
    if path in sources:
        return None
    # readers of products are needed only where a file is named
    from coregstack.stack.finding import find_scenes

    found = find_scenes([path])
    if found.unusable:
        raise unreadable_files(found.unusable)
    (scene,) = found.scenes
    if scene.id in ids:
        raise InvalidRequest(
            f"The anchor {str(path)!r} is another file than the item {scene.id!r}, but is called the same. Rename it, "
            "so that results can tell which is which."
        )
    check_lattice(scene)
    return Outside(scene=scene)


def outside_of(anchor: Any, scenes: Sequence[Scene], more: Sequence[str] = ()) -> Outside | None:
    """As `outside_anchor`, where the items are scenes; `more` are ids of items that cannot be read."""
    times = np.array([scene.time for scene in scenes], "datetime64[ns]")
    ids = [*(scene.id for scene in scenes), *more]
    return outside_anchor(anchor, ids, times, [scene.image.path for scene in scenes])


def datum_references(
    named: Sequence[str | Known],
    ids: Sequence[str],
    times: NDArray[np.datetime64],
    sources: Sequence[str],
) -> dict[str, Outside]:
    """The images that a datum names; the other names have to be ids of items.

    Parameters
    ----------
    named : sequence of str or Known
        As `MatchSettings.holders` tells it.
    ids, times, sources
        As in `outside_anchor`.

    Raises
    ------
    AnchorNotFound
        If a name is neither.
    UnreadableFile, InvalidStack, InvalidRequest
        As in `outside_anchor`.
    """
    found = {}
    for one in named:
        name = one.name if isinstance(one, Known) else one
        if name in ids:
            continue
        image = outside_anchor(name, ids, times, sources) if isinstance(one, Known) else None
        if image is None:
            what = "item and no file of that name" if isinstance(one, Known) else "item of that name"
            raise AnchorNotFound(
                f"The datum names {shown(name)!r}, but there is no {what}; the first items are "
                f"{', '.join(list(ids)[:3])}."
            )
        found[name] = image
    return found


def frames(anchor: Outside, stack: Stack, lattice: OutputLattice, beside: GeoBox | None = None) -> Frames:
    """On which lattices a stack is matched with an anchor from outside, and told.

    `beside` is the box in whose pixels is told where that is not the stack's.

    Raises
    ------
    InvalidStack
        If they do not overlap, or only one of them has a CRS.
    """
    box, own = anchor.box, stack.box
    if box.crs is None and own.crs is None:
        return Frames(told=box, matched=box)
    if box.crs is None or own.crs is None:
        lacks = "anchor" if box.crs is None else "stack"
        raise InvalidStack(
            f"The {lacks} has no CRS, so where it lies is not known. Write it first, for example with rio.write_crs."
        )
    if not overlaps(own, box):
        bounds = (tuple(round(value, 6) for value in one.boundingbox.bbox) for one in (box, own))
        raise InvalidStack(
            "The anchor and the stack do not overlap: the bounds (x, y, x, y) of the anchor are {0} in {2}, those of "
            "the stack {1} in {3}.".format(*bounds, crs_name(box), crs_name(own))
        )
    output = output_lattice(box, [beside or own], like_anchor=lattice == "anchor")
    return Frames.of(box, output, own)


def stack_items(stack: Stack, bands: Sequence[int], clear: da.Array | None, frame: GeoBox) -> da.Array:
    """The items of an array in the frame of an anchor from outside."""
    data, box = stack.array.data[:, list(bands)], stack.box
    if box.crs is None or same_pixels(box, frame):
        origin = NO_SHIFT if box.crs is None else offset(box, frame)
        return array_items(data, clear, stack.ids, nodata=stack.empty, origin=origin)
    target = footprint(box, frame)
    return array_items(
        data, clear, stack.ids, nodata=stack.empty, origin=offset(target, frame), place=(box, target)
    )


def _one_time(anchor: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """A scene from outside as a stack of one time."""
    anchor = with_grid(anchor) if isinstance(anchor, xr.Dataset) else anchor
    scene = anchor if "time" in anchor.dims else anchor.expand_dims(time=1)
    if "clear" in scene.coords and "time" not in scene.coords["clear"].dims:
        scene = scene.assign_coords(clear=scene.coords["clear"].expand_dims(time=1))
    numbers = np.array([str(k) for k in range(scene.sizes["time"])], object)
    return scene.assign_coords(id=("time", numbers))
