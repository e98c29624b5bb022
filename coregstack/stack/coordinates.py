"""Coordinates of a stack: where its pixels lie, when its items were taken, and what its bands are called."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidStack
from coregstack.untrusted.crstext import crs_fault

_CRS_KEYS = ("spatial_ref", "crs_wkt", "crs", "proj4", "proj:wkt2", "proj:projjson", "proj:code")
"""Attributes that may define a CRS."""
_UNEVEN = 1e-3
"""Part of a pixel by which a label may lie off an even lattice."""
_ROUNDING = 2.0
"""Units in the last place by which a label may lie off for its dtype's rounding."""
_TURNED = 1e-9
"""Part of the pixel size below which rows and columns count as running along the axes."""
_WRITTEN_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?|\d{8}(T\d{6}Z?)?")
"""Labels that are times in the form of ISO 8601, with a day at least."""

Labelled = TypeVar("Labelled", xr.DataArray, xr.Dataset)


def stack_box(array: xr.DataArray) -> GeoBox:
    """Lattice and extent of a stack, from its coordinates and its grid mapping.

    Where `x` or `y` is missing, as `rioxarray.open_rasterio` leaves it with ``parse_coordinates=False``, the
    ``GeoTransform`` of the grid mapping tells the place. Where both are there and agree within the rounding of the
    coordinates' dtype, the geotransform is taken, for float32 does not hold a place in metres.

    Raises
    ------
    InvalidStack
        If `x` or `y` is not evenly spaced or not along its dim, or the geotransform is rotated, or not understood
        where `x` or `y` is missing.
    """
    height, width = array.sizes["y"], array.sizes["x"]
    affine = _affine(array, height, width)
    placed = {"x", "y"} <= set(array.coords) or _geotransform(array) is not None
    # without a place, pixels are counted, and no CRS says where
    return GeoBox((height, width), affine, stack_crs(array) if placed else None)


def with_coordinates(array: xr.DataArray, box: GeoBox) -> xr.DataArray:
    """The same with `x` and `y` at pixel centres, where either is missing and the stack has a place."""
    if {"x", "y"} <= set(array.coords) or box.affine == Affine.translation(-0.5, -0.5):
        return array
    affine, (height, width) = box.affine, box.shape
    labels = {
        "y": affine.f + affine.e * (np.arange(height) + 0.5),
        "x": affine.c + affine.a * (np.arange(width) + 0.5),
    }
    return array.assign_coords({dim: values for dim, values in labels.items() if dim not in array.coords})


def on_box(array: xr.DataArray, data: Any, box: GeoBox) -> xr.DataArray:
    """Other pixels under the coordinates of a stack, as far as these do not depend on the place, in another box.

    Parameters
    ----------
    array : DataArray
        Dims (time, band, y, x).
    data : array
        With these dims, and the shape of `box`.
    box : GeoBox
        Where they lie.
    """
    kept = {name: one for name, one in array.coords.items() if not {"y", "x"} & set(one.dims)}
    moved = xr.DataArray(data, dims=array.dims, coords=kept, attrs=array.attrs, name=array.name)
    moved.encoding = {key: value for key, value in array.encoding.items() if "chunks" not in key}
    moved = with_coordinates(moved.drop_vars(["x", "y"], errors="ignore"), box)
    placed: xr.DataArray = moved.rio.write_crs(str(box.crs)).rio.write_transform(box.affine)
    return placed


def stack_crs(array: xr.DataArray) -> CRS | None:
    """CRS of a stack from its grid mapping, or from what odc and stackstac leave; None without one."""
    for text in _crs_texts(array):
        if fault := crs_fault(text):
            raise InvalidStack(f"The CRS of a stack {fault}. Set it anew with write_crs.")
    crs = array.rio.crs
    if crs is not None:
        return CRS(crs.to_string())
    for value in (array.attrs.get("crs"), array.coords["epsg"].item() if "epsg" in array.coords else None):
        if value is not None:
            return CRS(f"EPSG:{value}" if isinstance(value, int | np.integer) else str(value))
    return None


