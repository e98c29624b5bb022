"""What a reader of a layout says: items, and for each of their files what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from coregstack.export.plan import Content
from coregstack.products.masks import mask_name
from coregstack.untrusted.bandnames import names_classes

RASTERS = frozenset({".tif", ".tiff", ".jp2"})
"""Extensions, in lower case, of files that are opened; others are passed through."""

BandNames = tuple[str, ...] | Callable[[int], tuple[str, ...] | None]
"""Names of a file's bands; or a function that tells them by their number, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFile:
    """One file of an item, and what it holds."""

    path: PurePosixPath
    """Where it lies, as the reader was told."""
    content: Content | None = None
    """What a raster holds, and so how it is moved; None for a file that is passed through as it is."""
    bands: BandNames = ()
    """Names of its bands; empty where the file describes them itself, or has as many as it likes."""
    matched: bool = False
    """Whether its bands may be matched in."""
    pixel_size: float | None = None
    """Size of a pixel in metres, where the name tells it: finer ones are matched in first."""
    mask: str = ""
    """Name among `coregstack.products.masks.MASKS` of what it says of usable pixels; empty if nothing."""
    nodata: float | None = None
    """Value of pixels without data, where the files of the layout name none themselves."""
    name: str = ""
    """What it is called among the files of its item; by default the name of its one band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductItem:
    """One acquisition: all its files move by one shift."""

    id: str
    """Id of the item, the first part of the name of its sidecar."""
    time: datetime | None
    """Time of acquisition, UTC without a time zone; None where the names do not tell it."""
    files: tuple[ProductFile, ...]
    """Its files; what is passed through may be any kind of file."""


Reader = Callable[[Sequence[PurePosixPath]], Iterable[ProductItem]]
"""Finds the items of one layout among paths, relative to a common folder; files that it does not know it leaves out."""


def image(
    path: PurePosixPath, *bands: str, pixel_size: float | None = None, nodata: float | None = None
) -> ProductFile:
    """An image file that may be matched in.

    Parameters
    ----------
    path : PurePosixPath
        Where it lies.
    *bands : str
        Names of its bands; none where the file describes them itself.
    pixel_size : float, optional
        In metres, where the name tells it.
    nodata : float, optional
        Value of pixels without data, where the file names none.
    """
    return ProductFile(
        path=path, content=Content.IMAGE, bands=bands, matched=True, pixel_size=pixel_size, nodata=nodata
    )


def beside(path: PurePosixPath, name: str, *, nodata: float | None = None) -> ProductFile:
    """A raster that is moved with an item and not matched in: classes and masks by nearest neighbour.

    Parameters
    ----------
    path : PurePosixPath
        Where it lies.
    name : str
        What it holds; ``scl`` or ``qa_pixel`` make it a mask.
    nodata : float, optional
        Value of pixels without data, where the file names none.
    """
    mask = mask_name(name)
    content = Content.CLASSES if mask or names_classes(name) else Content.IMAGE
    return ProductFile(path=path, content=content, bands=(name,), mask=mask, nodata=nodata)


def is_raster(path: PurePosixPath) -> bool:
    """Whether a file is a raster, by its extension in any case."""
    return path.suffix.lower() in RASTERS
