"""What counts as a stack: any DataArray brought into one known form, and its anchor found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import rioxarray  # noqa: F401  (registers the accessor for CRS and nodata)
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.matching.bands import BY_FLAGS, Bands, position_of
from coregstack.matching.options import checked_nearest
from coregstack.model import UNSCALED
from coregstack.pixels.bandcache import CACHE_BYTES
from coregstack.pixels.header import holds_flags
from coregstack.stack.coordinates import band_names, stack_box, with_coordinates, with_utc_times
from coregstack.stack.dataset import CLASSES, known_dim, named_nodata, stacked
from coregstack.untrusted.given import given_list

DIMS = ("time", "band", "y", "x")
BAND_POSITION = "source_band"
"""Coordinate with the positions of the stack's bands among the bands that were opened, whatever their names."""
_SCALING = ("scale_factor", "add_offset")
_OF_NUMBERS = ("_FillValue", "missing_value", *_SCALING)
"""Attributes that say how stored numbers are to be read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """A stack in its known form."""

    array: xr.DataArray
    """Dims (time, band, y, x), backed by dask."""
    ids: tuple[str, ...]
    """Item ids along time; unique."""
    bands: tuple[str, ...]
    """Band names."""
    classes: tuple[str, ...]
    """For each band what tells that it holds classes, or nothing for measurements."""
    box: GeoBox
    """Lattice and extent of the pixels; its CRS may be None."""
    nodata: float | None
    """Value of pixels without data that it names; NaN for floats that name none, None for integers."""
    clear: xr.DataArray | None
    """Dims (time, y, x), bool, backed by dask: True where a pixel may be used for matching."""
    given: xr.DataArray
    """The DataArray as it was given."""

    @property
    def held(self) -> Bands:
        """What the bands are called, and which of them hold classes."""
        return Bands(names=self.bands, classes=self.classes)

    @property
    def room(self) -> int:
        """How many bands of a date are held in memory where not all of them are needed."""
        return CACHE_BYTES // (self.array.sizes["y"] * self.array.sizes["x"] * self.array.dtype.itemsize)

    @property
    def empty(self) -> float | None:
        """Value of pixels without data: as named, else 0 for integers, as of files that name none."""
        return 0.0 if self.nodata is None and self.array.dtype.kind in "iu" else self.nodata


def conform(stack: xr.DataArray | xr.Dataset, ids: Sequence[str] | None = None) -> Stack:
    """Bring a DataArray into the form that the rest of the package works on.

    Parameters
    ----------
    stack : DataArray or Dataset
        Dims (time, band, y, x) or (time, y, x) in any order, backed by numpy or dask; a Dataset's
        variables are taken as bands.
    ids : sequence of str, optional
        Item ids, where the stack has no coordinate `id`.

    Returns
    -------
    Stack

    Raises
    ------
    InvalidStack
        If dims, coordinates, grid, dtype or ids do not fit; the text says what to do.
    """
    if isinstance(stack, xr.Dataset):
        stack = stacked(stack)
    if not isinstance(stack, xr.DataArray):
        raise InvalidStack(
            f"A stack is an xarray.DataArray, but a {type(stack).__name__} was given. An array becomes one by "
            "xr.DataArray(array, dims=('time', 'band', 'y', 'x')), without 'band' if it has three dims; "
            "files are opened by coregstack.open_scenes."
        )
    array = with_known_dims(stack)
    if "band" not in array.dims:
        named = "band" in array.coords and array.coords["band"].ndim == 0
        array = array if named else array.drop_vars("band", errors="ignore").assign_coords(band="1")
        array = array.expand_dims("band")
    if set(array.dims) != set(DIMS):
        raise InvalidStack(
            f"A stack has dims (time, band, y, x) or (time, y, x), but these were given: {stack.dims}. "
            "Rename or select until they fit; one date alone becomes a stack by .expand_dims('time')."
        )
    if array.dtype.kind not in "iuf" or (array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8)):
        raise InvalidStack(
            f"A stack holds integers, float32 or float64, but its dtype is {array.dtype}. Convert it, for example "
            "with stack.astype('float32')."
        )
    if 0 in array.shape:
        raise InvalidStack(f"The stack is empty: its sizes are {dict(array.sizes)}.")
    array = with_utc_times(array.transpose(*DIMS))
    box = stack_box(array)
    array = with_coordinates(array, box)
    if array.chunks is None:
        array = array.chunk({"time": 1, "band": -1, "y": -1, "x": -1})
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    names = band_names(array)
    return Stack(
        array=array,
        ids=item_ids(array, ids),
        bands=names,
        classes=_classes(array, names),
        box=box,
        nodata=stack_nodata(array),
        clear=_clear(array),
        given=stack,
    )


def with_known_dims(array: xr.DataArray) -> xr.DataArray:
    """Rename dims that are latitude, northing, longitude, easting or short for it to y and x."""
    names = {dim: known_dim(dim) for dim in array.dims if known_dim(dim) != dim}
    return array.rename(names) if names else array


def like_given(stack: Stack, array: xr.DataArray) -> xr.DataArray:
    """Bring a result in known form back to the dims of the stack that was given."""
    given = stack.given
    if "band" not in given.dims:
        array = array.isel(band=0, drop=True)
        if "band" in given.coords:
            array = array.assign_coords(band=given.coords["band"].variable)
    names = {known_dim(dim): dim for dim in given.dims if known_dim(dim) != dim}
    return array.rename(names).transpose(*given.dims) if names else array.transpose(*given.dims)


def with_classes(stack: xr.DataArray | xr.Dataset, nearest: Sequence[str | int]) -> xr.DataArray | xr.Dataset:
    """A stack that says of some bands that they hold classes.

    Parameters
    ----------
    stack : DataArray or Dataset
        Any stack.
    nearest : sequence of str or int
        Names or positions of bands.

    Raises
    ------
    InvalidRequest
        If there is no such band.
    """
    wanted = checked_nearest(nearest)
    if not wanted:
        return stack
    known = conform(stack)
    for band in wanted:
        if position_of(known.bands, band) is None:
            raise InvalidRequest(
                f"nearest names the band {band!r}, but the stack has {', '.join(known.bands)} (positions 0 to "
                f"{len(known.bands) - 1})."
            )
    told = np.array(known.held.asked(wanted).classes, object)
    given = known.given
    if "band" in given.dims:
        return given.assign_coords({CLASSES: ("band", told)})
    return given.assign_coords({CLASSES: told[0]})


def _classes(array: xr.DataArray, names: Sequence[str]) -> tuple[str, ...]:
    """For each band of a stack what tells that it holds classes."""
    told = [BY_FLAGS if holds_flags(array.attrs) else ""] * len(names)
    if CLASSES in array.coords and array.coords[CLASSES].dims in (("band",), ()):
        values = np.broadcast_to(array.coords[CLASSES].values, len(names))
        if values.dtype.kind in "OUT":
            told = [own or str(value) for own, value in zip(told, values, strict=True)]
    return Bands.of(names, told).classes


def _clear(array: xr.DataArray) -> xr.DataArray | None:
    """The coordinate `clear` of a stack, if it has one."""
    if "clear" not in array.coords:
        return None
    clear: xr.DataArray = array.coords["clear"]
    if set(clear.dims) != {"time", "y", "x"} or clear.dtype != bool:
        raise InvalidStack(
            "The coordinate 'clear' has to be bool with dims (time, y, x), True where a pixel may be used, but it is "
            f"{clear.dtype} with dims {clear.dims}."
        )
    clear = clear.transpose("time", "y", "x")
    clear = clear if clear.chunks is not None else clear.chunk({"time": 1})
    # comparisons keep the attributes of what they compare: with a nodata value, False would be written as missing
    return clear.drop_attrs(deep=False).assign_attrs(
        {name: value for name, value in clear.attrs.items() if name not in _OF_NUMBERS}
    )


def scaling(array: xr.DataArray) -> tuple[float, float]:
    """Scale and offset that turn a stack's numbers into what was measured; `UNSCALED` if it names none.

    Raises
    ------
    InvalidStack
        If its attribute `scale_factor` or `add_offset` is no finite number, or the first is 0.
    """
    told = [array.attrs.get(name, usual) for name, usual in zip(_SCALING, UNSCALED, strict=True)]
    try:
        scale, offset = map(float, told)
    except (TypeError, ValueError):
        scale = offset = np.nan
    if scale == 0 or not np.isfinite([scale, offset]).all():
        raise InvalidStack(
            "The attributes scale_factor and add_offset of a stack have to be finite numbers, the first not 0, but "
            f"they are {told}."
        )
    return scale, offset


def item_ids(array: xr.DataArray, ids: Sequence[str] | None) -> tuple[str, ...]:
    """Unique item ids: as given, else the coordinate `id`, else made from the times."""
    count = array.sizes["time"]
    if ids is None and "id" in array.coords and array.coords["id"].dims == ("time",):
        ids = list(array.coords["id"].values)
    if ids is None:
        return _ids_from_times(array)
    ids = given_list(ids, "ids")
    if len(ids) != count:
        raise InvalidStack(f"{count} ids were expected, one for each time, but {len(ids)} were given.")
    if lost := [k for k, i in enumerate(ids) if pd.isna(i) or not str(i)]:
        raise InvalidStack(
            f"{len(lost)} of {count} items have no id, the first at position {lost[0]}: joining stacks of which only "
            "some have the coordinate 'id' leaves it empty. Pass ids=..., one for each time."
        )
    found = tuple(str(i) for i in ids)
    if repeated := sorted({i for i in found if found.count(i) > 1} if len(set(found)) < count else ()):
        raise InvalidStack(f"Item ids have to be unique, but these repeat: {repeated[:5]}. Pass ids=...")
    return found


def _ids_from_times(array: xr.DataArray) -> tuple[str, ...]:
    count = array.sizes["time"]
    if "time" not in array.coords:
        return tuple(f"item_{k:04d}" for k in range(count))
    labels = []
    for value in array.coords["time"].values:
        is_time = np.issubdtype(np.asarray(value).dtype, np.datetime64)
        if pd.isna(value):
            labels.append("undated")
        else:
            labels.append(pd.Timestamp(value).strftime("%Y%m%dT%H%M%S") if is_time else str(value))
    out: dict[str, None] = {}
    repeats: dict[str, int] = {}
    for label in labels:
        name = label
        while name in out:
            repeats[label] = repeats.get(label, 1) + 1
            name = f"{label}_{repeats[label]}"
        out[name] = None
    return tuple(out)


def item_times(stack: Stack) -> NDArray[np.datetime64]:
    """Times of the items, NaT where they are not known."""
    times = stack.array.coords.get("time")
    if times is None or times.dtype.kind != "M":
        return np.full(len(stack.ids), np.datetime64("NaT", "ns"))
    return np.asarray(times.values, "datetime64[ns]")


def stack_nodata(array: xr.DataArray) -> float | None:
    """Value of pixels without data that a stack names; NaN for floats that name none, None for integers."""
    nodata = named_nodata(array)
    if nodata is None:
        nodata = array.rio.encoded_nodata if array.dtype.kind != "f" else np.nan
    return None if nodata is None else float(nodata)
