"""What a raster file claims in its first bytes, checked before GDAL opens it.

GDAL trusts a file: it reads tags of any size, and any number of metadata items in time that grows with the
square of the number. It passes texts that define a CRS to PROJ, which opens the files that they name.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase

from coregstack.errors import UnreadableFile
from coregstack.untrusted.crstext import file_named
from coregstack.untrusted.limits import (
    CRS_BYTES,
    METADATA_BYTES,
    METADATA_ITEMS,
    RASTER_PARTS,
    RASTER_TAGS,
    Limit,
)

_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes of a value of each type of TIFF."""
_PIXEL_TAGS = frozenset({273, 279, 324, 325, 288, 289})
"""Tags that say where pixels lie, of which there are as many values as tiles."""
_GEO_TAGS = frozenset({34735, 34736, 34737})
_GEO_TEXTS, _METADATA = 34737, 42112
_FURTHER = frozenset({34665, 34853, 40965})
"""Tags that lead to further tags: EXIF, GPS, interoperability."""
_SUPERBOXES = frozenset({b"jp2h", b"asoc", b"res ", b"uinf"})
"""Boxes of JPEG 2000 that hold boxes."""
_TEXT_BOXES = frozenset({b"xml ", b"uuid", b"lbl ", b"url "})
_MAX_NESTED_BOXES = 16


@dataclass(slots=True, kw_only=True)
class _Budget:
    """How much of the limits a file's metadata have used so far."""

    path: str
    size: int = 0
    items: int = 0

    def take(self, data_size: int) -> None:
        """Count bytes of metadata that are not looked at."""
        self.size += data_size
        if self.size > METADATA_BYTES():
            raise _too_much(self.path, f"{self.size} bytes of metadata", METADATA_BYTES)

    def take_text(self, data: bytes) -> None:
        """Look at a text: XML with items of metadata, or a CRS."""
        # an item is an element, which begins and ends with this character
        self.items += data.count(b"<") // 2
        if self.items > METADATA_ITEMS():
            raise _too_much(self.path, f"{self.items} items of metadata", METADATA_ITEMS)
        check_crs_bytes(self.path, data)


def check_crs_bytes(path: str, data: bytes) -> None:
    """Refuse a text of a raster by which PROJ would open a file.

    Raises
    ------
    UnreadableFile
    """
    if found := file_named(data.decode("latin-1")):
        raise UnreadableFile(
            f"{path!r} defines its CRS by a file, {found!a}. Only definitions that need no file are read: set its "
            "CRS anew, for example with gdal_edit.py -a_srs."
        )


def check_tiff(path: str, file: BufferedIOBase) -> None:
    """Refuse a GeoTIFF whose tags claim more than the limits, or whose CRS is defined by a file.

    `path` names it in errors. Damage is left to GDAL, which reports it.

    Raises
    ------
    UnreadableFile
    """
    budget = _Budget(path=path)
    file.seek(0)
    layout = _layout(file)
    if layout is None:
        return
    for parts, tags in enumerate(_directories(file, layout, path), start=1):
        if parts > RASTER_PARTS():
            raise _too_much(path, f"more than {RASTER_PARTS()} images", RASTER_PARTS)
        for tag, size, place in tags:
            _check_tag(file, layout, budget, tag, size, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How numbers are written in a TIFF."""

    order: str
    """As in `struct`."""
    big: bool
    """Whether it is a BigTIFF."""

    def number(self, data: bytes, size: int) -> int:
        return int.from_bytes(data[:size], "little" if self.order == "<" else "big")


def _layout(file: BufferedIOBase) -> _Layout | None:
    start = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 4:
        return None
    return _Layout(order=order, big=struct.unpack(f"{order}H", start[2:])[0] == 43)


def _directories(file: BufferedIOBase, layout: _Layout, path: str) -> Iterator[list[tuple[int, int, int]]]:
    """Of each directory: tag, bytes of its values, and where they lie in the file."""
    width, entry = (8, 20) if layout.big else (4, 12)
    file.seek(8 if layout.big else 4)
    place = layout.number(file.read(width), width)
    seen = set()
    while place and place not in seen:
        seen.add(place)
        file.seek(place)
        head = 8 if layout.big else 2
        count = layout.number(file.read(head), head)
        if count > RASTER_TAGS():
            raise _too_much(path, f"{count} tags in one image", RASTER_TAGS)
        data = file.read(count * entry)
        yield [_tag(layout, data[k : k + entry], place + head + k) for k in range(0, len(data), entry)]
        file.seek(place + head + count * entry)
        place = layout.number(file.read(width), width)


def _tag(layout: _Layout, entry: bytes, place: int) -> tuple[int, int, int]:
    width = 8 if layout.big else 4
    tag, kind = layout.number(entry, 2), layout.number(entry[2:], 2)
    size = layout.number(entry[4:], width) * (_SIZES[kind] if kind < len(_SIZES) else 1)
    value = 4 + width
    return tag, size, place + value if size <= width else layout.number(entry[value:], width)


def _check_tag(
    file: BufferedIOBase, layout: _Layout, budget: _Budget, tag: int, size: int, place: int
) -> None:
    if tag in _PIXEL_TAGS:
        return
    if tag in _GEO_TAGS and size > CRS_BYTES():
        raise _too_much(budget.path, f"{size} bytes that define a CRS", CRS_BYTES)
    budget.take(size)
    if tag in (_GEO_TEXTS, _METADATA):
        file.seek(place)
        budget.take_text(file.read(size))
    elif tag in _FURTHER:
        width = 8 if layout.big and size == 8 else 4
        file.seek(place)
        file.seek(layout.number(file.read(width), width))
        if (count := layout.number(file.read(2), 2)) > RASTER_TAGS():
            raise _too_much(budget.path, f"{count} tags in one image", RASTER_TAGS)


def check_boxes(path: str, file: BufferedIOBase) -> None:
    """Make sure that the boxes of a JPEG 2000 file follow each other to its end, and claim no more than the limits.

    `path` names it in errors. GDAL searches boxes for metadata, and may search without end where one is longer than
    its parent.

    Raises
    ------
    UnreadableFile
    """
    budget, boxes = _Budget(path=path), 0
    ends = [file.seek(0, os.SEEK_END)]
    file.seek(0)
    while ends:
        position = file.tell()
        if position == ends[-1]:
            ends.pop()
            continue
        head = file.read(16)
        size, kind, header = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, header = int.from_bytes(head[8:]), 16
        end = position + size if size else ends[-1]
        if not position + header <= end <= ends[-1] or len(ends) > _MAX_NESTED_BOXES:
            raise UnreadableFile(
                f"{path!r} is not a valid JPEG 2000 file: the box at byte {position} is longer than what holds it. "
                "The file is damaged or cut off: fetch it again."
            )
        boxes += 1
        if boxes > RASTER_PARTS():
            raise _too_much(path, f"more than {RASTER_PARTS()} boxes", RASTER_PARTS)
        file.seek(position + header)
        if kind in _SUPERBOXES:
            ends.append(end)
            continue
        if kind in _TEXT_BOXES:
            budget.take(end - position)
            budget.take_text(file.read(end - position - header))
        file.seek(end)


def _too_much(path: str, found: str, limit: Limit) -> UnreadableFile:
    return UnreadableFile(
        f"{path!r} holds {found}; at most {limit()} are read. Write it anew without them, for example with "
        f"gdal_translate, or raise {limit.variable} if you trust it."
    )
