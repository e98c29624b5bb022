"""Angles of view that metadata tell, read without trusting them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coregstack.products.viewing import viewing_of

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
