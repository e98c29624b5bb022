"""Masks that users give: arrays of every shape, classes, functions; and what is no mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from coregstack import estimate
from coregstack.errors import InvalidRequest
from coregstack.stack.conform import conform
from coregstack.stack.masks import usable_pixels
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(2, shape=(64, 80)).compute().drop_vars("clear")


def usable(stack: xr.DataArray, mask: Any) -> np.ndarray:
    found = usable_pixels(conform(stack), mask)
    assert found is not None
    return found.compute()


def test_what_lies_still_counts_at_all_times(stack: xr.DataArray) -> None:
    land = xr.DataArray(np.arange(64 * 80).reshape(64, 80) % 3 > 0, dims=("y", "x"))
    for given in (land, land.T, land.assign_coords(time=stack.time.values[0])):
        np.testing.assert_array_equal(usable(stack, given), np.stack([land, land]))


@pytest.mark.parametrize("mask", ["SCL:3,8", {"scl": [3, 8]}, {"scl": (3, 8)}])
def test_classes_of_a_band_are_left_out(stack: xr.DataArray, mask: Any) -> None:
    classes = (np.arange(2 * 64 * 80).reshape(2, 64, 80) % 11).astype(stack.dtype)
    band = stack.isel(band=[0]).assign_coords(band=["scl"]).copy(data=classes[:, None])
    with_classes = xr.concat([stack, band], dim="band")
    np.testing.assert_array_equal(usable(with_classes, mask), (classes != 3) & (classes != 8))


def test_a_function_makes_the_mask_of_the_stack(stack: xr.DataArray) -> None:
    np.testing.assert_array_equal(usable(stack, lambda s: s.isel(band=0) > 500), stack.values[:, 0] > 500)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (5, "int"),
        ("scl", "expected|mask has to be"),
        ("scl:x", "mask has to be"),
        ("nothing:1", "names the band 'nothing', but the stack has"),
        ({"a": [1], "b": [2]}, "one band with its classes, but 2"),
        (lambda s: 3, "returned int"),
        (np.ones((64, 80), bool), "ndarray"),
        (xr.DataArray(np.ones((64, 80), np.uint8), dims=("y", "x")), "uint8"),
        (xr.DataArray(np.ones((63, 80), bool), dims=("y", "x")), "sizes"),
        (xr.DataArray(np.ones((80,), bool), dims=("x",)), "dims"),
    ],
)
def test_what_is_no_mask_is_refused(stack: xr.DataArray, mask: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        estimate(stack, anchor=0, mask=mask)


def test_longitudes_of_another_range_are_the_same_place() -> None:
    x, y = -100 + 0.01 * np.arange(80), 40 - 0.01 * np.arange(64)
    stack = sample_stack(2, shape=(64, 80)).compute().drop_vars(["clear", "spatial_ref"])
    stack = stack.assign_coords(x=x, y=y).rio.write_crs("EPSG:4326")
    land = xr.DataArray(np.ones((64, 80), bool), dims=("y", "x"), coords={"x": x + 360, "y": y})
    assert usable(stack, land).all()
    with pytest.raises(InvalidRequest, match="'x' is not the stack's"):
        usable(stack, land.assign_coords(x=x + 5))


def test_what_lies_still_may_lie_on_another_lattice(stack: xr.DataArray) -> None:
    land = xr.DataArray(np.ones((64, 80), np.uint8), dims=("y", "x"), coords={"x": stack.x, "y": stack.y})
    land[:, :40] = 0
    land = land.rio.write_crs(stack.rio.crs)
    elsewhere = land.rio.reproject("EPSG:4326", resolution=1e-5, nodata=0) == 1
    found = usable(stack, elsewhere)
    assert (found == (land == 1).values).mean() > 0.98
    assert not found[:, :, :38].any()
    with pytest.raises(InvalidRequest, match="sizes"):
        usable(stack, elsewhere.drop_vars("spatial_ref"))
