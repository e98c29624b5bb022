"""The only module that opens input rasters: drivers, limits, headers, windows."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Interleaving, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from coregstack.errors import CoregError, MissingFile, UnreadableFile
from coregstack.geometry.lattice import crs_of
from coregstack.pixels import hints
from coregstack.pixels.claims import check_boxes, check_crs_bytes, check_tiff
from coregstack.pixels.inputs import stands_for, state_of
from coregstack.pixels.joined import first_of, joined_text
from coregstack.pixels.remote import RemoteFile
from coregstack.untrusted.addresses import Address, stem_of
from coregstack.untrusted.limits import BANDS, BLOCK_BYTES, PIXELS, RASTER_RATIO, READ_BYTES

DRIVERS: Mapping[str, tuple[bytes, ...]] = {
    "GTiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JP2OpenJPEG": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
"""GDAL drivers that a file may be opened with, by its first bytes: GeoTIFF (and COG), JPEG 2000."""
_JP2 = DRIVERS["JP2OpenJPEG"][0]
_REDIRECTS = (("OVERVIEWS", "OVERVIEW_FILE"), ("GEOLOCATION", "X_DATASET"), ("GEOLOCATION", "Y_DATASET"))
"""Metadata that name other files: of overviews, and of places of pixels."""
_FARTHEST = 1e12
"""No coordinate of a map is larger, whatever its unit."""

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

FLAGS = ("flag_values", "flag_masks", "flag_meanings")
"""Attributes of CF by which a band says that it holds classes or bits."""

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
_FREE_BYTES = 2**28
"""Pixels of a raster that are taken however small its file is: to move them takes a few seconds."""
_TILE = 256
"""Side of the smallest tiles that a raster is written in."""
_FINER = 4
"""How much finer than what is asked for an overview may be that is read for it, along each axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterHeader:
    """What the header of one raster file says."""

    path: str
    """Absolute path, or an `Address`."""
    driver: str
    """GDAL driver that reads it, one of `DRIVERS`."""
    box: GeoBox
    """Shape, geotransform and CRS."""
    count: int
    """Number of bands, an alpha band included."""
    dtype: str
    """Name of the numpy dtype of all bands."""
    nodata: float | None
    """Value of pixels that hold no data, if the file names one."""
    names: tuple[str | None, ...]
    """Band descriptions."""
    scaling: tuple[tuple[float, float], ...]
    """Scale and offset of each band: a stored number times the one plus the other is what was measured."""
    coloured: tuple[int, ...]
    """Bands, from 0, whose values are looked up in a table of colours."""
    flagged: tuple[int, ...]
    """Bands, from 0, whose tags say that they hold classes or bits, as CF does."""
    alpha: int | None
    """Index of the alpha band, from 0, if there is one."""
    internal_mask: bool
    """Whether the file holds a mask for all its bands."""
    tags: tuple[tuple[str, str], ...]
    """Tags of the file, sorted."""
    size: int
    """Bytes of the file."""
    modified: int
    """Time of the last change of the file, nanoseconds since 1970; of an address a number that stands for it."""
    parts: tuple[RasterHeader, ...] = ()
    """The files, where the bands lie in several on one lattice; empty for one file, which `path` names."""

    @property
    def files(self) -> tuple[RasterHeader, ...]:
        """The header of each file, in the order of the bands."""
        return self.parts or (self,)

    @property
    def stem(self) -> str:
        """File name without extension."""
        return stem_of(self.path)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the file's content: path, size and time of change."""
        parts = tuple(part.__dask_tokenize__() for part in self.parts)
        return ("coregstack-raster", str(self.path), self.size, self.modified, *parts)


@contextmanager
def gdal(*, alone: bool = False) -> Iterator[None]:
    """Settings under which files are opened; enter it in every task that touches a file.

    `alone` says that no other task can run at the same time, so that GDAL may decode with all cores.
    """
    with rasterio.Env(**{**GDAL_OPTIONS, **({"GDAL_NUM_THREADS": "ALL_CPUS"} if alone else {})}):
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
    if os.path.isdir(path):
        raise UnreadableFile(f"{path!r} is a folder. {hints.of_folder(path)}")
    if not os.path.isfile(path):
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
        _check_redirects(path, dataset)
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


def joined(headers: Sequence[RasterHeader]) -> RasterHeader:
    """The header of several files on one lattice, of one dtype and nodata value, as bands of one raster."""
    first = headers[0]
    if len(headers) == 1:
        return first
    starts = np.cumsum([0, *(header.count for header in headers)])
    return replace(
        first,
        count=int(starts[-1]),
        names=tuple(name for header in headers for name in header.names),
        scaling=tuple(pair for header in headers for pair in header.scaling),
        coloured=tuple(int(s) + k for s, h in zip(starts, headers, strict=False) for k in h.coloured),
        flagged=tuple(int(s) + k for s, h in zip(starts, headers, strict=False) for k in h.flagged),
        size=sum(header.size for header in headers),
        modified=max(header.modified for header in headers),
        parts=tuple(headers),
    )


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
    _check_claims(path, dataset, size)
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


