"""Scenes and anchors of unlike bands: paired by name, by request, or by what the pixels show; classes stay classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

import coregstack
from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.matching.bands import Bands, pair_bands
from coregstack.matching.options import MatchSettings
from coregstack.stack.conform import conform
from coregstack.testing import sample_stack

BGRN = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return (
        sample_stack(2, shape=(200, 220), seed=5, max_shift=2.5, cloud_cover=0).drop_vars("clear").compute()
    )


def write(path: Path, scene: xr.DataArray, names: tuple[str, ...] = ()) -> Path:
    """One date as a file, its bands under other names, or none."""
    values = scene.transpose("band", "y", "x").values
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, crs=str(scene.rio.crs), transform=scene.rio.transform(), nodata=0,
    ) as file:  # fmt: skip
        file.write(values)
        if names:
            file.descriptions = names
    return path


def error(found: Any, stack: xr.DataArray) -> float:
    """Distance of the shift of the second date from the truth, px."""
    one = found.isel(time=-1)
    away = [float(one[f"shift_{axis}"]) - float(stack[f"true_shift_{axis}"][1]) for axis in "yx"]
    return float(np.hypot(*away))


# --- files


def test_bands_are_opened_by_name_in_any_case_and_order(tmp_path: Path, stack: xr.DataArray) -> None:
    first = write(tmp_path / "a.tif", stack[0], BGRN)
    second = write(tmp_path / "b.tif", stack[0].isel(band=[3, 2, 1, 0]), ("B08", "Red", "GREEN", "b02"))
    opened = coregstack.open_scenes([first, second], anchor=0).compute()
    assert opened.band.values.tolist() == list(BGRN)
    np.testing.assert_array_equal(opened[0], opened[1])


def test_scenes_without_a_band_in_common_are_refused_with_what_to_pass(
    tmp_path: Path, stack: xr.DataArray
) -> None:
    first = write(tmp_path / "a.tif", stack[0, :2], ("swir16", "swir22"))
    second = write(tmp_path / "b.tif", stack[0, 2:], ("red", "nir"))
    with pytest.raises(InvalidStack, match=r"swir16, swir22.*red, nir.*bands=\[0\].*run_scenes"):
        coregstack.open_scenes([first, second], anchor=0)
    with pytest.raises(InvalidRequest, match="no band 'red' in all"):
        coregstack.open_scenes([first, second], anchor=0, bands=["red"])
    opened = coregstack.open_scenes([first, second], anchor=0, bands=[1]).compute()
    np.testing.assert_array_equal(opened[0, 0], stack[0, 1])
    np.testing.assert_array_equal(opened[1, 0], stack[0, 3])


# --- anchors from outside


def test_an_anchor_from_outside_may_have_its_bands_in_another_order(stack: xr.DataArray) -> None:
    anchor = (
        stack[0].drop_vars("time").isel(band=[3, 1, 0, 2]).assign_coords(band=["NIR", "B03", "Blue", "b04"])
    )
    found = coregstack.estimate(stack[1:], anchor, threshold=1.0).compute()
    assert error(found, stack) < 0.02
    assert found.status.values.tolist() == ["coregistered"]


def test_a_panchromatic_anchor_is_matched_with_the_best_of_the_bands(stack: xr.DataArray) -> None:
    pan = stack[0, :3].mean("band").astype("uint16").drop_vars("time")
    pan = pan.expand_dims(band=["pan"]).rio.write_crs(stack.rio.crs)
    found = coregstack.estimate(stack[1:], pan, threshold=1.0).compute()
    assert error(found, stack) < 0.05
    assert found.attrs["band"] == "pan,red"
    chosen = coregstack.estimate(stack[1:], pan, threshold=1.0, band=("pan", "green")).compute()
    assert error(chosen, stack) < 0.05
    assert chosen.attrs["band"] == "pan,green"


def test_a_dead_band_of_the_items_does_not_decide_for_a_panchromatic_anchor(stack: xr.DataArray) -> None:
    pan = stack[0, 1:2].drop_vars("time").assign_coords(band=["pan"])
    dead = stack[1:].copy()
    dead.loc[{"band": "nir"}] = 77
    found = coregstack.estimate(dead, pan, threshold=1.0).compute()
    assert error(found, stack) < 0.05


@pytest.mark.parametrize("turns", [-360, 360])
def test_an_anchor_may_count_longitudes_from_another_meridian(turns: int) -> None:
    stack = sample_stack(2, shape=(160, 180), seed=8, max_shift=2, cloud_cover=0).drop_vars("clear").compute()
    start = -70 if turns > 0 else 290
    labels = {"x": start + 1e-4 * np.arange(180), "y": 10 - 1e-4 * np.arange(160)}
    stack = stack.drop_vars("spatial_ref").assign_coords(labels).rio.write_crs(4326)
    anchor = stack[0].assign_coords(x=stack.x + turns)
    found = coregstack.estimate(stack[1:], anchor, threshold=1.0).compute()
    assert error(found, stack) < 0.03


def test_an_anchor_beside_the_stack_is_refused_with_both_bounds(stack: xr.DataArray) -> None:
    anchor = stack[0].assign_coords(x=stack.x + 50_000)
    with pytest.raises(InvalidStack, match=r"do not overlap.*bounds.*EPSG"):
        coregstack.estimate(stack[1:], anchor)


# --- what is asked for


@pytest.mark.parametrize(
    "band", [1.5, ("pan",), ("a", "b", "c"), {}, True, ("mean", "red"), (True, 0), object()]
)
def test_a_band_of_another_kind_is_refused(band: Any) -> None:
    with pytest.raises(InvalidRequest, match="band has to be"):
        MatchSettings(band=band)


@pytest.mark.parametrize("nearest", [None, 5.0, {"scl": 1}, [1.5], [None], True])
def test_bands_of_classes_of_another_kind_are_refused(nearest: Any) -> None:
    with pytest.raises(InvalidRequest, match="nearest has to be"):
        MatchSettings(nearest=nearest)


def test_the_pair_that_is_asked_for_is_the_one_that_is_matched() -> None:
    anchor, item = Bands.of(["pan", "mir"]), Bands.of(["blue", "B04"])
    pairs = pair_bands(MatchSettings(band=("mir", "red")), anchor, item)
    assert (pairs.anchor, pairs.item, pairs.options.bands) == ((1,), (1,), (0,))
    assert pair_bands(MatchSettings(band=(0, -1)), anchor, item).item == (1,)
    with pytest.raises(InvalidRequest, match="no band 'nir' in the item"):
        pair_bands(MatchSettings(band=("pan", "nir")), anchor, item)


def test_one_band_of_an_item_is_matched_with_each_of_the_anchor() -> None:
    pairs = pair_bands(MatchSettings(), Bands.of(["blue", "red", "nir"]), Bands.of(["thermal"]))
    assert (pairs.anchor, pairs.item) == ((1, 0, 2), (0, 0, 0))


def test_bands_in_common_are_matched_and_no_others() -> None:
    pairs = pair_bands(
        MatchSettings(), Bands.of(["pan", "B04", "B03"]), Bands.of(["green", "scl", "red", "x"])
    )
    assert (pairs.anchor, pairs.item) == ((1, 2), (2, 0))
    with pytest.raises(InvalidRequest, match="no band 'pan' that all have"):
        pair_bands(MatchSettings(band="pan"), Bands.of(["pan", "red"]), Bands.of(["red", "nir"]))


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_a_dead_band_is_not_the_one_that_is_scored(stack: xr.DataArray, side: int, method: Any) -> None:
    dead = stack.copy()
    dead[side, 2] = 77
    found = coregstack.estimate(dead, anchor=0, threshold=1.0, method=method).compute()
    assert error(found, stack) < 0.02
    assert found.status.values[1] == "coregistered"
    assert f"The band red of the {('anchor', 'item')[side]} is dead" in found.details.values[1]


@pytest.mark.parametrize("sides", [[0], [1], [0, 1]])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_a_band_of_noise_is_not_the_one_that_is_scored(
    stack: xr.DataArray, sides: list[int], method: Any
) -> None:
    noisy = stack.copy()
    shape = noisy[sides, 2].shape
    noisy[sides, 2] = np.random.default_rng(0).integers(900, 1100, shape).astype(noisy.dtype)
    found = coregstack.estimate(noisy, anchor=0, threshold=1.0, method=method).compute()
    assert error(found, stack) < 0.02
    assert found.status.values[1] == "coregistered"
    assert "holds noise" in found.details.values[1]
    assert "The band red of the " in found.details.values[1]


def test_where_no_band_that_is_matched_holds_an_image_others_are_to_be_named(stack: xr.DataArray) -> None:
    noise = np.random.default_rng(0).integers(900, 1100, stack.shape).astype(stack.dtype)
    found = coregstack.estimate(stack.copy(data=noise), anchor=0).compute()
    assert found.status.values[1] == "failed"
    assert "name another by band=" in found.details.values[1]


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_a_band_without_data_does_not_hide_the_others_of_its_file(
    stack: xr.DataArray, side: int, method: Any, tmp_path: Path
) -> None:
    dead = stack.copy()
    dead[side, 2] = 0
    paths = [write(tmp_path / f"{name}.tif", dead[k], BGRN) for k, name in enumerate("ab")]
    found = coregstack.estimate(
        coregstack.open_scenes(paths, anchor="a"), anchor="a", threshold=1.0
    ).compute()
    assert error(found, stack) < 0.02
    assert found.status.values[1] == "coregistered"
    assert f"The band red of the {('anchor', 'item')[side]} is dead" in found.details.values[1]


@pytest.mark.parametrize(("value", "dtype"), [(-9999, "float32"), (65535, "uint16"), (-32768, "int16")])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_a_value_that_fills_a_part_and_is_no_nodata_is_told(
    stack: xr.DataArray, value: float, dtype: str, method: Any
) -> None:
    filled = stack.astype(dtype).drop_attrs()
    filled[1, :, :, :40] = value
    told = coregstack.estimate(filled, anchor=0, method=method).compute().details.values[1]
    assert f"18% of the item's pixels hold {value:g}, far from all others" in told
    filled[0, :, :, :40] = value
    left_out = coregstack.estimate(filled, anchor=0, threshold=1.0, method=method).compute()
    assert f"18% of the pixels hold {value:g} in the anchor and the item alike" in left_out.details.values[1]
    assert error(left_out, stack) < 0.02
    declared = coregstack.estimate(filled.rio.write_nodata(value), anchor=0, threshold=1.0, method=method)
    assert "declare it as nodata" not in declared.compute().details.values[1]
    assert error(declared.compute(), stack) < 0.02


# --- many bands


def many(stack: xr.DataArray) -> xr.DataArray:
    """Twelve bands, each a mixture of the two that lie beside it."""
    parts = np.linspace(0, 3, 12)
    mixed = [stack[:, int(p)] * (1 - p % 1) + stack[:, min(int(p) + 1, 3)] * (p % 1) for p in parts.tolist()]
    names = [f"{round(450 + 150 * p)}nm" for p in parts]
    made = xr.concat([one.drop_vars("band", errors="ignore") for one in mixed], "band").transpose(
        "time", "band", "y", "x"
    )
    return made.round().astype(stack.dtype).assign_coords(band=names).assign_attrs(stack.attrs)


FIRST_FOUR = [6, 0, 5, 11]


def without_images(values: Any, how: str) -> Any:
    """What a sensor gives where it sees nothing."""
    noise = np.random.default_rng(3).integers(900, 1100, values.shape)
    return {"noise": noise, "dead": np.full_like(values, 77), "empty": np.zeros_like(values)}[how]


@pytest.mark.parametrize("how", ["dead", "noise", "empty"])
@pytest.mark.parametrize("sides", [[0], [1], [0, 1]])
def test_of_many_bands_others_stand_in_for_the_chosen_ones(
    stack: xr.DataArray, sides: list[int], how: str
) -> None:
    blind = many(stack)
    for side in sides:
        blind[side, FIRST_FOUR] = without_images(blind[side, FIRST_FOUR].values, how)
    found = coregstack.estimate(blind, anchor=0, threshold=1.0).compute()
    assert error(found, stack) < 0.02
    assert found.status.values[1] == "coregistered"
    assert "is scored" in found.details.values[1]


@pytest.mark.parametrize("chunks", [{"y": 90, "x": 70, "band": 5}, {"time": 1}])
def test_stand_ins_do_not_depend_on_chunks(stack: xr.DataArray, chunks: dict[str, int]) -> None:
    blind = many(stack)
    blind[:, FIRST_FOUR] = without_images(blind[:, FIRST_FOUR].values, "noise")
    whole = coregstack.estimate(blind, anchor=0, threshold=1.0).compute()
    xr.testing.assert_identical(
        coregstack.estimate(blind.chunk(chunks), anchor=0, threshold=1.0).compute(), whole
    )


@pytest.mark.parametrize("how", ["dead", "noise", "empty"])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_of_many_bands_in_files_others_stand_in_too(
    stack: xr.DataArray, method: Any, how: str, tmp_path: Path
) -> None:
    blind = many(stack)
    blind[:, FIRST_FOUR] = without_images(blind[:, FIRST_FOUR].values, how)
    names = tuple(map(str, blind.band.values))
    paths = [write(tmp_path / f"{name}.tif", blind[k], names) for k, name in enumerate("ab")]
    opened = coregstack.open_scenes(paths, anchor="a")
    found = coregstack.estimate(opened, anchor="a", threshold=1.0, method=method).compute()
    assert error(found, stack) < 0.02
    assert found.status.values[1] == "coregistered"


def test_few_bands_and_many_that_hold_images_are_matched_as_ever(stack: xr.DataArray) -> None:
    ten = pair_bands(MatchSettings(), *[Bands.of([f"{k}nm" for k in range(10)])] * 2)
    twelve = pair_bands(MatchSettings(), *[Bands.of([f"{k}nm" for k in range(12)])] * 2)
    assert ten.item == (5, 0, 4, 9)
    assert list(twelve.item[:4]) == FIRST_FOUR
    assert sorted(twelve.item) == list(range(12))
    whole = many(stack)
    spared = whole.copy()
    spared[:, [k for k in range(12) if k not in FIRST_FOUR]] = 77
    told = [coregstack.estimate(one, anchor=0, threshold=1.0).compute() for one in (whole, spared)]
    xr.testing.assert_identical(*told)


def test_stand_ins_take_no_more_memory_than_a_scene_may() -> None:
    pairs = pair_bands(MatchSettings(), *[Bands.of([f"{k}nm" for k in range(200)])] * 2)
    assert len(pairs.held(12).item) == 12
    assert pairs.held(11).item == pairs.item[:4]


# --- classes


def with_scl(stack: xr.DataArray) -> xr.DataArray:
    rng = np.random.default_rng(1)
    classes = stack[:, :1].copy(data=rng.choice([4, 5, 9], stack[:, :1].shape).astype("uint16"))
    return xr.concat([stack, classes.assign_coords(band=["scl"])], "band")


def test_classes_are_moved_but_not_mixed_and_not_matched(stack: xr.DataArray) -> None:
    both = with_scl(stack)
    aligned = coregstack.align(both, anchor=0, threshold=1.0).compute()
    assert aligned.status.values[1] == "coregistered"
    assert set(np.unique(aligned.sel(band="scl"))) == {0, 4, 5, 9}
    alone = coregstack.align(stack, anchor=0, threshold=1.0).compute()
    np.testing.assert_array_equal(aligned.sel(band=list(BGRN)), alone)
    np.testing.assert_array_equal(aligned.shift_y, alone.shift_y)


@pytest.mark.parametrize("told", [{"flag_values": [4, 5, 9]}, {"flags_definition": {"cloud": {"bits": 3}}}])
def test_attributes_of_a_datasets_variables_tell_classes(stack: xr.DataArray, told: dict[str, Any]) -> None:
    dataset = with_scl(stack).assign_coords(band=[*BGRN, "cover"]).to_dataset("band")
    for variable in dataset.values():
        variable.attrs.clear()
    dataset["cover"].attrs.update(told)
    aligned = coregstack.align(dataset, anchor=0, threshold=1.0).compute()
    assert set(np.unique(aligned.cover)) == {0, 4, 5, 9}
    assert len(np.unique(aligned.red)) > 100


@pytest.mark.parametrize("nearest", [["cover"], [4], [-1], "cover"])
def test_a_user_tells_which_bands_hold_classes(stack: xr.DataArray, nearest: Any) -> None:
    both = with_scl(stack).assign_coords(band=[*BGRN, "cover"])
    quality = coregstack.estimate(both, anchor=0, threshold=1.0, nearest=nearest)
    aligned = coregstack.apply(both, quality, nearest=nearest).compute()
    assert set(np.unique(aligned.sel(band="cover"))) == {0, 4, 5, 9}


def test_bands_of_classes_alone_are_refused(stack: xr.DataArray) -> None:
    with pytest.raises(InvalidRequest, match=r"never matched: scl \(its name\).*apply"):
        coregstack.estimate(with_scl(stack).sel(band=["scl"]), anchor=0)
    with pytest.raises(InvalidRequest, match="'scl' of the anchor holds classes"):
        coregstack.estimate(with_scl(stack), anchor=0, band="scl")
    with pytest.raises(InvalidRequest, match="nearest names the band 'x'"):
        coregstack.apply(stack, coregstack.estimate(stack, anchor=0), nearest=["x"])


def test_classes_of_files_stay_classes_in_a_stack(tmp_path: Path, stack: xr.DataArray) -> None:
    both = with_scl(stack)
    paths = [write(tmp_path / f"{k}.tif", both[k], (*BGRN, "SCL")) for k in range(2)]
    opened = coregstack.open_scenes(paths, anchor=0)
    assert conform(opened).held.nearest == (4,)
    aligned = coregstack.align(opened, anchor=0, threshold=1.0).compute()
    assert aligned.status.values[1] == "coregistered"
    assert set(np.unique(aligned.sel(band="SCL"))) == {0, 4, 5, 9}
    picked = coregstack.align(opened.sel(band=["SCL", "red"]), anchor=0, threshold=1.0).compute()
    np.testing.assert_array_equal(picked.sel(band="SCL"), aligned.sel(band="SCL"))


# --- what is given wrongly


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: coregstack.open_scenes(None, anchor=0), "paths has to be a list"),
        (lambda s: coregstack.open_scenes([s], anchor=0), "path"),
        (lambda s: coregstack.open_scenes(["a.tif"], anchor=0, ids=5), "ids has to be a list"),
        (lambda s: coregstack.open_scenes(["a.tif"], anchor=0, times=5), "times has to be a list"),
        (lambda s: coregstack.estimate(s, 0, ids="ab"), "ids has to be a list"),
        (lambda s: coregstack.estimate(s, 0, ids=7), "ids has to be a list"),
        (lambda s: coregstack.estimate(s, 0, mask=lambda a: a["nothing"]), "function given as mask failed"),
        (lambda s: coregstack.apply(s, None), "has to be the Dataset"),
        (lambda s: coregstack.apply(s, s), "has to be the Dataset"),
        (lambda s: coregstack.open_order(None, anchor=0), "folder has to be a path"),
        (lambda s: coregstack.run_scenes(["a.tif"], anchor=0, output=None), "output has to be a path"),
        (
            lambda s: coregstack.run_scenes(["a.tif"], anchor=0, output=""),
            "output has to be a path, but it is empty",
        ),
        (lambda s: coregstack.tie_points(5), "source has to be a path"),
        (lambda s: coregstack.inspect_folder(None), "folder has to be a path"),
    ],
)
def test_arguments_of_another_kind_get_an_error_of_this_package(
    call: Any, words: str, stack: xr.DataArray
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        call(stack)


def test_an_item_without_an_id_is_told(stack: xr.DataArray) -> None:
    holed = stack.assign_coords(id=("time", np.array(["a", None], object)))
    with pytest.raises(InvalidStack, match=r"1 of 2 items have no id, the first at position 1.*ids="):
        coregstack.estimate(holed, anchor=0)


def test_a_band_that_lies_apart_from_the_others_is_told_by_its_name() -> None:
    stack = sample_stack(2, (200, 200), seed=4, max_shift=1.0, cloud_cover=0)
    stack[1, 3] = np.roll(stack.values[1, 3], 1, axis=1)
    details = coregstack.estimate(stack, anchor=0).compute().details.values[1]
    assert "he shift of band nir differs by x -" in details
