"""Names of items and assets are read whole, and the suffix lands where the contract puts it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import InvalidRequest
from coregstack.products.planet.bundles import asset_type, band_names, is_orthorectified
from coregstack.products.planet.names import item_key, item_time, item_type_of, output_name, parse_name

SCENE = "20240812_104320_10_247a"
ITEM_IDS = {
    "20200630_164149_0e3a": ("PSScene", "2020-06-30T16:41:49"),
    SCENE: ("PSScene", "2024-08-12T10:43:20.100"),
    "20200111_145816_1_0f1a": ("PSScene", "2020-01-11T14:58:16.010"),
    "20230930_170227_ssc12_u0001": ("SkySatCollect", "2023-09-30T17:02:27"),
    "20201122_183822_ss01_u0001": ("SkySatCollect", "2020-11-22T18:38:22"),
    "20190909_184952_ssc2d2_0019": ("SkySatScene", "2019-09-09T18:49:52"),
    "20170614_113217_3163208_RapidEye-5": ("REOrthoTile", "2017-06-14T11:32:17"),
    "3357121_2018-09-11_RE3": ("REOrthoTile", "2018-09-11"),
    "2018-09-11T094536_RE3": ("REScene", "2018-09-11T09:45:36"),
    "4500474_2133707_2021-05-20_2419": ("PSOrthoTile", "2021-05-20"),
}
# name: item id, product, kind, suffixes
ASSETS = {
    "20200922_183722_17_106a_3B_AnalyticMS.tif": ("20200922_183722_17_106a", "AnalyticMS", "image", ()),
    f"{SCENE}_3B_AnalyticMS_SR_8b_clip.tif": (SCENE, "AnalyticMS_SR_8b", "image", ("clip",)),
    f"{SCENE}_3B_udm2_clip_file_format.tif": (SCENE, "", "udm2", ("clip", "file_format")),
    f"{SCENE}_3B_AnalyticMS_metadata_clip.xml": (SCENE, "AnalyticMS", "metadata", ("clip",)),
    f"{SCENE}_3B_AnalyticMS_8b_metadata.xml": (SCENE, "AnalyticMS_8b", "metadata", ()),
    f"{SCENE}_metadata.json": (SCENE, "", "item_metadata", ()),
    f"{SCENE}.json": (SCENE, "", "item_metadata", ()),
    f"{SCENE}_coreg_qa_metadata.json": (SCENE, "", "quality", ()),
    f"{SCENE}_1B_AnalyticMS_RPC.TXT": (SCENE, "AnalyticMS", "rpc", ()),
    f"{SCENE}_3b_Visual.TIF": (SCENE, "Visual", "image", ()),
    f"{SCENE}_3B_AnalyticMS.tif.aux.xml": (SCENE, "AnalyticMS", "other", ()),
    "20200630_164149_0E3A_3B_AnalyticMS_DN_udm.tif": ("20200630_164149_0E3A", "AnalyticMS_DN", "udm", ()),
    "20230930_170227_ssc12_u0001_analytic_SR.tif": (
        "20230930_170227_ssc12_u0001",
        "analytic_SR",
        "image",
        (),
    ),
    "20230930_170227_ssc12_u0001_pansharpened_udm2.tif": (
        "20230930_170227_ssc12_u0001",
        "pansharpened",
        "udm2",
        (),
    ),
    "20190909_184952_ssc2d2_0019_analytic_udm.tif": ("20190909_184952_ssc2d2_0019", "analytic", "udm", ()),
    "20190909_184952_ssc2d2_0019_RPC.TXT": ("20190909_184952_ssc2d2_0019", "", "rpc", ()),
    "3357121_2018-09-11_RE3_3A_Analytic_SR.tif": ("3357121_2018-09-11_RE3", "Analytic_SR", "image", ()),
    "3357121_2018-09-11_RE3_3A_udm.tif": ("3357121_2018-09-11_RE3", "", "udm", ()),
    "20180911_094536_3357121_RapidEye-3_metadata.json": (
        "20180911_094536_3357121_RapidEye-3",
        "",
        "item_metadata",
        (),
    ),
    "4500474_2133707_2021-05-20_2419_BGRN_Analytic.tif": (
        "4500474_2133707_2021-05-20_2419",
        "BGRN_Analytic",
        "image",
        (),
    ),
    "4500474_2133707_2021-05-20_2419_udm2.tif": ("4500474_2133707_2021-05-20_2419", "", "udm2", ()),
    "naip_20160816.tif": (None, "naip_20160816", "image", ()),
    "naip_20160816_coreg_qa_metadata.json": (None, "naip_20160816_coreg_qa_metadata", "quality", ()),
    "boat_anchor_clip.tif": (None, "boat_anchor_clip", "image", ()),
    "README": (None, "README", "other", ()),
}
OUTPUT_NAMES = {
    f"{SCENE}_3B_AnalyticMS_SR_8b_clip.tif": f"{SCENE}_3B_AnalyticMS_SR_8b_coreg_clip.tif",
    f"{SCENE}_3B_udm2_clip.tif": f"{SCENE}_3B_udm2_coreg_clip.tif",
    f"{SCENE}_3B_AnalyticMS_SR_harmonized_clip_file_format.tif": (
        f"{SCENE}_3B_AnalyticMS_SR_harmonized_coreg_clip_file_format.tif"
    ),
    f"{SCENE}_3B_AnalyticMS_toar.tif": f"{SCENE}_3B_AnalyticMS_toar_coreg.tif",
    f"{SCENE}_3B_AnalyticMS_clip_reproject_bandmath.tif": (
        f"{SCENE}_3B_AnalyticMS_coreg_clip_reproject_bandmath.tif"
    ),
    f"{SCENE}_3B_Visual_cog.tif": f"{SCENE}_3B_Visual_coreg_cog.tif",
    f"{SCENE}_3b_Visual.tif": f"{SCENE}_3b_Visual_coreg.tif",
    f"{SCENE}_3B_AnalyticMS_anchor_clip.tif": f"{SCENE}_3B_AnalyticMS_coreg_clip.tif",
    "20201122_183822_ss01_u0001_analytic_udm2.tif": "20201122_183822_ss01_u0001_analytic_udm2_coreg.tif",
    "3357121_2018-09-11_RE3_3A_Analytic.tif": "3357121_2018-09-11_RE3_3A_Analytic_coreg.tif",
    "naip_20160816.tif": "naip_20160816_coreg.tif",
    "field_clip.tif": "field_clip_coreg.tif",
    "boat_anchor.tif": "boat_anchor_coreg.tif",
    "scene.v2.tar.gz": "scene.v2_coreg.tar.gz",
    "scene": "scene_coreg",
}

item_ids = st.sampled_from(
    [
        r"20\d{6}_[0-5]\d{5}_\d\d_[0-9a-f]{4}",
        r"20\d{6}_\d{6}_ssc\d\d?_u\d{4}",
        r"\d{7}_2018-09-1\d_RE[1-5]_3A",
    ]
).flatmap(lambda pattern: st.from_regex(f"^{pattern}$".replace(r"\d", "[0-9]"), fullmatch=True))
products = st.sampled_from(["AnalyticMS_SR_8b", "Visual", "udm2", "analytic_udm", "pansharpened", "Foo_x"])
before = st.lists(st.sampled_from(["harmonized", "toar"]), unique=True)
after = st.lists(st.sampled_from(["clip", "reproject", "bandmath", "file_format", "cog"]), unique=True)
earlier = st.sampled_from([[], ["coreg"], ["anchor"]])
suffixes = st.sampled_from(["_coreg", "_anchor", ""])


@pytest.mark.parametrize(("item_id", "expected"), ITEM_IDS.items())
def test_item_ids_tell_type_and_time(item_id: str, expected: tuple[str, str]) -> None:
    assert item_type_of(item_id) == expected[0]
    assert item_time(item_id) == datetime.fromisoformat(expected[1])


def test_other_ids_tell_nothing() -> None:
    assert item_type_of("naip_20160816") is None
    assert item_time("naip_20160816") is None
    assert item_time("20201399_164149_0e3a") is None


@pytest.mark.parametrize(("name", "expected"), ASSETS.items())
def test_assets_are_read(name: str, expected: tuple[str | None, str, str, tuple[str, ...]]) -> None:
    asset = parse_name(name)
    assert (asset.item_id, asset.product, str(asset.kind), asset.suffixes) == expected
    assert asset.name.endswith(asset.extension)


@pytest.mark.parametrize(("name", "expected"), OUTPUT_NAMES.items())
def test_suffix_lands_after_the_product(name: str, expected: str) -> None:
    assert output_name(name, "_coreg") == expected
    assert output_name(name, "_anchor") == expected.replace("_coreg", "_anchor")


def test_untouched_files_lose_a_suffix_that_is_no_longer_true() -> None:
    assert output_name(f"{SCENE}_3B_Visual_coreg_clip.tif", "") == f"{SCENE}_3B_Visual_clip.tif"
    assert output_name("scene_coreg.tif", "") == "scene_coreg.tif"


@pytest.mark.parametrize("suffix", ["coreg", "_clip", "/x"])
def test_other_suffixes_are_refused(suffix: str) -> None:
    with pytest.raises(InvalidRequest, match="_coreg"):
        output_name("a.tif", suffix)


@given(item_ids, products, before, earlier, after, suffixes)
def test_output_names_keep_item_product_and_order(
    item_id: str, product: str, first: list[str], old: list[str], last: list[str], suffix: str
) -> None:
    name = "_".join([item_id, product, *first, *old, *last]) + ".tif"
    source, result = parse_name(name), parse_name(output_name(name, suffix))
    assert (source.item_id, source.product, source.kind) == (result.item_id, result.product, result.kind)
    assert source.suffixes == (*first, *old, *last)
    assert result.suffixes == (*first, *([suffix[1:]] if suffix else []), *last)
    assert output_name(result.name, suffix) == result.name


@given(st.text(), suffixes)
def test_any_name_is_read_and_named(name: str, suffix: str) -> None:
    asset = parse_name(name)
    assert asset.name == name
    assert asset.item_id is not None or len(output_name(name, suffix)) == len(name) + len(suffix)


def test_rapideye_files_find_their_item() -> None:
    key = item_key("20180911_094536_3357121_RapidEye-3")
    for other in (
        "3357121_2018-09-11_RE3",
        "3357121_2018-09-11_RE3_3A",
        "20180911_094536_3357121_rapideye-3",
    ):
        assert item_key(other) == key
    assert item_key("3357121_2018-09-11_RE4") != key
    assert item_key("20200630_164149_0E3A") == item_key("20200630_164149_0e3a")


def test_basic_products_are_known() -> None:
    assert not parse_name(f"{SCENE}_1B_AnalyticMS.tif").orthorectified
    assert not parse_name("20190909_184952_ssc2d2_0019_basic_analytic.tif").orthorectified
    assert parse_name(f"{SCENE}_3B_AnalyticMS.tif").orthorectified
    assert not is_orthorectified("basic_analytic_nitf")
    assert not is_orthorectified("some_new_nitf")
    assert is_orthorectified("ortho_analytic_4b_sr")


@pytest.mark.parametrize(
    ("name", "count", "bands"),
    [
        (f"{SCENE}_3B_AnalyticMS.tif", 4, "blue green red nir"),
        (f"{SCENE}_3B_AnalyticMS_SR_8b.tif", 8, "coastal_blue blue green_i green yellow red rededge nir"),
        (f"{SCENE}_3B_Analytic.tif", 3, "red green blue"),
        (f"{SCENE}_3B_Visual.tif", 3, "red green blue"),
        ("3357121_2018-09-11_RE3_3A_Analytic.tif", 5, "blue green red rededge nir"),
        ("20190909_184952_ssc2d2_0019_pansharpened.tif", 4, "blue green red nir"),
        ("20190909_184952_ssc2d2_0019_panchromatic.tif", 1, "panchromatic"),
        (f"{SCENE}_3B_udm2.tif", 8, "clear snow shadow haze_light haze_heavy cloud confidence unusable"),
    ],
)
def test_products_tell_their_bands(name: str, count: int, bands: str) -> None:
    assert band_names(parse_name(name), count) == tuple(bands.split())


def test_bands_are_not_guessed() -> None:
    assert band_names(parse_name("naip_20160816.tif"), 4) is None
    assert band_names(parse_name(f"{SCENE}_3B_AnalyticMS.tif"), 6) is None
    assert band_names(parse_name(f"{SCENE}_3B_udm2.tif"), 1) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{SCENE}_3B_AnalyticMS_SR_8b_clip.tif", "ortho_analytic_8b_sr"),
        (f"{SCENE}_3B_AnalyticMS_8b_metadata.xml", "ortho_analytic_8b_xml"),
        (f"{SCENE}_3B_udm2.tif", "ortho_udm2"),
        ("20190909_184952_ssc2d2_0019_analytic_udm2.tif", "ortho_analytic_udm2"),
        ("20190909_184952_ssc2d2_0019_analytic_SR.tif", "ortho_analytic_sr"),
        ("3357121_2018-09-11_RE3_3A_udm.tif", "udm"),
        ("4500474_2133707_2021-05-20_2419_BGRN_Analytic_metadata.xml", "analytic_xml"),
        (f"{SCENE}_metadata.json", None),
        (f"{SCENE}_1B_AnalyticMS.tif", None),
        ("naip_20160816.tif", None),
    ],
)
def test_asset_types_have_their_published_names(name: str, expected: str | None) -> None:
    assert asset_type(parse_name(name)) == expected


def test_real_names_are_read(data_dir: Path) -> None:
    names = {path.name: parse_name(path.name) for path in (data_dir / "planet_harvey_thumbnails").iterdir()}
    scene = {name: asset for name, asset in names.items() if asset.item_id == "20170831_172754_101c"}
    kinds = {name.removeprefix("20170831_172754_101c"): str(asset.kind) for name, asset in scene.items()}
    assert kinds == {
        ".json": "item_metadata",
        "_3B_AnalyticMS.tif": "image",
        "_3B_AnalyticMS_DN_udm.tif": "udm",
        "_3B_AnalyticMS_metadata.xml": "metadata",
        "_3b_Visual.tif": "image",
    }
    assert {name for name in names if name not in scene} == {
        "SkySat_20170831T195552Z_RGB.tif",
        "SkySat_PortArthur_s02_20170831T195425Z.tif",
    }
