"""What to do with a file that is not read: words for what people try first."""

from __future__ import annotations

import os
from pathlib import Path

from coregstack.untrusted.addresses import shown

_WORLD_FILES = (".tfw", ".tifw", ".wld", ".j2w", ".jp2w")
_FORMATS = {
    b"<VRT": "A VRT names other files, which are not followed: write its pixels to a file with gdal_translate -of COG.",
    b"<?xm": "It is XML, as metadata are: name the image files that belong to it.",
    b"PK\x03\x04": "It is a zip archive: unpack it, and name the image files in it.",
    b"\x1f\x8b": "It is a compressed archive: unpack it, and name the image files in it.",
    b"CDF": "It is NetCDF: open it with xarray, and pass the DataArray to coregstack.align.",
    b"\x89HDF": "It is HDF5 or NetCDF: open it with xarray, and pass the DataArray to coregstack.align.",
    b"\x0e\x03\x13\x01": "It is HDF4: write the bands that are needed to GeoTIFF with gdal_translate.",
}
_OTHER = "Convert it, for example with gdal_translate -of COG."


def of_address(path: str) -> str:
    """What to do with a path that is none, but an address on the network or within an archive; empty for paths.

    Examples
    --------
    >>> of_address("s3://bucket/a.tif").split(":")[0], of_address("folder/a.tif")
    ("'s3", '')
    """
    if "://" in path:
        return (
            f"{shown(path)!r} is an address, but files of this machine are expected. Pass STAC items of it to "
            "coregstack.open_stac, which reads over the network, or download the file first."
        )
    if path.startswith("/vsi"):
        return (
            f"{path!r} is a virtual path of GDAL, but files of this machine are expected. Download or unpack the file "
            "first, or pass STAC items to coregstack.open_stac."
        )
    return ""


def of_folder(path: str) -> str:
    """What to do with a folder that holds no file that is read."""
    if path.rstrip("/").lower().endswith(".zarr"):
        return (
            "It is a Zarr store: open it with xarray.open_zarr, and pass the DataArray to coregstack.align."
        )
    return "Unpack archives first, or name the image files."


def of_format(start: bytes) -> str:
    """What to do with a file of another format, by its first bytes."""
    return next((hint for beginning, hint in _FORMATS.items() if start.startswith(beginning)), _OTHER)


def of_place(path: str, *, crs: bool) -> str:
    """What to do with a file that does not say where its pixels lie.

    Parameters
    ----------
    path : str
        Of the file.
    crs : bool
        Whether it names its CRS.
    """
    file = Path(path)
    beside = next(
        (
            name
            for suffix in _WORLD_FILES
            for name in (file.with_suffix(suffix).name, file.with_suffix(suffix.upper()).name)
            if os.path.isfile(file.with_name(name))
        ),
        None,
    )
    if beside is not None:
        srs = "" if crs else " -a_srs EPSG:..."
        return (
            f"The world file {beside} beside it is not read, since a file has to tell its place by itself: write both "
            f"into one with gdal_translate{srs} {file.name} scene.tif."
        )
    return "Orthorectify it or set them, for example with gdalwarp or gdal_edit.py."
