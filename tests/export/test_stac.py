"""The STAC collection of an output: valid, true, and found again by those who read STAC."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import rasterio.warp
from scipy import ndimage

import coregstack
from coregstack.errors import InvalidRequest
from coregstack.export.sidecar import read_sidecar
from coregstack.run.result import RunResult
from coregstack.testing import SampleOrder, sample_stack

pystac = pytest.importorskip("pystac")


@pytest.fixture(scope="module")
def result(sample_order: SampleOrder, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    output = tmp_path_factory.mktemp("stac") / "out"
    done = coregstack.run_order(sample_order.payload, input=sample_order.folder, output=output)
    done.to_stac("fields")
    return done


@pytest.fixture(scope="module")
def collection(result: RunResult) -> Any:
    return pystac.Collection.from_file(str(Path(result.output, "stac", "collection.json")))


def _validator(kind: str) -> Any:
    """The core specification's own schema, as pystac carries it, without a look at the network."""
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    local = pytest.importorskip("pystac.validation.local_validator")
    schemas = local.get_local_schema_cache()
    registry = referencing.Registry().with_resources(
        (uri, referencing.Resource.from_contents(schema)) for uri, schema in schemas.items()
    )
    (root,) = (schema for uri, schema in schemas.items() if uri.endswith(f"/{kind}.json"))
    return jsonschema.Draft7Validator(root, registry=registry)


@pytest.mark.parametrize("kind", ["collection", "item"])
def test_files_are_valid_stac(result: RunResult, kind: str) -> None:
    files = sorted(Path(result.output, "stac").glob("*.json"))
    files = [file for file in files if (file.name == "collection.json") == (kind == "collection")]
    assert len(files) == (1 if kind == "collection" else 8)
    validator = _validator(kind)
    for file in files:
        assert [error.message for error in validator.iter_errors(json.loads(file.read_text()))] == []


def test_a_wrong_item_is_not_valid(result: RunResult) -> None:
    item = json.loads(next(Path(result.output, "stac").glob("2022*.json")).read_text())
    del item["properties"]["datetime"]
    assert list(_validator("item").iter_errors(item))


def test_items_say_how_accurately_they_lie(collection: Any, result: RunResult) -> None:
    url = "https://stac-extensions.github.io/accuracy/v1.0.0-beta.1/schema.json"
    known = {report.id: report.quality for report in result.reports}
    for item in collection.get_items():
        told = {name: value for name, value in item.properties.items() if name.startswith("accuracy:")}
        assert (url in item.stac_extensions) == bool(told) == (known[item.id].shift is not None)
        # of all fields of the extension's schema, each is a number
        fields = {f"accuracy:geometric_{one}" for one in ("x_bias", "y_bias", "x_stddev", "y_stddev", "rmse")}
        assert set(told) in (set(), fields)
        assert all(isinstance(value, float) and np.isfinite(value) for value in told.values())
        if known[item.id].status == "coregistered":
            size = 3 / 0.9996
            assert told["accuracy:geometric_x_bias"] == 0
            assert told["accuracy:geometric_rmse"] == pytest.approx(known[item.id].residual * size, rel=0.01)


def test_every_item_is_there_with_its_time(collection: Any, sample_order: SampleOrder) -> None:
    items = {item.id: item for item in collection.get_items()}
    assert set(items) == set(sample_order.truth)
    for name, item in items.items():
        metadata = json.loads((sample_order.folder / "PSScene" / f"{name}_metadata.json").read_text())
        assert item.datetime == pystac.utils.str_to_datetime(metadata["properties"]["acquired"])
    assert collection.extent.temporal.intervals == [
        [min(i.datetime for i in items.values()), max(i.datetime for i in items.values())]
    ]


def test_projection_is_that_of_the_file(collection: Any) -> None:
    for item in collection.get_items():
        for asset in item.assets.values():
            if "data" not in asset.roles:
                continue
            with rasterio.open(asset.get_absolute_href()) as dataset:
                assert item.properties["proj:code"] == f"EPSG:{dataset.crs.to_epsg()}"
                assert item.properties["proj:shape"] == list(dataset.shape)
                assert item.properties["proj:transform"] == list(dataset.transform)[:6]
                assert item.properties["proj:bbox"] == list(dataset.bounds)


