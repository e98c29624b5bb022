"""A quality knows its lattice: pixel sizes, directions of axes, and what cannot be converted."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from coregstack import align, apply, estimate
from coregstack.errors import InvalidStack
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(3, shape=(256, 256)).compute()


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0).compute()


def test_a_coarser_stack_moves_by_as_many_metres(stack: xr.DataArray, quality: xr.Dataset) -> None:
    coarse = stack.drop_vars("clear").coarsen(y=2, x=2).mean().astype(np.float32)
    coarse = coarse.rio.write_crs(stack.rio.crs).rio.write_transform()
    aligned = apply(coarse, quality)
    np.testing.assert_allclose(aligned.shift_x, quality.shift_x / 2)
    np.testing.assert_allclose(aligned.shift_sigma_y, quality.shift_sigma_y / 2)


@pytest.mark.parametrize("axis", ["y", "x"])
def test_an_axis_that_runs_the_other_way_moves_the_same_way_on_the_ground(
    stack: xr.DataArray, quality: xr.Dataset, axis: str
) -> None:
    turned = stack.isel({axis: slice(None, None, -1)}).drop_vars("spatial_ref").rio.write_crs(stack.rio.crs)
    found = apply(turned, quality).isel({axis: slice(None, None, -1)})
    expected = apply(stack, quality)
    inside = {"y": slice(8, -8), "x": slice(8, -8)}
    # halves may be rounded either way
    difference = np.abs(found.isel(inside).values.astype(int) - expected.isel(inside).values)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    own = estimate(turned, anchor=0).compute()
    np.testing.assert_allclose(own[f"shift_{axis}"], -quality[f"shift_{axis}"], atol=0.01)
    np.testing.assert_array_equal(np.sign(own[f"shift_sigma_{axis}"][1:]), 1)


def test_a_cut_of_the_stack_takes_the_shifts_as_they_are(stack: xr.DataArray, quality: xr.Dataset) -> None:
    cut = stack.isel(y=slice(17, 200), x=slice(40, 201))
    np.testing.assert_array_equal(apply(cut, quality).shift_y, quality.shift_y)


def test_without_ids_times_tell_the_items(stack: xr.DataArray, quality: xr.Dataset) -> None:
    nameless, told = stack.drop_vars("id"), quality.drop_vars("id")
    turned = apply(nameless.isel(time=[2, 0]), told)
    np.testing.assert_array_equal(turned.shift_y, quality.shift_y[[2, 0]])
    later = nameless.assign_coords(time=nameless.time + np.timedelta64(1, "h"))
    with pytest.raises(InvalidStack, match="not told of the times"):
        apply(later, told)


def test_a_stack_without_a_place_is_refused(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(InvalidStack, match="no CRS"):
        apply(stack.drop_vars(["x", "y", "spatial_ref"]).rio.write_crs(stack.rio.crs), quality)


def test_another_crs_is_refused(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(InvalidStack, match=r"measured in EPSG:.*lies in EPSG:32755"):
        apply(stack.rio.write_crs("EPSG:32755"), quality)


def test_a_rotated_lattice_is_refused(stack: xr.DataArray, quality: xr.Dataset) -> None:
    rotated = quality.assign_attrs(lattice_geotransform="0.0 3.0 0.5 0.0 0.5 -3.0")
    with pytest.raises(InvalidStack, match="rotated"):
        apply(stack, rotated)


def test_a_lattice_that_cannot_be_read_is_refused(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(InvalidStack, match="six numbers"):
        apply(stack, quality.assign_attrs(lattice_geotransform="1 2 x"))


@given(st.floats(0.25, 8), st.floats(0.25, 8), st.booleans())
def test_the_way_there_and_back_changes_nothing(down: float, along: float, turned: bool) -> None:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from coregstack.stack.measured import on_lattice, with_lattice

    one = GeoBox((9, 9), Affine(10, 0, 500000, 0, -10, 4000000), "EPSG:32633")
    other = GeoBox((5, 7), Affine(10 * along, 0, 3, 0, 10 * down * (1 if turned else -1), 8), "EPSG:32633")
    given_ = xr.Dataset({"shift_y": ("time", [1.5]), "shift_x": ("time", [-2.0]), "closure": ("time", [0.1])})
    there = on_lattice(with_lattice(given_, one), other)
    np.testing.assert_allclose(there.shift_x, -2.0 / along)
    np.testing.assert_allclose(there.shift_y, (-1.5 if turned else 1.5) / down)
    back = on_lattice(there, one)
    for name in given_:
        np.testing.assert_allclose(back[name], given_[name])


def test_what_align_measured_says_so(stack: xr.DataArray) -> None:
    lazy = estimate(stack, anchor=0)
    assert lazy.attrs["lattice_crs"].startswith("EPSG:")
    assert "coregstack_method" in align(stack, anchor=0).attrs
