"""Archives are unpacked whole and only where they should be; hostile ones leave nothing behind."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from coregstack.errors import CoregError, MissingFile, OutputConflict, UnreadableFile, UnsafePath
from coregstack.orders.archives import UnpackLimits, unpack


def make_zip(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*")) if folder.exists() else []
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def test_a_folder_without_archives_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "order").mkdir()
    assert unpack(tmp_path / "order", tmp_path / "into") == (tmp_path / "order",)
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_single_archive_becomes_the_folder(tmp_path: Path, method: int) -> None:
    members = {"manifest.json": b"{}", "files/PSScene/a.tif": b"pixels" * 1000}
    archive = make_zip(tmp_path / "order.zip", {"files/": b"", **members}, method=method)
    assert unpack(archive, tmp_path / "into") == (tmp_path / "into",)
    assert tree(tmp_path / "into") == members


def test_archives_in_a_folder_keep_their_places(tmp_path: Path) -> None:
    order = tmp_path / "order"
    make_zip(order / "first.zip", {"manifest.json": b"1", "a.tif": b"a"})
    make_zip(order / "sub" / "second.ZIP", {"manifest.json": b"2", "inner.zip": b"left packed"})
    (order / "b.tif").write_bytes(b"b")
    assert unpack(order, tmp_path / "into") == (order, tmp_path / "into")
    assert tree(tmp_path / "into") == {
        "first/manifest.json": b"1",
        "first/a.tif": b"a",
        "sub/second/manifest.json": b"2",
        "sub/second/inner.zip": b"left packed",
    }


@pytest.mark.parametrize(
    "name", ["../up.tif", "a/../../up.tif", "/etc/up.tif", "a\\..\\up.tif", "C:up.tif", "a\nb", ".."]
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "order.zip", {"good.tif": b"x", name: b"x"})
    with pytest.raises(UnsafePath, match="is not unpacked"):
        unpack(archive, tmp_path / "into")
    assert tree(tmp_path / "into") == {}


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link.tif")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "order.zip", "w") as file:
        file.writestr("good.tif", b"x")
        file.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafePath, match="link or a device"):
        unpack(tmp_path / "order.zip", tmp_path / "into")
    assert tree(tmp_path / "into") == {}


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "order.zip", {"a.tif": b"x"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(UnreadableFile, match="encrypted"):
        unpack(archive, tmp_path / "into")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (UnpackLimits(max_files=2), "3 files, more than 2 files"),
        (UnpackLimits(max_bytes=10), "300000 bytes, more than 10 bytes"),
        (UnpackLimits(max_ratio=50, ratio_free_bytes=0), "times its size, more than 50 times"),
    ],
)
def test_bombs_are_refused(tmp_path: Path, limits: UnpackLimits, words: str) -> None:
    archive = make_zip(tmp_path / "order.zip", {f"{k}.tif": bytes(100_000) for k in range(3)})
    with pytest.raises(UnreadableFile, match=words):
        unpack(archive, tmp_path / "into", limits=limits)
    assert tree(tmp_path / "into") == {}
    assert len(tree(unpack(archive, tmp_path / "into")[0])) == 3


def test_members_larger_than_they_say_are_not_written_out(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "order.zip", {"a.tif": bytes(1_000_000)})
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (1000).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(UnreadableFile):
        unpack(archive, tmp_path / "into")
    assert all(len(content) <= 1000 for content in tree(tmp_path / "into").values())


def test_one_bad_archive_is_found_before_anything_is_written(tmp_path: Path) -> None:
    make_zip(tmp_path / "order" / "a.zip", {"a.tif": b"x"})
    (tmp_path / "order" / "b.zip").write_bytes(b"PK not an archive")
    with pytest.raises(UnreadableFile, match=r"b\.zip has to be a zip archive"):
        unpack(tmp_path / "order", tmp_path / "into")
    assert tree(tmp_path / "into") == {}


def test_damage_is_named(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "order.zip", {"a.tif": bytes(range(256)) * 50}, method=zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[5000] ^= 255
    archive.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"a\.tif of archive"):
        unpack(archive, tmp_path / "into")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    archive = make_zip(tmp_path / "order.zip", {"a.tif": b"x"})
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "a.tif").symlink_to(outside)
    with pytest.raises(OutputConflict, match="already there"):
        unpack(archive, tmp_path / "into")
    assert outside.read_bytes() == b"mine"


def test_names_that_collide_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "order.zip", {"a.tif": b"1", "b.tif": b"2"})
    archive.write_bytes(archive.read_bytes().replace(b"b.tif", b"a.tif"))
    with pytest.raises(OutputConflict, match="twice"):
        unpack(archive, tmp_path / "into")
    archive = make_zip(tmp_path / "tree.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(CoregError):
        unpack(archive, tmp_path / "other")


def test_a_source_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="folder or a zip archive"):
        unpack(tmp_path / "none", tmp_path / "into")


def test_archives_whose_folders_collide_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "in"
    make_zip(source / "a.zip", {"b": b"a file where the other archive needs a folder"})
    make_zip(source / "a" / "b.zip", {"c/": b""})
    with pytest.raises(CoregError):
        unpack(source, tmp_path / "out")