def test_geometry_is_where_the_file_is_valid(collection: Any) -> None:
    for item in collection.get_items():
        image = next(asset for asset in item.assets.values() if "data" in asset.roles)
        with rasterio.open(image.get_absolute_href()) as dataset:
            crs, valid = dataset.crs, dataset.read(1) != dataset.nodata
            transform, shape = dataset.transform, dataset.shape
        drawn = rasterio.features.rasterize([item.properties["proj:geometry"]], shape, transform=transform)
        # scenes of this order are turned in their boxes, so their outlines would not do
        assert valid.mean() < 0.95
        near = ndimage.binary_dilation(valid, iterations=3) & ~ndimage.binary_erosion(valid, iterations=3)
        holes = ndimage.binary_fill_holes(valid) & ~valid
        assert not ((drawn == 1) != valid)[~near & ~holes].any()
        (ring,) = item.properties["proj:geometry"]["coordinates"]
        assert 4 <= len(ring) - 1 <= 8
        degrees = np.transpose(rasterio.warp.transform(crs, "EPSG:4326", *np.transpose(ring)))
        np.testing.assert_allclose(item.geometry["coordinates"][0], degrees, atol=1e-7)
        np.testing.assert_allclose(item.bbox, [*degrees.min(axis=0), *degrees.max(axis=0)], atol=1e-7)
        x, y = degrees.T
        assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0, "an outer ring runs counterclockwise"


def test_without_evidence_the_geometry_is_the_outline(result: RunResult, tmp_path: Path) -> None:
    shutil.copytree(result.output, tmp_path / "out", ignore=shutil.ignore_patterns("*.evidence"))
    for item in replace(result, output=str(tmp_path / "out")).to_stac().get_items():
        image = next(asset for asset in item.assets.values() if "data" in asset.roles)
        with rasterio.open(image.get_absolute_href()) as dataset:
            west, south, east, north = dataset.bounds
            lon, lat = rasterio.warp.transform(
                dataset.crs, "EPSG:4326", [west, west, east, east], [south, north, north, south]
            )
        np.testing.assert_allclose(item.bbox, [min(lon), min(lat), max(lon), max(lat)], atol=1e-6)
        assert "proj:geometry" not in item.properties


def test_bands_are_those_of_the_file(collection: Any) -> None:
    for item in collection.get_items():
        for asset in item.assets.values():
            if "bands" not in asset.extra_fields:
                continue
            with rasterio.open(asset.get_absolute_href()) as dataset:
                for band, name, dtype in zip(
                    asset.extra_fields["bands"], dataset.descriptions, dataset.dtypes, strict=True
                ):
                    assert band["data_type"] == dtype
                    assert band.get("nodata") == dataset.nodata
                    assert band["raster:spatial_resolution"] == dataset.res[0]
                    assert name is None or band["name"] == name


def test_checksums_are_multihashes_of_the_files(collection: Any) -> None:
    item = next(collection.get_items())
    for asset in item.assets.values():
        content = Path(asset.get_absolute_href()).read_bytes()
        assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
        assert asset.extra_fields["file:size"] == len(content)


def test_quality_is_that_of_the_sidecar(collection: Any, sample_order: SampleOrder) -> None:
    for item in collection.get_items():
        if item.id == sample_order.anchor_item:
            assert item.properties["coreg:status"] == "anchor"
            continue
        record = read_sidecar(Path(item.assets["coregistration"].get_absolute_href()))
        assert item.properties["coreg:status"] == record.told["status"]
        assert item.properties["processing:lineage"] == record.told["details"]
        shift = record.pixel_shift_estimated
        assert item.properties.get("coreg:shift") == (None if shift is None else [shift.x, shift.y])


def test_an_item_names_what_it_was_made_from(collection: Any, sample_order: SampleOrder) -> None:
    for item in collection.get_items():
        (source,) = item.get_links("via")
        assert not Path(source.href).is_absolute()
        found = Path(item.self_href).parent / source.href
        assert found.resolve().parent == (sample_order.folder / "PSScene").resolve()
        assert item.id in found.name
        anchors = [found.id for found in item.get_derived_from()]
        assert anchors == ([] if item.id == sample_order.anchor_item else [sample_order.anchor_item])


def test_the_folder_may_be_moved(result: RunResult, tmp_path: Path) -> None:
    moved = Path(result.output).rename(tmp_path / "moved")
    try:
        collection = pystac.Collection.from_file(str(moved / "stac" / "collection.json"))
        hrefs = [a.get_absolute_href() for i in collection.get_items() for a in i.assets.values()]
        assert hrefs
        assert all(Path(href).is_file() for href in hrefs)
    finally:
        moved.rename(result.output)


