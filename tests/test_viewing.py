"""Angles of view that metadata tell, read without trusting them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from coregstack.model import Viewing
from coregstack.products.viewing import viewing_of
from coregstack.stack.finding import find_scenes

SENTINEL = """<n1:Level-1C_Tile_ID><Tile_Angles><Mean_Viewing_Incidence_Angle_List>
<Mean_Viewing_Incidence_Angle bandId="0">
  <ZENITH_ANGLE unit="deg">8.0</ZENITH_ANGLE>
  <AZIMUTH_ANGLE unit="deg">359.0</AZIMUTH_ANGLE>
</Mean_Viewing_Incidence_Angle>
<Mean_Viewing_Incidence_Angle bandId="9">
  <ZENITH_ANGLE unit="deg">8.0</ZENITH_ANGLE>
  <AZIMUTH_ANGLE unit="deg">1.0</AZIMUTH_ANGLE>
</Mean_Viewing_Incidence_Angle></Mean_Viewing_Incidence_Angle_List></Tile_Angles></n1:Level-1C_Tile_ID>"""


def test_the_mean_of_bands_goes_round_north(tmp_path: Path) -> None:
    path = tmp_path / "MTD_TL.xml"
    path.write_text(SENTINEL)
    found = viewing_of([tmp_path / "B02.jp2", path])
    assert found is not None
    assert found.incidence == pytest.approx(8.0, abs=0.01)
    assert min(found.azimuth, 360 - found.azimuth) == pytest.approx(0.0, abs=1e-6)


def test_planet_tells_angles_on_the_ground_before_those_at_the_satellite(tmp_path: Path) -> None:
    item, image = tmp_path / "a_metadata.json", tmp_path / "a_3B_AnalyticMS_metadata.xml"
    item.write_text(json.dumps({"properties": {"view_angle": -4.0, "satellite_azimuth": 98.5}}))
    found = viewing_of([item])
    assert found is not None
    assert found.incidence == pytest.approx(4.3, abs=0.01)
    image.write_text(
        '<eop:incidenceAngle uom="deg">4.25e+00</eop:incidenceAngle><ps:azimuthAngle uom="deg">98<'
    )
    assert viewing_of([item, image]) == (4.25, 98.0)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", '{"properties": 3}', '{"properties": {"view_angle": "4", "satellite_azimuth": 1}}',
        '{"properties": {"view_angle": 4}}', '{"properties": {"view_angle": 89, "satellite_azimuth": 1}}',
        '{"properties": {"view_angle": true, "satellite_azimuth": 1}}',
    ],
)  # fmt: skip
def test_what_is_damaged_tells_nothing(text: str, tmp_path: Path) -> None:
    paths = [tmp_path / "a_metadata.json", tmp_path / "MTD_TL.xml", tmp_path / "none_metadata.json"]
    paths[0].write_text(text)
    paths[1].write_text("<ZENITH_ANGLE>" * 10)
    assert viewing_of(paths) is None


HEIGHT, HEADING = 705e3, np.radians(190.0)
"""Of Landsat above the ground, m, and where its track leads."""
SCENE = "LC08_L1TP_190027_20200620_20200823_02_T1"
GRANULE = "HLS.L30.T33UUU.2020172T101559.v2.0"


def write_raster(path: Path, values: np.ndarray, pixel: float, **profile: object) -> Path:
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=values.dtype, crs="EPSG:32633",
        transform=from_origin(500_000, 5_500_000, pixel, pixel), **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
    return path


def seen_beside_the_track(folder: Path, east: float, width: float, hls: bool = False) -> Viewing | None:
    """What is read of a scene, `width` m wide, whose middle lies `east` m beside the track, over a flat Earth."""
    folder.mkdir(exist_ok=True)
    side, edge = 100, 5
    pixel = width / (side - 2 * edge)
    down, along = (pixel * (place - (side - 1) / 2) for place in np.mgrid[:side, :side])
    # the track leads through the point `east` to the west of the middle
    beside = (along + east) * np.cos(HEADING) - -down * np.sin(HEADING)
    towards = np.degrees(np.where(beside > 0, HEADING - np.pi / 2, HEADING + np.pi / 2))
    zenith = np.degrees(np.arctan(np.abs(beside) / HEIGHT))
    around = np.ones((side, side), bool)
    around[edge:-edge, edge:-edge] = False
    name = f"{GRANULE}.{{}}.tif" if hls else f"{SCENE}_{{}}.TIF"
    azimuth = towards % 360 if hls else (towards + 180) % 360 - 180
    for band, angle in (("VZA", zenith), ("VAA", azimuth)):
        values = np.where(around, 40_000 if hls else 0, np.round(100 * angle))
        own = {"nodata": 40_000} if hls else {}
        write_raster(folder / name.format(band), values.astype("uint16" if hls else "int16"), pixel, **own)
    write_raster(folder / name.format("B04" if hls else "B4"), np.ones((side, side), "uint16"), pixel)
    (scene,) = find_scenes(folder).scenes
    return scene.viewing


@pytest.mark.parametrize("hls", [False, True])
@pytest.mark.parametrize("east", [-60e3, 40e3, 3e3])
def test_rasters_of_angles_tell_the_view_of_their_middle(east: float, hls: bool, tmp_path: Path) -> None:
    found = seen_beside_the_track(tmp_path, east, 30e3, hls)
    assert found is not None
    # whoever lies in the east of a track that leads to the south by west sees the satellite in the west by north
    across = east * np.cos(HEADING)
    assert found.incidence == pytest.approx(np.degrees(np.arctan(abs(across) / HEIGHT)), abs=0.01)
    assert found.azimuth == pytest.approx(280.0 if east > 0 else 100.0, abs=1.0)


def test_a_whole_swath_has_no_one_view(tmp_path: Path) -> None:
    assert seen_beside_the_track(tmp_path, 0.0, 185e3) is None


def test_rasters_of_angles_that_are_damaged_or_alone_tell_nothing(tmp_path: Path) -> None:
    assert seen_beside_the_track(tmp_path, 40e3, 30e3) is not None
    azimuth = tmp_path / f"{SCENE}_VAA.TIF"
    whole = azimuth.read_bytes()
    for left in (0, len(whole) // 2):
        azimuth.write_bytes(whole[:left])
        assert find_scenes(tmp_path).scenes[0].viewing is None
    azimuth.unlink()
    assert find_scenes(tmp_path).scenes[0].viewing is None
