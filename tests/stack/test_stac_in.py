"""Stacks from STAC items: the anchor's lattice, one time for each item, the pixels of the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import coregstack
from coregstack.errors import AnchorNotFound, InvalidRequest, UnreadableFile
from coregstack.testing import sample_stack

pystac = pytest.importorskip("pystac")
pytest.importorskip("odc.stac")


@pytest.fixture(scope="module")
def truth() -> xr.DataArray:
    return sample_stack(4, (224, 240), seed=5, max_shift=2.0, cloud_cover=0.0)


@pytest.fixture(scope="module")
def catalog(truth: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of scenes as a provider would publish it."""
    folder = tmp_path_factory.mktemp("catalog")
    unmoved = coregstack.apply(truth, coregstack.estimate(truth, anchor=0, threshold=0.0).compute())
    coregstack.to_geotiffs(unmoved, folder / "out").to_stac()
    return folder / "out" / "stac" / "collection.json"


def test_pixels_lattice_and_ids_are_those_of_the_files(catalog: Path, truth: xr.DataArray) -> None:
    stack = coregstack.open_stac(catalog, anchor=0, bands=["red", "nir"])
    assert stack.dims == ("time", "band", "y", "x")
    assert list(stack.id.values) == list(truth.id.values)
    np.testing.assert_array_equal(stack.time.values, truth.time.values)
    expected = truth.sel(band=["red", "nir"])
    assert stack.odc.geobox == expected.odc.geobox
    assert stack.rio.nodata == 0
    np.testing.assert_array_equal(stack.values, expected.values)


def test_it_is_lazy(catalog: Path) -> None:
    stack = coregstack.open_stac(catalog, anchor=0, bands=["red"], chunks=100)
    assert stack.chunks is not None
    assert stack.data.chunks[2][0] == 100


def test_it_aligns_like_any_stack(catalog: Path, truth: xr.DataArray) -> None:
    stack = coregstack.open_stac(catalog, anchor=str(truth.id.values[0]), bands=["red", "green", "nir"])
    quality = coregstack.estimate(stack, anchor=str(truth.id.values[0])).compute()
    np.testing.assert_allclose(quality.shift_y[1:], truth.true_shift_y[1:], atol=0.03)
    np.testing.assert_allclose(quality.shift_x[1:], truth.true_shift_x[1:], atol=0.03)


@pytest.mark.parametrize("which", ["list", "dicts", "collection", "item collection"])
def test_items_may_come_in_any_form(catalog: Path, tmp_path: Path, which: str) -> None:
    collection = pystac.Collection.from_file(str(catalog))
    items: Any = list(collection.get_items())
    for item in items:
        item.make_asset_hrefs_absolute()
    if which == "dicts":
        items = [item.to_dict() for item in items]
    elif which == "collection":
        items = collection
    elif which == "item collection":
        path = tmp_path / "items.json"
        path.write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
        items = path
    assert coregstack.open_stac(items, anchor=0, bands=["red"]).sizes["time"] == 4


def test_items_keep_the_order_they_are_given_in(catalog: Path) -> None:
    items = list(pystac.Collection.from_file(str(catalog)).get_items())[::-1]
    stack = coregstack.open_stac(items, anchor=0, bands=["red"])
    assert list(stack.id.values) == [item.id for item in items]


def test_items_of_one_moment_stay_apart(catalog: Path) -> None:
    items = list(pystac.Collection.from_file(str(catalog)).get_items())
    for item in items:
        item.datetime = items[0].datetime
    assert coregstack.open_stac(items, anchor=0, bands=["red"]).sizes["time"] == 4


def test_a_box_is_cut_on_the_anchors_lattice(catalog: Path, truth: xr.DataArray) -> None:
    item = next(pystac.Collection.from_file(str(catalog)).get_items())
    west, south, east, north = item.bbox
    middle = [west + 0.3 * (east - west), south + 0.3 * (north - south), east, north]
    stack = coregstack.open_stac(catalog, anchor=0, bands=["red"], bbox=middle)
    assert 100 < stack.sizes["y"] < 224
    np.testing.assert_array_equal((stack.y.values - truth.y.values[0]) % 3, 0)
    np.testing.assert_array_equal((stack.x.values - truth.x.values[0]) % 3, 0)


def test_a_lattice_of_ones_own_may_be_given(catalog: Path) -> None:
    stack = coregstack.open_stac(catalog, anchor=0, bands=["red"], crs="EPSG:32632", resolution=6)
    assert stack.rio.crs.to_epsg() == 32632
    assert stack.rio.resolution() == (6, -6)


def test_an_anchor_without_a_lattice_is_refused(catalog: Path) -> None:
    items = list(pystac.Collection.from_file(str(catalog)).get_items())
    for key in [key for key in items[0].properties if key.startswith("proj:")]:
        del items[0].properties[key]
    with pytest.raises(InvalidRequest, match="projection extension"):
        coregstack.open_stac(items, anchor=0, bands=["red"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"anchor": "nobody"}, AnchorNotFound, "nobody"),
        ({"anchor": 9}, AnchorNotFound, "4 items"),
        ({"bands": ["ultraviolet"]}, InvalidRequest, "assets are: image"),
        ({"groupby": "solar_day"}, InvalidRequest, "one time of the stack"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    catalog: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        coregstack.open_stac(catalog, **({"anchor": 0, "bands": ["red"]} | options))


def test_what_is_no_stac_is_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{}"), ("b.json", "no json"), ("c.json", '{"type": "FeatureCollection"}')):
        (tmp_path / name).write_text(text)
        with pytest.raises((UnreadableFile, InvalidRequest)):
            coregstack.open_stac(tmp_path / name, anchor=0, bands=["red"])
    with pytest.raises(UnreadableFile):
        coregstack.open_stac(tmp_path / "none.json", anchor=0, bands=["red"])
    with pytest.raises(InvalidRequest, match="No STAC item"):
        coregstack.open_stac([], anchor=0, bands=["red"])


@pytest.mark.parametrize(
    ("items", "bands", "words"),
    [
        (5, ["red"], "items has to be STAC items"),
        ([{"id": "a"}], ["red"], "items has to be STAC items"),
        (["a", "b"], ["red"], "items has to be STAC items"),
        ([], "red", "bands has to be a list"),
        ([], [], "bands has to be a list of names"),
        ([], [4], "bands has to be a list of names"),
    ],
)
def test_arguments_of_another_kind_are_refused_with_words(items: object, bands: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        coregstack.open_stac(items, anchor=0, bands=bands)
