"""A raster that was not written whole is noticed, wherever it breaks off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import recipes
from recipes import TRANSFORM

from coregstack.errors import UnreadableFile
from coregstack.pixels.newraster import check_complete

KINDS: dict[str, dict[str, Any]] = {
    "one tile": {"tiled": True, "blockxsize": 64, "blockysize": 64},
    "tiles": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "DEFLATE"},
    "strips": {"compress": "LZW"},
    "bands apart": {"interleave": "band", "compress": "DEFLATE"},
    "of large files": {"bigtiff": "YES", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "of other machines": {"endianness": "BIG"},
}


def write(path: Path, *, masked: bool = False, some: bool = False, **profile: Any) -> None:
    values = np.arange(2 * 40 * 50, dtype=np.uint16).reshape(2, 40, 50)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", width=50, height=40, count=2, dtype="uint16", crs=recipes.CRS,
            transform=TRANSFORM, **profile,
        ) as out,
    ):  # fmt: skip
        if some:
            out.write(values[:, :16, :16], window=((0, 16), (0, 16)))
        else:
            out.write(values)
        if masked:
            out.write_mask(values[0] % 3 > 0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_breaks_off_is_not_whole(kind: str, masked: bool, tmp_path: Path) -> None:
    write(tmp_path / "a.tif", masked=masked, **KINDS[kind])
    check_complete(str(tmp_path / "a.tif"))
    data = (tmp_path / "a.tif").read_bytes()
    for size in {*range(0, len(data) - 1, max(1, len(data) // 40)), len(data) - 1}:
        (tmp_path / "b.tif").write_bytes(data[:size])
        with pytest.raises(UnreadableFile, match="was not written whole"):
            check_complete(str(tmp_path / "b.tif"))


@pytest.mark.parametrize("kind", ["tiles", "of large files"])
def test_a_block_that_was_never_written_is_missed(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "a.tif", some=True, sparse_ok=True, **KINDS[kind])
    with pytest.raises(UnreadableFile, match="was not written whole"):
        check_complete(str(tmp_path / "a.tif"))
