"""What a raster claims of itself, in tags, metadata and size, costs nothing beyond its budget."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import recipes
from digests import tree
from recipes import PIXEL, TRANSFORM, claiming, jp2_bytes, tiff_bytes, write_tiff

from coregstack import run_scenes
from coregstack.errors import UnreadableFile
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.pixels.raster import check_pixels, opened, read_header, read_window


def with_items(path: Path, count: int) -> None:
    """A scene with so many items of metadata."""
    items = "".join(f'<Item name="k{k}">v</Item>' for k in range(count))
    write_tagged(path, 42112, 2, f"<GDALMetadata>{items}</GDALMetadata>".encode() + b"\0")


def write_tagged(path: Path, tag: int, kind: int, value: bytes, *, size: int = 1) -> None:
    """A scene to whose first directory a tag is added; the directory moves to the end of the file."""
    data = bytearray(tiff_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = [bytes(data[at + 2 + 12 * k : at + 14 + 12 * k]) for k in range(count)]
    following = bytes(data[at + 2 + 12 * count : at + 6 + 12 * count])
    place = len(data) + len(data) % 2
    data += b"\0" * (place - len(data)) + value + b"\0" * (len(value) % 2)
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != tag]
    entries.append(struct.pack("<HHII", tag, kind, len(value) // size, place))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    struct.pack_into("<I", data, 4, len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + following
    path.write_bytes(bytes(data))


def test_what_is_added_is_what_gdal_reads(tmp_path: Path) -> None:
    with_items(tmp_path / "a.tif", 500)
    assert dict(read_header(tmp_path / "a.tif").tags)["k499"] == "v"


def test_items_of_metadata_are_counted_before_gdal_reads_them(tmp_path: Path) -> None:
    with_items(tmp_path / "a.tif", 60_000)
    with pytest.raises(UnreadableFile, match=r"60001 items of metadata.*COREGSTACK_MAX_METADATA_ITEMS"):
        read_header(tmp_path / "a.tif")


def test_limits_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_items(tmp_path / "a.tif", 500)
    for name in ("METADATA_ITEMS", "METADATA_BYTES", "RASTER_TAGS", "CRS_BYTES"):
        with monkeypatch.context() as patch:
            patch.setenv(f"COREGSTACK_MAX_{name}", "10")
            with pytest.raises(UnreadableFile, match=name):
                read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", [270, 305, 700, 34675, 33723, 50844, 33922, 65000])
def test_tags_of_any_kind_count_as_metadata(tag: int, tmp_path: Path) -> None:
    write_tagged(tmp_path / "a.tif", tag, 7, bytes(17 * 2**20))
    with pytest.raises(UnreadableFile, match="bytes of metadata"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", [34735, 34736, 34737])
def test_tags_that_define_the_crs_are_small(tag: int, tmp_path: Path) -> None:
    write_tagged(tmp_path / "a.tif", tag, 7, bytes(2**17))
    with pytest.raises(UnreadableFile, match="bytes that define a CRS"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("big", [False, True])
def test_tags_are_counted(big: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    if big:
        data = bytearray(claiming(64, 64, 1))
        struct.pack_into("<Q", data, 16, 2**62)
    else:
        data = bytearray(tiff_bytes())
        struct.pack_into("<H", data, struct.unpack_from("<I", data, 4)[0], 65_535)
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableFile, match="tags in one image"):
        read_header(path)


@pytest.mark.parametrize("place", [2**43, 2**62, 2**63, 2**64 - 1])
def test_places_that_no_file_has(place: int, tmp_path: Path) -> None:
    data = bytearray(claiming(64, 64, 1))
    struct.pack_into("<Q", data, 8, place)
    (tmp_path / "a.tif").write_bytes(bytes(data))
    with pytest.raises(UnreadableFile, match="cannot be read as GeoTIFF"):
        read_header(tmp_path / "a.tif")


@pytest.mark.parametrize("tag", [34665, 34853])
def test_tags_behind_tags_are_counted(tag: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    # eight bytes make the entry point elsewhere; then it holds the place of further tags itself
    write_tagged(path, tag, 4, bytes(8), size=8)
    data = bytearray(path.read_bytes())
    place = len(data)
    at = data.rindex(struct.pack("<HHI", tag, 4, 1))
    struct.pack_into("<I", data, at + 8, place)
    path.write_bytes(bytes(data) + struct.pack("<H", 65_535) + bytes(100))
    with pytest.raises(UnreadableFile, match="65535 tags"):
        read_header(path)


def test_images_in_a_file_are_counted_and_those_that_go_round_end(tmp_path: Path) -> None:
    data = bytearray(tiff_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    directory = bytes(data[at : at + 2 + 12 * count])
    last = at + 2 + 12 * count
    whole = bytearray(data)
    for _ in range(1100):
        place = len(whole) + len(whole) % 2
        whole += b"\0" * (place - len(whole))
        struct.pack_into("<I", whole, last, place)
        whole += directory + b"\0" * 4
        last = len(whole) - 4
    (tmp_path / "many.tif").write_bytes(bytes(whole))
    with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_RASTER_PARTS"):
        read_header(tmp_path / "many.tif")
    struct.pack_into("<I", data, at + 2 + 12 * count, at)
    (tmp_path / "round.tif").write_bytes(bytes(data))
    # the walk ends; what GDAL makes of the file is its own affair
    with pytest.raises(UnreadableFile) if not _opens(tmp_path / "round.tif") else _nothing():
        read_header(tmp_path / "round.tif")


def _opens(path: Path) -> bool:
    try:
        with rasterio.open(path):
            return True
    except rasterio.errors.RasterioIOError:
        return False


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (boxed(b"xml ", b"<a>" + b"<b/>" * 60_000 + b"</a>"), "items of metadata"),
        (boxed(b"xml ", bytes(17 * 2**20)), "bytes of metadata"),
        (boxed(b"uuid", bytes(9 * 2**20)) * 2, "bytes of metadata"),
        (boxed(b"free", b"") * 2000, "more than 1000 boxes"),
    ],
    ids=["items", "bytes", "bytes of several", "boxes"],
)
def test_boxes_of_jpeg2000(boxes: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    start = 12 + struct.unpack_from(">I", jp2_bytes(), 12)[0]
    path.write_bytes(jp2_bytes()[:start] + boxes + jp2_bytes()[start:])
    with pytest.raises(UnreadableFile, match=words):
        read_header(path)


def sparse(path: Path, width: int, height: int, **profile: object) -> Path:
    """A raster of any size that holds no pixels, and takes no more room than the list of its tiles."""
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype="uint16", crs=recipes.CRS,
        transform=TRANSFORM, SPARSE_OK=True, **({"tiled": True, "blockxsize": 512, "blockysize": 512} | profile),
    ):  # fmt: skip
        pass
    return path


def test_more_than_the_budget_is_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sparse(tmp_path / "a.tif", 3_900_000, 1000)
    with opened(str(path)) as dataset, pytest.raises(UnreadableFile, match="COREGSTACK_MAX_READ_BYTES"):
        read_window(dataset, [0], 0, 0, (1000, 3_900_000))
    monkeypatch.setenv("COREGSTACK_MAX_READ_BYTES", "1000")
    with opened(str(path)) as dataset:
        assert read_window(dataset, [0], 0, 0, (10, 50)).size == 500
        with pytest.raises(UnreadableFile, match="1002 bytes"):
            read_window(dataset, [0], 0, 0, (1, 501))


def test_a_few_bytes_do_not_claim_pixels_that_take_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(claiming(60_000, 60_000, 100, tile=512))
    with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_RASTER_RATIO"):
        read_header(path)
    # what takes a moment is taken, whatever it is of
    path.write_bytes(claiming(8_000, 6_000, 5, tile=512))
    assert read_header(path).count == 5
    # the second and third are so narrow that they are little but the edges of tiles
    for claim in (
        claiming(20_000, 20_000, 1, tile=512),
        claiming(486_302, 1, 133),
        claiming(3, 10_376_427, 8, tile=16),
    ):
        path.write_bytes(claim)
        with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_RASTER_RATIO"):
            read_header(path)
    monkeypatch.setenv("COREGSTACK_MAX_RASTER_RATIO", str(10**12))
    path.write_bytes(claiming(60_000, 60_000, 100, tile=512))
    assert read_header(path).count == 100


def test_sparse_rasters_of_millions_of_columns(sound: SimpleNamespace, tmp_path: Path) -> None:
    path = sparse(tmp_path / "wide.tif", 3_900_000, 300, blockxsize=256, blockysize=256)
    assert path.stat().st_size < 2**20
    code = (
        "import re, sys; from coregstack import run_scenes; from coregstack.errors import CoregError\n"
        "from coregstack.orders.verification import verify_output\nfrom pathlib import Path\n"
        "for anchor in ('anchor', 'wide'):\n"
        "    out = Path(sys.argv[1], anchor)\n"
        "    try:\n        result = run_scenes(sys.argv[2:], anchor=anchor, output=out)\n"
        "        print([str(r.quality.status) for r in result.reports], verify_output(out))\n"
        "    except CoregError as error:\n        print(error)\n"
        "print(int(re.search('VmHWM: *\\\\s(.*) kB', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    scenes = [str(sound.anchor), str(path), str(sound.good)]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out"), *scenes],
        capture_output=True, text=True, check=True, timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, resource.RLIM_INFINITY)),
    )  # fmt: skip
    # what getrusage tells is that of this process too, which the other was forked from
    as_item, as_anchor, peak = done.stdout.strip().splitlines()
    assert int(peak) < 1024
    assert as_item == "['anchor', 'failed', 'coregistered'] ()"
    assert (tmp_path / "out" / "anchor" / "wide.tif").read_bytes() == path.read_bytes()
    assert "'wide'" in as_anchor


@pytest.mark.parametrize("shape", [(1000, 100_000), (100_000, 1000)])
def test_checking_all_pixels_takes_little_of_any_raster(shape: tuple[int, int], tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif", shape[1], shape[0])
    sizes = []

    def read(dataset: object, bands: list[int], row: int, col: int, part: tuple[int, int]) -> np.ndarray:
        sizes.append(part[0] * part[1])
        return np.zeros((len(bands), *part), "uint16")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coregstack.pixels.raster.read_window", read)
        assert check_pixels(read_header(path), 0) is False
    assert sum(sizes) == shape[0] * shape[1]
    assert max(sizes) * 2 <= 128 * 2**20


def test_the_last_pixel_of_a_wide_raster_is_looked_at(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif", 300_000, 600, nodata=0, blockxsize=256, blockysize=256)
    assert check_pixels(read_header(path), 0) is False
    with rasterio.open(path, "r+") as out:
        out.write(np.ones((1, 1, 1), "uint16"), window=rasterio.windows.Window(299_999, 599, 1, 1))
    assert check_pixels(read_header(path), 0) is True


def test_sound_rasters_pass(sound: SimpleNamespace, tmp_path: Path) -> None:
    for k, profile in enumerate(({"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"compress": "zstd"})):
        write_tiff(tmp_path / f"{k}.tif", **profile)
        header = read_header(tmp_path / f"{k}.tif")
        assert (header.count, abs(header.box.affine.a)) == (4, PIXEL)
    result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out")
    assert result.reports[1].quality.status is Status.COREGISTERED
    assert verify_output(tmp_path / "out") == ()
    assert tree(tmp_path / "out") == tree(tmp_path / "out") | sound.digests
