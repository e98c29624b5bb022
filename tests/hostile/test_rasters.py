"""Every bad raster comes to its promised end, as an item and as the anchor, and harms nothing beside it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from digests import tree
from recipes import (
    RASTERS,
    TRANSFORM,
    TRUTH,
    Outcome,
    Recipe,
    mask_bytes,
    payload,
    pixels,
    write_tiff,
)

from coregstack import run_order, run_scenes
from coregstack.errors import CoregError, UnreadableFile
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.pixels.raster import read_header

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]
EACH = pytest.mark.parametrize("recipe", RASTERS, ids=lambda recipe: recipe.name)


def made(recipe: Recipe, folder: Path) -> Path:
    path = folder / ("bad.jp2" if "JPEG 2000" in recipe.name else "bad.tif")
    recipe.make(path)
    return path


@EACH
def test_as_an_item(recipe: Recipe, sound: SimpleNamespace, tmp_path: Path) -> None:
    bad = made(recipe, tmp_path)
    inputs = tree(sound.folder) | {"bad": bad.read_bytes()}
    out = tmp_path / "out"
    result = run_scenes([sound.anchor, bad, sound.good], anchor="anchor", output=out)
    report = result.reports[1]
    assert bool(report.problems) == (recipe.outcome is Outcome.NAMED)
    assert "unexpected" not in " ".join((*report.problems, report.quality.details))
    if recipe.outcome is Outcome.USED:
        assert report.quality.status is Status.COREGISTERED
        assert report.quality.shift == pytest.approx(TRUTH, abs=0.05)
    else:
        assert report.quality.status is Status.FAILED
        assert (out / bad.name).read_bytes() == bad.read_bytes()
    assert {name: tree(out)[name] for name in sound.digests} == sound.digests
    assert verify_output(out) == ()
    assert inputs == tree(sound.folder) | {"bad": bad.read_bytes()}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([bad.name, "out"])


@EACH
def test_as_the_anchor(recipe: Recipe, sound: SimpleNamespace, tmp_path: Path) -> None:
    bad = made(recipe, tmp_path)
    out = tmp_path / "out"
    try:
        result = run_scenes([bad, sound.good], anchor="bad", output=out)
    except CoregError as error:
        assert recipe.outcome is not Outcome.USED or recipe.name in ("rotated by 20 degrees", "sheared")
        assert not out.exists()
        if bad.name not in str(error) and "'bad'" not in str(error):
            raise AssertionError(f"the error does not name the anchor: {error}") from error
        return
    assert recipe.outcome is not Outcome.NAMED
    assert not any("unexpected" in problem for problem in result.problems)
    assert result.reports[0].quality.status is Status.ANCHOR
    assert verify_output(out) == ()
    if recipe.outcome is Outcome.USED:
        assert not result.problems
        assert result.reports[1].quality.status is not Status.FAILED


@pytest.mark.parametrize(
    "name",
    ["TIFF with damaged tiles", "all nodata", "constant", "far away", "pixels of 3,000 km", "pixels of a nanometre",
     "one pixel", "rotated by 20 degrees", "geographic"],
)  # fmt: skip
def test_in_a_network(name: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    recipe = next(recipe for recipe in RASTERS if recipe.name == name)
    bad, out = made(recipe, tmp_path), tmp_path / "out"
    result = run_scenes([sound.anchor, bad, sound.good], anchor="anchor", output=out, method="network")
    assert "unexpected" not in " ".join(result.problems)
    assert result.reports[1].problems or recipe.outcome is not Outcome.NAMED
    used = recipe.outcome is Outcome.USED
    assert (result.reports[1].quality.status is Status.COREGISTERED) == used
    assert used or (out / bad.name).read_bytes() == bad.read_bytes()
    assert result.reports[2].quality.shift == pytest.approx(TRUTH, abs=0.05)
    assert verify_output(out) == ()


@pytest.mark.parametrize("name", ["TIFF with damaged tiles", "text", "pixels of 3,000 km", "far away"])
def test_beside_a_cube(name: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    recipe = next(recipe for recipe in RASTERS if recipe.name == name)
    bad, store = made(recipe, tmp_path), tmp_path / "cube.zarr"
    scenes = [sound.anchor, bad, sound.good]
    result = run_scenes(scenes, anchor="anchor", output=tmp_path / "out", zarr=store)
    assert bool(result.problems) == (recipe.outcome is Outcome.NAMED)
    assert list(xr.open_zarr(store).id.values) == ["anchor", "good"]


def test_a_damaged_item_stops_no_growing_cube(tmp_path: Path) -> None:
    folder, store = tmp_path / "order", tmp_path / "cube.zarr"
    folder.mkdir()
    ids = [f"2024010{k}_100000_0e3a" for k in (1, 2, 3)]
    for item, shift in zip(ids, ((0.0, 0.0), TRUTH, TRUTH), strict=True):
        write_tiff(folder / f"{item}_3B_AnalyticMS.tif", pixels(shift))
    run_order(payload(ids[:1], ids[0]), input=folder, output=tmp_path / "first", zarr=store)
    image = folder / f"{ids[1]}_3B_AnalyticMS.tif"
    image.write_bytes(image.read_bytes()[:-1])
    result = run_order(payload(ids, ids[0]), input=folder, output=tmp_path / "out", zarr=store, append=True)
    assert {problem.split(":")[0] for problem in result.problems} == {ids[1]}
    assert list(xr.open_zarr(store).id.values) == [ids[0], ids[2]]


@pytest.mark.parametrize("name", ["ground control points only", "RPCs only"])
def test_what_is_not_orthorectified_says_so(name: str, tmp_path: Path) -> None:
    path = made(next(recipe for recipe in RASTERS if recipe.name == name), tmp_path)
    with pytest.raises(UnreadableFile, match=r"only ground control points or RPCs.*Orthorectify"):
        read_header(path)


def order_of(tmp_path: Path, mask: bytes) -> Path:
    """An order of an anchor and an item whose mask is given."""
    folder = tmp_path / "order"
    folder.mkdir()
    for item, values in (("20240101_100000_0e3a", pixels((0.0, 0.0))), ("20240102_100000_0e3a", pixels())):
        write_tiff(folder / f"{item}_3B_AnalyticMS.tif", values)
        (folder / f"{item}_3B_udm2.tif").write_bytes(mask_bytes())
    (folder / "20240102_100000_0e3a_3B_udm2.tif").write_bytes(mask)
    return folder


IDS = ["20240101_100000_0e3a", "20240102_100000_0e3a"]


def mask_of(values: np.ndarray, tmp_path: Path, **profile: object) -> bytes:
    write_tiff(tmp_path / "mask.tif", values, nodata=None, **profile)
    return (tmp_path / "mask.tif").read_bytes()


def half(shape: tuple[int, int], dtype: str = "uint8") -> np.ndarray:
    values = np.zeros((8, *shape), dtype)
    values[0, :, shape[1] // 2 :] = 1
    return values


MASKS = {
    "of another size": (lambda path: mask_of(half((96, 100)), path), Status.COREGISTERED),
    "of floats": (lambda path: mask_of(half((192, 192), "float32"), path), Status.COREGISTERED),
    "of one band": (lambda path: mask_of(half((192, 192))[:1].copy(), path), Status.COREGISTERED),
    "that says nothing is clear": (lambda path: mask_of(half((192, 192)) * 0, path), Status.FAILED),
    "of other meaning": (lambda path: mask_of(half((192, 192)) + 7, path), Status.FAILED),
    "between the image's pixels": (
        lambda path: mask_of(half((192, 192)), path, transform=TRANSFORM * Affine.translation(0.5, 0.5)),
        Status.COREGISTERED,
    ),
    "on a rotated grid": (
        lambda path: mask_of(half((300, 300)), path, transform=TRANSFORM * Affine.rotation(20)),
        Status.COREGISTERED,
    ),
    "in another CRS": (lambda path: mask_of(half((192, 192)), path, crs="EPSG:32610"), Status.FAILED),
    "cut off": (lambda path: mask_bytes()[:-400], None),
    "empty": (lambda path: b"", None),
    "without CRS": (lambda path: mask_of(half((192, 192)), path, crs=None), None),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(name: str, tmp_path: Path) -> None:
    make, status = MASKS[name]
    folder = order_of(tmp_path, make(tmp_path))
    before = tree(folder)
    result = run_order(payload(IDS, IDS[0]), input=folder, output=tmp_path / "out")
    report = result.reports[1]
    assert report.quality.status is (status or Status.FAILED)
    assert bool(report.problems) == (status is None)
    if status is not Status.COREGISTERED:
        copies = [path for path in before if path.startswith(IDS[1])]
        assert {path: tree(tmp_path / "out")[path] for path in copies} == {p: before[p] for p in copies}
    assert tree(folder) == before
    assert not [problem for problem in result.problems if "Output check" in problem]
