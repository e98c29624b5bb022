"""A name tells its acquisition time, or nothing; it never tells a wrong one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import coregstack.times
from coregstack.untrusted.times import time_from_name, time_from_text

TOLD = {
    "naip_20160816.tif": "2016-08-16",
    "s2_20150711T100008_ndvi": "2015-07-11T10:00:08",
    "T33UUU_20170216T102101_B04.jp2": "2017-02-16T10:21:01",
    "LC80030172015001LGN00_B2.tif": "2015-01-01",
    "LC80030172016366LGN00_B2.tif": "2016-12-31",
    "LC08_L1TP_003017_20150101_20170415_01_T1_B4.TIF": "2015-01-01",
    "S2A_MSIL1C_20170216T102101_N0204_R065_T33UUU_20170216T102204.SAFE": "2017-02-16T10:21:01",
    "HLS.L30.T33UUU.2017047T101234.v2.0.B04.tif": "2017-02-16T10:12:34",
    "MOD09GQ.A2018123.h11v04.006.2018125.hdf": "2018-05-03",
    "landsat_1985.tif": "1985-01-01",
    "SkySat_20170831T195552Z_RGB.tif": "2017-08-31T19:55:52",
    "20240812_104320_10_247a_3B_AnalyticMS_SR_8b_clip.tif": "2024-08-12T10:43:20.100",
    "20200630_164149_0e3a_3B_Visual.tif": "2020-06-30T16:41:49",
    "3357121_2018-09-11_RE3_3A_Analytic.tif": "2018-09-11",
    "scene_2017_08_31_a.tif": "2017-08-31",
    "2017-08-31T19:55:52.25Z": "2017-08-31T19:55:52.250",
    "folder_19991231/naip_20160816.tif": "2016-08-16",
    "20150101_993017_x.tif": "2015-01-01",
    "ortho_2019.11.02_rgb.tif": "2019-11-02",
    "2021.01.31.tif": "2021-01-31",
    "2020.06.30_10.45.12.tif": "2020-06-30T10:45:12",
    "2020_06_30_10_45_12_rgb.tif": "2020-06-30T10:45:12",
    "2020.06.30_10.45.99.tif": "2020-06-30",
    "2020-06-30 10.45.12.tif": "2020-06-30T10:45:12",
    "AST_L1T_00306152011102233_20150603140522_7.hdf": "2011-06-15T10:22:33",
    "AST_07XT_00402292004235959_20200101000000_1.tif": "2004-02-29T23:59:59",
    "A2016366_ndvi.tif": "2016-12-31",
    "MYD11_L2.A2018123.1035.061.2018124151515.hdf": "2018-05-03T10:35:00",
    "MOD11A1.061_LST_Day_1km_doy2016366_aid0001.tif": "2016-12-31",
    "ECO2LSTE.001_SDS_LST_doy2019032235959_aid0001.tif": "2019-02-01T23:59:59",
    "IMG_PHR1A_PMS_201903121034567_SEN.TIF": "2019-03-12T10:34:56",
    "20190312103456.tif": "2019-03-12T10:34:56",
}
SILENT = (
    "s2_ref0.tif",
    "33UUU",
    "T33UUU_B04.jp2",
    "v2.1.2016",
    "tile_2048.tif",
    "tile_2048x2048.tif",
    "x_20150229.tif",
    "VNP46A2.A2021366.h18v04.001.tif",
    "A12345678.tif",
    "2019.13.02_rgb.tif",
    "x_20151332.tif",
    "x_17761231.tif",
    "x_120160816.tif",
    "scene_2015_06.tif",
    "change_2015_2017.tif",
    "LC80030172015366LGN00.tif",
    "LC80030172015000LGN00.tif",
    "0020160816f3.tif",
    "٢٠١٦٠٨١٦.tif",
    "",
)


@pytest.mark.parametrize(("name", "expected"), TOLD.items())
def test_time_is_read_from_names_of_many_providers(name: str, expected: str) -> None:
    assert time_from_name(name) == datetime.fromisoformat(expected)


def test_times_are_found_under_the_name_that_is_documented() -> None:
    assert coregstack.times.time_from_name is time_from_name


@pytest.mark.parametrize("name", SILENT)
def test_no_time_is_guessed(name: str) -> None:
    assert time_from_name(name) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 12, 31)))
def test_every_real_time_is_read_back(time: datetime) -> None:
    time = time.replace(microsecond=0)
    for form in ("a_%Y%m%dT%H%M%S_b.tif", "%Y%m%d_%H%M%S_b", "%Y-%m-%dT%H:%M:%SZ", "%Y%jT%H%M%S"):
        assert time_from_name(time.strftime(form)) == time
    day = datetime(time.year, time.month, time.day)
    assert time_from_name(time.strftime("LT5003017%Y%jXXX01")) == day


@given(st.text())
def test_any_text_gives_a_plausible_time_or_none(text: str) -> None:
    for time in (time_from_name(text), time_from_text(text)):
        assert time is None or (time.tzinfo is None and 1970 <= time.year <= 2100)


def test_metadata_times_become_utc() -> None:
    assert time_from_text("2020-06-30T18:41:49+02:00") == datetime(2020, 6, 30, 16, 41, 49)
    assert time_from_text("2020-06-30T16:41:49.123456Z") == datetime(2020, 6, 30, 16, 41, 49, 123456)
    for junk in ("yesterday", "", None, 20200630, "0001-01-01T00:00:00+23:00", "9999-12-31"):
        assert time_from_text(junk) is None


def test_all_real_scenes_with_a_date_tell_it(data_dir: Path) -> None:
    scenes = [path for path in data_dir.glob("*/*.[tj][ip][f2]") if path.parent.name != "ngi_frames"]
    silent = {path.name for path in scenes if time_from_name(path.name) is None}
    assert silent == {f"s2_ref{k}.tif" for k in range(5)}
