"""The geotransform of a GeoTIFF changed in place, and not one other byte.

GDAL can do it too, but rewrites the directory, and reading a damaged file for update can crash it. The tags
are those of the TIFF 6.0 and GeoTIFF 1.1 standards (OGC 19-008r4).
"""

from __future__ import annotations

import struct
from io import BufferedIOBase
from pathlib import Path

from coregstack.errors import UnreadableFile
from coregstack.pixels.tifftags import directories, layout_of, read_at

_TIEPOINT, _TRANSFORMATION = 33922, 34264
_DOUBLE = 12


def translate_georeference(path: Path, x: float, y: float) -> None:
    """Move a GeoTIFF's place by changing the coordinates in its first directory.

    Parameters
    ----------
    path : Path
        The file, which is changed.
    x, y : float
        What is added to its coordinates, in units of its CRS.

    Raises
    ------
    UnreadableFile
        If the file holds neither tie point nor transformation, or is damaged.
    """
    try:
        with path.open("rb+") as file:
            for place, value in _coordinates(file, path, x, y):
                file.seek(place)
                file.write(value)
    except (OSError, struct.error) as error:
        raise UnreadableFile(f"The geotransform of {str(path)!r} cannot be changed ({error}).") from error


def _coordinates(file: BufferedIOBase, path: Path, x: float, y: float) -> list[tuple[int, bytes]]:
    """Where the moved coordinates have to be written, and as which bytes."""
    layout = layout_of(file)
    if layout is None:
        raise UnreadableFile("It is no TIFF.")
    tags, _ = next(directories(file, layout, str(path)), ([], False))
    moves = {_TIEPOINT: (3, 4), _TRANSFORMATION: (3, 7)}
    found = []
    for tag in tags:
        if tag.number not in moves or tag.kind != _DOUBLE:
            continue
        if tag.number == _TIEPOINT and tag.size != 6 * 8:
            raise UnreadableFile("A single tie point was expected, but there are several.")
        for index, step in zip(moves[tag.number], (x, y), strict=True):
            place = tag.place + 8 * index
            (value,) = struct.unpack(f"{layout.order}d", read_at(file, place, 8))
            found.append((place, struct.pack(f"{layout.order}d", value + step)))
    if len(found) != 2:
        raise UnreadableFile("One tie point or one transformation was expected in the file's directory.")
    return found
