"""What a raster file claims in its first bytes, checked before GDAL opens it.

GDAL trusts a file: it reads tags of any size, and any number of metadata items in time that grows with the
square of the number. It passes texts that define a CRS to PROJ, which opens the files that they name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BufferedIOBase

from coregstack.errors import UnreadableFile
from coregstack.pixels.tifftags import Layout, Tag, directories, layout_of, read_at, too_much
from coregstack.untrusted.crstext import file_named
from coregstack.untrusted.limits import (
    CRS_BYTES,
    METADATA_BYTES,
    METADATA_ITEMS,
    RASTER_PARTS,
    RASTER_TAGS,
)

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
            raise too_much(self.path, f"{self.size} bytes of metadata", METADATA_BYTES)

    def take_text(self, data: bytes) -> None:
        """Look at a text: XML with items of metadata, or a CRS."""
        # an item is an element, which begins and ends with this character
        self.items += data.count(b"<") // 2
        if self.items > METADATA_ITEMS():
            raise too_much(self.path, f"{self.items} items of metadata", METADATA_ITEMS)
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
    layout = layout_of(file)
    if layout is None:
        return
    for parts, (tags, _) in enumerate(directories(file, layout, path), start=1):
        if parts > RASTER_PARTS():
            raise too_much(path, f"more than {RASTER_PARTS()} images", RASTER_PARTS)
        _check_image(file, layout, budget, tags)


def _check_image(file: BufferedIOBase, layout: Layout, budget: _Budget, tags: list[Tag]) -> None:
    """Refuse tags of one image of a GeoTIFF that claim more than the limits; none is read before it is counted."""
    claimed = [tag for tag in tags if tag.number not in _PIXEL_TAGS]
    for tag in claimed:
        if tag.number in _GEO_TAGS and tag.size > CRS_BYTES():
            raise too_much(budget.path, f"{tag.size} bytes that define a CRS", CRS_BYTES)
    budget.take(sum(tag.size for tag in claimed))
    for tag in claimed:
        if tag.number in (_GEO_TEXTS, _METADATA):
            budget.take_text(read_at(file, tag.place, tag.size))
        elif tag.number in _FURTHER:
            width = 8 if layout.big and tag.size == 8 else 4
            place = layout.number(read_at(file, tag.place, width))
            if (count := layout.number(read_at(file, place, 2))) > RASTER_TAGS():
                raise too_much(budget.path, f"{count} tags in one image", RASTER_TAGS)


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
            raise too_much(path, f"more than {RASTER_PARTS()} boxes", RASTER_PARTS)
        file.seek(position + header)
        if kind in _SUPERBOXES:
            ends.append(end)
            continue
        if kind in _TEXT_BOXES:
            budget.take(end - position)
            budget.take_text(file.read(end - position - header))
        file.seek(end)
