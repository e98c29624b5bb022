"""From files to a lazy stack: headers are read, pixels are not."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers the accessor that writes CRS and nodata)
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, InvalidRequest, InvalidStack, UnreadableFile, UnreadableFiles
from coregstack.geometry.globe import together
from coregstack.geometry.lattice import frame_bounds, union
from coregstack.graph.opened import open_clear, open_pixels
from coregstack.model import UNSCALED
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.raster import gdal, read_header
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.stack.conform import BAND_POSITION, Stack
from coregstack.stack.dataset import CLASSES
from coregstack.stack.heights import with_angles
from coregstack.stack.placing import band_indexes, check_lattice, common_bands, placed_scene
from coregstack.untrusted.addresses import Address, shown
from coregstack.untrusted.bandnames import same_bands
from coregstack.untrusted.limits import STACK_PIXELS
from coregstack.untrusted.times import time_from_name, time_from_text

CHUNK = 2048
"""Rows and columns of a block where none are asked for."""

_TIME_TAGS = ("acquired", "ACQUISITION_DATE")
_HEADER_THREADS, _HEADERS_EACH = 8, 128
"""Most threads that read headers, and of how many files on disk each: PROJ makes itself ready anew in every thread,
which takes as long as ten headers, and where files are at hand two threads are hardly faster than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A scene that cannot take part, and why."""

    id: str
    path: str
    reason: str
    unreadable: bool = True
    """Whether a file is damaged; if not, the item lacks what is needed."""


def read_headers(paths: Sequence[str | os.PathLike[str]]) -> list[RasterHeader | CoregError]:
    """Headers of many files at once; an error in place of a header that cannot be read."""

    def attempt(path: str | os.PathLike[str]) -> RasterHeader | CoregError:
        try:
            return read_header(path)
        except CoregError as error:
            return error

    far = any(isinstance(path, Address) for path in paths)
    threads = _HEADER_THREADS if far else min(_HEADER_THREADS, -(-len(paths) // _HEADERS_EACH))
    if threads <= 1:
        with gdal():
            return list(map(attempt, paths))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(attempt, paths))


def stack_scenes(
    scenes: Sequence[Scene],
    anchor: Scene,
    *,
    bands: Sequence[str | int] | None = None,
    chunks: int | tuple[int, int] | None = None,
    lattice: GeoBox | None = None,
) -> xr.DataArray:
    """A lazy stack of scenes on the anchor's lattice, or on another one.

    Parameters
    ----------
    scenes : sequence of Scene
        In the order that the stack shall have.
    anchor : Scene
        Whose lattice, order of bands and nodata value are taken.
    bands : sequence of str or int, optional
        Bands to open, by name or position; by default those that all scenes have.
    chunks : int or tuple of int, optional
        Rows and columns of a block.
    lattice : GeoBox, optional
        Taken in place of the anchor's.

    Returns
    -------
    DataArray
        Dims (time, band, y, x).
    """
    if lattice is None:
        check_lattice(anchor)
    placed, box = place(scenes, anchor, bands, lattice)
    return placed_stack(placed, box, chunks)


def scenes_on(scenes: Sequence[Scene], like: Stack) -> xr.DataArray:
    """A lazy stack of scenes on the very grid of another stack, with its bands, dtype and nodata value.

    Parameters
    ----------
    scenes : sequence of Scene
        In the order that the stack shall have; what lies beyond the grid is left out.
    like : Stack
        The other stack.

    Raises
    ------
    InvalidStack
        If a scene has not the stack's bands, no place on its grid, or values that its dtype may not hold.
    """
    kept = like.nodata is not None
    for scene in scenes:
        if len(same_bands(like.bands, scene.bands)) < len(like.bands):
            raise InvalidStack(
                f"The scene {scene.id!r} has the bands {', '.join(scene.bands)}, where {', '.join(like.bands)} "
                "are needed."
            )
        if like.array.dtype.kind != "f" and not np.can_cast(scene.image.dtype, like.array.dtype):
            raise InvalidStack(
                f"The scene {scene.id!r} holds {scene.image.dtype}, of which {like.array.dtype} cannot hold every "
                "value. Convert it first, for example with gdal_translate -ot and, where values differ, -scale."
            )
        frame_bounds(scene.image.box, like.box)
    placed = [
        placed_scene(
            scene,
            like.box,
            band_indexes(scene, like.bands, like.bands),
            names=like.bands,
            dtype=like.array.dtype.name,
            fill=None if like.nodata is None else float(like.nodata),
        )
        for scene in scenes
    ]
    stack = placed_stack(placed, like.box, None)
    return stack if kept else stack.rio.write_nodata(None)


def placed_stack(
    placed: Sequence[PlacedScene], box: GeoBox, chunks: int | tuple[int, int] | None
) -> xr.DataArray:
    """A lazy stack of scenes that were placed on one box."""
    scenes = [item.scene for item in placed]
    size = _chunk_sizes(chunks, (box.shape[0], box.shape[1]))
    first = placed[0]
    affine = box.affine
    x = affine.c + affine.a * (np.arange(box.shape[1]) + 0.5)
    y = affine.f + affine.e * (np.arange(box.shape[0]) + 0.5)
    array = xr.DataArray(
        open_pixels(placed, size),
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array([s.time for s in scenes], "datetime64[ns]"),
            "id": ("time", np.array([s.id for s in scenes], object)),
            "source": ("time", np.array([str(s.image.path) for s in scenes], object)),
            "band": np.array(first.bands, object),
            BAND_POSITION: ("band", np.arange(len(first.bands))),
            "y": ("y", y, {"axis": "Y", "standard_name": "projection_y_coordinate"}),
            "x": ("x", x, {"axis": "X", "standard_name": "projection_x_coordinate"}),
            "clear": (("time", "y", "x"), open_clear(placed, size)),
        },
        name="pixels",
    )
    if any(classes := _classes(placed)):
        array = array.assign_coords({CLASSES: ("band", np.array(classes, object))})
    if any(scene.viewing is not None for scene in scenes):
        array = with_angles(array, [scene.viewing for scene in scenes])
    array.attrs = _scaling_attributes(placed)
    array = array.rio.write_crs(str(box.crs)).rio.write_transform(affine)
    filled: xr.DataArray = array.rio.write_nodata(first.fill)
    return filled


def _classes(placed: Sequence[PlacedScene]) -> list[str]:
    """For each band of a stack what tells, of any scene, that it holds classes."""
    told = [item.classes or ("",) * len(item.bands) for item in placed]
    return [next((why for why in of_band if why), "") for of_band in zip(*told, strict=True)]


def _scaling_attributes(placed: Sequence[PlacedScene]) -> dict[str, float]:
    """How stored numbers are to be read, where all bands of all scenes say the same; else None."""
    found = {item.scene.image.scaling[index] for item in placed for index in item.indexes}
    scale, offset = found.pop() if len(found) == 1 else UNSCALED
    return {} if (scale, offset) == UNSCALED else {"scale_factor": scale, "add_offset": offset}


def place(
    scenes: Sequence[Scene],
    anchor: Scene,
    bands: Sequence[str | int] | None,
    lattice: GeoBox | None = None,
) -> tuple[list[PlacedScene], GeoBox]:
    """Scenes on the smallest box of the anchor's lattice, or of another one, that holds them all, and that box."""
    lattice = anchor.image.box if lattice is None else lattice
    for scene in scenes:
        try:
            frame_bounds(scene.image.box, lattice)
        except InvalidStack as error:
            raise InvalidStack(
                f"The scene {scene.id!r} cannot be in one stack with the anchor. {error}"
            ) from error
    box = union([scene.image.box for scene in scenes], lattice)
    if math.prod(box.shape) > STACK_PIXELS():
        numbers = together([lattice, *(scene.image.box for scene in scenes)])
        apart = [scene.id for scene, number in zip(scenes, numbers[1:], strict=True) if number != numbers[0]]
        raise InvalidStack(
            f"On the anchor's lattice the scenes span {box.shape[0]} x {box.shape[1]} pixels. Leave out what lies far "
            f"away{f', here {apart[:5]}' if apart else ''}, or raise {STACK_PIXELS.variable}."
        )
    names = common_bands(scenes, anchor, bands)
    dtype = np.result_type(*(scene.image.dtype for scene in scenes))
    fills = [f for f in (anchor.nodata, *(scene.nodata for scene in scenes)) if f is not None]
    fill = float(fills[0]) if fills else (np.nan if dtype.kind == "f" else 0.0)
    placed = [
        placed_scene(
            scene, box, band_indexes(scene, anchor.bands, names), names=names, dtype=dtype.name, fill=fill
        )
        for scene in scenes
    ]
    return placed, box


