"""The cube before any pixel is in it: its arrays, coordinates, CRS and journal."""

from __future__ import annotations

import json
import warnings
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.tokenize import tokenize
from odc.geo.geobox import GeoBox
from pyproj.enums import WktVersion
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from coregstack.stack.nodes import DISPLACEMENT, NODES

INNER_SIDE = 256
"""Side of a chunk, px: one read of a time series decodes this much of each date."""
_ALONE_SIDE = 512
"""Side of a chunk, px, where each is an object of its own."""
_INNER_BYTES = 2**21
_SHARD_BYTES = 2**27
"""A larger date is cut into several objects, because a worker holds whole objects in memory."""
_SERIES_CHUNK = 4096
_UNITS = {"ns": "nanoseconds", "us": "microseconds", "ms": "milliseconds", "s": "seconds"}
CLEAR = "clear"
GRID = "spatial_ref"
"""Array whose attributes define the CRS."""
_DECODING = frozenset(
    ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "units", "calendar", "dtype",
     "valid_min", "valid_max", "valid_range", "grid_mapping", "coordinates")
)  # fmt: skip
"""Attributes by which readers decode values, after CF."""
JOURNAL = "_coregstack"
"""Group inside the cube that holds its journal; readers of the cube do not see it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cube:
    """What is to be in the store: pixels and coordinates along with their geometry."""

    name: str
    """Name of the variable that holds the pixels."""
    array: xr.DataArray
    """Dims (time, band, y, x) or (time, y, x), backed by dask; all coordinates that are kept."""
    box: GeoBox
    """Lattice and extent of the pixels."""
    nodata: float | None
    """Value of pixels without data."""
    items: list[str]
    """Id and time of each date, as one text."""
    fingerprints: list[str]
    """What each date is made from, as one text."""
    displacement: xr.Dataset | None = None
    """What each date is displaced by, lazy, as a quality tells it; None where one shift moved all."""
    chunks: tuple[int, int] | None = None
    """Rows and columns of a chunk; None for the usual ones."""
    sharding: bool = True
    """Whether chunks are put together into objects of whole dates."""

    @property
    def lazy(self) -> dict[str, da.Array]:
        """Coordinates on time that are known only when a date is computed, such as its shift."""
        coords = {str(name): coord for name, coord in self.array.coords.items() if coord.dims == ("time",)}
        return {name: coord.data for name, coord in coords.items() if coord.chunks is not None}

    def select(self, dates: Sequence[int]) -> Cube:
        """The cube of some of the dates, in their order."""
        if len(dates) == len(self.items):
            return self
        return replace(
            self,
            array=self.array.isel(time=list(dates)),
            displacement=None if self.displacement is None else self.displacement.isel(time=list(dates)),
            items=[self.items[k] for k in dates],
            fingerprints=[self.fingerprints[k] for k in dates],
        )

    @property
    def layout(self) -> dict[str, Any]:
        """What a store has to agree on before dates of this cube may go into it; plain JSON."""
        array = self.array
        bands = array.coords["band"].values.tolist() if "band" in array.coords else []
        lattice = {"lattice": array.attrs[NODES]} if NODES in array.attrs else {}
        return lattice | {
            "variable": self.name,
            "dims": list(map(str, array.dims)),
            "size of a date": list(array.shape[1:]),
            "dtype": str(array.dtype),
            "nodata": str(self.nodata),
            "bands": [str(band) for band in np.atleast_1d(bands)],
            "anchor": str(array.attrs.get("coregstack_anchor", "")),
            "grid": tokenize(str(self.box.crs), tuple(self.box.transform)[:6]),
            "coordinates on time": sorted(str(k) for k, v in array.coords.items() if "time" in v.dims),
        }


def dated(name: str | None, arrays: Container[str]) -> list[str]:
    """The arrays of a cube that hold the dates themselves, of which `name` is the pixels."""
    return [one for one in (name, CLEAR, *DISPLACEMENT) if one in arrays and one is not None]


def shard_shape(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, int] = (INNER_SIDE, INNER_SIDE)
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the stored objects, and of the chunks inside them, for a cube of `shape`.

    Parameters
    ----------
    shape : tuple of int
        (time, band, y, x) or (time, y, x).
    itemsize : int
        Bytes of one value.
    chunks : tuple of int
        Rows and columns of a chunk.

    Returns
    -------
    shard, chunk : tuple of int
        A date is one shard, unless it is larger than 128 MiB.

    Examples
    --------
    >>> shard_shape((100, 4, 4000, 4000), 2)
    ((1, 4, 4096, 4096), (1, 4, 256, 256))
    >>> shard_shape((2, 8, 12367, 8719), 2)
    ((1, 8, 2048, 2048), (1, 8, 256, 256))
    >>> shard_shape((68, 100, 101), 2)
    ((1, 100, 101), (1, 100, 101))
    """
    bands, sizes = shape[1:-2], shape[-2:]
    depth = itemsize * int(np.prod(bands, dtype=np.int64))
    inner = [min(side, size) for side, size in zip(chunks, sizes, strict=True)]
    outer = [-(-size // side) * side for size, side in zip(sizes, inner, strict=True)]
    if depth * sizes[0] * sizes[1] > _SHARD_BYTES:
        times = 1
        while depth * 4 * times**2 * inner[0] * inner[1] <= _SHARD_BYTES:
            times *= 2
        # powers of two meet the edges of the blocks that stacks are usually cut into
        outer = [min(side * times, size) for side, size in zip(inner, outer, strict=True)]
    inner_bands = bands if depth * inner[0] * inner[1] <= _INNER_BYTES else (1,) * len(bands)
    return (1, *bands, *outer), (1, *inner_bands, *inner)


def template_of(cube: Cube) -> xr.Dataset:
    """All that is known before any pixel: metadata, coordinates and empty arrays."""
    return _dataset(cube)


def write_template(cube: Cube, template: xr.Dataset, root: zarr.Group) -> None:
    """Write a template into the group of a cube that is begun."""
    with _without_notes():
        template.to_zarr(
            root.store,
            group=root.path or None,
            mode="a",
            zarr_format=3,
            consolidated=False,
            compute=False,
            safe_chunks=False,
            encoding=_encodings(cube, template),
        )


def true_attributes(cube: Cube, template: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Attributes of every array of a cube as `write_template` writes them."""
    root = zarr.open_group(zarr.storage.MemoryStore(), mode="w", zarr_format=3)
    write_template(cube, template, root)
    return {name: dict(array.attrs) for name, array in root.arrays()}


def mended(name: str, there: Mapping[str, Any], true: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of an array that are there, with those that say what its values mean as they have to be.

    What others have added stays, unless it changes what readers make of the values.
    """
    kept = {} if name == GRID else {key: value for key, value in there.items() if key not in _DECODING}
    return {**kept, **true}


def consolidate(root: zarr.Group) -> None:
    """Gather all metadata of a cube in one object: without it xarray warns, and opens slowly."""
    if not getattr(root.store, "supports_consolidated_metadata", True):
        return  # such as Icechunk, which gathers them in its own way
    with _without_notes():
        zarr.consolidate_metadata(root.store, path=root.path or None, zarr_format=3)


@contextmanager
def _without_notes() -> Iterator[None]:
    """Silence two warnings of Zarr about things that are intended.

    Gathered metadata are not in the specification of Zarr 3 yet, but every reader may ignore them;
    and some stores keep empty folders of a cube that was overwritten.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


def encoded(array: Any, values: np.ndarray, dims: tuple[Hashable, ...]) -> np.ndarray:
    """Values of a coordinate as an array of a cube stores them."""
    units = {key: array.attrs[key] for key in ("units", "calendar") if key in array.attrs}
    if values.dtype.kind != "M" or not units:
        return values
    plain = xr.Variable(dims, values, encoding=units | {"dtype": array.dtype})
    return np.asarray(xr.conventions.encode_cf_variable(plain).values)


def known_coords(cube: Cube) -> dict[str, xr.DataArray]:
    """Coordinates whose values are known before any pixel."""
    coords = cube.array.coords.items()
    known = {str(name): coord for name, coord in coords if coord.chunks is None and str(name) != CLEAR}
    nodes = {} if cube.displacement is None else cube.displacement.coords
    return known | {str(name): coord for name, coord in nodes.items()}


def _dataset(cube: Cube) -> xr.Dataset:
    """The cube as xarray writes it, with stand-ins for all that is computed later."""
    array = cube.array
    coords = {name: coord.variable.copy(deep=False) for name, coord in array.coords.items()}
    count = array.sizes["time"]
    for name, values in cube.lazy.items():
        coords[name].data = _unknown(count, values.dtype)
    if CLEAR in coords:
        coords[CLEAR].data = da.zeros(coords[CLEAR].shape, dtype=bool, chunks=-1)
    attrs = _plain(array.attrs, without=("_FillValue", "missing_value", "grid_mapping", "coordinates"))
    if cube.nodata is not None:
        attrs["_FillValue"] = array.dtype.type(cube.nodata)
    pixels = (array.dims, da.zeros(array.shape, dtype=array.dtype, chunks=-1), attrs)
    dataset = xr.Dataset({cube.name: pixels}, coords).drop_encoding()
    for coord in dataset.coords.values():
        coord.attrs = _plain(coord.attrs, without=())
    dataset = _georeferenced(dataset, cube.box)
    # readers that follow no grid mapping, as xarray by default, take that for a coordinate by this
    beside = sorted(str(name) for name in dataset[cube.name].coords if name not in cube.array.dims)
    dataset[cube.name].encoding["coordinates"] = " ".join(beside)
    displacement = cube.displacement
    if displacement is None:
        return dataset
    told = {"anchor": array.attrs.get("coregstack_anchor"), "method": array.attrs.get("coregstack_method")}
    known = {name: str(value) for name, value in told.items() if value}
    return dataset.assign(displacement.variables).assign_attrs(displacement.attrs | known)


def _unknown(count: int, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return np.full(count, np.nan, dtype)
    return np.full(count, "", object) if dtype.kind in "OUT" else np.zeros(count, dtype)


def _georeferenced(dataset: xr.Dataset, box: GeoBox) -> xr.Dataset:
    transform = list(box.transform)[:6]
    attrs: dict[str, Any] = {
        "zarr_conventions": [_convention("spatial")],
        "spatial:dimensions": ["y", "x"],
        "spatial:shape": list(box.shape),
        "spatial:transform_type": "affine",
        "spatial:transform": transform,
        "spatial:bbox": list(box.extent.boundingbox.bbox),
        "spatial:registration": "pixel",
    }
    if box.crs is not None:
        dataset = dataset.rio.write_crs(box.crs.to_wkt(), grid_mapping_name=GRID)
        dataset = dataset.rio.write_transform(box.transform, grid_mapping_name=GRID)
        dataset = dataset.rio.write_coordinate_system()
        attrs["zarr_conventions"].append(_convention("proj"))
        attrs["proj:wkt2"] = box.crs.to_wkt(version=WktVersion.WKT2_2019)
        if box.crs.epsg is not None:
            attrs["proj:code"] = f"EPSG:{box.crs.epsg}"
    return dataset.assign_attrs(attrs)


_CONVENTIONS = {
    "proj": ("f17cb550-5864-4468-aeb7-f3180cfb622f", "Coordinate reference system information"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
}


def _convention(name: str) -> dict[str, str]:
    uuid, description = _CONVENTIONS[name]
    return {
        "uuid": uuid,
        "name": name,
        "description": description,
        "schema_url": f"https://raw.githubusercontent.com/zarr-conventions/{name}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/zarr-conventions/{name}/blob/v0.1/README.md",
    }


def _plain(attrs: Mapping[Any, Any], without: tuple[str, ...]) -> dict[str, Any]:
    """The attributes that Zarr can hold; loaders leave python objects among them."""
    kept = {}
    for name, value in attrs.items():
        if name in without:
            continue
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        try:
            json.dumps(plain)
        except TypeError:
            continue
        kept[str(name)] = plain
    return kept


def _encodings(cube: Cube, dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    usual = INNER_SIDE if cube.sharding else _ALONE_SIDE
    shape, itemsize = cube.array.shape, cube.array.dtype.itemsize
    shards, chunks = shard_shape(shape, itemsize, cube.chunks or (usual, usual))
    # bitshuffle with the fastest zstd: a quarter smaller than lz4 at about the same speed
    codec = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    encodings: dict[str, dict[str, Any]] = {
        str(name): {"chunks": (_SERIES_CHUNK,)}
        for name, v in dataset.variables.items()
        if v.dims == ("time",)
    }
    # damage that does not change the size is detected when the object is read
    codecs = [codec, Crc32cCodec()]
    pixels: dict[str, Any] = {"chunks": chunks, "compressors": codecs}
    if cube.sharding:
        pixels["shards"] = shards
    if cube.nodata is not None:
        pixels["fill_value"] = cube.array.dtype.type(cube.nodata)
    if GRID in dataset.coords:
        pixels["grid_mapping"] = GRID
    encodings[cube.name] = pixels
    if CLEAR in dataset.coords:
        planes = [(s[0], *s[-2:]) for s in (shards, chunks)]
        encodings[CLEAR] = {"chunks": planes[1], "compressors": codecs}
        if cube.sharding:
            encodings[CLEAR]["shards"] = planes[0]
    for one in DISPLACEMENT:
        if one in dataset.data_vars:
            plane = (1, *dataset[one].shape[1:])
            encodings[one] = {"chunks": plane, "compressors": codecs, "fill_value": np.float32(np.nan)}
    for name, coord in dataset.coords.items():
        if coord.dims == ("time",) and coord.dtype.kind == "M":
            # units that hold any later date too, not only those that are there now
            since = f"{_UNITS[np.datetime_data(coord.dtype)[0]]} since 1970-01-01"
            encodings[str(name)] |= {"units": since, "calendar": "proleptic_gregorian", "dtype": "int64"}
    return encodings
