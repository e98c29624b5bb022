"""The only module that opens input rasters: drivers, limits, headers, windows."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from io import BufferedIOBase
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from coregstack.errors import CoregError, MissingFile, UnreadableFile
from coregstack.geometry.lattice import crs_of
from coregstack.pixels import hints
from coregstack.pixels.bounds import check_dataset, check_read, check_redirects
from coregstack.pixels.claims import check_boxes, check_crs_bytes, check_tiff
from coregstack.pixels.header import RasterHeader, holds_flags
from coregstack.pixels.inputs import stands_for, state_of
from coregstack.pixels.joined import first_of, joined_text
from coregstack.pixels.remote import RemoteFile
from coregstack.untrusted.addresses import Address

DRIVERS: Mapping[str, tuple[bytes, ...]] = {
    "GTiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
"""GDAL drivers that a file may be opened with, by its first bytes: GeoTIFF (and COG), JPEG 2000."""
_JP2 = DRIVERS["JP2OpenJPEG"][0]

GDAL_OPTIONS: Mapping[str, Any] = {
    # files beside a raster (.aux.xml, .ovr, .msk, world files) are not read
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 256,
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_TIFF_INTERNAL_MASK": True,
}
"""Settings under which every file is opened, in every process; the cache is in MB."""

WARP_TOLERANCE = 1e-5
"""How far, in pixels, GDAL's approximated transformation may lie from the exact one."""

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""Errors of rasterio: its own and, where it does not convert them, those of GDAL."""

_REMOTE: dict[str, RemoteFile] = {}
"""Files behind addresses that are open now, by the names under which GDAL has them."""
_VIRTUAL = re.compile(r"/vsiriopener_\w+/")
"""What rasterio puts before the name of a file that it hands to GDAL."""

_WARP_MEMORY_MB = 64
_CHECKED_BYTES = 128 * 2**20
"""Pixels that are in memory at once where all of a raster are read; always at least a row of blocks high."""
_FINER = 4
"""How much finer than what is asked for an overview may be that is read for it, along each axis."""


@contextmanager
def gdal(*, alone: bool = False) -> Iterator[None]:
    """Settings under which files are opened; enter it in every task that touches a file.

    `alone` says that no other task can run at the same time, so that GDAL may decode with all cores.
    """
    options = {**GDAL_OPTIONS, **({"GDAL_NUM_THREADS": "ALL_CPUS"} if alone else {})}
    if hasenv() and options.items() <= getenv().items():
        yield  # they hold already: to set them costs as much as to open a small file
        return
    with rasterio.Env(**options):
        yield


@contextmanager
def opened(path: str, *, alone: bool = False) -> Iterator[DatasetReader]:
    """Open a raster for reading, by an allowed driver only; `alone` is as for `gdal`.

    An `Address` is read by `RemoteFile`: GDAL asks for bytes of this one file and has no network of its own.

    Raises
    ------
    MissingFile
        If there is no such file.
    UnreadableFile
        If it is no raster of an allowed driver, names another file as part of itself, or its server stops giving it.
    """
    if isinstance(path, Address):
        with closing(RemoteFile(path)) as remote, gdal():
            with _dataset(path, _driver(path, remote.reader()), remote.opener) as dataset:
                _REMOTE[dataset.name] = remote
                try:
                    yield dataset
                finally:
                    del _REMOTE[dataset.name]
            if remote.failure is not None:
                # GDAL takes what it cannot read for what is not there: a mask, an overview
                raise remote.failure
        return
    if not os.path.isfile(path):
        if os.path.isdir(path):
            raise UnreadableFile(f"{path!r} is a folder. {hints.of_folder(path)}")
        raise MissingFile.at(path)
    try:
        with open(path, "rb") as file:
            driver = _driver(path, file)
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(
            f"{path!r} cannot be opened ({error.strerror}). Check its permissions."
        ) from error
    # an absolute path is never taken for a connection string or a virtual file system
    with gdal(alone=alone), _dataset(os.path.abspath(path), driver) as dataset:
        yield dataset


@contextmanager
def _dataset(path: str, driver: str, opener: Any = None) -> Iterator[DatasetReader]:
    try:
        if opener is None:
            # what rasterio.open comes to; that would set all of GDAL's options once more for each file
            dataset = DatasetReader(path, driver=driver, sharing=False)
        else:
            dataset = rasterio.open(path, driver=driver, sharing=False, opener=opener)
    except NotGeoreferencedWarning as error:
        raise UnreadableFile(
            f"{path!r} has no usable georeference: {hints.of_place(path, crs=False)}"
        ) from error
    except (*GDAL_ERRORS, UnicodeError) as error:
        raise UnreadableFile(
            f"{path!r} cannot be read as GeoTIFF or JPEG 2000 ({error}). Check that the file is complete."
        ) from error
    with dataset:
        check_redirects(path, dataset)
        yield dataset


@contextmanager
def reading(header: RasterHeader, *, alone: bool = False) -> Iterator[DatasetReader]:
    """Open a raster whose header was read: one file, or several as bands of one; `alone` is as for `gdal`.

    Raises
    ------
    MissingFile, UnreadableFile
        As `opened` does.
    """
    if not header.parts:
        with opened(header.path, alone=alone) as dataset:
            yield dataset
        return
    with ExitStack() as stack:
        # every file is checked, as it would be alone, before GDAL opens it once more as a part
        files = [stack.enter_context(opened(part.path, alone=alone)) for part in header.parts]
        try:
            dataset = rasterio.open(joined_text(files), driver="VRT", sharing=False)
        except GDAL_ERRORS as error:
            raise UnreadableFile(
                f"{header.path!r} and others cannot be read as bands of one scene ({error})."
            ) from error
        with dataset:
            yield dataset


def read_header(path: str | os.PathLike[str]) -> RasterHeader:
    """Read the header of a raster file; no pixel is read.

    Parameters
    ----------
    path : path-like
        A GeoTIFF or JPEG 2000 file.

    Returns
    -------
    RasterHeader

    Raises
    ------
    MissingFile
        If there is no such file.
    UnreadableFile
        If it cannot be read, has no CRS or geotransform, mixes or has unusable dtypes, or claims more
        pixels, bands or bytes in a block than the limits ``COREGSTACK_MAX_PIXELS`` (default 4e9 in each
        band), ``COREGSTACK_MAX_BANDS`` (default 1000) and ``COREGSTACK_MAX_BLOCK_BYTES`` (default 2**30)
        allow, or more pixels than its bytes can hold (``COREGSTACK_MAX_RASTER_RATIO``, default 20,000).
    """
    if not isinstance(path, Address):
        if hint := hints.of_address(os.fspath(path)):
            raise UnreadableFile(hint)
        path = os.path.abspath(os.fspath(path))
    with opened(path) as dataset:
        try:
            return _header(path, dataset)
        except (*GDAL_ERRORS, UnicodeError) as error:
            raise _broken(
                dataset, f"The header of {path!r} is damaged ({error}): fetch the file again."
            ) from error


def _header(path: str, dataset: DatasetReader) -> RasterHeader:
    remote = _REMOTE.get(dataset.name)
    size, modified = state_of(path) if remote is None else (remote.size, stands_for(remote.version))
    check_dataset(path, dataset, size)
    flags = dataset.mask_flag_enums
    alpha = next((i for i, c in enumerate(dataset.colorinterp) if c is ColorInterp.alpha), None)
    return RasterHeader(
        path=path,
        driver=dataset.driver,
        box=_box(path, dataset),
        count=dataset.count,
        dtype=dataset.dtypes[0],
        nodata=usable_nodata(dataset),
        names=tuple(dataset.descriptions),
        scaling=tuple(zip(dataset.scales, dataset.offsets, strict=True)),
        coloured=tuple(k for k, c in enumerate(dataset.colorinterp) if c is ColorInterp.palette),
        flagged=tuple(k for k in range(dataset.count) if holds_flags(dataset.tags(k + 1))),
        alpha=alpha,
        internal_mask=any(MaskFlags.per_dataset in f and MaskFlags.alpha not in f for f in flags),
        tags=tuple(sorted(dataset.tags().items())),
        size=size,
        modified=modified,
    )


def _box(path: str, dataset: DatasetReader) -> GeoBox:
    try:
        text = dataset.crs.to_string()
        check_crs_bytes(path, text.encode("latin-1", "replace"))
        box = GeoBox(dataset.shape, dataset.transform, text)
        if box.crs is None or not (box.crs.projected or box.crs.geographic):
            raise ValueError("it is neither projected nor geographic")
        return box
    except (*GDAL_ERRORS, ValueError) as error:
        raise UnreadableFile(
            f"{path!r} has a CRS that is not understood ({error}). Set it, for example with gdal_edit.py."
        ) from error


def usable_nodata(dataset: DatasetReader) -> float | None:
    """The value of pixels without data; None if no pixel of this type can have the value that the file names."""
    value: float | None = dataset.nodata
    kind = np.dtype(dataset.dtypes[0])
    if value is None or kind.kind == "f":
        return value
    limits = np.iinfo(kind)
    return value if value == np.round(value) and limits.min <= value <= limits.max else None


def _driver(path: str, file: BufferedIOBase) -> str:
    """The driver of a file by its first bytes, when what it claims was looked at as far as is possible without GDAL."""
    start = file.read(12)
    for driver, beginnings in DRIVERS.items():
        if start.startswith(beginnings):
            if start.startswith(_JP2):
                check_boxes(path, file)
            elif driver == "GTiff":
                check_tiff(path, file)
            return driver
    raise UnreadableFile(
        f"{path!r} is neither GeoTIFF nor JPEG 2000 (it begins with {start[:4]!r}). {hints.of_format(start)}"
    )


def read_window(
    dataset: DatasetReader | WarpedVRT, bands: list[int], row: int, col: int, shape: tuple[int, int]
) -> NDArray[Any]:
    """Pixels of `bands` (counted from 0) in a window inside the raster, shape (band, y, x).

    Raises
    ------
    UnreadableFile
        If the file breaks off, its blocks are damaged, or the window is larger than `check_read` allows.
    """
    size = len(bands) * shape[0] * shape[1] * np.dtype(dataset.dtypes[0]).itemsize
    check_read(name_of(dataset), size)
    try:
        window = Window(col, row, shape[1], shape[0])
        values: NDArray[Any] = dataset.read([b + 1 for b in bands], window=window)
        return values
    except (*GDAL_ERRORS, MemoryError, IndexError) as error:
        raise _broken(
            dataset,
            f"Pixels of {name_of(dataset)!r} cannot be read ({error.__cause__ or error}). "
            "The file is damaged: fetch it again.",
        ) from error


def read_reduced(dataset: DatasetReader, band: int, shape: tuple[int, int]) -> NDArray[Any] | None:
    """A band (counted from 0) reduced to `shape` by picking pixels of an overview; None where none fits.

    Raises
    ------
    UnreadableFile
        If the file breaks off or its blocks are damaged.
    """
    reduction = min(dataset.height / shape[0], dataset.width / shape[1])
    overviews = dataset.overviews(band + 1)
    if not overviews or min(overviews) > reduction or max(overviews) * _FINER < reduction:
        return None
    try:
        reduced: NDArray[Any] = dataset.read(band + 1, out_shape=shape)
        return reduced
    except (*GDAL_ERRORS, MemoryError, IndexError) as error:
        raise _broken(dataset, f"An overview of {name_of(dataset)!r} cannot be read ({error}).") from error


def check_pixels(header: RasterHeader, nodata: float | None) -> bool:
    """Read all of a raster, a few blocks at a time with all cores, and say whether any pixel is valid.

    Raises
    ------
    UnreadableFile, MissingFile
        If it is damaged, or gone.
    """
    if header.parts:
        valid = [
            check_pixels(part, nodata) for part in header.parts
        ]  # all are read, whatever the first holds
        return any(valid)
    found = False
    height, width = header.box.shape
    with opened(header.path, alone=True) as dataset:
        tall, wide = dataset.block_shapes[0]
        rows = tall * max(1, 512 // tall)
        column = rows * wide * header.count * np.dtype(header.dtype).itemsize
        cols = wide * max(1, _CHECKED_BYTES // column)
        for row, col in itertools.product(range(0, height, rows), range(0, width, cols)):
            shape = min(rows, height - row), min(cols, width - col)
            values = read_window(dataset, list(range(header.count)), row, col, shape)
            found = found or bool(valid_values(values, nodata).any())
    return found


def read_valid(
    dataset: DatasetReader | WarpedVRT, row: int, col: int, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Validity by the raster's own alpha band or internal mask in a window, shape (y, x)."""
    window = Window(col, row, shape[1], shape[0])
    alpha = next(
        (k for k, c in zip(dataset.indexes, dataset.colorinterp, strict=True) if c is ColorInterp.alpha), None
    )
    try:
        # GDAL takes an alpha band for a mask of the dataset only beside one or three others
        mask = dataset.dataset_mask(window=window) if alpha is None else dataset.read(alpha, window=window)
        return np.asarray(mask > 0)
    except (*GDAL_ERRORS, MemoryError) as error:
        raise _broken(dataset, f"The mask of {name_of(dataset)!r} cannot be read ({error}).") from error


