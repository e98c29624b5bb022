"""An anchor from outside, of any CRS, pixel size and extent: shifts that are known exactly.

Anchor and items are means over whole blocks of one finer scene, cut at whole pixels of it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray

import coregstack
from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.testing import sample_stack

UTM = "EPSG:32633"
MOVED = "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=400000 +y_0=7000 +datum=WGS84 +units=m +no_defs"
"""UTM 33 counted from another origin: (x - 100000, y + 7000), exactly."""
OFFSETS = ((0, 0), (7, -5), (-11, 4))
"""By how many metres the content of each item lies beside its place (down, along)."""


@pytest.fixture(scope="module", params=["simulated", "real"])
def fine(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    """A scene of pixels of 1 m, more or less."""
    if request.param == "simulated":
        return sample_stack(1, (560, 600), seed=5, cloud_cover=0).isel(time=0, band=2).values.astype(float)
    path = (
        request.getfixturevalue("data_dir") / "s2_l1c_33UUU_20170216_jp2" / "T33UUU_20170216T102101_B04.jp2"
    )
    with rasterio.open(path) as dataset:
        return dataset.read(1, window=((0, 560), (400, 1000))).astype(float)


def cut(
    fine: NDArray[np.float64],
    size: int,
    corner: tuple[int, int],
    shape: tuple[int, int],
    offset: tuple[int, int] = (0, 0),
    crs: str = UTM,
) -> xr.DataArray:
    """A scene of larger pixels, whose content lies `offset` before the place that it names."""
    top, left = (at + by for at, by in zip(corner, offset, strict=True))
    part = fine[top : top + shape[0] * size, left : left + shape[1] * size]
    values = part.reshape(shape[0], size, shape[1], size).mean(axis=(1, 3))
    x0, y0 = 500_000 + corner[1], 5_000_000 - corner[0]
    if crs == MOVED:
        x0, y0 = x0 - 100_000, y0 + 7000
    return (
        xr.DataArray(
            np.rint(values)[None].astype("uint16"),
            dims=("band", "y", "x"),
            coords={
                "band": ["red"],
                "y": y0 - size * (np.arange(shape[0]) + 0.5),
                "x": x0 + size * (np.arange(shape[1]) + 0.5),
            },
        )
        .rio.write_crs(crs)
        .rio.write_nodata(0)
    )


def items_of(fine: NDArray[np.float64], size: int = 3, shape: tuple[int, int] = (160, 170)) -> xr.DataArray:
    scenes = [cut(fine, size, (30, 40), shape, offset) for offset in OFFSETS]
    ids = [f"item_{k}" for k in range(len(scenes))]
    return xr.concat(scenes, "time", join="exact").assign_coords(id=("time", ids))


def errors(quality: xr.Dataset, pixel: float) -> NDArray[np.float64]:
    """Error of each shift, px."""
    found = np.stack([quality.shift_y, quality.shift_x], axis=1)
    return np.abs(found - np.array(OFFSETS) / pixel)


@pytest.mark.parametrize(
    ("size", "corner", "shape"),
    [
        (7, (5, 3), (78, 83)),  # coarser
        (2, (24, 31), (250, 260)),  # finer
        (1, (90, 80), (300, 310)),  # much finer, and smaller than the items
    ],
)
def test_shifts_are_exact_whatever_the_pixel_size(
    fine: NDArray[np.float64], size: int, corner: tuple[int, int], shape: tuple[int, int]
) -> None:
    anchor, items = cut(fine, size, corner, shape), items_of(fine)
    told = {lattice: coregstack.estimate(items, anchor, lattice=lattice) for lattice in ("items", "anchor")}
    found = told["items"].compute()
    matched = max(size, 3)
    assert (errors(found, 3) < 0.03 * matched / 3).all()
    sigma = np.stack([found.shift_sigma_y, found.shift_sigma_x], axis=1)
    assert (errors(found, 3) < 5 * sigma + 0.002).all()
    assert (sigma < 0.05 * matched / 3).all()
    assert found.attrs["lattice_geotransform"].split()[1] == "3.0"
    if size == 7:
        other = told["anchor"].compute()
        assert other.attrs["lattice_geotransform"].split()[1] == "7.0"
        np.testing.assert_allclose(other.shift_y * 7, found.shift_y * 3, atol=1e-9)
        np.testing.assert_allclose(other.shift_sigma_x * 7, found.shift_sigma_x * 3, atol=1e-9)


def test_an_anchor_of_another_crs_is_met_in_the_crs_of_the_items(fine: NDArray[np.float64]) -> None:
    anchor = cut(fine, 7, (5, 3), (78, 83), crs=MOVED)
    found = coregstack.estimate(items_of(fine), anchor).compute()
    assert (errors(found, 3) < 0.1).all()
    assert found.attrs["lattice_crs"] == UTM


@pytest.mark.parametrize("chunks", [None, {"y": 70, "x": 90}])
def test_a_stack_comes_onto_the_lattice_of_the_anchor_in_one_step(
    fine: NDArray[np.float64], chunks: dict[str, int] | None
) -> None:
    anchor, items = cut(fine, 7, (0, 0), (78, 83)), items_of(fine)
    items = items if chunks is None else items.chunk(chunks)
    aligned = coregstack.align(items, anchor, lattice="anchor", threshold=1.0, decide="evidence")
    assert aligned.chunks is not None, "align has to be lazy"
    assert aligned.rio.crs == UTM
    np.testing.assert_allclose(aligned.x, anchor.x.sel(x=aligned.x))
    assert np.diff(aligned.y)[0] == -7
    truth = anchor.sel(x=aligned.x, y=aligned.y).values[0, 3:-3, 3:-3].astype(float)
    for image in aligned.values[:, 0, 3:-3, 3:-3]:
        assert np.sqrt(np.mean((image - truth) ** 2)) < 0.2 * truth.std()
    alone = coregstack.align(items[1:2], anchor, lattice="anchor", threshold=1.0, decide="evidence")
    np.testing.assert_array_equal(alone[0], aligned[1])


def test_clouds_and_nodata_of_both_sides_have_no_part_in_the_match(fine: NDArray[np.float64]) -> None:
    anchor, items = cut(fine, 7, (5, 3), (78, 83)), items_of(fine)
    anchor[:, :28, :20] = 0
    clear = xr.ones_like(items.isel(band=0, drop=True), bool)
    items.values[:, :, 90:, 60:130] = 40_000
    clear.values[:, 90:, 60:130] = False
    found = coregstack.estimate(items, anchor, mask=clear, max_shift=20).compute()
    assert (errors(found, 3) < 0.15).all()


def test_files_are_met_as_arrays_are(fine: NDArray[np.float64], tmp_path: Path) -> None:
    anchor, items = cut(fine, 7, (5, 3), (78, 83)), items_of(fine)
    paths = written(items, tmp_path)
    reference = tmp_path / "reference.tif"
    anchor.rio.to_raster(reference)
    stack = coregstack.open_scenes(paths, anchor=reference)
    assert stack.sizes["time"] == 3
    # the pixel size of the items on the phase of the anchor
    assert (np.diff(stack.x)[0], (stack.x.values[0] - 500_003 - 1.5) % 3) == (3, 0)
    from_files = coregstack.estimate(stack, reference).compute()
    assert from_files.attrs["anchor"] == "reference"
    assert (errors(from_files, 3) < 0.1).all()
    whole = coregstack.open_scenes(paths, anchor=str(reference), lattice="anchor")
    assert np.diff(whole.x)[0] == 7


def written(items: xr.DataArray, folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{item}.tif" for item in items.id.values]
    for path, scene in zip(paths, items, strict=True):
        scene.drop_vars("id").rio.to_raster(path)
    return paths


class TestRuns:
    @pytest.fixture
    def place(self, tmp_path: Path) -> tuple[list[Path], Path, xr.DataArray]:
        """Items and an anchor as files, and the items."""
        fine = sample_stack(1, (560, 600), seed=5, cloud_cover=0).isel(time=0, band=2).values.astype(float)
        items = items_of(fine)
        reference = tmp_path / "reference.tif"
        cut(fine, 7, (5, 3), (78, 83)).rio.to_raster(reference)
        return written(items, tmp_path / "in"), reference, items

    def test_the_items_keep_their_pixels_on_the_phase_of_the_anchor(
        self, place: tuple[list[Path], Path, xr.DataArray], tmp_path: Path
    ) -> None:
        paths, reference, _ = place
        before = reference.read_bytes()
        result = coregstack.run_scenes(
            paths, anchor=reference, output=tmp_path / "out", zarr=tmp_path / "cube.zarr", decide="evidence"
        )
        assert not result.problems
        assert (errors(result.to_quality(), 3) < 0.1).all()
        assert reference.read_bytes() == before
        assert not list((tmp_path / "out").glob("reference*"))
        sidecar = json.loads((tmp_path / "out" / "item_1_coreg_qa_metadata.json").read_text())
        assert sidecar["anchor_item"] == "reference"
        np.testing.assert_allclose(sidecar["pixel_shift"], [-5 / 3, 7 / 3], atol=0.1)
        with rasterio.open(tmp_path / "out" / "item_1_coreg.tif") as moved:
            assert moved.res == (3, 3)
            assert ((moved.transform.c - 500_003) % 3, (5_000_000 - 5 - moved.transform.f) % 3) == (0, 0)
        with xr.open_zarr(tmp_path / "cube.zarr") as cube:
            assert cube.sizes["time"] == 3
        again = coregstack.run_scenes(paths, anchor=reference, output=tmp_path / "out", decide="evidence")
        assert all(report.resumed for report in again.reports)
        other = coregstack.run_scenes(
            paths, anchor=reference, output=tmp_path / "out", decide="evidence", lattice="anchor"
        )
        assert not any(report.resumed for report in other.reports)

    def test_the_items_take_the_pixels_of_the_anchor(
        self, place: tuple[list[Path], Path, xr.DataArray], tmp_path: Path
    ) -> None:
        paths, reference, _ = place
        result = coregstack.run_scenes(
            paths, anchor=reference, output=tmp_path / "out", lattice="anchor", decide="evidence"
        )
        assert (errors(result.to_quality(), 7) < 0.03).all()
        with (
            rasterio.open(tmp_path / "out" / "item_2_coreg.tif") as moved,
            rasterio.open(reference) as anchor,
        ):
            assert moved.res == anchor.res == (7, 7)
            rows, cols = (
                round(v) for v in (~anchor.transform * (moved.transform.c, moved.transform.f))[::-1]
            )
            ours = moved.read(1)[3:-3, 3:-3].astype(float)
            truth = anchor.read(1)[rows + 3 :, cols + 3 :][: ours.shape[0], : ours.shape[1]]
            assert np.sqrt(np.mean((ours - truth) ** 2)) < 0.2 * truth.std()
        aligned = coregstack.align(
            coregstack.open_scenes(paths, anchor=reference, lattice="anchor"),
            reference, lattice="anchor", decide="evidence",
        )  # fmt: skip
        coregstack.to_geotiffs(aligned, tmp_path / "ours")
        with rasterio.open(tmp_path / "ours" / "item_2_coreg.tif") as same:
            assert same.res == (7, 7)

    def test_a_coarser_item_is_matched_in_its_own_pixels_and_told_in_those_of_the_anchor(
        self, place: tuple[list[Path], Path, xr.DataArray], tmp_path: Path
    ) -> None:
        paths, reference, _ = place
        result = coregstack.run_scenes(
            [*paths, reference], anchor="item_1", output=tmp_path / "out", decide="evidence"
        )
        found = result.to_dataframe()
        assert found.loc["item_1", "status"] == "anchor"
        # the content of the anchor lies (7, -5) m beside its place, that of the coarser scene where it says
        assert found.loc["reference", "shift_y"] == pytest.approx(-7 / 3, abs=0.1)
        assert found.loc["reference", "shift_x"] == pytest.approx(5 / 3, abs=0.1)
        assert found.loc["item_0", "shift_y"] == pytest.approx(-7 / 3, abs=0.02)
        with rasterio.open(tmp_path / "out" / "reference_coreg.tif") as moved:
            assert moved.res == (7, 7)

    def test_an_anchor_that_cannot_be_told_from_an_item_is_refused(
        self, place: tuple[list[Path], Path, xr.DataArray], tmp_path: Path
    ) -> None:
        paths, reference, _ = place
        double = tmp_path / paths[0].name
        double.write_bytes(reference.read_bytes())
        with pytest.raises(InvalidRequest, match="called the same"):
            coregstack.run_scenes(paths, anchor=double, output=tmp_path / "out")
        with pytest.raises(InvalidRequest, match=r"rio\.to_raster"):
            coregstack.run_scenes(paths, anchor=xr.open_dataarray(reference), output=tmp_path / "out")
        with pytest.raises(InvalidRequest, match="lattice is one of items, anchor"):
            coregstack.run_scenes(paths, anchor=reference, output=tmp_path / "out", lattice="grid")  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="leaves pixels as they are"):
            coregstack.run_scenes(
                paths, anchor=reference, output=tmp_path / "out", lattice="anchor", resampling="none"
            )
        assert not (tmp_path / "out").exists()


def test_an_anchor_far_away_is_refused_with_both_places(fine: NDArray[np.float64]) -> None:
    anchor = cut(fine, 7, (5, 3), (78, 83))
    with pytest.raises(InvalidStack, match=r"do not overlap.*bounds"):
        coregstack.estimate(items_of(fine), anchor.assign_coords(x=anchor.x + 90_000))
