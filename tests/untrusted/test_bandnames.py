"""Bands are the same by name, whatever the case, the order and the usual synonyms; never by position against names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.untrusted.bandnames import (
    common_names,
    file_names_classes,
    find_band,
    names_classes,
    same_bands,
    scene_of_band,
)

SENTINEL_2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
SAME = [
    (("red", "green"), ("GREEN", "Red"), {0: 1, 1: 0}),
    (("blue", "green", "red", "nir"), ("B02", "B03", "B04", "B08"), {0: 0, 1: 1, 2: 2, 3: 3}),
    (("coastal", "swir16", "swir22", "nir08"), ("B8A", "B12", "B11", "B01"), {0: 3, 1: 2, 2: 1, 3: 0}),
    (("B4", "B3", "B2", "B8"), ("red", "green", "blue", "nir"), {0: 0, 1: 1, 2: 2, 3: 3}),
    (("nir08", "red"), ("red", "nir"), {0: 1, 1: 0}),
    (("nir", "nir08"), SENTINEL_2, {0: 7, 1: 8}),
    (("Band 4 - Red", "Band 5 - NIR"), ("nir", "red"), {0: 1, 1: 0}),
    (("near_infrared",), ("NIR",), {0: 0}),
    (("swir1", "swir2"), ("swir16", "swir22"), {0: 0, 1: 1}),
    (("nbart_swir_2", "nbart_swir_3"), ("swir16", "swir22"), {0: 0, 1: 1}),
    (("SR_B4", "SR_B5"), ("sr_b5", "sr_b4"), {0: 1, 1: 0}),
    (("red", "nir"), ("1", "2"), {0: 0, 1: 1}),
    (("Band 1", "Band 2"), ("nir", "red"), {0: 0, 1: 1}),
    (("1", "2", "3"), ("1", "2", "3", "4"), {0: 0, 1: 1, 2: 2}),
    (("2020-06-30 of one",), ("2020-07-01 of another",), {0: 0}),
]
UNLIKE = [
    (("pan",), ("blue", "green", "red", "nir")),
    (("B04",), ("B08",)),
    (("pan",), ("red",)),
    (("red", "green"), ("blue", "nir")),
    (("red", "green", "blue"), ("1", "2", "3", "4")),
    (("a", "b2x"), ("c", "d")),
    (("SR_B4",), ("red",)),
]


@pytest.mark.parametrize(("first", "second", "pairs"), SAME)
def test_bands_that_are_the_same(
    first: tuple[str, ...], second: tuple[str, ...], pairs: dict[int, int]
) -> None:
    assert dict(same_bands(first, second)) == pairs
    assert {(b, a) for a, b in same_bands(second, first)} == set(pairs.items())


@pytest.mark.parametrize(("first", "second"), UNLIKE)
def test_names_that_contradict_are_not_compared_by_position(
    first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    assert same_bands(first, second) == same_bands(second, first) == ()


def test_a_code_that_sensors_disagree_about_is_what_the_other_bands_tell() -> None:
    landsat = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11")
    found = {landsat[a]: SENTINEL_2[b] for a, b in same_bands(landsat, SENTINEL_2)}
    assert found == {
        "B01": "B01", "B02": "B02", "B03": "B03", "B04": "B04", "B05": "B8A", "B06": "B11", "B07": "B12",
    }  # fmt: skip
    assert common_names(("B3N", "B02", "B01")) == ("b3n", "b02", "b01")


@given(st.permutations(SENTINEL_2), st.lists(st.booleans(), min_size=12, max_size=12))
def test_order_and_case_do_not_count(names: list[str], lower: list[bool]) -> None:
    other = [name.lower() if small else name for name, small in zip(names, lower, strict=True)]
    assert [other[b] for _, b in same_bands(SENTINEL_2, other)] == [other[names.index(n)] for n in SENTINEL_2]


@given(st.lists(st.text(max_size=6), max_size=6), st.lists(st.text(max_size=6), max_size=6))
def test_no_band_is_paired_twice(first: list[str], second: list[str]) -> None:
    pairs = same_bands(first, second)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert all(a < len(first) and b < len(second) for a, b in pairs)


def test_a_band_is_found_by_what_it_is_usually_called() -> None:
    assert find_band(["B02", "B03", "B04"], "Red") == 2
    assert find_band(["nir08", "red"], "nir") == 0
    assert find_band(["1", "2"], "nir") is None


@pytest.mark.parametrize(
    "name",
    ["SCL", "scl", "qa_pixel", "QA_RADSAT", "QA60", "pixel_qa", "BQA", "Fmask", "cloud mask", "water_mask", "dataMask",
     "udm2", "UDM", "classification", "land_cover", "LULC", "SR_QA_AEROSOL", "sr_aerosol", "landcover_2020",
     "Land Use 2018", "MSK_CLASSI", "state_1km", "dynamic_world", "quality", "VIQA"],
)  # fmt: skip
def test_names_of_classes(name: str) -> None:
    assert names_classes(name)


@pytest.mark.parametrize(
    "name",
    [
        "red",
        "B04",
        "ST_QA",
        "masked_red",
        "quartz",
        "nir",
        "1",
        "",
        "udmurtia",
        "2020",
        "red_2020",
        "aquarelle",
        "20m",
    ],
)
def test_names_of_measurements(name: str) -> None:
    assert not names_classes(name)


@pytest.mark.parametrize("name", ["SM", "CLOUDS", "esa_cci", "ESA_CCI_2015", "cloud_masks", "Mask clouds"])
def test_names_of_status_maps_and_clouds(name: str) -> None:
    assert names_classes(name)


def test_a_scene_may_be_called_after_clouds() -> None:
    assert not file_names_classes("20200101_clouds")
    assert scene_of_band("20200101_clouds") is None


def test_a_file_is_called_after_its_classes_at_the_end() -> None:
    assert file_names_classes("LC08_L2SP_190027_20200117_20200823_02_T1_QA_PIXEL")
    assert file_names_classes("20240812_104320_10_247a_3B_udm2_clip")
    assert not file_names_classes("masks_20200101_B04")


def test_files_of_the_bands_of_one_scene_share_a_name() -> None:
    names = ["T33_20200101_B02", "T33_20200101_B8A", "T33_20200101_SCL_20m", "T33_20200101_nir"]
    found = [scene_of_band(name) for name in names]
    assert all(found)
    assert {one[0] for one in found if one} == {"t33 20200101", "t33 20200101 20m"}
    assert scene_of_band("20200101_a") is None
    assert scene_of_band("red") is None


def test_surface_bands_of_landsat_are_those_of_its_sensor() -> None:
    newer = [f"SR_B{k}" for k in range(1, 8)]
    older = ["SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7"]
    assert common_names(newer)[3:5] == ("red", "nir08")
    assert common_names(older)[2:4] == ("red", "nir08")
    assert common_names(["SR_B3", "SR_B4", "ST_B6"])[:2] == ("red", "nir08")
    assert common_names(["SR_B4", "SR_B5", "ST_B10"])[:2] == ("red", "nir08")
    # three of them may be of either
    assert common_names(["SR_B2", "SR_B3", "SR_B4"]) == ("b2", "b3", "b4")
    assert (2, 3) in same_bands(older, newer)
    assert (3, 3) not in same_bands(older, newer)
    assert (3, 0) in same_bands(newer, ["red", "green"])
