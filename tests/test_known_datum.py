"""A datum that is known from outside: items that lie right, and reference images, each with its sigma."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from coregstack import (
    align,
    append,
    apply,
    estimate,
    open_scenes,
    open_zarr,
    run_scenes,
    to_geotiffs,
    to_zarr,
)
from coregstack.cli.parser import build_parser
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack
from coregstack.network.datum import Datum, Tie, tie_datum
from coregstack.testing import sample_stack

EVIDENCE = "evidence"
OFFSETS = ((9, -6), (0, 0), (0, 0), (0, 0), (3, 12), (-6, 3))
"""By how many metres the content of each item lies beside its place (down, along)."""
IDS = ("anchor", "b", "c", "d", "wrong", "other")
PIXEL = 3
TRUTH = np.array(OFFSETS) / PIXEL


def cut(fine: NDArray[np.float64], size: int, offset: tuple[int, int], noise: int) -> xr.DataArray:
    """A scene of larger pixels, whose content lies `offset` before the place that it names."""
    rows, cols = (slice(30 + by, 30 + by + 540 // size * size) for by in offset)
    values = fine[rows, cols].reshape(540 // size, size, 540 // size, size).mean(axis=(1, 3))
    values += np.random.default_rng(noise).normal(0, 0.03 * values.std(), values.shape)
    at = size * (np.arange(540 // size) + 0.5)
    scene = xr.DataArray(
        np.rint(values)[None].astype("uint16"), dims=("band", "y", "x"),
        coords={"band": ["red"], "y": 5_000_000 - at, "x": 500_000 + at},
    )  # fmt: skip
    return scene.rio.write_crs("EPSG:32633").rio.write_nodata(0)


@pytest.fixture(scope="module")
def fine() -> NDArray[np.float64]:
    return sample_stack(1, (600, 600), seed=5, cloud_cover=0).isel(time=0, band=2).values.astype(float)


@pytest.fixture(scope="module")
def stack(fine: NDArray[np.float64]) -> xr.DataArray:
    scenes = [cut(fine, PIXEL, offset, k) for k, offset in enumerate(OFFSETS)]
    return xr.concat(scenes, "time", join="exact").assign_coords(id=("time", list(IDS)))


@pytest.fixture(scope="module")
def reference(fine: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that lies right, of larger pixels."""
    path = tmp_path_factory.mktemp("reference") / "map.tif"
    cut(fine, 5, (0, 0), 99).rio.to_raster(path)
    return path


def shifts(quality: xr.Dataset) -> NDArray[np.float64]:
    return np.nan_to_num(np.stack([quality.shift_y.values, quality.shift_x.values], axis=1))


def test_items_that_lie_right_hold_the_position_and_one_that_does_not_is_outvoted(
    stack: xr.DataArray,
) -> None:
    right = {"b": 0.1, "c": 0.1, "d": 0.1, "wrong": 0.1}
    found = estimate(stack, anchor="anchor", decide=EVIDENCE, datum=right).compute()
    np.testing.assert_allclose(shifts(found), TRUTH, atol=0.03)
    np.testing.assert_allclose(found.datum_sigma_x, 0.1 / np.sqrt(3), rtol=0.1)
    # what all items share decides nothing: relative to each other they are known much better
    assert found.shift_sigma_x.max() < 0.02
    assert found.attrs["datum"] == "b: 0.1, c: 0.1, d: 0.1, wrong: 0.1"
    for text in found.details.values:
        assert "what is known of 'b', 'c' and 'd', x +2.0" in text
        assert "'wrong' contradicts most of them and has no say" in text
    assert found.status.values.tolist()[1:4] == ["already_aligned"] * 3


def test_two_that_contradict_each_other_are_named_and_count_for_little(stack: xr.DataArray) -> None:
    found = estimate(stack, anchor="anchor", decide=EVIDENCE, datum={"b": 0.1, "wrong": 0.1}).compute()
    assert "They contradict each other" in str(found.details.values[0])
    assert float(found.datum_sigma_x[0]) > 1
    np.testing.assert_allclose(shifts(found)[1] + shifts(found)[4], 0, atol=0.05)


