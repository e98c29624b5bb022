"""A Dataset of bands, as `odc.stac.load` gives it, as one stack, and back."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  (registers the accessor for nodata)
import xarray as xr

from coregstack.errors import InvalidStack
from coregstack.matching.bands import BY_FLAGS, Bands
from coregstack.pixels.header import FLAGS, holds_flags

CLASSES = "classes"
"""Coordinate on band: the source that marks a band as classes; empty for measurements."""
VARIABLES = "coregstack_variables"
"""Attribute of a stack that was a Dataset: what its variables were, as JSON."""
SPATIAL = {"latitude": "y", "lat": "y", "northing": "y", "longitude": "x", "lon": "x", "easting": "x"}
"""Other names of the dims of a grid."""


def known_dim(dim: Hashable) -> str:
    """What a dim is called here: `y` and `x` for rows and columns, whatever they are called there."""
    return SPATIAL.get(str(dim).lower(), str(dim))


def images_of(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that are images of all times, on the grid of the Dataset; the others are passed along.

    Raises
    ------
    InvalidStack
        If one of them holds what cannot be moved: passed along, it would lie apart from those that are.
    """
    found = [
        str(name)
        for name, value in dataset.data_vars.items()
        if {known_dim(dim) for dim in value.dims} == {"time", "y", "x"}
    ]
    odd = {name: dataset[name].dtype for name in found if not _movable(dataset[name].dtype)}
    if odd:
        told = ", ".join(f"{name!r} ({dtype})" for name, dtype in odd.items())
        raise InvalidStack(
            f"Images of a Dataset hold bool, integers, float32 or float64, not as {told}. Convert them, for example "
            f"with dataset.assign(name=dataset.name.astype('float32')), or leave them out with drop_vars({[*odd]})."
        )
    return found


def _movable(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize in (4, 8))


def stacked(dataset: xr.Dataset) -> xr.DataArray:
    """The images of a Dataset as one DataArray with the dim `band`.

    Its dtype holds the numbers of all of them, its nodata value is that of the first that is matched, which the others
    take over, and an attribute says what the variables were. Images of classes keep their numbers, and bool ones are 0
    and 1.

    Raises
    ------
    InvalidStack
        If there is no image.
    """
    names = images_of(dataset)
    if not names:
        whole = next((name for name, value in dataset.data_vars.items() if value.ndim == 4), None)
        hint = "" if whole is None else f" Pass the variable that is a stack: dataset[{whole!r}]."
        raise InvalidStack(
            "No variable of the Dataset has the dims (time, y, x), or others that are called latitude and longitude, "
            f"as a band has; it holds {list(dataset.data_vars)}.{hint}"
        )
    dataset = with_grid(dataset)
    told = _classes(dataset, names)
    first = dataset[names[told.matched[0] if told.matched else 0]]
    nodata = named_nodata(first)
    dtype = np.result_type(*(_stored(dataset[name].dtype) for name in names))
    bands = {
        name: _with_nodata(dataset[name], nodata, dtype) if not why else dataset[name].astype(dtype)
        for name, why in zip(names, told.classes, strict=True)
    }
    array = xr.Dataset(bands, coords=dataset.coords).to_dataarray("band")
    carried = {key: value for key, value in dataset.attrs.items() if str(key).startswith("coregstack_")}
    array.attrs = {key: value for key, value in first.attrs.items() if key not in FLAGS}
    array.attrs |= carried | {VARIABLES: json.dumps([_described(dataset[name]) for name in names])}
    array.encoding = {key: value for key, value in first.encoding.items() if key == "grid_mapping"}
    if any(told.classes):
        array = array.assign_coords({CLASSES: ("band", np.array(told.classes, object))})
    return array if nodata is None else array.rio.write_nodata(nodata)


