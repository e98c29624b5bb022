"""A scene on the other side of the world, or one that fits in no other way, costs the others nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from affine import Affine

import coregstack
from coregstack.cli import main
from coregstack.errors import InvalidStack
from coregstack.show.inspection import inspect_folder
from coregstack.stack.comparing import comparable, groups_of
from coregstack.stack.finding import find_scenes
from coregstack.testing import sample_stack

GERMANY = "EPSG:32633", (500000, 5800000), 3
FAR = {
    "New Zealand's own grid": (GERMANY, ("EPSG:2193", (1600000, 5400000), 3)),
    "zone 60 in the south": (GERMANY, ("EPSG:32760", (400000, 5400000), 3)),
    "one CRS for the world": (("EPSG:4326", (13, 52), 3e-5), ("EPSG:4326", (174, -41), 3e-5)),
    "coarse pixels": (("EPSG:4326", (13, 52), 3e-4), ("EPSG:4326", (174, -41), 3e-4)),
    "where the projection of the others ends": (
        ("EPSG:3035", (4321000, 3210000), 3),
        ("EPSG:4326", (-170, -52), 3e-5),
    ),
}
NAMES = ["20220101_a", "20220201_b", "20220301_c", "20220401_d"]
Place = tuple[str, tuple[float, float], float]


@pytest.fixture(scope="module")
def pictures() -> xr.DataArray:
    return sample_stack(5, (200, 200), seed=4, max_shift=2, cloud_cover=0).drop_vars("clear")


def put(picture: xr.DataArray, path: Path, place: Place) -> Path:
    crs, (left, top), size = place
    values = picture.values
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[1], width=values.shape[2], count=len(values),
        dtype=values.dtype, nodata=0, crs=crs, transform=Affine(size, 0, left, 0, -size, top),
    ) as file:  # fmt: skip
        file.write(values)
    return path


def germans(pictures: xr.DataArray, folder: Path, place: Place = GERMANY) -> list[Path]:
    return [
        put(picture, folder / f"{name}.tif", place) for picture, name in zip(pictures, NAMES, strict=False)
    ]


@pytest.fixture(scope="module", params=FAR.values(), ids=FAR)
def five(
    request: pytest.FixtureRequest, pictures: xr.DataArray, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Four scenes of one place and, named first and taken first, one of the other side of the world."""
    folder = tmp_path_factory.mktemp("five")
    home, away = request.param
    pictures = pictures[:, :2]
    return [put(pictures[4], folder / "20210101_far.tif", away), *germans(pictures, folder, home)]


@pytest.mark.parametrize("method", ["direct", "network"])
def test_the_others_are_aligned_as_if_it_were_not_there(
    five: list[Path], method: str, tmp_path: Path
) -> None:
    result = coregstack.run_scenes(five, anchor="auto", output=tmp_path / "out", method=method)
    alone = coregstack.run_scenes(five[1:], anchor="auto", output=tmp_path / "alone", method=method)
    assert result.anchor == alone.anchor
    far, *others = result.reports
    assert [report.quality.status for report in others] == [report.quality.status for report in alone.reports]
    assert sorted(str(report.quality.status) for report in others) == ["anchor", *["coregistered"] * 3]
    for one, other in zip(others, alone.reports, strict=True):
        assert one.quality.shift == other.quality.shift
        assert one.quality.details == other.quality.details
    assert str(far.quality.status) == "failed"
    assert far.quality.details
    assert (tmp_path / "out" / five[0].name).read_bytes() == five[0].read_bytes()
    sidecar = json.loads((tmp_path / "out" / "20210101_far_coreg_qa_metadata.json").read_text())
    assert sidecar["status"] == "failed"
    assert sidecar["details"] == far.quality.details
    (note,) = [note for note in result.notes if "Left out" in note]
    assert "20210101_far" in note
    assert "overlaps none of the scenes" in note
    assert result.notes[0] == alone.notes[0]
    assert result.problems == ()


