"""A manifest lists what is there, and tells when a file is no longer what it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile, UnsafePath
from coregstack.orders.manifest import (
    Manifest,
    ManifestEntry,
    annotations_of,
    describe_file,
    locate,
    read_manifest,
    verify,
    write_manifest,
)
from coregstack.products.planet.names import parse_name

IMAGE = PurePosixPath("PSScene/20200630_164149_0e3a_3B_AnalyticMS_SR_8b_clip.tif")
PLANET = {
    "planet/asset_type": "ortho_analytic_8b_sr",
    "planet/bundle_type": "analytic_8b_sr_udm2",
    "planet/item_id": "20200630_164149_0e3a",
    "planet/item_type": "PSScene",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / IMAGE).parent.mkdir()
    (tmp_path / IMAGE).write_bytes(b"pixels" * 300_000)
    (tmp_path / "a.json").write_text("{}")
    entries = [
        describe_file(tmp_path, path, PLANET if path == IMAGE else {})
        for path in (PurePosixPath("a.json"), IMAGE)
    ]
    write_manifest(tmp_path, entries)
    return tmp_path


def test_the_form_is_that_of_the_service(folder: Path) -> None:
    data = (folder / IMAGE).read_bytes()
    value = json.loads((folder / "manifest.json").read_text())
    assert value["name"] == ""
    assert [file["path"] for file in value["files"]] == [str(IMAGE), "a.json"]
    assert value["files"][0] == {
        "path": str(IMAGE),
        "media_type": "image/tiff",
        "size": len(data),
        "digests": {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()},
        "annotations": PLANET,
    }


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    first = (folder / "manifest.json").read_bytes()
    write_manifest(folder, reversed(read_manifest(folder / "manifest.json").entries))
    assert (folder / "manifest.json").read_bytes() == first


def test_a_whole_folder_verifies(folder: Path) -> None:
    assert verify(folder / "manifest.json") == ()


def test_every_change_is_found(folder: Path) -> None:
    data = bytearray((folder / IMAGE).read_bytes())
    data[-1] ^= 1
    (folder / IMAGE).write_bytes(data)
    (found,) = verify(folder / "manifest.json")
    assert "md5 and sha256" in str(found)
    assert str(IMAGE) in str(found)
    (folder / IMAGE).write_bytes(b"")
    (folder / "a.json").unlink()
    messages = [problem.message for problem in verify(folder / "manifest.json")]
    assert any("1800000 bytes, but the file has 0" in message for message in messages)
    assert any("there is none" in message for message in messages)


def test_links_out_of_the_folder_are_not_opened(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_text("{}")
    (folder / "a.json").unlink()
    (folder / "a.json").symlink_to(outside)
    (found,) = verify(folder / "manifest.json")
    assert "a link leads out" in found.message
    with pytest.raises(UnsafePath):
        locate(folder, PurePosixPath("a.json"))
    with pytest.raises(UnsafePath):
        describe_file(folder, PurePosixPath("a.json"), {})


def test_entries_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    files = [
        {"path": "/etc/passwd"},
        {"path": "../up.tif"},
        {"path": "a\\b.tif"},
        {"size": 5},
        "x",
        {
            "path": "ok.tif",
            "size": "5",
            "digests": {"md5": "zz", "sha256": "A" * 64},
            "annotations": {"a": 1, "b": "c"},
        },
        {"path": "ok.tif", "size": 6},
        {"path": "bare.tif", "size": True, "digests": [], "annotations": None, "media_type": 1},
    ]
    (tmp_path / "manifest.json").write_text(json.dumps({"name": 1, "files": files}))
    manifest = read_manifest(tmp_path / "manifest.json")
    empty = {"media_type": None, "size": None, "md5": None}
    assert manifest.entries == (
        ManifestEntry(path=PurePosixPath("ok.tif"), sha256="a" * 64, annotations={"b": "c"}, **empty),
        ManifestEntry(path=PurePosixPath("bare.tif"), sha256=None, annotations={}, **empty),
    )
    assert manifest.name == ""
    assert len(manifest.problems) == 6
    assert "'/etc/passwd' is absolute" in str(manifest.problems[0])
    assert "two different entries" in str(manifest.problems[-1])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {}}', "\xff", "[" * 100_000])
def test_other_files_are_no_manifests(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UnreadableFile):
        read_manifest(tmp_path / "manifest.json")
    with pytest.raises(MissingFile):
        verify(tmp_path / "none.json")


def test_one_file_has_one_entry(folder: Path) -> None:
    entries = read_manifest(folder / "manifest.json").entries
    with pytest.raises(InvalidRequest, match="has several"):
        write_manifest(folder, [*entries, *entries])


def test_annotations_are_made_from_names() -> None:
    assert annotations_of(parse_name(IMAGE.name), bundle="analytic_8b_sr_udm2") == PLANET
    name = parse_name("3357121_2018-09-11_RE3_3A_udm.tif")
    assert annotations_of(name, item_id="20180911_094536_3357121_RapidEye-3") == {
        "planet/asset_type": "udm",
        "planet/item_id": "20180911_094536_3357121_RapidEye-3",
        "planet/item_type": "REOrthoTile",
    }
    assert annotations_of(parse_name("README")) == {}


def test_annotations_that_are_no_unicode_are_carried(folder: Path) -> None:
    entry = describe_file(folder, PurePosixPath("a.json"), {"planet/item_id": "\ud800"})
    assert read_manifest(write_manifest(folder, [entry])).entries == (entry,)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
entry_values = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("path", "size", "digests", "annotations", "media_type"), json_values)
)


@given(st.lists(entry_values | json_values, max_size=4))
def test_any_list_of_files_is_read(tmp_path_factory: pytest.TempPathFactory, files: list[object]) -> None:
    path = tmp_path_factory.getbasetemp() / "any_manifest.json"
    path.write_text(json.dumps({"files": files}))
    manifest = read_manifest(path)
    assert isinstance(manifest, Manifest)
    assert len(manifest.entries) + len(manifest.problems) <= len(files)


parts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,15}[A-Za-z0-9]", fullmatch=True)
entries = st.builds(
    ManifestEntry,
    path=st.lists(parts, min_size=1, max_size=3).map(lambda names: PurePosixPath(*names)),
    media_type=st.none() | st.just("image/tiff"),
    size=st.none() | st.integers(min_value=0),
    md5=st.none() | st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    sha256=st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    annotations=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
)


@given(st.lists(entries, max_size=4, unique_by=lambda entry: entry.path))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, made: list[ManifestEntry]
) -> None:
    path = write_manifest(tmp_path_factory.getbasetemp(), made, name="order")
    manifest = read_manifest(path)
    assert (manifest.name, manifest.problems) == ("order", ())
    assert sorted(manifest.entries, key=str) == sorted(made, key=str)
