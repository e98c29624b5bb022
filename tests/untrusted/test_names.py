"""Nothing that comes from outside leads out of its folder."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import UnsafePath
from coregstack.untrusted.names import check_item_id, safe_relative, split_extension

UNSAFE_PARTS = ("..", "a\\b", "C:x", "a\nb", "a\0b", "\u202egpj.a", "\ud800", "x" * 256)


@pytest.mark.parametrize(
    "item_id", [*UNSAFE_PARTS, ".", "", " ", "a/b", "/a", "../up", "x" * 201, None, 5, b"a"]
)
def test_unsafe_ids_are_refused(item_id: object) -> None:
    with pytest.raises(UnsafePath, match=r"item id has to be"):
        check_item_id(item_id)


@pytest.mark.parametrize("item_id", ["20200630_164149_0e3a", "-dash", "two words", "Ærø", "a..b", "x" * 200])
def test_plain_ids_pass(item_id: str) -> None:
    assert check_item_id(item_id) == item_id


@pytest.mark.parametrize("path", [*UNSAFE_PARTS, "a/../../b", "/etc/passwd", "", "/", ".", "a/C:/b", None, 3])
def test_unsafe_paths_are_refused(path: object) -> None:
    with pytest.raises(UnsafePath, match=r"path has to"):
        safe_relative(path)


@given(st.text())
def test_what_passes_stays_inside(path: str) -> None:
    try:
        found = safe_relative(path)
    except UnsafePath:
        return
    assert not found.is_absolute()
    assert ".." not in found.parts
    assert found.parts


def test_paths_are_tidied() -> None:
    assert safe_relative("./a//b.tif") == PurePosixPath("a/b.tif")


@given(st.text())
def test_stem_and_extension_are_the_name(name: str) -> None:
    stem, extension = split_extension(name)
    assert stem + extension == name
    assert stem or not name


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.tif", ".tif"),
        ("a.TIF", ".TIF"),
        ("a", ""),
        (".tif", ""),
        ("v1.2", ""),
        ("v1.2.tif", ".tif"),
        ("a.tif.aux.xml", ".tif.aux.xml"),
        ("a.tif.ovr", ".tif.ovr"),
        ("a.tar.gz", ".tar.gz"),
        ("MOD09GQ.A2018123", ""),
        ("a.jp2", ".jp2"),
    ],
)
def test_extensions(name: str, extension: str) -> None:
    assert split_extension(name)[1] == extension