@contextmanager
def warped(
    dataset: DatasetReader,
    box: GeoBox,
    resampling: str,
    nodata: float | None = None,
    *,
    scale: tuple[float, float] | None = None,
) -> Iterator[WarpedVRT]:
    """The raster as seen on `box`, resampled by GDAL in one step when windows are read.

    `scale` is the height and width of the raster's pixels in pixels of `box`; without it GDAL guesses the
    two, and so the width of its kernel, for each window anew. Where `nodata` is None the last band of the
    result is an alpha band of what is covered.
    """
    known = {} if scale is None else {"YSCALE": repr(scale[0]), "XSCALE": repr(scale[1])}
    with gdal():
        try:
            view = WarpedVRT(
                dataset,
                crs=crs_of(box).to_wkt(),
                transform=box.affine,
                height=box.shape[0],
                width=box.shape[1],
                resampling=Resampling[resampling],
                src_nodata=nodata,
                nodata=nodata,
                add_alpha=nodata is None and ColorInterp.alpha not in dataset.colorinterp,
                tolerance=WARP_TOLERANCE,
                num_threads=1,
                warp_mem_limit=_WARP_MEMORY_MB,
                # each band has nodata of its own
                UNIFIED_SRC_NODATA="NO",
                **known,
            )
        except (*GDAL_ERRORS, OverflowError) as error:
            raise UnreadableFile(
                f"{name_of(dataset)!r} cannot be put onto the lattice of the anchor ({error}). Check that pixel sizes "
                "and CRSs are right."
            ) from error
        with view:
            yield view


def name_of(dataset: DatasetReader | WarpedVRT) -> str:
    """Path or address of what is open, as messages show it; of bands in several files the first."""
    return _VIRTUAL.sub("", first_of(dataset.name))


def _broken(dataset: DatasetReader | WarpedVRT, words: str) -> CoregError:
    """The error of what cannot be read: of a file behind an address the reason that its server gave."""
    remote = next((file for name, file in list(_REMOTE.items()) if name in dataset.name), None)
    return UnreadableFile(words) if remote is None or remote.failure is None else remote.failure


def valid_values(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """True where values are finite and not nodata, same shape as `values`."""
    if values.dtype.kind != "f":
        return np.ones(values.shape, bool) if nodata is None else np.asarray(values != nodata)
    valid: NDArray[np.bool_] = np.isfinite(values)
    if nodata is not None and np.isfinite(nodata):
        valid &= values != np.asarray(nodata, values.dtype)
    return valid