def test_masks_visuals_and_metadata_have_their_roles(collection: Any, sample_order: SampleOrder) -> None:
    assets = collection.get_item(sample_order.anchor_item).assets
    roles = {name: asset.roles for name, asset in assets.items()}
    assert roles == {
        "ortho_analytic_8b_sr": ["data"],
        "ortho_visual": ["visual"],
        "ortho_udm2": ["data-mask"],
        "ortho_analytic_8b_xml": ["metadata"],
        "metadata": ["metadata"],
    }


def test_items_without_a_time_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack = sample_stack(3, (224, 224))
    times = stack.time.values.copy()
    times[1] = np.datetime64("NaT", "ns")
    aligned = coregstack.align(stack.assign_coords(time=times), anchor=0)
    result = coregstack.to_geotiffs(aligned, tmp_path / "out")
    collection = result.to_stac()
    assert [item.id for item in collection.get_items()] == [stack.id.values[0], stack.id.values[2]]
    assert stack.id.values[1] in caplog.text


def test_without_any_time_the_request_is_refused(tmp_path: Path) -> None:
    stack = sample_stack(2, (224, 224)).drop_vars("time")
    result = coregstack.to_geotiffs(coregstack.align(stack, anchor=0), tmp_path / "out")
    with pytest.raises(InvalidRequest, match="times="):
        result.to_stac()
    assert not (tmp_path / "out" / "stac").exists()


def test_a_damaged_scene_is_described_without_its_raster(tmp_path: Path) -> None:
    paths = []
    for scene in sample_stack(3, (224, 224)):
        paths.append(tmp_path / f"{scene.id.item()}.tif")
        scene.drop_vars("clear").rio.to_raster(paths[-1])
    paths[1].write_bytes(b"no raster")
    result = coregstack.run_scenes(
        paths, anchor=0, output=tmp_path / "out", times=["2022-01-01", "2022-01-02", "2022-01-03"]
    )
    assert result.problems == () or all(paths[1].stem in problem for problem in result.problems)
    items = {item.id: item for item in result.to_stac().get_items()}
    assert paths[2].stem in items
    assert result.times[paths[2].stem] == np.datetime64("2022-01-03")


def test_a_stack_from_stac_is_derived_from_its_items(collection: Any, tmp_path: Path) -> None:
    pytest.importorskip("odc.stac")
    stack = coregstack.open_stac(collection, anchor=0, bands=["red", "nir"])
    result = coregstack.to_geotiffs(coregstack.align(stack, anchor=0), tmp_path / "again")
    item = next(result.to_stac().get_items())
    (link,) = [
        link for link in item.links if link.rel == "derived_from" and link.title == "what it was made from"
    ]
    assert pystac.Item.from_file(link.absolute_href).id == item.id


def test_a_displacement_is_an_asset_that_says_what_it_holds(tmp_path: Path) -> None:
    stack = sample_stack(2, (256, 256), seed=6, cloud_cover=0).drop_vars("clear")
    paths = [tmp_path / f"2024010{k + 1}_{k}.tif" for k in range(2)]
    for scene, path in zip(stack, paths, strict=True):
        scene.rio.to_raster(path)
    result = coregstack.run_scenes(
        paths, anchor=paths[0].stem, output=tmp_path / "out", model="affine", threshold=1.0
    )
    items = {item.id: item for item in result.to_stac("bent").get_items()}
    item = items[result.reports[1].id]
    asset = item.assets["displacement"]
    assert asset.href.endswith(f"{item.id}_coreg_displacement.tif")
    assert asset.roles == ["metadata"]
    assert [(band["name"], band["unit"]) for band in asset.extra_fields["bands"]] == [
        ("dy", "px"), ("dx", "px"), ("sigma", "px"),
    ]  # fmt: skip
    assert "eo:bands" not in asset.extra_fields
    assert asset.extra_fields["proj:shape"] != item.properties["proj:shape"]
    assert item.properties["coreg:model"] == "affine"
    file = Path(tmp_path, "out", "stac", f"{item.id}.json")
    assert [error.message for error in _validator("item").iter_errors(json.loads(file.read_text()))] == []
    assert "displacement" not in items[result.anchor].assets
