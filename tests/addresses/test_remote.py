"""Files behind addresses: what is fetched, what is said where that fails, and who is never told a secret."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from webserver import WebServer, serving

from coregstack.errors import CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.pixels.inputs import opened_bytes, state_of
from coregstack.pixels.raster import opened, read_header, read_window
from coregstack.pixels.remote import RemoteFile, require_obstore
from coregstack.untrusted.addresses import Address, typed

SECRET = "hunter2-hunter2"


def address(url: str) -> Address:
    found = typed(url)
    assert isinstance(found, Address)
    return found


def read_all(url: Address, before: Callable[[], None] = lambda: None) -> None:
    with opened(url) as dataset:
        before()
        read_window(dataset, [0], 0, 0, (1024, 1024))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cloud-optimised GeoTIFF of noise, which no codec makes small."""
    path = tmp_path_factory.mktemp("large") / "large.tif"
    values = np.random.default_rng(0).integers(0, 2**16, (1, 1024, 1024), "uint16")
    profile = {"driver": "COG", "width": 1024, "height": 1024, "count": 1, "dtype": "uint16", "blocksize": 128,
               "crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 3, 3)}  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)
    return path


def test_a_header_costs_one_request_and_a_window_its_tiles(large: Path) -> None:
    with serving(large.parent) as server:
        url = address(server.url("large.tif"))
        header = read_header(url)
        assert len(server.requests) == 1
        assert server.sent <= 2**16
        local = read_header(large)
        assert (header.box, header.dtype, header.size) == (local.box, local.dtype, local.size)
        with opened(url) as far, opened(str(large)) as near:
            window = [0], 300, 500, (100, 100)
            np.testing.assert_array_equal(read_window(far, *window), read_window(near, *window))
        # 2 x 1 tiles of 32 KiB, one header, and what lies between
        assert server.sent < large.stat().st_size / 4
        server.requests.clear()
        with opened(url) as far, opened(str(large)) as near:
            window = [0], 0, 0, (1024, 1024)
            np.testing.assert_array_equal(read_window(far, *window), read_window(near, *window))
        # who reads on gets more at once: far fewer requests than tiles
        assert len(server.requests) < 20


@pytest.mark.parametrize("place", [0, 1, 2**16 - 1, 2**16, 2_000_000, 3 * 2**20])
@pytest.mark.parametrize("size", [0, 1, 2**16 + 1, 5 * 2**20])
def test_every_range_is_that_of_the_file(large: Path, place: int, size: int) -> None:
    with serving(large.parent) as server, opened_bytes(address(server.url("large.tif"))) as file:
        file.seek(place)
        assert file.read(size) == large.read_bytes()[place : place + size]


@pytest.mark.parametrize("kind", ["good", "once", "moved", "whole"])
def test_what_servers_do_differently_changes_nothing(kind: str, server: WebServer, hosted: Path) -> None:
    url = address(server.url("good.tif", kind))
    with opened_bytes(url) as file:
        assert file.read() == (hosted / "good.tif").read_bytes()
    assert read_header(url).box == read_header(hosted / "good.tif").box
    assert state_of(url) == state_of(url)
    assert state_of(url)[0] == (hosted / "good.tif").stat().st_size


BAD = {
    "404": (MissingFile, "no file .*404"),
    "410": (MissingFile, "no file .*410"),
    "401": (UnreadableFile, "may not be read .401.*signature"),
    "403": (UnreadableFile, "may not be read .403.*signature"),
    "500": (UnreadableFile, "answered with an error .500."),
    "cut": (UnreadableFile, "broke off"),
    "changing": (UnreadableFile, "was changed while it was read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_a_server_refuses_is_said_in_words(
    kind: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREGSTACK_MAX_REQUEST_SECONDS", "1")
    error, words = BAD[kind]
    with serving(large.parent) as server, pytest.raises(error, match=words) as found:
        read_all(address(server.url(f"large.tif?sig={SECRET}", kind)))
    told = "".join(traceback.format_exception(found.value)) + repr(found.value.__context__)
    assert "large.tif" in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("name", "words"), [("junk.tif", "neither GeoTIFF nor JPEG 2000"), ("empty.tif", "is empty")]
)
def test_what_is_no_raster_is_named(name: str, words: str, server: WebServer) -> None:
    with pytest.raises(UnreadableFile, match=words):
        read_header(address(server.url(name)))


def test_a_server_that_does_not_answer_is_not_waited_for(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREGSTACK_MAX_REQUEST_SECONDS", "1")
    with pytest.raises(UnreadableFile, match=r"not answered within 1 s.*COREGSTACK_MAX_REQUEST_SECONDS"):
        read_header(address(server.url("good.tif", "slow")))
    with pytest.raises(UnreadableFile, match="cannot be reached"):
        read_header(address("http://127.0.0.1:9/a.tif"))


def test_what_fails_while_gdal_reads_is_told_with_its_reason(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREGSTACK_MAX_REQUEST_SECONDS", "1")
    with serving(large.parent) as server:
        with pytest.raises(UnreadableFile, match=r"answered with an error .503.") as found:
            read_all(address(server.url("large.tif")), lambda: setattr(server, "failing", True))
        assert "vsi" not in str(found.value)


def test_logins_are_sent_to_their_host_alone(server: WebServer, hosted: Path) -> None:
    with serving(hosted) as other:
        server.elsewhere = other.url("good.tif")
        url = address(server.url("good.tif", "moved").replace("//", f"//me:{SECRET}@"))
        read_header(url)
        assert server.logins[0] is not None
        assert server.logins[0].startswith("Basic ")
        assert other.logins == [None]
        assert SECRET not in f"{url} {url!r} {[url]} {read_header(url)}"
        assert address(pickle.loads(pickle.dumps(url))).login == f"me:{SECRET}"


@pytest.mark.parametrize(
    "text", ["https://me:pa/ss@host/a.tif", "https://me:pa?ss@host/a.tif", "https://me:pa#ss@host/a.tif"]
)
def test_logins_that_look_like_a_host_are_not_shown(text: str) -> None:
    with pytest.raises(InvalidRequest, match="%2F") as found:
        typed(text)
    assert "pa" not in str(found.value).partition("Write")[0].replace("part", "")


@pytest.mark.parametrize(
    "text", ["ftp://host/a.tif", "s3://bucket", "https://host", "https:///a.tif", "zip+s3://b/a"]
)
def test_addresses_of_no_file_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        typed(text)


def test_a_name_that_nobody_typed_is_not_read(server: WebServer) -> None:
    for name in (
        server.url("good.tif"),
        str(address(server.url("good.tif"))),
        f"/vsicurl/{server.url('good.tif')}",
    ):
        with pytest.raises(UnreadableFile):
            read_header(name)
    assert server.requests == []


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coregstack.pixels.remote.find_spec", lambda _: None)
    with pytest.raises(InvalidRequest, match=r"coregstack\[cloud\]"):
        require_obstore()
    with pytest.raises(CoregError, match=r"coregstack\[cloud\]"):
        RemoteFile(address("https://127.0.0.1/a.tif"))