def holds_flags(attributes: Mapping[Any, Any]) -> bool:
    """Whether attributes or tags of a band say that it holds classes or bits."""
    return any(name in attributes for name in FLAGS)


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


def _check_redirects(path: str, dataset: DatasetReader) -> None:
    """Refuse metadata by which GDAL takes pixels from elsewhere, by any driver and over the network."""
    for domain, key in _REDIRECTS:
        if place := dataset.get_tag_item(key, domain):
            raise UnreadableFile(
                f"{path!r} names another place for part of its content, {place!a}. A raster is only read from its own "
                f"file: remove the item {key} from its metadata {domain}."
            )


def _in_tiles(dataset: DatasetReader) -> int:
    """Pixels of a band in whole tiles, as they are read and written: of a narrow raster many more than it has."""
    sides = (max(side, _TILE) for side in dataset.block_shapes[0])
    return math.prod(-(-size // side) * side for size, side in zip(dataset.shape, sides, strict=True))


def _check_claims(path: str, dataset: DatasetReader, size: int) -> None:
    pixels, bands = PIXELS(), BANDS()
    if dataset.width * dataset.height > pixels or dataset.count > bands:
        raise UnreadableFile(
            f"{path!r} claims {dataset.width} x {dataset.height} pixels in {dataset.count} bands; at most "
            f"{pixels} pixels and {bands} bands are allowed. If the file is sound, raise "
            "COREGSTACK_MAX_PIXELS or COREGSTACK_MAX_BANDS."
        )
    if dataset.count == 0 or len(set(dataset.dtypes)) != 1 or np.dtype(dataset.dtypes[0]).kind not in "iuf":
        raise UnreadableFile(
            f"{path!r} holds bands of type {sorted(set(dataset.dtypes))}; one integer or float type "
            "for all bands was expected. Convert it with gdal_translate -ot."
        )
    whole = _in_tiles(dataset) * dataset.count * np.dtype(dataset.dtypes[0]).itemsize
    ratio = RASTER_RATIO()
    if whole > max(_FREE_BYTES, size * ratio):
        # time goes with pixels, also with those that the file does not hold
        raise UnreadableFile(
            f"{path!r} claims {whole} bytes of pixels in whole tiles, in a file of {size}; at most {ratio} for each "
            f"byte are allowed. If the file is sound, cut it to what it holds, or raise {RASTER_RATIO.variable}."
        )
    largest = BLOCK_BYTES()
    bands_in_block = dataset.count if dataset.interleaving is Interleaving.pixel else 1
    block = math.prod(dataset.block_shapes[0]) * np.dtype(dataset.dtypes[0]).itemsize * bands_in_block
    if block > largest:
        raise UnreadableFile(
            f"{path!r} claims blocks of {block} bytes that can only be read whole; at most {largest} bytes are "
            "allowed. Tile it, for example with gdal_translate -of COG, or raise COREGSTACK_MAX_BLOCK_BYTES."
        )
    if dataset.crs is None or dataset.transform.is_identity:
        hint = "only ground control points or RPCs" if dataset.gcps[0] or dataset.rpcs else "none"
        raise UnreadableFile(
            f"{path!r} has no usable georeference ({hint}): a CRS and a geotransform were expected. "
            f"{hints.of_place(path, crs=dataset.crs is not None)}"
        )
    numbers = np.abs(dataset.transform[:6])
    if dataset.transform.is_degenerate or not (numbers < _FARTHEST).all():
        raise UnreadableFile(
            f"{path!r} has a geotransform that cannot be inverted, or of numbers beyond {_FARTHEST:g} that no map "
            f"has: {dataset.transform!r}. Set it, for example with gdal_edit.py."
        )


def check_size(path: str, shape: tuple[int, int]) -> None:
    """Refuse to make more pixels of a file on the anchor's lattice than a file may claim.

    Raises
    ------
    UnreadableFile
        If there would be more than ``COREGSTACK_MAX_PIXELS``.
    """
    if math.prod(shape) > PIXELS():
        raise UnreadableFile(
            f"On the lattice of the anchor {path!r} would have {shape[0]} x {shape[1]} pixels. Check its pixel size "
            f"and CRS, or raise {PIXELS.variable}."
        )


def check_read(path: str, size: int) -> None:
    """Refuse to hold more bytes of a file's pixels in memory than the limit, whatever the file claims.

    Raises
    ------
    UnreadableFile
        If there would be more than ``COREGSTACK_MAX_READ_BYTES``.
    """
    if size > READ_BYTES():
        raise UnreadableFile(
            f"{size} bytes of {path!r} would be in memory at once; at most {READ_BYTES()} are read. Cut it to what is "
            f"needed, for example with gdal_translate -projwin, or raise {READ_BYTES.variable}."
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
