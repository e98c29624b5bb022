"""What is written of scenes that cross the antimeridian: STAC, the report's map, tie points; and of all others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
import shapely
import xarray as xr
from affine import Affine

import coregstack
from coregstack.run.result import RunResult
from coregstack.testing import sample_stack

pystac = pytest.importorskip("pystac")

# the antimeridian runs through the middle of each: x of zones 1 and 60 at their outer edges, 30 degrees east of 150
PLACES = {
    "zone 1": ("EPSG:32601", (166021 + 24 - 300, 12000), 3),
    "zone 60": ("EPSG:32660", (833979 - 24 - 300, 12000), 3),
    "Mercator of the Pacific": ("EPSG:3832", (3339584 - 300, 2e6), 3),
    "degrees": ("EPSG:4326", (180 - 3e-3, 10), 3e-5),
}
NAMES = ["20220101_a", "20220201_b", "20220301_c"]


@pytest.fixture(scope="module")
def pictures() -> xr.DataArray:
    return sample_stack(3, (200, 200), seed=4, max_shift=2, cloud_cover=0).drop_vars("clear")


def run(pictures: xr.DataArray, folder: Path, place: tuple[str, tuple[float, float], float]) -> RunResult:
    crs, (left, top), size = place
    paths = []
    for picture, name in zip(pictures.values, NAMES, strict=True):
        paths.append(folder / f"{name}.tif")
        with rasterio.open(
            paths[-1], "w", driver="GTiff", height=200, width=200, count=len(picture), dtype=picture.dtype,
            nodata=0, crs=crs, transform=Affine(size, 0, left, 0, -size, top),
        ) as file:  # fmt: skip
            file.write(picture)
    return coregstack.run_scenes(paths, anchor=NAMES[0], output=folder / "out")


@pytest.fixture(scope="module", params=PLACES.values(), ids=PLACES)
def crossing(request: pytest.FixtureRequest, pictures: xr.DataArray, tmp_path_factory: Any) -> RunResult:
    return run(pictures, tmp_path_factory.mktemp("crossing"), request.param)


def corners(item: Any) -> tuple[np.ndarray, np.ndarray]:
    """Corners of where a file is valid, as its own CRS has them, in degrees from 0 to 360."""
    (ring,) = item.properties["proj:geometry"]["coordinates"]
    x, y = rasterio.warp.transform(item.properties["proj:code"], "EPSG:4326", *np.transpose(ring))
    return np.array(x) % 360, np.array(y)


def test_items_are_cut_at_the_antimeridian(crossing: RunResult) -> None:
    for item in crossing.to_stac().get_items():
        x, y = corners(item)
        west, south, east, north = item.bbox
        assert east < 0 < west
        np.testing.assert_allclose(
            [west, south, east + 360, north], [x.min(), y.min(), x.max(), y.max()], atol=1e-6
        )
        assert item.geometry["type"] == "MultiPolygon"
        shape = shapely.geometry.shape(item.geometry)
        assert shape.is_valid
        assert shape.bounds[0] == -180
        assert shape.bounds[2] == 180
        assert all(part.exterior.is_ccw for part in shape.geoms)
        # joined again on a globe that is cut elsewhere, it is the file's own outline
        joined = shapely.union_all([shapely.transform(part, lambda c: np.c_[c[:, 0] % 360, c[:, 1]])
                                    if part.bounds[2] < 180 else part for part in shape.geoms])  # fmt: skip
        outline = shapely.Polygon(np.c_[x, y])
        assert joined.symmetric_difference(outline).area < 1e-3 * outline.area


def test_the_collection_spans_the_scenes_and_not_the_world(crossing: RunResult) -> None:
    collection = crossing.to_stac()
    ((west, south, east, north),) = collection.extent.spatial.bboxes
    boxes = np.array([item.bbox for item in collection.get_items()])
    assert [west, south] == boxes[:, :2].min(axis=0).tolist()
    assert [east, north] == boxes[:, 2:].max(axis=0).tolist()
    assert east < 0 < west


@pytest.mark.parametrize("kind", ["collection", "item"])
def test_files_are_valid_stac(crossing: RunResult, kind: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    local = pytest.importorskip("pystac.validation.local_validator")
    crossing.to_stac()
    schemas = local.get_local_schema_cache()
    registry = referencing.Registry().with_resources(
        (uri, referencing.Resource.from_contents(schema)) for uri, schema in schemas.items()
    )
    (root,) = (schema for uri, schema in schemas.items() if uri.endswith(f"/{kind}.json"))
    validator = jsonschema.Draft7Validator(root, registry=registry)
    files = sorted(Path(crossing.output, "stac").glob("*.json"))
    files = [file for file in files if (file.name == "collection.json") == (kind == "collection")]
    assert len(files) == (1 if kind == "collection" else 3)
    for file in files:
        assert [error.message for error in validator.iter_errors(json.loads(file.read_text()))] == []


def footprints(result: RunResult, path: Path) -> dict[str, np.ndarray]:
    page = coregstack.report(result, path).read_text("utf-8")
    data = json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )
    return {item["id"]: item["area"] for item in data["items"]}


def test_the_report_shows_them_where_the_anchor_is(crossing: RunResult, tmp_path: Path) -> None:
    with rasterio.open(Path(crossing.output, f"{NAMES[0]}_anchor.tif")) as anchor:
        bounds, size = anchor.bounds, anchor.res[0]
    areas = footprints(crossing, tmp_path / "report.html")
    assert list(areas) == NAMES
    for parts in areas.values():
        (part,) = (np.array(part) for part in parts)
        assert (np.abs(part.min(axis=0) - bounds[:2]) < 4 * size).all()
        assert (np.abs(part.max(axis=0) - bounds[2:]) < 4 * size).all()


def test_in_degrees_a_scene_of_another_crs_is_shown_beside_the_anchor(
    pictures: xr.DataArray, tmp_path: Path
) -> None:
    result = run(pictures, tmp_path, PLACES["degrees"])
    state = Path(result.output, ".coregstack")
    (kept,) = state.rglob(f"*{NAMES[1]}*.evidence")
    value = json.loads(kept.read_text())
    corners_ = [[165700, 1.105e6], [165700, 1.106e6], [170000, 1.106e6], [170000, 1.105e6]]
    value["area"] = {"crs": "EPSG:32601", "parts": [[*corners_]]}
    x, _ = rasterio.warp.transform("EPSG:32601", "EPSG:4326", *np.transpose(corners_))
    kept.write_text(json.dumps(value))
    (part,) = (np.array(part) for part in footprints(result, tmp_path / "report.html")[NAMES[1]])
    np.testing.assert_allclose(part[:, 0], np.array(x) % 360, atol=1e-6)


def test_tie_points_beyond_the_antimeridian_have_longitudes_of_the_globe(
    crossing: RunResult, tmp_path: Path
) -> None:
    table = coregstack.tie_points(crossing)
    coregstack.write_ties(table, tmp_path / "ties.geojson")
    features = json.loads((tmp_path / "ties.geojson").read_text())["features"]
    lon = np.array([feature["geometry"]["coordinates"][0] for feature in features])
    assert len(lon) == len(table) > 0
    assert (np.abs(lon) <= 180).all()
    assert (np.abs(np.abs(lon) - 180) < 0.01).all()
    expected = rasterio.warp.transform(table.attrs["crs"], "EPSG:4326", table.x, table.y)[0]
    np.testing.assert_allclose(lon % 360, np.array(expected) % 360, atol=1e-8)


def test_scenes_elsewhere_are_described_as_they_always_were(pictures: xr.DataArray, tmp_path: Path) -> None:
    result = run(pictures, tmp_path, ("EPSG:32633", (500000, 5800000), 3))
    collection = result.to_stac()
    boxes = []
    for item in collection.get_items():
        ring = np.array(item.properties["proj:geometry"]["coordinates"][0])
        x, y = rasterio.warp.transform("EPSG:32633", "EPSG:4326", *ring.T)
        told = [[round(lon, 7), round(lat, 7)] for lon, lat in zip(x, y, strict=True)]
        assert item.geometry == {"type": "Polygon", "coordinates": [told]}
        lon, lat = np.transpose(told)
        assert item.bbox == [lon.min(), lat.min(), lon.max(), lat.max()]
        boxes.append(item.bbox)
    low, high = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
    assert collection.extent.spatial.bboxes == [[*low, *high]]
