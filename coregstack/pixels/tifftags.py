"""The tags of a TIFF file, as they lie in it: read without GDAL, and without trust in what they claim.

Numbers and layout are those of the TIFF 6.0 standard and of BigTIFF.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import UnreadableFile
from coregstack.untrusted.limits import RASTER_TAGS, Limit

_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
"""Bytes of a value of each type."""
_WHOLE_NUMBERS = {3: "u2", 4: "u4", 16: "u8"}
"""Types of unsigned whole numbers, as numpy calls them."""
_FARTHEST = 2**43
"""No file has a place beyond, whatever a tag says: systems refuse to look for it."""
_PLACES = {324: 325, 273: 279}
"""Tags of where blocks of pixels lie, tiles or strips, and of how many bytes each has."""


class Tag(NamedTuple):
    """One tag of an image in a file; its values are not read yet."""

    number: int
    kind: int
    """Type of its values, as TIFF counts types."""
    size: int
    """Bytes of its values."""
    place: int
    """Where they begin in the file."""


class Layout(NamedTuple):
    """How numbers are written in a file."""

    order: str
    """As in `struct`."""
    big: bool
    """Whether it is a BigTIFF."""

    def number(self, data: bytes) -> int:
        """An unsigned number, of as many bytes as there are."""
        return int.from_bytes(data, "little" if self.order == "<" else "big")


def layout_of(file: BufferedIOBase) -> Layout | None:
    """How numbers are written in a file; None where it is no TIFF."""
    file.seek(0)
    start = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or len(start) < 4:
        return None
    return Layout(order=order, big=struct.unpack(f"{order}H", start[2:])[0] == 43)


def read_at(file: BufferedIOBase, place: int, size: int) -> bytes:
    """Bytes from a place on, fewer beyond the end of the file, and none where no file has a place."""
    if place > _FARTHEST:
        return b""
    file.seek(place)
    return file.read(size)


def directories(file: BufferedIOBase, layout: Layout, path: str) -> Iterator[tuple[list[Tag], bool]]:
    """The tags of each image in a file, and whether the file holds all of them, as far as it claims.

    `path` names it in errors.

    Raises
    ------
    UnreadableFile
        If an image claims more than ``COREGSTACK_MAX_RASTER_TAGS`` tags.
    """
    order, big = layout
    width, head = (8, 8) if big else (4, 2)
    entry = struct.Struct(f"{order}HHQQ" if big else f"{order}HHII")
    place = layout.number(read_at(file, 8 if big else 4, width))
    seen = set()
    while place and place not in seen:
        seen.add(place)
        count = layout.number(read_at(file, place, head))
        if count > RASTER_TAGS():
            raise too_much(path, f"{count} tags in one image", RASTER_TAGS)
        data = read_at(file, place + head, count * entry.size)
        after = read_at(file, place + head + count * entry.size, width)
        found = len(data) // entry.size
        tags = []
        for k, (number, kind, values, value) in enumerate(entry.iter_unpack(data[: found * entry.size])):
            size = values * (_SIZES[kind] if kind < len(_SIZES) else 1)
            # few bytes stand in the tag itself, in place of where they lie
            own = place + head + (k + 1) * entry.size - width
            tags.append(Tag(number, kind, size, own if size <= width else value))
        yield tags, len(after) == width
        place = layout.number(after)


def too_much(path: str, found: str, limit: Limit) -> UnreadableFile:
    """The error of a raster that holds more of something than is read."""
    return UnreadableFile(
        f"{path!r} holds {found}; at most {limit()} are read. Write it anew without them, for example with "
        f"gdal_translate, or raise {limit.variable} if you trust it."
    )


def is_whole(path: str) -> bool:
    """Whether a TIFF file holds all that its tags tell: their values, and every block of pixels of every image.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        layout = layout_of(file)
        if layout is None:
            return False
        images = list(directories(file, layout, path))
        return bool(images) and all(
            complete
            and all(tag.place + tag.size <= end for tag in tags)
            and _has_blocks(file, layout, {tag.number: tag for tag in tags}, end)
            for tags, complete in images
        )


def _has_blocks(file: BufferedIOBase, layout: Layout, tags: Mapping[int, Tag], end: int) -> bool:
    """Whether every block of pixels of an image lies in a file that ends there."""
    for place, length in _PLACES.items():
        if place in tags and length in tags:
            places, lengths = (_numbers(file, layout, tags[tag]) for tag in (place, length))
            # nothing lies at the beginning of a file: a block that is told to was never written
            there = (places > 0) & (places + lengths <= end) if places.shape == lengths.shape else places[:0]
            return bool(there.size and there.all())
    return False


def _numbers(file: BufferedIOBase, layout: Layout, tag: Tag) -> NDArray[np.uint64]:
    """The values of a tag of unsigned whole numbers; none of another one."""
    if tag.kind not in _WHOLE_NUMBERS:
        return np.empty(0, np.uint64)
    data = read_at(file, tag.place, tag.size)
    return np.frombuffer(data, layout.order + _WHOLE_NUMBERS[tag.kind]).astype(np.uint64)