def _crs_texts(array: xr.DataArray) -> Iterator[str]:
    """Every text of a stack that may be read as the definition of its CRS."""
    holders = [array.attrs, array.encoding, *(coord.attrs for coord in array.coords.values())]
    for holder in holders:
        yield from (str(value) for key, value in holder.items() if key in _CRS_KEYS and value is not None)
    for coord in array.coords.values():
        if "grid_mapping_name" in coord.attrs:
            # names of datums and CRSs go to PROJ too
            yield from (value for value in coord.attrs.values() if isinstance(value, str))
    for name in ("epsg", "proj:epsg", "proj:code", "proj:wkt2", "proj:projjson"):
        if name in array.coords:
            yield from (str(value) for value in np.unique(array.coords[name].values.astype(str)))


def band_names(array: xr.DataArray) -> tuple[str, ...]:
    """Band names of a stack: texts of its coordinate `band`, else of the attribute `long_name`, else 1, 2, 3 and so on.

    `rioxarray.open_rasterio` counts bands in the coordinate and keeps what they are called in `long_name`.
    """
    count = array.sizes["band"]
    labels = None
    if "band" in array.coords and array.coords["band"].dims == ("band",):
        labels = array.coords["band"].values
        if labels.dtype.kind not in "iuf":
            return tuple(str(name) for name in labels)
    told = array.attrs.get("long_name")
    if isinstance(told, str) and count == 1 and labels is None:
        return ("1",)
    if isinstance(told, tuple | list | np.ndarray) and len(told) == count:
        names = tuple(str(name) for name in told)
        if all(names) and len(set(names)) == count:
            return names
    return tuple(str(name) for name in (range(1, count + 1) if labels is None else labels))


def with_utc_times(array: Labelled) -> Labelled:
    """The same with times as datetime64 in UTC, where they are times of another kind.

    These are times with a zone, Python's own, those of the calendars of cftime, and texts in the form of ISO 8601.
    Other labels are left as they are.

    Parameters
    ----------
    array : DataArray or Dataset

    Raises
    ------
    InvalidStack
        If times lie outside of what datetime64 holds.
    """
    if "time" not in array.coords or array.coords["time"].dims != ("time",):
        return array
    given = array.coords["time"].to_index()
    if array.coords["time"].dtype.kind == "S":
        array = array.assign_coords(time=("time", given.str.decode("utf-8", "replace")))
        given = array.coords["time"].to_index()
    times = given
    if times.dtype == object or times.dtype.kind in "OU":
        known = [in_any_calendar(one) for one in times]
        if not all(isinstance(one, datetime.date) or _is_written_time(one) or pd.isna(one) for one in known):
            return array
        times = pd.Index([None if pd.isna(one) else str(one) for one in known], dtype=object)
    elif not isinstance(times, pd.DatetimeIndex):
        return array
    try:
        utc = pd.to_datetime(times, utc=True, format="ISO8601" if times.dtype == object else None)
        utc = utc.tz_localize(None).as_unit("ns").to_numpy()
    except (ValueError, OverflowError) as error:
        raise InvalidStack(
            "The times of a stack have to be times of the years 1678 to 2262, on days that the calendar has, but "
            f"some are not ({str(error).splitlines()[0]}). Pass datetime64 in UTC."
        ) from error
    same = isinstance(given, pd.DatetimeIndex) and given.tz is None
    if same and np.array_equal(given.to_numpy(), utc, equal_nan=True):
        return array
    return array.assign_coords(time=("time", utc, array.coords["time"].attrs))


def in_any_calendar(moment: Any) -> Any:
    """A time of cftime as text in the form of ISO 8601, anything else as it is: cftime need not be installed."""
    if hasattr(moment, "calendar") and hasattr(moment, "isoformat"):
        return moment.isoformat()
    return moment


def _is_written_time(label: Any) -> bool:
    return isinstance(label, str) and _WRITTEN_TIME.fullmatch(label.strip()) is not None