@pytest.mark.parametrize("sigma", [None, 0.4])
def test_a_reference_image_holds_the_position(
    stack: xr.DataArray, reference: Path, sigma: float | None
) -> None:
    datum = str(reference) if sigma is None else {str(reference): sigma}
    lazy = estimate(stack.chunk(time=1), anchor="anchor", decide=EVIDENCE, datum=datum)
    found = lazy.compute(scheduler="sync")
    np.testing.assert_allclose(shifts(found), TRUTH, atol=0.03)
    np.testing.assert_allclose(found.datum_sigma_y, sigma or 0.01, rtol=0.1 if sigma else 2)
    assert "'" + str(reference) + "'" in str(found.details.values[0])
    moved = align(stack, anchor="anchor", decide=EVIDENCE, datum=datum)
    assert moved.rio.transform() == stack.rio.transform()


def test_a_reference_image_and_items_hold_it_together(stack: xr.DataArray, reference: Path) -> None:
    datum = {str(reference): 0.3, "b": 0.3, "c": 0.3}
    found = estimate(stack, anchor="anchor", decide=EVIDENCE, datum=datum).compute()
    np.testing.assert_allclose(shifts(found), TRUTH, atol=0.03)
    np.testing.assert_allclose(found.datum_sigma_y, 0.3 / np.sqrt(3), rtol=0.1)


def test_a_run_holds_it_and_a_changed_sigma_is_done_again(
    stack: xr.DataArray, reference: Path, tmp_path: Path
) -> None:
    paths = []
    for k in (0, 1, 5):
        paths.append(tmp_path / f"{IDS[k]}.tif")
        stack.isel(time=k).drop_vars("id").rio.to_raster(paths[-1])
    wanted = {"anchor": "anchor", "output": tmp_path / "out", "decide": EVIDENCE}
    result = run_scenes(paths, datum={str(reference): 0.5}, **wanted)
    table = result.to_dataframe()
    np.testing.assert_allclose(table[["shift_y", "shift_x"]].to_numpy(), TRUTH[[0, 1, 5]], atol=0.03)
    np.testing.assert_allclose(table.datum_sigma_y, 0.5, rtol=0.05)
    sidecar = json.loads((tmp_path / "out" / "other_coreg_qa_metadata.json").read_text())
    schema = json.loads((files("coregstack") / "export/schema/quality.schema.json").read_text())
    jsonschema.validate(sidecar, schema)
    assert sidecar["datum_sigma"][0] == pytest.approx(0.5, rel=0.05)
    again = run_scenes(paths, datum={str(reference): 0.5}, **wanted)
    assert all(report.resumed for report in again.reports)
    changed = run_scenes(paths, datum={str(reference): 0.7}, **wanted)
    assert not any(report.resumed for report in changed.reports)
    np.testing.assert_allclose(changed.to_dataframe().datum_sigma_y, 0.7, rtol=0.05)
    # files are matched as arrays are
    opened = estimate(
        open_scenes(paths, anchor="anchor"), anchor="anchor", decide=EVIDENCE, datum=str(reference)
    )
    np.testing.assert_allclose(shifts(opened.compute()), TRUTH[[0, 1, 5]], atol=0.03)


def test_the_command_line_takes_names_with_their_sigma() -> None:
    def datum(text: str) -> object:
        return (
            build_parser()
            .parse_args(["align", "a.tif", "--anchor", "a", "--output", "o", "--datum", text])
            .datum
        )

    assert datum("a=0.2,maps/map.tif=1") == {"a": 0.2, "maps/map.tif": 1.0}
    assert datum("map.tif") == "map.tif"
    assert datum("a, b") == ("a", "b")
    with pytest.raises(SystemExit):
        datum("a=0.2,b")


def test_what_cannot_be_honoured_is_refused_before_any_work(
    stack: xr.DataArray, reference: Path, tmp_path: Path
) -> None:
    for sigma in (-0.1, float("nan"), "0.1", None, True):
        with pytest.raises(InvalidRequest, match="sigma"):
            estimate(stack, anchor=0, decide=EVIDENCE, datum={"b": sigma})  # type: ignore[dict-item]
    with pytest.raises(InvalidRequest, match="more than once"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum=["b", "b"])
    with pytest.raises(AnchorNotFound, match="no item and no file"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum={"b": 0.1, "gone.tif": 0.1})
    with pytest.raises(AnchorNotFound, match="no item of that name"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum=[str(reference)])
    away = tmp_path / "away.tif"
    scene = stack.isel(time=0).drop_vars("id")
    scene.assign_coords(x=scene.x + 1e5).rio.to_raster(away)
    with pytest.raises(InvalidStack, match="do not overlap"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum=str(away))
    inside = tmp_path / "anchor.tif"
    scene.rio.to_raster(inside)
    with pytest.raises(InvalidStack, match="away"):
        run_scenes([inside], anchor=0, output=tmp_path / "out", decide=EVIDENCE, datum=str(away))
    assert not (tmp_path / "out").exists()


