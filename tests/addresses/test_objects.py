"""Scenes in an object store of this machine, with credentials as people have them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from webserver import WebServer

from coregstack import align, cli, open_scenes, run_scenes, to_geotiffs, to_vrt
from coregstack.errors import InvalidRequest, MissingFile, OutputConflict, UnreadableFile
from coregstack.export import objects
from coregstack.export.files import STATE
from coregstack.pixels.raster import read_header
from coregstack.run import stores
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


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_each_kind_of_store_is_asked_without_credentials_where_there_are_none(
    scheme: str, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = f"http://127.0.0.1:{server.port}"
    settings = {"AWS_ENDPOINT_URL": here, "AWS_NO_SIGN_REQUEST": "YES", "GOOGLE_BASE_URL": here,
                "AZURE_STORAGE_ENDPOINT": here, "AZURE_STORAGE_ACCOUNT_NAME": "me", "HOME": str(tmp_path)}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert read_header(typed(f"{scheme}://good/good.tif")).stem == "good"
    assert server.logins == [None]


def test_an_azure_address_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidRequest, match="AZURE_STORAGE_ACCOUNT_NAME"):
        read_header(typed("az://container/a.tif"))


# --- outputs


def contents(bucket: str, prefix: str) -> dict[str, bytes]:
    store = boto3.client("s3")
    found = store.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return {
        one["Key"].removeprefix(f"{prefix}/"): store.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
        for one in found
    }


@pytest.fixture
def inputs(hosted: Path) -> list[Path]:
    return [hosted / "anchor.tif", hosted / "good.tif"]


def test_a_store_holds_what_a_folder_would(
    bucket: str, inputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as of large files, which make room once they are put
    monkeypatch.setattr(stores, "_LARGE", 1)
    put, order = objects.put, []

    def noted(root: object, path: str, file: Path) -> None:
        order.append(path)
        put(root, path, file)  # type: ignore[arg-type]

    monkeypatch.setattr(stores, "put", noted)
    there = run_scenes(inputs, anchor="anchor", output=f"s3://{bucket}/out")
    here = run_scenes(inputs, anchor="anchor", output=tmp_path / "out")
    assert not there.problems
    assert there.output == f"s3://{bucket}/out"
    assert [report.quality for report in there.reports] == [report.quality for report in here.reports]
    found = contents(bucket, "out")
    local = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert sorted(found) == sorted(set(local) - {f"{STATE}/lock", f"{STATE}/run"})
    for name in ("anchor_anchor.tif", "good_coreg.tif", "good_coreg_qa_metadata.json", "coregistration.csv"):
        assert found[name] == local[name]
    places = [
        order.index(name) for name in ("good_coreg.tif", "good_coreg_qa_metadata.json", f"{STATE}/good.json")
    ]
    assert places == sorted(places)


def test_what_is_done_is_known_from_a_listing(
    bucket: str, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"s3://{bucket}/again"
    run_scenes(inputs, anchor="anchor", output=output)
    fetched: list[str] = []
    fetch = objects.fetch
    monkeypatch.setattr(stores, "fetch", lambda root, path: (fetched.append(path), fetch(root, path))[1])
    monkeypatch.setattr(
        stores, "put", lambda root, path, file: pytest.fail(path) if path.endswith(".tif") else None
    )
    assert all(report.resumed for report in run_scenes(inputs, anchor="anchor", output=output).reports)
    assert {Path(path).parent.name for path in fetched} == {STATE}
    monkeypatch.undo()


def test_what_a_fault_has_left_out_is_done_by_the_next_run(
    bucket: str, inputs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f"s3://{bucket}/faults"
    put = objects.put

    def failing(root: object, path: str, file: Path) -> None:
        if path == "good_coreg.tif":
            raise UnreadableFile("The store is full.")
        put(root, path, file)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(stores, "put", failing)
        result = run_scenes(inputs, anchor="anchor", output=output)
    assert "The store is full" in str(result.problems)
    assert not {name for name in contents(bucket, "faults") if name.startswith(("good", f"{STATE}/good"))}
    result = run_scenes(inputs, anchor="anchor", output=output)
    assert not result.problems
    assert [report.resumed for report in result.reports] == [True, False]
    assert "good_coreg.tif" in contents(bucket, "faults")


def test_names_that_an_item_has_no_more_are_removed_and_no_other(bucket: str, inputs: list[Path]) -> None:
    output = f"s3://{bucket}/names"
    store = boto3.client("s3")
    run_scenes(inputs, anchor="anchor", output=output)
    store.put_object(Bucket=bucket, Key="names/mine.txt", Body=b"mine")
    run_scenes(inputs, anchor="anchor", output=output, min_improvement=1.0)
    found = contents(bucket, "names")
    assert "good.tif" in found
    assert "good_coreg.tif" not in found
    assert found["mine.txt"] == b"mine"
    store.put_object(Bucket=bucket, Key="other/good_coreg.tif", Body=b"mine")
    with pytest.raises(OutputConflict, match=r"good_coreg\.tif"):
        run_scenes(inputs, anchor="anchor", output=f"s3://{bucket}/other")
    assert contents(bucket, "other")["good_coreg.tif"] == b"mine"


def test_a_second_run_at_once_stops(bucket: str, inputs: list[Path]) -> None:
    output = f"s3://{bucket}/twice"
    with stores.claimed(stores._place(typed(output))), pytest.raises(OutputConflict, match="Another run"):  # type: ignore[arg-type]
        run_scenes(inputs, anchor="anchor", output=output)
    assert not contents(bucket, "twice")


def test_stacks_and_the_command_write_to_stores(
    bucket: str, inputs: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    aligned = align(open_scenes(inputs, anchor="anchor"), anchor="anchor")
    assert not to_geotiffs(aligned, f"s3://{bucket}/stack").problems
    assert "good_coreg.tif" in contents(bucket, "stack")
    call = ["align", *map(str, inputs), "--anchor", "anchor", "--output", f"s3://{bucket}/command"]
    assert cli.main(call) == 0
    told = capfd.readouterr()
    assert f"s3://{bucket}/command" in told.out
    assert "good_coreg.tif" in contents(bucket, "command")
    assert cli.main([*call, "--stac"]) == 2
    assert cli.main([*call[:-1], f"s3://{bucket}/dry", "--dry-run"]) == 0
    assert not contents(bucket, "dry")


def test_what_makes_no_sense_in_a_store_is_refused(bucket: str, inputs: list[Path]) -> None:
    for options in ({"check": True}, {"vrt": True}):
        with pytest.raises(InvalidRequest, match="cannot be had in the object store"):
            run_scenes(inputs, anchor="anchor", output=f"s3://{bucket}/no", **options)
    with pytest.raises(InvalidRequest, match="address was given"):
        to_vrt(align(open_scenes(inputs, anchor=0), anchor=0), f"s3://{bucket}/no")
    with pytest.raises(MissingFile, match=r"s3://nobody/out"):
        run_scenes(inputs, anchor="anchor", output="s3://nobody/out")
