"""Promises of the Zarr cube: what is read back, what is written again, what a crash leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401
import pytest
import rioxarray  # noqa: F401
import xarray as xr
import zarr
from affine import Affine
from dask.highlevelgraph import HighLevelGraph
from dask.tokenize import tokenize
from distributed import Client, LocalCluster

from coregstack.cube.write import to_zarr
from coregstack.errors import InvalidRequest, OutputConflict

STATUSES = ["anchor", "coregistered", "failed", "no_improvement", "already_aligned"]
TRANSFORM = Affine(10.0, 0.0, 500000.0, 0.0, -10.0, 5100000.0)
CALLS: Counter[tuple[str, int]] = Counter()
LOCK = threading.Lock()


def counted(kind: str, date: int) -> None:
    with LOCK:
        CALLS[(kind, date)] += 1


def total(kind: str) -> int:
    return sum(count for (what, _), count in CALLS.items() if what == kind)


def scene(date: int, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(date).integers(1, 60000, shape, dtype=np.uint16)
    values[..., :3, :] = 0
    return values


def estimate(version: np.ndarray) -> np.ndarray:
    date = int(version[0]) % 1000
    counted("estimate", date)
    return np.array([f"{date * 0.25 - 1.0}|{STATUSES[date % 5]}"], object)


def shift_of(found: np.ndarray) -> np.ndarray:
    return np.array([float(found[0].split("|")[0])])


def status_of(found: np.ndarray) -> np.ndarray:
    return np.array([found[0].split("|")[1]], object)


def pixels_of(version: int, shift: np.ndarray, shape: tuple[int, ...], box: list[slice]) -> np.ndarray:
    date = version % 1000
    counted("pixels", date)
    assert shift[0] == date * 0.25 - 1.0
    time.sleep(float(os.environ.get("COREGSTACK_TEST_PAUSE", 0)))
    return (scene(date, shape) + np.uint16(version // 1000))[(None, slice(None), *box)]


def make(
    versions: list[int], *, size=(2, 40, 50), chunks=(-1, -1), lazy: bool = True, clear: bool = True
) -> xr.DataArray:
    """An aligned stack of numbered dates: the last three digits seed a date, the rest is its edition."""
    count = len(versions)
    dates = [v % 1000 for v in versions]
    found = da.from_array(np.array(versions), chunks=1).map_blocks(
        estimate, dtype=object, meta=np.empty(0, object)
    )
    shift = found.map_blocks(shift_of, dtype=float, meta=np.empty(0))
    status = found.map_blocks(status_of, dtype=object, meta=np.empty(0, object))
    bands, height, width = size
    grid = da.core.normalize_chunks((1, bands, *chunks), (count, *size), dtype="u2")
    name = f"pixels-{tokenize(versions, size, grid)}"
    tops, lefts = (np.cumsum([0, *sides]).tolist() for sides in grid[2:])
    layer = {
        (name, t, 0, i, j): (
            pixels_of,
            version,
            (shift.name, t),
            list(size),
            [slice(*tops[i : i + 2]), slice(*lefts[j : j + 2])],
        )
        for t, version in enumerate(versions)
        for i in range(len(grid[2]))
        for j in range(len(grid[3]))
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[shift])
    values = da.Array(graph, name, grid, dtype="u2")
    coords = {
        "time": np.array(
            [np.datetime64("2024-01-01T10:30:15.5", "ns") + np.timedelta64(d, "D") for d in dates]
        ),
        "id": ("time", [f"item_{d}" for d in dates]),
        "band": [f"band {k}" for k in range(bands)],
        "y": TRANSFORM.f + TRANSFORM.e * (np.arange(height) + 0.5),
        "x": TRANSFORM.c + TRANSFORM.a * (np.arange(width) + 0.5),
        "shift_y": ("time", shift),
        "status": ("time", status),
        "details": (
            "time",
            np.array([f"words for {d}, \N{GREEK SMALL LETTER SIGMA}" for d in dates], object),
        ),
    }
    if clear:
        coords["clear"] = (("time", "y", "x"), values[:, 0] % 3 != 0)
    stack = xr.DataArray(values, dims=("time", "band", "y", "x"), coords=coords, attrs={"units": "1"})
    stack = stack.rio.write_crs(32633).rio.write_transform(TRANSFORM)
    stack.attrs["_FillValue"] = np.uint16(0)
    return stack if lazy else stack.compute()


def opened(store, **options) -> xr.Dataset:
    return xr.open_zarr(store, decode_coords="all", mask_and_scale=False, **options)


def assert_holds(store, versions: list[int], **options) -> xr.Dataset:
    """Check that a cube holds these dates, value for value."""
    cube = opened(store)
    want = make(versions, lazy=False, **options)
    np.testing.assert_array_equal(cube.image.values, want.values)
    for name in ("time", "id", "shift_y", "status", "details", "clear", "x", "y", "band"):
        np.testing.assert_array_equal(cube[name].values, want[name].values)
    assert cube.image.dtype == np.uint16
    return cube


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


@pytest.mark.parametrize("kind", ["path", "local", "memory", "fsspec", "dict"])
def test_any_store_gives_back_what_was_written(tmp_path, kind):
    store = {
        "path": tmp_path / "cube.zarr",
        "local": zarr.storage.LocalStore(tmp_path / "cube.zarr"),
        "memory": zarr.storage.MemoryStore(),
        "fsspec": f"memory://{tmp_path.name}/cube.zarr",
        "dict": {},
    }[kind]
    to_zarr(make([0, 1, 2]), store)
    readable = zarr.storage.MemoryStore(store) if kind == "dict" else store
    assert_holds(readable, [0, 1, 2])
    CALLS.clear()
    to_zarr(make([0, 1, 2]), store)
    assert not CALLS


def test_the_geometry_is_known_to_rioxarray_and_odc(tmp_path):
    to_zarr(make([0, 1]), tmp_path / "c.zarr")
    cube = opened(tmp_path / "c.zarr")
    assert cube.image.rio.crs.to_epsg() == 32633
    assert cube.image.rio.nodata == 0
    assert cube.image.rio.transform() == TRANSFORM
    assert cube.image.odc.geobox.crs.epsg == 32633
    assert cube.image.odc.geobox.affine == TRANSFORM
    assert cube.image.odc.geobox.shape == (40, 50)
    assert cube.clear.rio.crs.to_epsg() == 32633
    assert cube.attrs["proj:code"] == "EPSG:32633"
    assert cube.attrs["spatial:transform"] == list(TRANSFORM)[:6]
    assert cube.attrs["spatial:bbox"] == [500000.0, 5099600.0, 500500.0, 5100000.0]
    assert {c["name"] for c in cube.attrs["zarr_conventions"]} == {"proj", "spatial"}
    assert set(cube.data_vars) == {"image"}
    assert cube.image.attrs["units"] == "1"


def test_decoding_turns_nodata_into_nan_as_cf_says(tmp_path):
    to_zarr(make([4]), tmp_path / "c.zarr")
    decoded = xr.open_zarr(tmp_path / "c.zarr", decode_coords="all").image
    raw = scene(4, (2, 40, 50))
    np.testing.assert_array_equal(np.isnan(decoded[0].values), raw == 0)
    np.testing.assert_array_equal(decoded[0].values[raw != 0], raw[raw != 0])
    assert decoded.rio.encoded_nodata == 0


def test_scale_and_offset_stay_attributes_of_the_stored_integers(tmp_path):
    stack = make([0])
    stack.attrs |= {"scale_factor": 1e-4, "add_offset": -0.1}
    to_zarr(stack, tmp_path / "c.zarr")
    raw = opened(tmp_path / "c.zarr").image
    assert raw.dtype == np.uint16
    assert (raw.attrs["scale_factor"], raw.attrs["add_offset"]) == (1e-4, -0.1)
    decoded = xr.open_zarr(tmp_path / "c.zarr").image
    np.testing.assert_allclose(decoded[0, 0, 10, 10], raw[0, 0, 10, 10].astype(float) * 1e-4 - 0.1, rtol=1e-6)


def test_floats_keep_nan_and_no_band_axis_is_made_up(tmp_path):
    stack = make([0, 1], lazy=False).isel(band=0, drop=True).astype("f4")
    stack = stack.where(stack != 0)
    stack.attrs.pop("_FillValue", None)
    stack.name = "ndvi"
    to_zarr(stack, tmp_path / "c.zarr")
    cube = opened(tmp_path / "c.zarr")
    assert cube.ndvi.dims == ("time", "y", "x")
    np.testing.assert_array_equal(cube.ndvi.values, stack.values)
    assert np.isnan(cube.ndvi.rio.nodata)


def test_python_objects_that_loaders_leave_do_not_stop_the_cube(tmp_path):
    stack = make([0, 1]).assign_coords(
        raster=("time", np.array([{"a": 1}, {}], object)), gsd=("band", [3, 3])
    )
    stack.attrs["spec"] = object()
    to_zarr(stack, tmp_path / "c.zarr")
    cube = opened(tmp_path / "c.zarr")
    assert "raster" not in cube.coords
    assert cube.gsd.values.tolist() == [3, 3]


def test_a_date_is_one_object_and_a_chunk_is_small(tmp_path):
    store = zarr.storage.MemoryStore()
    to_zarr(make([0, 1, 2], size=(2, 300, 520)), store)
    array = zarr.open_group(store, mode="r")["image"]
    assert array.shards == (1, 2, 512, 768)
    assert array.chunks == (1, 2, 256, 256)
    assert array.nchunks_initialized == array.shape[0] * np.prod([2, 3])
    objects = [key for key in store._store_dict if key.startswith("image/c/")]
    assert len(objects) == 3


@pytest.mark.parametrize("chunks", [(40, 50), (13, 50), (17, 19)])
def test_chunks_of_the_stack_do_not_matter(tmp_path, chunks):
    to_zarr(make([0, 1], chunks=chunks), tmp_path / "c.zarr")
    assert_holds(tmp_path / "c.zarr", [0, 1])


def test_chunks_over_several_dates_do_not_matter(tmp_path):
    stack = make([0, 1, 2, 3, 4]).chunk({"time": 2, "y": 7})
    to_zarr(stack, tmp_path / "c.zarr")
    assert_holds(tmp_path / "c.zarr", [0, 1, 2, 3, 4])


def test_a_large_date_is_cut_into_objects(tmp_path, monkeypatch):
    monkeypatch.setattr("coregstack.cube.template._SHARD_BYTES", 2**18)
    to_zarr(make([0, 1], size=(2, 300, 520)), tmp_path / "c.zarr")
    assert zarr.open_group(tmp_path / "c.zarr", mode="r")["image"].shards == (1, 2, 256, 256)
    assert_holds(tmp_path / "c.zarr", [0, 1], size=(2, 300, 520))


def test_nothing_is_computed_before_compute(tmp_path):
    later = to_zarr(make([0, 1, 2]), tmp_path / "c.zarr", compute=False)
    assert not CALLS
    template = opened(tmp_path / "c.zarr")
    assert template.id.values.tolist() == ["item_0", "item_1", "item_2"]
    assert not template.image.any()
    dask.compute(later)
    assert_holds(tmp_path / "c.zarr", [0, 1, 2])


def test_pixels_mask_and_quality_share_one_pass(tmp_path):
    to_zarr(make([0, 1, 2]), tmp_path / "c.zarr")
    assert set(CALLS.values()) == {1}
    assert total("estimate") == total("pixels") == 3


@pytest.mark.parametrize("lazy", [True, False])
def test_mask_hides_what_is_not_aligned(tmp_path, lazy):
    to_zarr(make([0, 1, 2, 3, 4], lazy=lazy), tmp_path / "c.zarr", unaligned="mask")
    cube = opened(tmp_path / "c.zarr")
    shown = cube.image.any(("band", "y", "x")).values.tolist()
    assert shown == [True, True, False, False, True]
    assert cube.clear.any(("y", "x")).values.tolist() == shown
    assert cube.status.values.tolist() == STATUSES


@pytest.mark.parametrize("lazy", [True, False])
def test_drop_leaves_out_what_is_not_aligned(tmp_path, lazy):
    stack = make([0, 1, 2, 3, 4], lazy=lazy)
    CALLS.clear()
    to_zarr(stack, tmp_path / "c.zarr", unaligned="drop")
    assert max(CALLS.values(), default=1) == 1
    assert total("pixels") == (3 if lazy else 0)
    assert_holds(tmp_path / "c.zarr", [0, 1, 4])
    CALLS.clear()
    to_zarr(make([0, 1, 2, 3, 4]), tmp_path / "d.zarr", unaligned="drop")
    CALLS.clear()
    to_zarr(make([0, 1, 2, 3, 4]), tmp_path / "d.zarr", unaligned="drop")
    assert not CALLS
    to_zarr(make([0, 1, 2, 3, 4, 6, 7]), tmp_path / "d.zarr", unaligned="drop")
    assert total("estimate") == 2
    assert_holds(tmp_path / "d.zarr", [0, 1, 4, 6])


def test_requests_that_cannot_be_honoured_write_nothing(tmp_path):
    stack = make([0])
    with pytest.raises(InvalidRequest, match='"keep", "drop" or "mask"'):
        to_zarr(stack, tmp_path / "c.zarr", unaligned="hide")
    with pytest.raises(InvalidRequest, match="coordinate 'status'"):
        to_zarr(stack.drop_vars("status"), tmp_path / "c.zarr", unaligned="drop")
    stack.attrs.pop("_FillValue")
    with pytest.raises(InvalidRequest, match="nodata"):
        to_zarr(stack, tmp_path / "c.zarr", unaligned="mask")
    with pytest.raises(InvalidRequest, match="no date is left"):
        to_zarr(make([2, 3]), tmp_path / "c.zarr", unaligned="drop")
    assert not (tmp_path / "c.zarr").exists()


def test_a_second_run_writes_only_what_changed_or_is_new(tmp_path):
    path = tmp_path / "c.zarr"
    to_zarr(make([0, 1, 2, 3]), path)
    CALLS.clear()
    to_zarr(make([0, 1, 2, 3]), path)
    assert not CALLS
    to_zarr(make([0, 1, 1002, 3]), path)
    assert {date for _, date in CALLS} == {2}
    assert_holds(path, [0, 1, 1002, 3])
    CALLS.clear()
    to_zarr(make([0, 1, 1002, 3, 8, 9]), path)
    assert {date for _, date in CALLS} == {8, 9}
    assert_holds(path, [0, 1, 1002, 3, 8, 9])
    assert not list(path.glob("_coregstack/record*"))


def test_another_version_of_the_package_writes_anew(tmp_path, monkeypatch):
    to_zarr(make([0, 1]), tmp_path / "c.zarr")
    CALLS.clear()
    monkeypatch.setattr("coregstack.cube.write.__version__", "99.0")
    to_zarr(make([0, 1]), tmp_path / "c.zarr")
    assert total("pixels") == 2


def test_overwrite_starts_anew(tmp_path):
    to_zarr(make([0, 1, 2]), tmp_path / "c.zarr")
    to_zarr(make([5, 6], size=(1, 20, 30)), tmp_path / "c.zarr", overwrite=True)
    assert_holds(tmp_path / "c.zarr", [5, 6], size=(1, 20, 30))


def test_what_is_no_cube_is_left_alone(tmp_path):
    other = tmp_path / "other.zarr"
    xr.Dataset({"a": ("n", [1, 2])}).to_zarr(other, consolidated=False)
    with pytest.raises(OutputConflict, match="not a cube"):
        to_zarr(make([0]), other)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "precious.txt").write_text("stay")
    for overwrite in (False, True):
        with pytest.raises(OutputConflict, match="no Zarr store"):
            to_zarr(make([0]), folder, overwrite=overwrite)
    assert (folder / "precious.txt").read_text() == "stay"
    with pytest.raises(OutputConflict, match="not a cube"):
        to_zarr(make([0]), other, overwrite=True)
    assert xr.open_zarr(other, consolidated=False).a.values.tolist() == [1, 2]


def test_another_grid_or_order_of_dates_is_a_conflict(tmp_path):
    path = tmp_path / "c.zarr"
    to_zarr(make([0, 1, 2]), path)
    with pytest.raises(OutputConflict, match=r"size of a date: \[2, 40, 50\] there, \[2, 30, 50\] now"):
        to_zarr(make([0, 1, 2], size=(2, 30, 50)), path)
    with pytest.raises(OutputConflict, match="Position 1 along time holds 'item_1"):
        to_zarr(make([0, 2]), path)
    assert_holds(path, [0, 1, 2])


def test_a_run_that_fails_midway_is_finished_by_the_next(tmp_path, monkeypatch):
    path = tmp_path / "c.zarr"
    stack = make([0, 1, 2, 3])
    stop = {"at": 2}

    def failing(target, slot, *args):
        if slot == stop["at"]:
            raise RuntimeError("power cut")
        return write(target, slot, *args)

    from coregstack.cube import dates

    write = dates._write_block
    monkeypatch.setattr(dates, "_write_block", failing)
    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="power cut"):
        to_zarr(stack, path)
    finished = {date for kind, date in CALLS if kind == "pixels"} - {2}
    stop["at"] = None
    CALLS.clear()
    to_zarr(stack, path)
    assert {date for kind, date in CALLS if kind == "pixels"} == {0, 1, 2, 3} - finished
    assert_holds(path, [0, 1, 2, 3])


def test_an_active_client_is_used_as_it_is(tmp_path):
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        to_zarr(make([0, 1, 2, 3], chunks=(17, 50)), tmp_path / "c.zarr", unaligned="mask")
        assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.task_prefixes)) > 0
        to_zarr(make([0, 1, 4]), tmp_path / "d.zarr", unaligned="drop")
    to_zarr(make([0, 1, 2, 3]), tmp_path / "threads.zarr", unaligned="mask")
    xr.testing.assert_identical(opened(tmp_path / "c.zarr"), opened(tmp_path / "threads.zarr"))
    assert_holds(tmp_path / "d.zarr", [0, 1, 4])


def run_in_other_process(path: Path, count: int, pause: float) -> subprocess.Popen[bytes]:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_cube import make; "
        "from coregstack.cube.write import to_zarr; "
        f"to_zarr(make(list(range({count}))), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(path)]
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"COREGSTACK_TEST_PAUSE": str(pause), "PYTHONPATH": str(root)}
    return subprocess.Popen(command, env=env)


def test_killing_a_run_loses_only_the_dates_at_work(tmp_path):
    path = tmp_path / "c.zarr"
    record = path / "_coregstack" / "record" / "c"
    for finished in (3, 11):
        with run_in_other_process(path, 40, pause=0.05) as process:
            while len(list(record.glob("[0-9]*"))) < finished and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    to_zarr(make(list(range(40))), path)
    # the dates of both killed processes are known by the same fingerprints in this one
    assert 0 < total("pixels") <= 40 - 3 - 11
    assert_holds(path, list(range(40)))
    assert not list(path.rglob("*.partial"))


def test_memory_does_not_grow_with_dates(tmp_path):
    code = (
        "import sys, resource; sys.path.insert(0, sys.argv[1]); from test_cube import make; "
        "from coregstack.cube.write import to_zarr\n"
        "for count in (20, 80):\n"
        "    to_zarr(make(list(range(count)), size=(2, 512, 512)), f'{sys.argv[2]}/{count}.zarr')\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "DASK_NUM_WORKERS": "2"}
    few, many = map(int, subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout.split())
    assert many < 1.1 * few