@pytest.mark.parametrize("five", [FAR["where the projection of the others ends"]], indirect=True)
def test_the_command_line_names_it_and_delivers(
    five: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(path) for path in five]
    assert main(["anchors", *paths, "--json"]) == 0
    printed = capsys.readouterr()
    assert sorted(row["item"] for row in json.loads(printed.out)) == NAMES
    assert "20210101_far" in printed.err
    assert main(["align", *paths, "--anchor", "auto", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "Left out of the choice of the anchor: 20210101_far" in printed.out + printed.err
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_inspection_holds_the_others_against_one_of_them(five: list[Path]) -> None:
    table = inspect_folder(five[0].parent)
    assert table.attrs["anchor"] in NAMES
    assert {item for item, reason in table.refused.items() if reason} == {"20210101_far"}


def test_a_stack_that_would_span_the_world_is_refused_by_its_name(
    pictures: xr.DataArray, tmp_path: Path
) -> None:
    for key in ("one CRS for the world", "where the projection of the others ends"):
        home, away = FAR[key]
        paths = [put(pictures[4], tmp_path / "20210101_far.tif", away), *germans(pictures, tmp_path, home)]
        for anchor in ("auto", NAMES[0]):
            with pytest.raises(InvalidStack, match="20210101_far"):
                coregstack.open_scenes(paths, anchor=anchor)


def test_in_a_stack_that_can_span_the_world_it_is_ranked_last(pictures: xr.DataArray, tmp_path: Path) -> None:
    home, away = FAR["coarse pixels"]
    paths = [put(pictures[4], tmp_path / "20210101_far.tif", away), *germans(pictures, tmp_path, home)]
    stack = coregstack.open_scenes(paths, anchor=NAMES[0])
    ranking = coregstack.rank_anchors(stack)
    alone = coregstack.rank_anchors(coregstack.open_scenes(paths[1:], anchor=NAMES[0]))
    assert ranking.index.tolist() == [*alone.index, "20210101_far"]
    assert ranking.area.to_dict() == {**alone.area.to_dict(), "20210101_far": 0}
    for method in ("direct", "network"):
        quality = coregstack.estimate(stack, "auto", method=method).compute()
        assert quality.attrs["anchor"] == alone.index[0]
        assert quality.status.values.tolist().count("coregistered") == 3
        assert quality.status.values[0] == "failed"


def test_of_two_apart_the_earlier_is_the_anchor(pictures: xr.DataArray, tmp_path: Path) -> None:
    home, away = FAR["zone 60 in the south"]
    paths = [
        put(pictures[0], tmp_path / "20220601_here.tif", home),
        put(pictures[1], tmp_path / "20220501_there.tif", away),
    ]
    for order in (paths, paths[::-1]):
        result = coregstack.run_scenes(order, anchor="auto", output=tmp_path / order[0].stem)
        assert result.anchor == "20220501_there"
        assert result.to_dataframe().status.to_dict() == {
            "20220601_here": "failed",
            "20220501_there": "anchor",
        }
        assert (tmp_path / order[0].stem / "20220601_here.tif").read_bytes() == paths[0].read_bytes()


def test_where_times_do_not_tell_it_is_the_first(pictures: xr.DataArray, tmp_path: Path) -> None:
    home, away = FAR["zone 60 in the south"]
    paths = [put(pictures[0], tmp_path / "here.tif", home), put(pictures[1], tmp_path / "there.tif", away)]
    assert [groups_of(find_scenes(order).scenes)[0][0][0].id for order in (paths, paths[::-1])] == [
        "here",
        "there",
    ]
    # a time that is known goes before one that is not
    scenes = find_scenes(paths, times=[None, "2022-01-01"]).scenes
    assert groups_of(scenes)[0][0][0].id == "there"


def test_all_apart_are_delivered_as_they_are(pictures: xr.DataArray, tmp_path: Path) -> None:
    paths = [
        put(pictures[k], tmp_path / f"2022010{k + 1}.tif", ("EPSG:4326", (lon, 10 * k), 3e-5))
        for k, lon in enumerate((-120, 0, 120))
    ]
    result = coregstack.run_scenes(paths, anchor="auto", output=tmp_path / "out")
    assert result.to_dataframe().status.tolist() == ["anchor", "failed", "failed"]
    assert len(result.notes) == 3
    for path in paths[1:]:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_scenes_on_both_sides_of_the_antimeridian_are_one_stack(
    pictures: xr.DataArray, tmp_path: Path
) -> None:
    fiji = ("EPSG:32701", (177900, 8000000), 3)
    paths = [*germans(pictures[:3], tmp_path, fiji), put(pictures[4], tmp_path / "far.tif", GERMANY)]
    result = coregstack.run_scenes(paths, anchor="auto", output=tmp_path / "out")
    assert result.anchor in NAMES
    assert result.to_dataframe().status.tolist().count("coregistered") == 2


ACROSS = {
    # three metres a pixel, some hundred metres to either side of the antimeridian near the equator
    "zone 1": ("EPSG:32601", 3),
    "zone 60": ("EPSG:32660", 3),
    "degrees": ("EPSG:4326", 2.695e-5),
}


@pytest.mark.parametrize(
    ("anchor", "item"), [("zone 1", "zone 60"), ("zone 60", "zone 1"), ("degrees", "zone 1")]
)
def test_across_the_antimeridian_another_crs_keeps_its_place_and_size(
    pictures: xr.DataArray, tmp_path: Path, anchor: str, item: str
) -> None:
    paths = []
    for k, (name, place) in enumerate([("20220101_a", anchor), ("20220201_b", anchor), ("20220301_c", item)]):
        crs, size = ACROSS[place]
        corner = rasterio.warp.transform("EPSG:4326", crs, [180 - 3e-3], [0.11])
        left = 180 - 3e-3 if place == "degrees" else corner[0][0]
        top = corner[1][0]
        paths.append(put(pictures[k % 2], tmp_path / f"{name}.tif", (crs, (left, top), size)))
    result = coregstack.run_scenes(paths, anchor="auto", output=tmp_path / "auto")
    assert "failed" not in result.to_dataframe().status.tolist()
    result = coregstack.run_scenes(paths, anchor="20220101_a", output=tmp_path / "out")
    (image, *_) = result.reports[2].files
    with rasterio.open(tmp_path / "out" / image.path) as file:
        assert str(file.crs) == ACROSS[anchor][0]
        assert np.abs(np.subtract(file.shape, 200)).max() < 8
        assert (file.read(1) != 0).mean() > 0.95


def spoil(path: Path, how: str, picture: xr.DataArray) -> None:
    """A scene that is no use as an anchor for the others, in its own way."""
    put(picture, path, GERMANY)
    if how == "rotated":
        with rasterio.open(path, "r+") as file:
            file.transform = file.transform * Affine.rotation(10)
    elif how == "no CRS":
        put(picture, path, (None, *GERMANY[1:]))  # type: ignore[arg-type]
    elif how == "other bands":
        put(picture[:3], path, GERMANY)
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("thermal", "height", "slope")
    elif how == "pixels of a nanometre":
        put(picture, path, ("EPSG:32633", (500100, 5799900), 1e-9))
    elif how == "pixels of a thousand kilometres":
        put(picture, path, ("EPSG:32633", (-1e8, 1e8), 1e6))
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.write_bytes(b"no raster")


@pytest.mark.parametrize(
    "how",
    [
        "rotated", "no CRS", "other bands", "pixels of a nanometre", "pixels of a thousand kilometres", "cut off",
        "no raster",
    ],
)  # fmt: skip
@pytest.mark.parametrize("last", [False, True])
def test_what_does_not_fit_in_another_way_is_named_too(
    pictures: xr.DataArray, tmp_path: Path, how: str, last: bool
) -> None:
    paths = germans(pictures[:3], tmp_path)
    for path in paths:
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("blue", "green", "red", "nir")
    bad = tmp_path / "20210101_bad.tif"
    spoil(bad, how, pictures[4])
    result = coregstack.run_scenes(
        [*paths, bad] if last else [bad, *paths], anchor="auto", output=tmp_path / "out"
    )
    table = result.to_dataframe()
    assert result.anchor in NAMES
    assert table.status[NAMES[:3]].value_counts().to_dict() == {"anchor": 1, "coregistered": 2}
    if how == "other bands":
        # bands without a common name are paired by evidence
        assert table.status["20210101_bad"] in ("coregistered", "failed")
    elif how != "rotated":
        assert table.status["20210101_bad"] == "failed"
        assert table.details["20210101_bad"]
    if how in ("rotated", "pixels of a thousand kilometres"):
        assert any("20210101_bad" in note for note in result.notes)


def test_a_group_that_cannot_be_read_leaves_the_choice_to_the_next(
    pictures: xr.DataArray, tmp_path: Path
) -> None:
    home, away = FAR["zone 60 in the south"]
    broken = [put(pictures[k], tmp_path / f"2021010{k + 1}.tif", away) for k in range(3)]
    for path in broken:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole = germans(pictures[:2], tmp_path, home)
    result = coregstack.run_scenes([*broken, *whole], anchor="auto", output=tmp_path / "out")
    assert result.anchor in NAMES
    assert sorted(map(str, result.to_dataframe().status)) == ["anchor", "coregistered", *["failed"] * 3]


def test_without_any_that_could_be_the_anchor_the_request_is_refused(
    pictures: xr.DataArray, tmp_path: Path
) -> None:
    for name in ("a.tif", "b.tif"):
        spoil(tmp_path / name, "rotated", pictures[0])
    with pytest.raises(InvalidStack, match="rotated"):
        coregstack.run_scenes(
            [tmp_path / "a.tif", tmp_path / "b.tif"], anchor="auto", output=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_the_lattice_for_choosing_is_one_that_suits_most(pictures: xr.DataArray, tmp_path: Path) -> None:
    fine = put(pictures[4], tmp_path / "fine.tif", ("EPSG:32633", (500100, 5799900), 1e-9))
    scenes = find_scenes([fine, *germans(pictures, tmp_path)]).scenes
    (group,), refused = groups_of(scenes)
    assert refused == {}
    placed, left_out = comparable(group)
    sizes = [abs(item.lattice.resolution.x) for item in placed]
    np.testing.assert_allclose(sizes, 3)
    assert {item.scene.id for item in placed} >= set(NAMES)
    assert set(left_out) <= {"fine"}
