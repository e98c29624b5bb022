"""The limits on what a file may claim, all in one place.

Each has an environment variable that sets it to another number, in this process and on workers that have the
variable too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from coregstack.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit on input from outside."""

    variable: str
    """Environment variable that sets another number."""
    default: int
    """The number where the variable is not set."""
    what: str
    """What is counted, in words."""

    def __call__(self) -> int:
        """The number that holds now.

        Raises
        ------
        InvalidRequest
            If the variable is set to something that is not a positive whole number.

        Examples
        --------
        >>> BANDS()
        1000
        """
        text = os.environ.get(self.variable, str(self.default))
        try:
            value = int(text)
        except ValueError:
            value = 0
        if value <= 0:
            raise InvalidRequest(f"{self.variable} has to be a positive whole number, but it is {text!r}.")
        return value


def _limit(name: str, default: int, what: str) -> Limit:
    return Limit(variable=f"COREGSTACK_MAX_{name}", default=default, what=what)


PIXELS = _limit("PIXELS", 4 * 10**9, "pixels in each band of a raster")
BANDS = _limit("BANDS", 1000, "bands of a raster")
BLOCK_BYTES = _limit("BLOCK_BYTES", 2**30, "bytes of a tile or strip, which is read whole")
READ_BYTES = _limit("READ_BYTES", 2**31, "bytes of pixels that are read of a raster at once")
STACK_PIXELS = _limit("STACK_PIXELS", 10**12, "pixels of one date of a stack")
RASTER_RATIO = _limit(
    "RASTER_RATIO", 20_000, "bytes of pixels for each byte of a raster, where they are more than 256 MiB"
)
RASTER_PARTS = _limit(
    "RASTER_PARTS", 1000, "images in a GeoTIFF: itself, overviews, masks; boxes in a JPEG 2000 file"
)
RASTER_TAGS = _limit("RASTER_TAGS", 1000, "tags of one image in a GeoTIFF")
METADATA_BYTES = _limit("METADATA_BYTES", 16 * 2**20, "bytes of metadata in a raster")
METADATA_ITEMS = _limit("METADATA_ITEMS", 10_000, "items of metadata in a raster")
CRS_BYTES = _limit("CRS_BYTES", 2**16, "bytes of a text that defines a CRS")
JSON_BYTES = _limit("JSON_BYTES", 256 * 2**20, "bytes of a manifest")
JSON_VALUES = _limit("JSON_VALUES", 10**7, "values in a JSON file, also those within others")
PAYLOAD_BYTES = _limit("PAYLOAD_BYTES", 64 * 2**20, "bytes of a payload")
SMALL_JSON_BYTES = _limit("SMALL_JSON_BYTES", 16 * 2**20, "bytes of a JSON file about one item")
SMALL_JSON_VALUES = _limit("SMALL_JSON_VALUES", 10**6, "values in a JSON file about one item")
TABLE_BYTES = _limit("TABLE_BYTES", 2**30, "bytes of a table of items")
FILES = _limit("FILES", 2 * 10**6, "files and folders in a folder, with all its subfolders")
DEPTH = _limit("DEPTH", 100, "folders within each other")
PROBLEMS = _limit("PROBLEMS", 1000, "problems of one kind that are listed; the rest are counted")
ARCHIVE_FILES = _limit("ARCHIVE_FILES", 10**6, "files in an archive")
ARCHIVE_BYTES = _limit("ARCHIVE_BYTES", 2 * 2**40, "bytes that the archives of an order unpack to")
ARCHIVE_RATIO = _limit("ARCHIVE_RATIO", 200, "bytes that an archive unpacks to for each byte that it has")
REQUEST_SECONDS = _limit("REQUEST_SECONDS", 60, "seconds that a server may take for an answer")

LIMITS = tuple(value for value in globals().values() if isinstance(value, Limit))
"""All of them, in the order of this module."""
