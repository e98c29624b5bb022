"""What holds the position of a stack: the anchor, all items, or trusted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from coregstack import align, apply, estimate, run_scenes
from coregstack.errors import AnchorNotFound, InvalidRequest
from coregstack.kernels.displacement import Spline, about
from coregstack.model import Displacement, Shift
from coregstack.network.datum import find_datum
from coregstack.testing import sample_stack

EVIDENCE = "evidence"


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(4, shape=(256, 256)).compute()


@pytest.fixture(scope="module")
def fixed(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0, decide=EVIDENCE).compute()


def shifts(quality: xr.Dataset) -> np.ndarray:
    return np.nan_to_num(np.stack([quality.shift_y.values, quality.shift_x.values], axis=1))


def test_the_mean_of_all_stays_where_it_is(stack: xr.DataArray, fixed: xr.Dataset) -> None:
    mean = estimate(stack, anchor=0, decide=EVIDENCE, datum="mean").compute()
    assert mean.attrs["datum"] == "mean"
    np.testing.assert_allclose(shifts(mean).mean(axis=0), 0, atol=2e-3)
    between = shifts(mean) - shifts(fixed)
    np.testing.assert_allclose(between, np.broadcast_to(between[:1], between.shape), atol=1e-12)
    assert mean.status.values.tolist() == ["coregistered"] * 4
    assert all("The datum is the weighted mean of 4 items" in text for text in mean.details.values)


def test_all_items_lie_on_each_other_in_any_datum(stack: xr.DataArray, fixed: xr.Dataset) -> None:
    moved = align(stack, anchor=0, decide=EVIDENCE, datum="mean").values.astype(float)[:, 0, 40:-40, 40:-40]
    still = apply(stack, fixed).values.astype(float)[:, 0, 40:-40, 40:-40]
    plain = np.std(still[1:] - still[:1])
    assert np.std(moved[1:] - moved[:1]) < 1.1 * plain


def test_trusted_items_hold_the_position(stack: xr.DataArray) -> None:
    trusted = [str(stack.id.values[k]) for k in (1, 3)]
    found = estimate(stack, anchor=0, decide=EVIDENCE, datum=trusted).compute()
    np.testing.assert_allclose(shifts(found)[[1, 3]].mean(axis=0), 0, atol=2e-3)
    assert found.attrs["datum"] == ", ".join(trusted)
    assert "the mean of 2 items that are trusted" in str(found.details.values[0])


def test_a_run_moves_the_anchor_too(stack: xr.DataArray, tmp_path: Path) -> None:
    paths = []
    for k in range(3):
        paths.append(tmp_path / f"s{k}.tif")
        stack.isel(time=k, band=[2]).drop_vars(["id", "clear"]).rio.to_raster(paths[-1])
    result = run_scenes(paths, anchor="s0", output=tmp_path / "out", decide=EVIDENCE, datum="mean")
    table = result.to_dataframe()
    assert table.status.tolist() == ["coregistered"] * 3
    np.testing.assert_allclose(table[["shift_y", "shift_x"]].mean(), 0, atol=2e-3)
    assert (tmp_path / "out" / "s0_coreg.tif").exists()
    assert (tmp_path / "out" / "s0_coreg_qa_metadata.json").exists()


def test_a_datum_that_cannot_be_honoured_is_refused(stack: xr.DataArray) -> None:
    with pytest.raises(InvalidRequest, match="decide='evidence'"):
        estimate(stack, anchor=0, datum="mean")
    with pytest.raises(AnchorNotFound, match="'nobody'"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum=["nobody"])
    with pytest.raises(AnchorNotFound, match="'median'"):
        estimate(stack, anchor=0, decide=EVIDENCE, datum="median")
    for wrong in ("", [], [1], {}, {1: 0.1}, None, 3):
        with pytest.raises(InvalidRequest, match="datum"):
            estimate(stack, anchor=0, decide=EVIDENCE, datum=wrong)  # type: ignore[arg-type]


def test_sigma_is_that_of_the_difference_from_the_datum() -> None:
    """Against many stacks by chance: common noise of the anchor, own noise of every item."""
    rng = np.random.default_rng(1)
    count, own, shared = 12, 0.02, 0.03
    truth = rng.normal(0, 0.5, (count, 2))
    truth[0] = 0
    errors, told, before = [], [], []
    for _ in range(400):
        noise = rng.normal(0, own, (count, 2)) + rng.normal(0, shared, 2)
        noise[0] = 0
        sigmas = np.full((count, 2), np.hypot(own, shared))
        sigmas[0] = 0
        datum = find_datum(truth + noise, sigmas, np.ones(count, bool), 0)
        errors.append(truth + noise - datum.shift - (truth - truth.mean(axis=0)))
        before.append(noise[1:])
        told.append(datum.sigma)
    error = np.sqrt(np.mean(np.square(np.array(errors)[:, 1:])))
    assert error == pytest.approx(np.sqrt(own**2 * (1 - 1 / count) + (shared / count) ** 2), rel=0.05)
    assert error < 0.6 * np.sqrt(np.mean(np.square(before)))
    # how much of the noise is the anchor's cannot be told from its pairs: at least half counts as the items' own
    assert 1 <= np.mean(np.array(told)[:, 1:]) / error < 1.6


def test_items_without_a_shift_hold_nothing() -> None:
    shifts = np.array([[0, 0], [1, 1], [np.nan, np.nan]], float)
    sigmas = np.array([[0, 0], [0.1, 0.1], [np.nan, np.nan]])
    datum = find_datum(shifts, sigmas, np.array([False, False, True]), 0)
    assert (datum.count, datum.shift.tolist()) == (0, [0, 0])
    assert np.isnan(find_datum(shifts, sigmas, np.ones(3, bool), 0).sigma[2]).all()


def test_a_displacement_is_taken_where_the_content_has_come_to_lie() -> None:
    rng = np.random.default_rng(2)
    y, x = rng.normal(size=(2, 9, 9)).astype(np.float32)
    field = Displacement(origin=Shift(0.0, 0.0), step=10.0, y=y, x=x, sigma=np.ones((9, 9), np.float32))
    rows = np.arange(20.0, 61.0, 10)
    found = Spline.of(about(field, Shift(0.4, -0.7))).at(rows, rows)
    true = Spline.of(field).at(rows + 0.4, rows - 0.7)
    for one, other, mean in zip(found, true, (0.4, -0.7), strict=True):
        np.testing.assert_allclose(one, other - mean, atol=1e-5)
