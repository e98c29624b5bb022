"""The geotransform of a GeoTIFF changed in place, and not one other byte.

GDAL can do it too, but rewrites the directory, and reading a damaged file for update can crash it. The tags
are those of the TIFF 6.0 and GeoTIFF 1.1 standards (OGC 19-008r4).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from coregstack.errors import UnreadableFile

_TIEPOINT, _TRANSFORMATION = 33922, 34264
_DOUBLE = 12
_MAX_ENTRIES = 4096


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
            for place, value in _coordinates(file, x, y):
                file.seek(place)
                file.write(value)
    except (OSError, struct.error) as error:
        raise UnreadableFile(f"The geotransform of {str(path)!r} cannot be changed ({error}).") from error


def _coordinates(file: BinaryIO, x: float, y: float) -> list[tuple[int, bytes]]:
    """Where the moved coordinates have to be written, and as which bytes."""
    order, tags = _directory(file)
    moves = {_TIEPOINT: (3, 4), _TRANSFORMATION: (3, 7)}
    found = []
    for tag, (count, start) in tags.items():
        if tag not in moves:
            continue
        if tag == _TIEPOINT and count != 6:
            raise UnreadableFile("A single tie point was expected, but there are several.")
        for index, step in zip(moves[tag], (x, y), strict=True):
            place = start + 8 * index
            file.seek(place)
            (value,) = struct.unpack(f"{order}d", file.read(8))
            found.append((place, struct.pack(f"{order}d", value + step)))
    if len(found) != 2:
        raise UnreadableFile("One tie point or one transformation was expected in the file's directory.")
    return found


def _directory(file: BinaryIO) -> tuple[str, dict[int, tuple[int, int]]]:
    """Byte order, and for each tag of doubles in the first directory how many there are and where."""
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    (version,) = struct.unpack(f"{order}H", start[2:4])
    big = version == 43
    (at,) = struct.unpack(f"{order}Q" if big else f"{order}I", start[8:16] if big else start[4:8])
    counter, entry = (f"{order}Q", f"{order}HHQQ") if big else (f"{order}H", f"{order}HHII")
    file.seek(at)
    (count,) = struct.unpack(counter, file.read(struct.calcsize(counter)))
    if count > _MAX_ENTRIES:
        raise UnreadableFile(f"The file's directory claims {count} entries.")
    tags = {}
    for _ in range(count):
        tag, kind, number, place = struct.unpack(entry, file.read(struct.calcsize(entry)))
        if kind == _DOUBLE:
            tags[tag] = number, place
    return order, tags
