"""Items are found in every layout, by manifest or name, and what is amiss is named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from coregstack.errors import MissingFile
from coregstack.orders.manifest import annotations_of, describe_file, write_manifest
from coregstack.orders.scan import DeliveredItem, Delivery, scan_delivery
from coregstack.products.planet.item_metadata import ItemMetadata, read_item_metadata
from coregstack.products.planet.names import parse_name

FIRST, SECOND = "20200922_183722_17_106a", "20200630_164149_0e3a"
RAPIDEYE = "20180911_094536_3357121_RapidEye-3"
IMAGES = ("_3B_AnalyticMS.tif", "_3B_AnalyticMS_SR.tif")
FILES = (*IMAGES, "_3B_udm2.tif", "_3B_AnalyticMS_metadata.xml", "_metadata.json")


def put(root: Path, *paths: str, content: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def feature(**properties: Any) -> str:
    return json.dumps({"type": "Feature", "geometry": None, "properties": properties})


def names(assets: Any) -> list[str]:
    return [asset.name.name for asset in assets]


def found(delivery: Delivery) -> dict[str, DeliveredItem]:
    return {item.item_id: item for item in delivery.items}


LAYOUTS = {
    "PSScene/{file}": "order",
    "files/PSScene/{item}/analytic_udm2/{file}": "item and bundle",
    "files/{file}": "files",
    "{item}/{file}": "item",
    "{file}": "flat",
}


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_items_are_found_in_every_layout(tmp_path: Path, layout: str, with_manifest: bool) -> None:
    paths = [layout.format(item=item, file=item + file) for item in (FIRST, SECOND) for file in FILES]
    put(tmp_path, *paths)
    if with_manifest:
        entries = [
            describe_file(tmp_path, path, annotations_of(parse_name(path.name), bundle="analytic_udm2"))
            for path in map(PurePosixPath, paths)
        ]
        write_manifest(tmp_path, entries)
    delivery = scan_delivery(tmp_path)
    assert delivery.problems == ()
    assert delivery.others == ()
    assert [item.item_id for item in delivery.items] == [SECOND, FIRST]
    for item in delivery.items:
        assert item.item_type == "PSScene"
        assert names(item.images) == [item.item_id + name for name in IMAGES]
        assert names(item.masks) == [item.item_id + "_3B_udm2.tif"]
        assert names(item.passthrough) == [
            item.item_id + "_3B_AnalyticMS_metadata.xml",
            item.item_id + "_metadata.json",
        ]
        for asset in (*item.images, *item.masks, *item.passthrough):
            assert asset.path == tmp_path.resolve() / asset.relative
            assert asset.path.is_absolute()
            assert bool(asset.annotations) == with_manifest
        assert names(item.masks_of(item.images[0])) == names(item.masks)


def test_a_manifest_knows_items_that_names_do_not(tmp_path: Path) -> None:
    put(tmp_path, "sub/image.tif", "sub/mask.tif", "sub/image.xml", "sub/strange.tif")
    annotations = {"planet/item_id": "new-item", "planet/item_type": "PelicanScene"}
    kinds = {"image.tif": "ortho_analytic", "mask.tif": "ortho_analytic_udm2", "image.xml": "ortho_xml"}
    entries = [
        describe_file(tmp_path / "sub", PurePosixPath(name), annotations | {"planet/asset_type": kind})
        for name, kind in kinds.items()
    ]
    write_manifest(tmp_path / "sub", entries)
    delivery = scan_delivery(tmp_path)
    (item,) = delivery.items
    assert (item.item_id, item.item_type, item.time) == ("new-item", "PelicanScene", None)
    assert (names(item.images), names(item.masks), names(item.passthrough)) == (
        ["image.tif"],
        ["mask.tif"],
        ["image.xml"],
    )
    assert names(delivery.others) == ["strange.tif"]
    assert [str(problem) for problem in delivery.problems] == [
        "sub/strange.tif: It belongs to no known item: it is passed through."
    ]


def test_several_manifests_and_what_they_miss(tmp_path: Path) -> None:
    for item, folder in ((FIRST, "a"), (SECOND, "b")):
        put(tmp_path / folder, f"PSScene/{item}_3B_Visual.tif")
        path = PurePosixPath(f"PSScene/{item}_3B_Visual.tif")
        here = describe_file(tmp_path / folder, path, {})
        write_manifest(tmp_path / folder, [here, replace(here, path=PurePosixPath("PSScene/gone.tif"))])
    put(
        tmp_path,
        "c/manifest.json",
        content='{"files": [{"path": "../../../etc/passwd"}, {"path": "/etc/passwd"}]}',
    )
    put(tmp_path, "d/manifest.json", content="junk")
    delivery = scan_delivery(tmp_path)
    assert list(found(delivery)) == [SECOND, FIRST]
    texts = [str(problem) for problem in delivery.problems]
    assert sum("gone.tif: " in text and "not there" in text for text in texts) == 2
    assert sum("passwd" in text for text in texts) == 2
    assert sum("has to be JSON" in text for text in texts) == 1
    assert len(texts) == 5
    assert delivery.others == ()


def test_ids_of_a_manifest_are_not_trusted(tmp_path: Path) -> None:
    path = PurePosixPath(f"{FIRST}_3B_Visual.tif")
    put(tmp_path, str(path))
    write_manifest(tmp_path, [describe_file(tmp_path, path, {"planet/item_id": "../../x"})])
    delivery = scan_delivery(tmp_path)
    assert list(found(delivery)) == [FIRST]
    assert "'../../x' holds a path separator" in str(delivery.problems[0])


def test_rapideye_tiles_get_their_id_from_wherever_it_is(tmp_path: Path) -> None:
    stem = "3357121_2018-09-11_RE3"
    files = [f"{stem}_3A_Analytic.tif", f"{stem}_3A_udm.tif", f"{stem}_3A_Analytic_metadata.xml"]
    put(tmp_path, *files)
    assert list(found(scan_delivery(tmp_path))) == [stem]
    assert list(found(scan_delivery(tmp_path, item_ids=["other", RAPIDEYE]))) == [RAPIDEYE]
    put(tmp_path, f"{RAPIDEYE}_metadata.json", content=feature(acquired="2018-09-11T09:45:36.5Z"))
    (item,) = scan_delivery(tmp_path).items
    assert (item.item_id, item.item_type) == (RAPIDEYE, "REOrthoTile")
    assert item.time == datetime(2018, 9, 11, 9, 45, 36, 500_000)
    assert (names(item.images), names(item.masks)) == (files[:1], files[1:2])
    (tmp_path / f"{RAPIDEYE}_metadata.json").unlink()
    image = PurePosixPath(files[0])
    write_manifest(tmp_path, [describe_file(tmp_path, image, {"planet/item_id": RAPIDEYE})])
    assert list(found(scan_delivery(tmp_path))) == [RAPIDEYE]


def test_skysat_masks_belong_to_the_image_of_their_stem(tmp_path: Path) -> None:
    item_id = "20201122_183822_ss01_u0001"
    products = ("analytic", "analytic_SR", "pansharpened", "panchromatic_dn", "visual")
    masks = ("analytic_udm", "analytic_udm2", "pansharpened_udm2", "panchromatic_udm")
    put(tmp_path, *(f"{item_id}_{name}.tif" for name in products + masks))
    (item,) = scan_delivery(tmp_path).items
    paired = {
        image.product: [f"{mask.product}_{mask.kind}" for mask in item.masks_of(image)]
        for image in item.images
    }
    assert paired == {
        "analytic": ["analytic_udm2", "analytic_udm"],
        "analytic_SR": ["analytic_udm2", "analytic_udm"],
        "pansharpened": ["pansharpened_udm2"],
        "panchromatic_dn": ["panchromatic_udm"],
        "visual": [],
    }


def test_each_bundle_may_bring_its_own_mask(tmp_path: Path) -> None:
    put(tmp_path, f"a/{FIRST}_3B_AnalyticMS.tif", f"a/{FIRST}_3B_udm2.tif", f"b/{FIRST}_3B_udm2.tif")
    put(tmp_path, f"b/{FIRST}_3B_AnalyticMS_8b.tif", f"{FIRST}_3B_Visual.tif")
    delivery = scan_delivery(tmp_path)
    (item,) = delivery.items
    assert len(item.masks) == 2
    assert [str(mask.relative.parent) for image in item.images for mask in item.masks_of(image)] == [
        "a",
        "a",
        "b",
    ]
    assert delivery.problems == ()


def test_old_masks_serve_all_products(data_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(data_dir / "planet_harvey_thumbnails", tmp_path / "order", copy_function=shutil.copyfile)
    delivery = scan_delivery(tmp_path / "order")
    (item,) = delivery.items
    assert (item.item_id, item.item_type) == ("20170831_172754_101c", "PSScene4Band")
    assert item.time == datetime(2017, 8, 31, 17, 27, 54, 960530)
    assert item.metadata.ground_control is True
    assert [image.product for image in item.images] == ["AnalyticMS", "Visual"]
    for image in item.images:
        assert names(item.masks_of(image)) == ["20170831_172754_101c_3B_AnalyticMS_DN_udm.tif"]
    assert len(item.passthrough) == 2
    assert len(delivery.others) == len(delivery.problems) == 2


def test_sidecars_archives_and_hidden_files_are_not_found(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}_3B_Visual.tif", f"{FIRST}_coreg_qa_metadata.json", "x_coreg_qa_metadata.json")
    put(tmp_path, "order.zip", ".DS_Store", ".hidden/a.tif", "__MACOSX/b.tif", "README.txt")
    delivery = scan_delivery(tmp_path)
    assert names(delivery.others) == ["README.txt"]
    assert delivery.items[0].passthrough == ()
    assert delivery.problems == ()


def test_basic_products_are_passed_through_and_named(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}_1B_AnalyticMS.tif", f"{FIRST}_1B_udm2.tif", f"{FIRST}_1B_AnalyticMS_RPC.TXT")
    delivery = scan_delivery(tmp_path)
    (item,) = delivery.items
    assert (item.images, item.masks, len(item.passthrough)) == ((), (), 3)
    texts = [str(problem) for problem in delivery.problems]
    assert f"{FIRST}: The item has no orthorectified image." in texts
    assert sum("It is not orthorectified" in text for text in texts) == 2


def test_files_that_would_get_one_name_are_told_apart(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}_3B_Visual.tif", f"{FIRST}_3B_Visual_coreg.tif", f"sub/{FIRST}_3B_Visual.tif")
    delivery = scan_delivery(tmp_path)
    assert [str(image.relative) for image in delivery.items[0].images] == [
        f"{FIRST}_3B_Visual.tif",
        f"sub/{FIRST}_3B_Visual.tif",
    ]
    first, second = map(str, delivery.problems)
    assert first.startswith(f"{FIRST}_3B_Visual_coreg.tif: It would be written under the same name as")
    assert "both are delivered" in second


def test_the_first_folder_wins(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        put(tmp_path / folder, f"{FIRST}_3B_Visual.tif", content=folder)
    put(tmp_path / "b", f"{SECOND}_3B_Visual.tif")
    delivery = scan_delivery(tmp_path / "a", tmp_path / "b")
    assert found(delivery)[FIRST].images[0].path.read_text() == "a"
    assert SECOND in found(delivery)
    assert "is left out" in delivery.problems[0].message


def test_links_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "order", tmp_path / "outside"
    put(outside, f"{SECOND}_3B_Visual.tif")
    put(root, f"real/{FIRST}_3B_AnalyticMS.tif")
    (root / "folder").symlink_to(outside)
    (root / f"{SECOND}_3B_AnalyticMS.tif").symlink_to(outside / f"{SECOND}_3B_Visual.tif")
    (root / "broken.tif").symlink_to(root / "nothing")
    (root / f"{FIRST}_3B_Visual.tif").symlink_to(root / "real" / f"{FIRST}_3B_AnalyticMS.tif")
    (root / "inside").symlink_to(root / "real")
    (root / "loop").symlink_to(root)
    delivery = scan_delivery(root)
    assert list(found(delivery)) == [FIRST]
    assert len(delivery.items[0].images) == 2
    assert {problem.path: problem.message.split(":")[0] for problem in delivery.problems} == {
        "folder": "A link leads out of the folder",
        f"{SECOND}_3B_AnalyticMS.tif": "A link leads out of the folder",
        "broken.tif": "It is not a regular file, or it is a broken link",
    }
    (tmp_path / "link").symlink_to(root)
    assert len(scan_delivery(tmp_path / "link").items) == 1


@pytest.mark.skipif(os.name != "posix", reason="only POSIX file systems hold such names")
def test_names_that_no_manifest_can_hold_are_named(tmp_path: Path) -> None:
    put(tmp_path, "line\nbreak.tif", "back\\slash.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    delivery = scan_delivery(tmp_path)
    assert delivery.others == ()
    assert len(delivery.problems) == 3
    assert all(str(problem).encode() for problem in delivery.problems)


def test_an_empty_folder_is_an_empty_order(tmp_path: Path) -> None:
    assert scan_delivery(tmp_path) == Delivery(items=(), others=(), problems=())
    with pytest.raises(MissingFile, match="has to be a folder"):
        scan_delivery(tmp_path / "none")


def test_item_metadata_tell_what_they_can(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(
        feature(
            acquired="2020-09-22T18:37:22.17Z",
            item_type="PSScene",
            cloud_cover=0.25,
            clear_percent=70,
            visible_percent=75,
            ground_control=True,
        )
    )
    assert read_item_metadata(path) == ItemMetadata(
        acquired=datetime(2020, 9, 22, 18, 37, 22, 170_000),
        item_type="PSScene",
        cloud_cover=0.25,
        clear_percent=70.0,
        visible_percent=75.0,
        ground_control=True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"properties": []}',
        feature(acquired="soon", item_type="", cloud_cover="a", clear_percent=True, ground_control=1),
        feature(acquired=5, item_type=None, cloud_cover=-1, clear_percent=101, visible_percent=10**400),
        '{"properties": {"cloud_cover": NaN}}',
    ],
)
def test_junk_tells_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metadata.json"
    assert read_item_metadata(path) == ItemMetadata()
    path.write_text(text)
    assert read_item_metadata(path) == ItemMetadata()


def test_times_fall_back_to_the_id(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}_3B_Visual.tif", f"{FIRST}_metadata.json", content="junk")
    assert scan_delivery(tmp_path).items[0].time == datetime(2020, 9, 22, 18, 37, 22, 170_000)