def simulated(
    rng: np.random.Generator, sigmas: NDArray[np.float64], off: float = 0.0
) -> tuple[Datum, NDArray[np.float64]]:
    """The datum that some items with sigmas tell, and its error; the last one lies `off` px beside its place."""
    count, own, shared = len(sigmas) + 3, 0.02, 0.03
    place = rng.normal(0, 1, 2)
    shift = rng.normal(0, 0.5, (count, 2))
    shift[1 : len(sigmas) + 1] = place + rng.normal(size=(len(sigmas), 2)) * sigmas[:, None]
    shift[len(sigmas)] += off
    noise = rng.normal(0, own, (count, 2)) + rng.normal(0, shared, 2)
    shift[0] = noise[0] = 0
    known = np.full((count, 2), np.hypot(own, shared))
    known[0] = 0
    ties = []
    for k, sigma in enumerate(sigmas, 1):
        right = np.where(np.arange(count)[:, None] == k, np.zeros((count, 2)), np.nan)
        ties.append(Tie(shifts=right, sigmas=right, sigma=float(sigma)))
    found = tie_datum(shift + noise, known, ties, 0)
    return found, found.shift - place


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_error_falls_with_what_is_known(count: int) -> None:
    rng = np.random.default_rng(count)
    sigmas = rng.uniform(0.1, 0.4, count)
    found, errors = zip(*(simulated(rng, sigmas) for _ in range(400)), strict=True)
    theory = np.sqrt(1 / (1 / np.square(sigmas)).sum() + 0.03**2)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(theory, rel=0.1)
    told = np.sqrt(np.mean([np.square(one.known) for one in found]))
    assert 0.9 < told / theory < 1.25
    assert np.mean([bool(one.refused) for one in found]) < 0.02


def test_a_wrong_one_among_five_is_refused() -> None:
    rng = np.random.default_rng(4)
    found, errors = zip(*(simulated(rng, np.full(5, 0.2), off=3.0) for _ in range(100)), strict=True)
    assert all(one.refused == (4,) and one.count == 4 for one in found)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(0.2 / np.sqrt(4), rel=0.2)


def test_nothing_known_leaves_the_anchor_and_says_so(stack: xr.DataArray) -> None:
    blank = stack.copy(data=np.where(stack.id.values[:, None, None, None] == "b", 0, stack.values))
    for datum in ({"b": 0.1}, ["b"]):
        found = estimate(blank, anchor="anchor", decide=EVIDENCE, datum=datum).compute()
        assert found.status.values.tolist()[:2] == ["anchor", "failed"]
        assert "could not be found" in str(found.details.values[0])
        np.testing.assert_allclose(shifts(found)[5], TRUTH[5] - TRUTH[0], atol=0.03)


def test_dates_that_are_appended_lie_in_the_datum_of_the_cube(stack: xr.DataArray, tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(align(stack[:4], anchor="anchor", decide=EVIDENCE, datum={"b": 0.2, "c": 0.2}), cube)
    later = append(stack[4:], cube, decide=EVIDENCE)
    np.testing.assert_allclose(shifts(later), TRUTH[4:], atol=0.05)
    np.testing.assert_allclose(later.datum_sigma_y, 0.2 / np.sqrt(2), rtol=0.2)
    told = open_zarr(cube).datum_sigma_y.values
    np.testing.assert_array_equal(told, np.full(6, told[0]))


def test_files_of_another_datum_are_named(stack: xr.DataArray, tmp_path: Path) -> None:
    some = stack.isel(time=[0, 1])
    found = estimate(some, anchor="anchor", decide=EVIDENCE, datum={"b": 0.1}).compute()
    result = to_geotiffs(apply(some, found), tmp_path)
    assert result.to_dataframe().status.tolist() == ["coregistered", "already_aligned"]
    assert result.notes == ()
    fixed = estimate(some, anchor="anchor", decide=EVIDENCE).compute()
    (note,) = to_geotiffs(apply(some, fixed), tmp_path).notes
    assert "anchor_coreg.tif, anchor_coreg_qa_metadata.json" in note
