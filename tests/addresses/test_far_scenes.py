"""Scenes behind addresses are scenes like any other, and nobody is told how they are reached."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from webserver import WebServer

from coregstack import align, cli, open_scenes, run_scenes, to_geotiffs, to_zarr
from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile
from coregstack.stack.expanding import expanded

SECRET = "hunter2-hunter2"


def signed(server: WebServer, *names: str, kind: str = "good") -> list[str]:
    return [server.url(f"{name}.tif?sig={SECRET}", kind).replace("//", f"//me:{SECRET}@") for name in names]


def files_with(text: str, folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in found if text.encode() in path.read_bytes()]


def test_a_run_over_addresses_is_one_over_the_files(
    server: WebServer, hosted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "coregstack"):
        far = run_scenes(signed(server, "anchor", "good"), anchor="anchor", output=tmp_path / "far")
    near = run_scenes([hosted / "anchor.tif", hosted / "good.tif"], anchor="anchor", output=tmp_path / "near")
    assert not far.problems
    assert [report.quality for report in far.reports] == [report.quality for report in near.reports]
    for name in ("anchor_anchor.tif", "good_coreg.tif", "good_coreg_qa_metadata.json"):
        assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert files_with(SECRET, tmp_path / "far") == []
    assert SECRET not in f"{caplog.text} {far!r} {far.to_dataframe()}"
    assert far.sources["good"] == server.url("good.tif")

    server.sent = 0
    urls = signed(server, "anchor", "good")
    again = run_scenes(urls, anchor=urls[0], output=tmp_path / "far")
    assert all(report.resumed for report in again.reports)
    # the anchor is looked at whenever a run begins
    assert server.sent < (hosted / "anchor.tif").stat().st_size + 3 * 2**16
    other = run_scenes(
        signed(server, "anchor", "good", kind="moved"), anchor="anchor", output=tmp_path / "far"
    )
    assert not any(report.resumed for report in other.reports)


def test_opening_reads_headers_alone_and_the_rest_when_it_is_needed(
    server: WebServer, hosted: Path, tmp_path: Path
) -> None:
    far = open_scenes(signed(server, "anchor", "good"), anchor="anchor")
    aligned = align(far, anchor="anchor")
    assert len(server.requests) == 2
    near = align(open_scenes([hosted / "anchor.tif", hosted / "good.tif"], anchor="anchor"), anchor="anchor")
    np.testing.assert_array_equal(aligned.values, near.values)
    assert list(far.source.values) == [server.url("anchor.tif"), server.url("good.tif")]
    to_zarr(aligned, tmp_path / "cube.zarr")
    to_geotiffs(aligned, tmp_path / "out")
    assert files_with(SECRET, tmp_path) == []
    assert xr.open_zarr(tmp_path / "cube.zarr").source.values[1] == server.url("good.tif")


def test_what_cannot_be_fetched_is_named_and_stops_no_other(
    server: WebServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = [*signed(server, "anchor", "good"), *signed(server, "lost", kind="403"), server.url("none.tif")]
    code = cli.main(["align", *urls, "--anchor", "anchor", "--output", str(tmp_path / "out"), "--no-report"])
    told = capfd.readouterr()
    assert code == 3
    assert "may not be read (403)" in told.err
    assert "no file" in told.err
    assert SECRET not in told.out + told.err
    assert (tmp_path / "out" / "good_coreg.tif").is_file()
    assert files_with(SECRET, tmp_path) == []
    with pytest.raises(UnreadableFile, match="may not be read") as found:
        open_scenes(urls, anchor="anchor")
    assert SECRET not in str(found.value)


def test_the_anchor_may_be_named_by_its_address(server: WebServer) -> None:
    urls = signed(server, "good", "anchor")
    assert open_scenes(urls, anchor=urls[1]).id.values.tolist() == ["good", "anchor"]
    # any other address is an anchor from outside
    assert open_scenes(urls[:1], anchor=urls[1]).id.values.tolist() == ["good"]
    with pytest.raises(UnreadableFile, match="no file") as found:
        open_scenes(urls, anchor=server.url(f"other.tif?sig={SECRET}"))
    assert SECRET not in str(found.value)


def test_an_address_that_went_through_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="give it as text"):
        open_scenes([Path("https://example.org/a.tif")], anchor=0)
    monkeypatch.chdir(tmp_path)
    Path("http:.tif").touch()
    assert expanded("http:.tif") == ["http:.tif"]


def test_web_servers_are_not_asked_what_they_hold(server: WebServer) -> None:
    for name in ("", "*.tif"):
        with pytest.raises(InvalidRequest, match="web server does not tell"):
            expanded(server.url(name))
    assert server.requests == []


def test_folders_and_patterns_stand_for_their_files(hosted: Path, tmp_path: Path) -> None:
    for name in ("b/2.TIF", "a.tif", "b/1.jp2", "b/.hidden.tif", ".state/3.tif", "b/notes.txt", "s[1].tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def names(given: object) -> list[str]:
        return [str(Path(found).relative_to(tmp_path)) for found in expanded(given)]

    assert names(tmp_path) == ["a.tif", "b/1.jp2", "b/2.TIF", "s[1].tif"]
    assert names(f"{tmp_path}/**/*.[jt]*") == ["a.tif", "b/1.jp2", "b/notes.txt", "s[1].tif"]
    assert names([f"{tmp_path}/s[1].tif", tmp_path / "b"]) == ["s[1].tif", "b/1.jp2", "b/2.TIF"]
    (tmp_path / "link").symlink_to(hosted)
    assert "link/good.tif" not in names(tmp_path)
    for nothing, words in (
        (f"{tmp_path}/*.png", "No file matches"),
        (tmp_path / ".state" / "x?", "No file matches"),
    ):
        with pytest.raises(MissingFile, match=words):
            expanded(nothing)
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingFile, match="holds no GeoTIFF"):
        expanded(tmp_path / "none")


def test_a_folder_and_a_pattern_are_enough(hosted: Path, tmp_path: Path) -> None:
    result = run_scenes(f"{hosted}/[ag]*.tif", anchor="anchor", output=tmp_path / "out")
    assert [report.id for report in result.reports] == ["anchor", "good"]
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("anchor", "good"):
        (folder / f"{name}.tif").symlink_to(hosted / f"{name}.tif")
    assert open_scenes([folder / "anchor.tif", f"{hosted}/good.tif"], anchor=0).sizes["time"] == 2