def _affine(array: xr.DataArray, height: int, width: int) -> Affine:
    told = _geotransform(array)
    if told is not None and max(abs(told.b), abs(told.d)) > _TURNED * max(abs(told.a), abs(told.e)):
        raise InvalidStack(
            "The stack has a rotated geotransform; its rows and columns have to run along the axes of its CRS. Warp "
            "it north-up, for example with rio.reproject."
        )
    axes = {}
    for dim, size in (("x", width), ("y", height)):
        own = None if told is None else ((told.a, told.c) if dim == "x" else (told.e, told.f))
        axes[dim] = _axis(array, dim, size, own)
    (step_x, start_x), (step_y, start_y) = axes["x"], axes["y"]
    return Affine(step_x, 0, start_x, 0, step_y, start_y)


def _axis(array: xr.DataArray, dim: str, size: int, told: tuple[float, float] | None) -> tuple[float, float]:
    """Step from one pixel to the next, and the outer edge of the first."""
    if dim not in array.coords:
        return (1.0, -0.5) if told is None else told
    if array.coords[dim].dims != (dim,):
        raise InvalidStack(
            f"The coordinate {dim!r} has to have the dim {dim!r} alone, but it has {array.coords[dim].dims}. Bring the "
            "stack onto one regular grid, or rename what only is called so."
        )
    labels = np.asarray(array.coords[dim].values)
    values = labels.astype(np.float64)
    step = (values[-1] - values[0]) / (size - 1) if size > 1 else _lone_step(array, dim)
    rounding = _rounding(labels)
    if told is not None and abs(told[0] - step) * size <= 2 * rounding + 1e-9 * abs(step) * size:
        even = told[1] + told[0] * (np.arange(size) + 0.5)
        if np.allclose(values, even, rtol=0, atol=rounding + 1e-6 * abs(step)):
            return told
    even = values[0] + step * np.arange(size)
    close = np.isfinite(step) and np.allclose(values, even, rtol=0, atol=_UNEVEN * abs(step) + rounding)
    if step == 0 or not close:
        raise InvalidStack(
            f"The coordinate {dim!r} is not evenly spaced. Bring the stack onto one regular grid, for "
            "example with odc.stac.load or rio.reproject_match; xr.concat(join='override') helps where "
            "coordinates differ by rounding only."
        )
    # stackstac labels pixels by their upper left corner unless told otherwise
    corners = "spec" in array.attrs and _on_corner(array, dim, values[0], step)
    return step, values[0] - (0.0 if corners else 0.5) * step


def _rounding(labels: NDArray[Any]) -> float:
    """By how much labels may be off for they are rounded to their dtype."""
    if labels.dtype.kind != "f" or not labels.size:
        return 0.0
    return float(_ROUNDING * np.finfo(labels.dtype).eps * np.abs(labels.astype(np.float64)).max())


def _geotransform(array: xr.DataArray) -> Affine | None:
    """The geotransform that the grid mapping holds; None where it holds none, or none that is needed or understood."""
    told = None
    if "spatial_ref" in array.coords:
        told = array.coords["spatial_ref"].attrs.get("GeoTransform")
    if array.rio.grid_mapping in array.coords:
        told = array.coords[array.rio.grid_mapping].attrs.get("GeoTransform", told)
    if told is None:
        return None
    try:
        affine = Affine.from_gdal(*(float(part) for part in str(told).split()))
        if not np.isfinite(affine[:6]).all() or affine.is_degenerate:
            raise ValueError("it spans no lattice")
    except (TypeError, ValueError) as error:
        if {"x", "y"} <= set(array.coords):
            return None
        raise InvalidStack(
            f"The stack lacks x or y, and the GeoTransform of its grid mapping is not six numbers that span a "
            f"lattice: {told!r}. Set it with rio.write_transform, or assign x and y."
        ) from error
    return affine


def _on_corner(array: xr.DataArray, dim: str, start: float, step: float) -> bool:
    """Whether the first label lies on a corner of the lattice that a geotransform spans, not on a centre."""
    transform = array.attrs.get("transform")
    if transform is None:
        return False
    phase = (start - (transform[2] if dim == "x" else transform[5])) / step
    return bool(abs(phase - round(phase)) < 0.25)


def _lone_step(array: xr.DataArray, dim: str) -> float:
    try:
        res_x, res_y = array.rio.resolution()
    except Exception:  # rioxarray raises its own errors where nothing names a pixel size
        return 1.0
    return float(res_x if dim == "x" else res_y)