def _chunk_sizes(chunks: int | tuple[int, int] | None, shape: tuple[int, int]) -> tuple[int, int]:
    sizes: Any = (CHUNK, CHUNK) if chunks is None else (chunks, chunks) if isinstance(chunks, int) else chunks
    if (
        not isinstance(sizes, tuple | list)
        or len(sizes) != 2
        or any(not isinstance(one, int | np.integer) or one < 1 for one in sizes)
    ):
        raise InvalidRequest(
            f"chunks has to be a positive number of pixels, or rows and columns, not {chunks!r}."
        )
    return min(int(sizes[0]), shape[0]), min(int(sizes[1]), shape[1])


def found_time(header: RasterHeader, named: np.datetime64) -> np.datetime64:
    """Time that a file tells: by a tag, else by its name or as `named`; NaT where nothing does."""
    tags = dict(header.tags)
    told = [time_from_text(tags.get(key)) for key in _TIME_TAGS]
    told.append(
        time_from_name(Path(header.path).name) if np.isnat(named) else named.astype("datetime64[us]").item()
    )
    # TIFF writes 2020:06:30 16:41:49; it may be when the file was made, so a name counts for more
    told.append(time_from_text(tags.get("TIFFTAG_DATETIME", "").replace(":", "-", 2)))
    return to_datetime64(next((time for time in told if time is not None), None))


def to_datetime64(time: datetime | None) -> np.datetime64:
    """A time in UTC as numpy holds it; NaT for None."""
    return (
        np.datetime64("NaT", "ns")
        if time is None
        else pd.Timestamp(time.replace(tzinfo=None)).to_datetime64()
    )


def given_time(value: object) -> np.datetime64:
    try:
        # nanoseconds since 1970 hold 1678 to 2262; beyond, a date would silently become another
        stamp = pd.Timestamp(value).as_unit("ns")
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"{value!r} is not a time of the years 1678 to 2262; expected for example '2020-06-30T16:41:49'."
        ) from error
    if stamp is not pd.NaT and stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    moment: np.datetime64 = stamp.to_datetime64()
    return moment


def unreadable_files(unusable: Sequence[Unusable]) -> UnreadableFile:
    """One error that names every file that cannot be opened."""
    count = "1 scene" if len(unusable) == 1 else f"{len(unusable)} scenes"
    lines = tuple(f"  {shown(u.path)}: {u.reason}" for u in unusable[:20])
    return UnreadableFiles(f"{count} cannot be opened. Repair these files or leave them out:", lines)
