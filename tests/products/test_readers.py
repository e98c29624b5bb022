"""Layouts are known by names alone: which files are one item, what each holds, and what is left."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import InvalidRequest, UnsafePath
from coregstack.export.plan import Content
from coregstack.products import readers
from coregstack.products.item import ProductFile, ProductItem, image
from coregstack.products.masks import MASKS, asked_masks
from coregstack.products.readers import FoundItems, find_items
from coregstack.stack.inputs import find_inputs


def found(*names: str, assets: str | None = None) -> FoundItems:
    return find_items(map(PurePosixPath, names), assets)


def one(*names: str, assets: str | None = None) -> ProductItem:
    result = found(*names, assets=assets)
    assert [str(path) for path in result.others] == []
    (item,) = result.items
    return item


def held(item: ProductItem) -> dict[str, tuple[Content | None, Any, bool, str]]:
    """What each file holds: content, bands, whether it is matched in, and which mask it is."""
    return {
        file.path.name: (
            file.content,
            "by number" if callable(file.bands) else file.bands,
            file.matched,
            file.mask,
        )
        for file in item.files
    }


# --- Landsat


@pytest.mark.parametrize(
    ("product", "band", "means"),
    [
        ("LC08_L2SP_190027_20200620_20200823_02_T1", "SR_B4", "red"),
        ("LC09_L1TP_190027_20220620_20220623_02_T1", "B5", "nir08"),
        ("LC08_L1TP_190027_20200620_20200707_01_RT", "B8", "pan"),
        ("LE07_L2SP_190027_20000620_20200823_02_T1", "SR_B4", "nir08"),
        ("LE07_L1TP_190027_20000620_20200823_01_T1", "B6_VCID_2", "lwir_high"),
        ("LT05_L1TP_190027_19900620_20200823_02_T1", "B3", "red"),
        ("LM01_L1TP_190027_19740620_20200823_02_T2", "B5", "red"),
        ("LC08_L1TP_190027_20200620_20200707_01_T1", "sr_band4", "red"),
        ("LC08_CU_025011_20200620_20210504_02", "SR_B4", "red"),
        ("LC80030172015001LGN00", "B4", "red"),
        ("LE70030172015001ASN00", "B4", "nir08"),
    ],
)
def test_bands_of_landsat_go_by_what_their_sensor_calls_them(product: str, band: str, means: str) -> None:
    item = one(f"{product}_{band}.TIF")
    assert item.id == product
    assert item.time is not None
    assert item.files[0].bands == (means,)
    assert one(f"{product}_{band}.tif".lower()).files[0].bands == (means,)


def test_all_of_a_landsat_product_is_one_item() -> None:
    head = "LC08_L2SP_190027_20200620_20200823_02_T1"
    names = ("SR_B4.TIF", "ST_B10.TIF", "ST_EMIS.TIF", "ST_QA.TIF", "QA_PIXEL.TIF", "QA_RADSAT.TIF", "MTL.txt",
             "ANG.txt", "thumb_small.jpeg")  # fmt: skip
    item = one(*(f"{head}_{name}" for name in names))
    kinds = held(item)
    assert kinds[f"{head}_SR_B4.TIF"] == (Content.IMAGE, ("red",), True, "")
    assert kinds[f"{head}_QA_PIXEL.TIF"] == (Content.CLASSES, ("QA_PIXEL",), False, "qa_pixel")
    assert kinds[f"{head}_QA_RADSAT.TIF"][0] is Content.CLASSES
    assert kinds[f"{head}_ST_EMIS.TIF"] == (Content.IMAGE, ("ST_EMIS",), False, "")
    # the uncertainty of a temperature is measured
    assert kinds[f"{head}_ST_QA.TIF"][0] is Content.IMAGE
    assert {name for name, kind in kinds.items() if kind[0] is None} == {
        f"{head}_MTL.txt", f"{head}_ANG.txt", f"{head}_thumb_small.jpeg",
    }  # fmt: skip


def test_versions_of_one_acquisition_are_items_of_their_own_and_are_told() -> None:
    heads = ("LC08_L1TP_190027_20200620_20200707_01_RT", "LC08_L2SP_190027_20200620_20200823_02_T1")
    result = found(*(f"{head}_B4.TIF" for head in heads))
    assert [item.id for item in result.items] == list(heads)
    assert "products of one acquisition" in result.notes[0]


# --- Sentinel-2

SAFE = "S2A_MSIL2A_20170216T102101_N0500_R065_T33UUU_20230101T000000.SAFE"
GRANULE = f"{SAFE}/GRANULE/L2A_T33UUU_A008642_20170216T102204"


def test_all_below_a_safe_folder_is_one_item() -> None:
    head = "T33UUU_20170216T102101"
    item = one(
        f"in/{SAFE}/MTD_MSIL2A.xml",
        f"in/{GRANULE}/IMG_DATA/R10m/{head}_B04_10m.jp2",
        f"in/{GRANULE}/IMG_DATA/R10m/{head}_TCI_10m.jp2",
        f"in/{GRANULE}/IMG_DATA/R20m/{head}_B04_20m.jp2",
        f"in/{GRANULE}/IMG_DATA/R20m/{head}_SCL_20m.jp2",
        f"in/{GRANULE}/IMG_DATA/R60m/{head}_AOT_60m.jp2",
        f"in/{GRANULE}/QI_DATA/MSK_CLASSI_B00.jp2",
        f"in/{GRANULE}/QI_DATA/MSK_DETFOO_B02.jp2",
        f"in/{GRANULE}/QI_DATA/{head}_PVI.jp2",
    )
    assert item.id == SAFE.removesuffix(".SAFE")
    assert str(item.time) == "2017-02-16 10:21:01"
    kinds = held(item)
    assert kinds[f"{head}_B04_10m.jp2"] == (Content.IMAGE, ("B04",), True, "")
    assert kinds[f"{head}_SCL_20m.jp2"] == (Content.CLASSES, ("SCL",), False, "scl")
    assert kinds["MSK_CLASSI_B00.jp2"] == (Content.CLASSES, (), False, "")
    assert kinds["MSK_DETFOO_B02.jp2"][0] is Content.CLASSES
    assert kinds[f"{head}_TCI_10m.jp2"] == (Content.IMAGE, (), False, "")
    assert kinds[f"{head}_PVI.jp2"][0] is None
    assert kinds["MTD_MSIL2A.xml"][0] is None
    sizes = {file.path.name: file.pixel_size for file in item.files if file.matched}
    assert sizes == {f"{head}_B04_10m.jp2": 10, f"{head}_B04_20m.jp2": 20}


def test_a_product_of_several_granules_is_an_item_each() -> None:
    root = "S2A_OPER_PRD_MSIL1C_PDMC_20160605T114526_R108_V20160605T101026.SAFE"
    names = [f"{root}/GRANULE/S2A_L1C_T33{t}/IMG_DATA/S2A_L1C_T33{t}_B04.jp2" for t in ("UUU", "UVU")]
    result = found(f"{root}/manifest.safe", *names)
    assert [item.id for item in result.items] == ["S2A_L1C_T33UUU", "S2A_L1C_T33UVU"]
    assert result.others == ()


def test_band_files_out_of_a_safe_folder_are_an_item_by_tile_and_time() -> None:
    names = ("R10m/T33UUU_20170216T102101_B04_10m.jp2", "R20m/T33UUU_20170216T102101_SCL_20m.jp2",
             "R10m/T33UVU_20170216T102101_B04_10m.jp2")  # fmt: skip
    result = found(*names)
    assert [item.id for item in result.items] == ["T33UUU_20170216T102101", "T33UVU_20170216T102101"]
    assert result.items[0].files[1].mask == "scl"


# --- HLS, Planet


def test_l30_and_s30_name_one_band_alike() -> None:
    l30, s30 = "HLS.L30.T33UUU.2020158T100559.v2.0", "HLS.S30.T33UUU.2020158T100602.v2.0"
    result = found(f"{l30}.B05.tif", f"{l30}.Fmask.tif", f"{l30}.cmr.xml", f"{s30}.B8A.tif", f"{s30}.B05.tif")
    assert [item.id for item in result.items] == [l30, s30]
    assert str(result.items[0].time) == "2020-06-06 10:05:59"
    assert held(result.items[0])[f"{l30}.Fmask.tif"] == (Content.CLASSES, ("fmask",), False, "fmask")
    assert result.items[0].files[0].bands == result.items[1].files[0].bands == ("nir08",)
    assert result.items[1].files[1].bands == ("rededge071",)


def test_items_of_planet_are_matched_in_their_best_product() -> None:
    head = "20200630_164149_0e3a"
    item = one(
        f"a/{head}_3B_Visual_clip.tif", f"b/{head}_3B_AnalyticMS_SR_clip.tif", f"b/{head}_3B_udm2_clip.tif",
        f"a/{head}_3B_udm2_clip.tif", f"a/{head}_1B_AnalyticMS_DN.tif", f"a/{head}_metadata.json",
    )  # fmt: skip
    kinds = [(str(file.path), file.content, file.matched, file.mask) for file in item.files]
    assert kinds == [
        (f"a/{head}_3B_Visual_clip.tif", Content.IMAGE, False, ""),
        (f"b/{head}_3B_AnalyticMS_SR_clip.tif", Content.IMAGE, True, ""),
        (f"b/{head}_3B_udm2_clip.tif", Content.UDM2, False, "udm2"),
        (f"a/{head}_3B_udm2_clip.tif", Content.UDM2, False, ""),
        (f"a/{head}_1B_AnalyticMS_DN.tif", None, False, ""),
        (f"a/{head}_metadata.json", None, False, ""),
    ]


# --- files of no known product


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("20200101_B04.tif", "20200101_B08.TIF"), ["B04", "B08"]),
        (("20200101_SR_B4.tif", "20200101_SR_B5.tif"), ["B4", "B5"]),
        (("20200101_red.tif", "20200101_near-infrared.tif"), ["red", "near-infrared"]),
        (("20200101_B04_10m.tif", "20200101_B8A_20m.tif"), ["B04", "B8A"]),
        (("20200101/B04.tif", "20200101/B08.tif"), ["B04", "B08"]),
        (("x/20200101/red.tif", "x/20200101/nir.tif"), ["red", "nir"]),
    ],
)
def test_files_alike_but_for_the_band_are_one_item(names: tuple[str, ...], bands: list[str]) -> None:
    item = one(*names)
    assert item.id == "20200101"
    assert [file.bands for file in item.files] == [(band,) for band in bands]


def test_one_scene_of_two_bands_tells_of_those_of_one() -> None:
    result = found("a_B04.tif", "a_B08.tif", "b_B04.tif", "a_QA_PIXEL.tif", "a.xml", "other.tif", "readme.md")
    assert [item.id for item in result.items] == ["a", "b", "other"]
    assert [file.mask for file in result.items[0].files] == ["", "", "qa_pixel", ""]
    assert [str(path) for path in result.others] == ["readme.md"]
    assert [item.id for item in found("a_B04.tif", "b_B04.tif").items] == ["a_B04", "b_B04"]


def test_masks_lie_beside_their_scenes() -> None:
    result = found(
        "s2_20150909_ndvi.tif", "s2_20150909_clm.tif", "x.tif", "X_mask.TIF", "x_SCL.tif", "lone_mask.tif"
    )
    assert [item.id for item in result.items] == ["s2_20150909_ndvi", "x", "lone_mask"]
    assert [file.mask for file in result.items[0].files] == ["", "clm"]
    assert [file.mask for file in result.items[1].files] == ["", "mask", "scl"]


def test_a_pattern_groups_what_is_not_recognised() -> None:
    result = found("nir~a.tif", "swir~a.tif", "nir~b.tif", assets="{band}~{id}.tif")
    assert [(item.id, len(item.files)) for item in result.items] == [("a", 2), ("b", 1)]
    assert [item.id for item in found("b/B04/1.tif", "b/B08/1.tif", assets="{band}/{id}.tif").items] == ["1"]
    single = found("a_B04.tif", "a_B08.tif", assets="{id}.tif")
    assert [item.id for item in single.items] == ["a_B04", "a_B08"]
    assert "2 files look like the bands of 1 scene" in single.notes[0]
    for pattern in ("{band}.tif", "*.tif", "{id}_{id}.tif"):
        with pytest.raises(InvalidRequest, match="assets has to be a pattern"):
            found("a.tif", assets=pattern)


def test_archives_and_files_of_earlier_runs_are_left_where_they_are() -> None:
    head = "LC08_L2SP_190027_20200620_20200823_02_T1"
    result = found(f"{head}_SR_B4.TIF", f"{head}.tar", f"{SAFE}.zip", f"{head}_coreg_qa_metadata.json")
    assert [len(item.files) for item in result.items] == [1]
    assert result.others == ()
    assert result.notes == (
        f"2 archives are neither opened nor copied, as {head}.tar: unpack what is to be aligned.",
    )


def test_ids_that_repeat_tell_their_folders() -> None:
    assert [item.id for item in found("a/1.tif", "b/1.tif", "b/2.tif").items] == ["a_1", "b_1", "2"]


@given(st.lists(st.text("abB04_.-/tifTREDSCLm2", min_size=1, max_size=20), max_size=8, unique=True))
def test_every_file_is_of_one_item_or_of_none(names: list[str]) -> None:
    paths = [path for name in names if (path := PurePosixPath(name.strip("/") or "a")).name]
    paths = [path for path in dict.fromkeys(paths) if ".." not in path.parts]
    try:
        result = find_items(paths)
    except (InvalidRequest, UnsafePath):
        return
    told = [file.path for item in result.items for file in item.files] + list(result.others)
    assert sorted(told) == sorted(paths)


# --- readers of other packages


def test_what_a_reader_of_another_package_says_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def plug(read: Any) -> None:
        point = EntryPoint("own", "nowhere:read", readers.GROUP)
        monkeypatch.setattr(EntryPoint, "load", lambda _: read)
        monkeypatch.setattr(readers, "entry_points", lambda group: [point] if group == readers.GROUP else [])

    path = PurePosixPath("a.tif")
    item = ProductItem(id="own", time=None, files=(image(path, "red"),))
    plug(lambda paths: [item])
    assert one("a.tif").id == "own"
    plug(lambda paths: [item, item])
    with pytest.raises(InvalidRequest, match="but that file is of another item"):
        one("a.tif")
    plug(lambda paths: [ProductItem(id="own", time=None, files=(ProductFile(path=path),))])
    with pytest.raises(InvalidRequest, match="with no raster"):
        one("a.tif")
    plug(lambda paths: 1 / 0)
    with pytest.raises(InvalidRequest, match=r"'own' failed \(ZeroDivisionError"):
        one("a.tif")
    plug(lambda paths: [ProductItem(id="../up", time=None, files=(image(path),))])
    with pytest.raises(UnsafePath):
        one("a.tif")


# --- masks in words


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("scl", [0, 1, 3, 8, 9, 10], [2, 4, 5, 6, 7, 11]),
        ("qa_pixel", [1, 2, 4, 8, 16, 21824 + 8], [21824, 32, 64]),
        ("bqa", [1, 16, 2720 + 256, 3 << 7, 3 << 11], [2720, 1 << 7]),
        ("pixel_qa", [1, 8, 32, 3 << 8], [322, 1 << 8]),
        ("fmask", [2, 4, 8, 255], [0, 16, 32, 64]),
        ("clm", [1, 255], [0]),
        ("udm", [1, 2, 128], [0]),
    ],
)
def test_values_of_masks_mean_what_their_products_say(name: str, bad: list[int], good: list[int]) -> None:
    import numpy as np

    (rule,) = MASKS[name].bands
    assert not rule.usable(np.array(bad)).any()
    assert rule.usable(np.array(good)).all()
    assert not rule.usable(np.array([rule.outside("uint16")])).any()


def test_masks_are_asked_for_in_words() -> None:
    assert asked_masks(None) == asked_masks(True) == ()
    assert asked_masks(False) is None
    scl, water, beside = asked_masks(["scl:3, 8,9,10", "C:/maps/water.tif", "{id}_cloud.tif:1,bit3"]) or ()
    assert scl.known is not None
    assert scl.rule.values == (3, 8, 9, 10)
    assert (water.where, water.known, water.rule.only) == ("C:/maps/water.tif", None, (0,))
    assert (beside.where, beside.rule.values, beside.rule.bits) == ("{id}_cloud.tif", (1,), ((8, 8),))
    for wrong in ("", "scl", "cloudy:3", 3, ["scl:3", 4]):
        with pytest.raises(InvalidRequest, match="mask "):
            asked_masks(wrong)


# --- where files lie


def test_the_output_keeps_folders_that_are_named(tmp_path: Any) -> None:
    for name in ("a/1.tif", "a/deep/2.tif", "b.SAFE/3.jp2", "c/1.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()

    def folders(*paths: Any) -> dict[str, str]:
        return {str(key): place.folder for key, place in find_inputs(paths).files.items()}

    assert folders(tmp_path / "a") == {"1.tif": "", "deep/2.tif": "deep"}
    assert folders(tmp_path / "b.SAFE") == {"b.SAFE/3.jp2": "b.SAFE"}
    assert folders(tmp_path / "a" / "1.tif", tmp_path / "a" / "deep" / "2.tif") == {
        "1.tif": "",
        "deep/2.tif": "",
    }
    assert folders(tmp_path / "a" / "1.tif", tmp_path / "c" / "1.tif") == {"a/1.tif": "a", "c/1.tif": "c"}
    assert set(folders(tmp_path / "a", tmp_path / "c").values()) == {"a", "a/deep", "c"}
    with pytest.raises(InvalidRequest, match="folders of different names"):
        find_inputs([tmp_path / "a", tmp_path / "a"])
