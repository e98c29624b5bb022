"""Scenes in an object store of this machine, with credentials as people have them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coregstack import open_scenes, run_scenes
from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile
from coregstack.pixels.raster import read_header
from coregstack.stack.expanding import expanded
from coregstack.untrusted.addresses import typed

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

KEYS = (
    "scenes/anchor.tif",
    "scenes/2020/good one.tif",
    "scenes/2020/100%?#[1].tif",
    "scenes/notes.txt",
    "other/x.tif",
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An object store."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(endpoint: str, hosted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket with scenes, and a profile that may read them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = hunter2\n")
    settings = {"AWS_ENDPOINT_URL": endpoint, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
                "AWS_PROFILE": "mine", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1",
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": str(tmp_path / "none")}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    store = boto3.client("s3")
    store.create_bucket(Bucket="mine")
    for key in KEYS:
        data = (hosted / ("anchor.tif" if "anchor" in key else "good.tif")).read_bytes()
        acl = "public-read" if key.startswith("other") else "private"
        store.put_object(Bucket="mine", Key=key, Body=data, ACL=acl)
    return "mine"


def test_folders_and_patterns_of_a_bucket(bucket: str) -> None:
    first, second, third = (f"s3://{bucket}/{key}" for key in sorted(KEYS[:3]))
    assert expanded(f"s3://{bucket}/scenes/") == [first, second, third]
    assert expanded(f"s3://{bucket}/scenes/*.tif") == [third]
    assert expanded(f"s3://{bucket}/scenes/20??/*") == [first, second]
    assert expanded(f"s3://{bucket}/**/anchor*") == [third]
    for given in (f"s3://{bucket}/none/", f"s3://{bucket}/scenes/*.jp2"):
        with pytest.raises(MissingFile, match="No GeoTIFF"):
            expanded(given)


def test_a_run_over_a_bucket(bucket: str, tmp_path: Path) -> None:
    result = run_scenes(f"s3://{bucket}/scenes/", anchor="anchor", output=tmp_path / "out")
    assert not result.problems
    assert sorted(result.to_dataframe().status) == ["anchor", "coregistered", "coregistered"]
    assert result.sources["good one"] == f"s3://{bucket}/{KEYS[1]}"
    stack = open_scenes([f"s3://{bucket}/{key}" for key in KEYS[:3]], anchor=0)
    assert stack.isel(time=1).values.any()


def test_what_a_store_does_not_have_is_said(bucket: str) -> None:
    with pytest.raises(MissingFile, match=r"no file 's3://mine/none.tif'"):
        read_header(typed(f"s3://{bucket}/none.tif"))
    with pytest.raises(MissingFile, match=r"s3://nobody/a.tif"):
        read_header(typed("s3://nobody/a.tif"))


def test_credentials_come_from_a_profile_or_the_environment(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = typed(f"s3://{bucket}/{KEYS[0]}")
    read_header(url)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UnreadableFile, match="nobody"):
        read_header(url)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    with pytest.raises(UnreadableFile, match=r"may not be read .403.*AWS_PROFILE"):
        read_header(url)
    read_header(typed(f"s3://{bucket}/other/x.tif"))
    monkeypatch.delenv("AWS_NO_SIGN_REQUEST")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UnreadableFile, match="403"):
        read_header(url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    read_header(url)


def test_an_azure_address_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidRequest, match="AZURE_STORAGE_ACCOUNT_NAME"):
        read_header(typed("az://container/a.tif"))