def unstacked(array: xr.DataArray) -> xr.Dataset:
    """The Dataset that `stacked` was made of, as far as images and coordinates go.

    Parameters
    ----------
    array : DataArray
        With the attribute that `stacked` gave it; it may have been aligned, written and read since.
    """
    variables = json.loads(str(array.attrs[VARIABLES]))
    nodata = named_nodata(array)
    carried = {key: value for key, value in array.attrs.items() if str(key).startswith("coregstack_")}
    out = {}
    for told in variables:
        band = array.sel(band=told["name"], drop=True)
        dtype, own = np.dtype(told["dtype"]), told["nodata"]
        own = np.nan if own is None and dtype.kind == "f" else own
        if own is not None and nodata is not None and own != nodata and not told["classes"]:
            band = band.where(band != nodata, own) if np.isfinite(nodata) else band.fillna(own)
        image = band.astype(dtype)
        image.attrs = dict(told["attrs"])
        image.encoding = {key: value for key, value in array.encoding.items() if key == "grid_mapping"}
        out[told["name"]] = image.drop_vars(CLASSES, errors="ignore")
    found = xr.Dataset(out)
    return found.assign_attrs({key: value for key, value in carried.items() if key != VARIABLES})


def with_grid(dataset: xr.Dataset) -> xr.Dataset:
    """The same with its grid mapping among the coordinates, where it is a variable, as plain readers leave it."""
    mappings = [
        name
        for name, value in dataset.data_vars.items()
        if value.ndim == 0 and {"crs_wkt", "spatial_ref", "grid_mapping_name"} & set(value.attrs)
    ]
    return dataset.set_coords(mappings) if mappings else dataset


def as_band(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """One image of a Dataset as a stack of one band that knows its name; a bool one holds 0 and 1."""
    image = dataset[name]
    image = image.astype("uint8") if image.dtype == bool else image
    return image.drop_vars("band", errors="ignore").assign_coords(band=name)


def named_nodata(image: xr.DataArray) -> float | None:
    """Value of pixels without data that an image names; None where it names none.

    Raises
    ------
    InvalidStack
        If its pixels cannot hold it, as integers cannot NaN.
    """
    try:
        value: float | None = image.rio.nodata
    except (OverflowError, TypeError, ValueError) as error:
        keys = ("_FillValue", "missing_value", "fill_value", "nodata", "nodatavals")
        told = ", ".join(f"{key}={image.attrs[key]!r}" for key in keys if key in image.attrs)
        raise InvalidStack(
            f"Pixels of {image.dtype} cannot hold the nodata value that the attributes name ({told}). Name one that "
            "they hold, for example with stack.rio.write_nodata(0)."
        ) from error
    return value


def _classes(dataset: xr.Dataset, names: list[str]) -> Bands:
    told = [
        BY_FLAGS if holds_flags(dataset[name].attrs) or dataset[name].dtype == bool else "" for name in names
    ]
    return Bands.of(names, told)


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype("uint8") if dtype.kind == "b" else dtype


def _with_nodata(image: xr.DataArray, nodata: float | None, dtype: np.dtype[Any]) -> xr.DataArray:
    """An image under a nodata value of all images; where it holds that as a number, it takes the next one."""
    own = named_nodata(image)
    own = np.nan if own is None and image.dtype.kind == "f" else own
    image = image.astype(dtype)
    if nodata is None or own is None or own == nodata or (np.isnan(own) and np.isnan(nodata)):
        return image
    empty = image.isnull() if np.isnan(own) else image == own
    if np.isfinite(nodata):
        up = dtype.type(nodata) != _largest(dtype)
        image = image.where(image != nodata, dtype.type(nodata + 1 if up else nodata - 1))
    return image.where(~empty, dtype.type(nodata))


def _largest(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max)


def _described(image: xr.DataArray) -> dict[str, Any]:
    nodata = named_nodata(image)
    classes = holds_flags(image.attrs) or image.dtype == bool or any(Bands.of([str(image.name)]).classes)
    return {
        "name": str(image.name),
        "dtype": str(image.dtype),
        "nodata": None if nodata is None or np.isnan(nodata) else _plain(nodata),
        "classes": bool(classes),
        "attrs": _plain_attributes(image.attrs),
    }


def _plain_attributes(attrs: Mapping[Hashable, Any]) -> dict[str, Any]:
    """Attributes that JSON can hold."""
    kept = {}
    for name, value in attrs.items():
        plain = _plain(value)
        try:
            json.dumps(plain)
        except TypeError:
            continue
        kept[str(name)] = plain
    return kept


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
