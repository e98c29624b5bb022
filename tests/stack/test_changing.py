"""What residual misalignment does to values: as large as the change that a known misalignment causes."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import shift

from coregstack import align, apply, change_sigma, estimate
from coregstack.errors import InvalidStack
from coregstack.testing import sample_stack

INNER = (slice(None), slice(20, -20), slice(20, -20))


@pytest.fixture(scope="module")
def aligned() -> xr.DataArray:
    return align(sample_stack(3, shape=(192, 192)), anchor=0).compute()


def with_residual(aligned: xr.DataArray, residual: float) -> xr.DataArray:
    return aligned.assign_coords(residual=("time", np.full(aligned.sizes["time"], residual)))


def test_it_is_the_change_that_such_a_misalignment_causes(aligned: xr.DataArray) -> None:
    rng = np.random.default_rng(1)
    smooth = shift(aligned.values[1].astype(float), (0, 0, 0))
    told = change_sigma(with_residual(aligned, 0.2)).values[1]
    squares = np.zeros(smooth.shape)
    for _ in range(12):
        offset = rng.normal(0, 0.2 / np.sqrt(2), 2)
        squares += np.square(shift(smooth, (0, *offset), order=3, mode="nearest") - smooth) / 12
    assert np.sqrt(squares[INNER].mean() / np.square(told[INNER]).mean()) == pytest.approx(1, abs=0.25)


def test_the_anchor_has_none_and_unknown_items_have_nan(aligned: xr.DataArray) -> None:
    lost = aligned.assign_coords(residual=("time", [np.nan, 0.1, np.nan]))
    found = change_sigma(lost)
    assert found.dims == aligned.dims
    assert found.dtype == np.float32
    assert (found[0].values[INNER] == 0).all()
    assert (found[1].values[INNER] > 0).mean() > 0.95
    assert np.isnan(found[2]).all()


def test_pixels_without_data_have_none_and_spoil_no_neighbour(aligned: xr.DataArray) -> None:
    holed = with_residual(aligned, 0.1).copy()
    holed[1, :, 50:60, 50:60] = 0
    found = change_sigma(holed).values[1]
    assert np.isnan(found[:, 50:60, 50:60]).all()
    whole = change_sigma(with_residual(aligned, 0.1)).values[1]
    ring = found[:, 49, 50:60]
    assert np.isfinite(ring).all()
    assert ring.max() < 3 * whole[:, 40:60, 40:60].max()


def test_the_sigma_of_a_displacement_counts_at_each_place() -> None:
    stack = sample_stack(2, shape=(320, 320))
    quality = estimate(stack, anchor=0, model="field", threshold=1.0).compute()
    aligned = apply(stack, quality)
    doubled = quality.assign(displacement_sigma=quality.displacement_sigma * 2)
    one, two = (change_sigma(aligned, known).compute() for known in (quality, doubled))
    np.testing.assert_allclose(two[1], 2 * one[1], rtol=1e-5)
    assert (one[0].values[INNER] == 0).all()


def test_it_is_lazy_and_does_not_depend_on_chunks(aligned: xr.DataArray) -> None:
    lazy = change_sigma(aligned.copy(data=da.from_array(aligned.values, chunks=(1, 1, 50, 64))))
    assert isinstance(lazy.data, da.Array)
    np.testing.assert_array_equal(lazy.values, change_sigma(aligned).values)


def test_a_stack_that_was_not_aligned_is_refused() -> None:
    with pytest.raises(InvalidStack, match="align or apply"):
        change_sigma(sample_stack(2, shape=(64, 64)))
