"""The network method through the whole engine: stacks in memory, lazy stacks, files, runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import coregstack
from coregstack.errors import InvalidRequest
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def deep() -> xr.DataArray:
    """Six dates with true shifts, in memory."""
    return sample_stack(6, (224, 224), seed=5, max_shift=2.5, cloud_cover=0.1)


def error(quality: xr.Dataset, stack: xr.DataArray) -> np.ndarray:
    """Distance of each shift from the true one, px."""
    return np.hypot(
        quality.shift_y.values - stack.true_shift_y.values, quality.shift_x.values - stack.true_shift_x.values
    )


def write(stack: xr.DataArray, folder: Path) -> list[Path]:
    """One GeoTIFF an item; pixels that are not clear are nodata, since files of this kind hold no mask."""
    paths = []
    for scene in stack:
        path = folder / f"{scene.id.item()}.tif"
        scene.where(scene.clear, 0).drop_vars("clear").astype("uint16").rio.to_raster(path)
        paths.append(path)
    return paths


class TestStacks:
    @pytest.mark.parametrize("chunks", [None, {"time": 3, "y": 100}])
    def test_shifts_are_those_of_the_truth_and_their_sigmas_say_how_well(
        self, deep: xr.DataArray, chunks: dict[str, int] | None
    ) -> None:
        stack = deep if chunks is None else deep.chunk(chunks)
        quality = coregstack.estimate(stack, 0, method="network")
        assert all(variable.chunks for variable in quality.data_vars.values()), "estimate has to be lazy"
        quality = quality.compute()
        away = error(quality, deep)[1:]
        assert away.max() < 0.03
        sigma = np.hypot(quality.shift_sigma_y, quality.shift_sigma_x).values[1:]
        assert (away < 4 * sigma).all()
        assert (quality.redundancy.values[1:] > 0).all()
        assert np.nanmax(quality.closure.values) < 0.1

    def test_a_stack_of_two_is_matched_as_directly(self, deep: xr.DataArray) -> None:
        direct, network = (
            coregstack.estimate(deep[:2], 0, method=method).compute() for method in ("direct", "network")
        )
        assert network.shift_y[1] == pytest.approx(float(direct.shift_y[1]), abs=1e-9)
        assert "no closed loop" in str(network.details[1].item())

    def test_an_anchor_from_outside_the_stack(self, deep: xr.DataArray) -> None:
        quality = coregstack.estimate(deep[1:], deep[0], method="network").compute()
        assert error(quality, deep[1:]).max() < 0.03

    def test_a_blank_item_fails_and_says_why_while_the_others_are_aligned(self, deep: xr.DataArray) -> None:
        stack = deep.copy()
        stack[3] = 0
        quality = coregstack.estimate(stack, 0, method="network").compute()
        assert quality.status.values[3] == "failed"
        assert "No matched pair leads from it" in str(quality.details[3].item())
        assert np.delete(error(quality, deep), [0, 3]).max() < 0.03

    def test_align_carries_what_only_a_network_knows(self, deep: xr.DataArray) -> None:
        aligned = coregstack.align(deep[:4], 0, method="network")
        assert {"redundancy", "closure", "against"} <= set(aligned.coords)

    def test_an_unknown_method_is_refused(self, deep: xr.DataArray) -> None:
        with pytest.raises(InvalidRequest, match="direct, network"):
            coregstack.estimate(deep, 0, method="chain")


class TestFiles:
    def test_files_and_arrays_tell_the_same(self, deep: xr.DataArray, tmp_path: Path) -> None:
        stack = coregstack.open_scenes(write(deep, tmp_path), anchor=0)
        quality = coregstack.estimate(stack, 0, method="network").compute()
        assert error(quality, deep)[1:].max() < 0.03

    def test_a_run_delivers_what_estimate_says_and_resumes(self, deep: xr.DataArray, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        paths = write(deep[:5], tmp_path / "in")
        first = coregstack.run_scenes(paths, anchor=0, output=tmp_path / "out", method="network")
        quality = coregstack.estimate(coregstack.open_scenes(paths, anchor=0), 0, method="network").compute()
        table = first.to_dataframe()
        assert table.shift_y.tolist()[1:] == pytest.approx(quality.shift_y.values[1:].tolist(), abs=1e-9)
        gone = next((tmp_path / "out").glob(f"{deep.id.values[2]}_coreg.tif"))
        gone.unlink()
        again = coregstack.run_scenes(paths, anchor=0, output=tmp_path / "out", method="network")
        assert gone.exists()
        assert again.to_dataframe().shift_y.tolist()[2] == pytest.approx(table.shift_y.iloc[2], abs=1e-9)

    def test_an_unreadable_partner_stops_no_other(self, deep: xr.DataArray, tmp_path: Path) -> None:
        paths = write(deep, tmp_path)
        stack = coregstack.open_scenes(paths, anchor=0)
        with open(paths[4], "r+b") as file:
            file.truncate(paths[4].stat().st_size // 2)
        quality = coregstack.estimate(stack, 0, method="network").compute()
        assert quality.status.values[4] == "failed"
        assert np.delete(error(quality, deep), [0, 4]).max() < 0.03


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A row of scenes, of which only the first two overlap the anchor."""
    folder = tmp_path_factory.mktemp("row")
    wide = sample_stack(6, (300, 900), seed=3, max_shift=2, cloud_cover=0)
    paths = []
    for k, left in enumerate([0, 0, 110, 250, 380, 520]):
        scene = wide[k, :, :, left : left + 300].drop_vars("clear")
        paths.append(folder / f"part_{k}.tif")
        scene.rio.to_raster(paths[-1])
    np.save(folder / "truth.npy", np.stack([wide.true_shift_y, wide.true_shift_x], axis=1))
    return paths


class TestApart:
    def test_they_are_aligned_through_others_on_one_lattice(self, row: list[Path], tmp_path: Path) -> None:
        truth = np.load(row[0].parent / "truth.npy")
        result = coregstack.run_scenes(row, anchor=0, output=tmp_path / "out", method="network")
        table = result.to_dataframe()
        found = table[["shift_y", "shift_x"]].to_numpy(float)
        assert np.abs(found - truth)[1:].max() < 0.08
        assert set(table.status[1:]) <= {"coregistered", "already_aligned"}
        assert "does not overlap the anchor" in table.details.iloc[5]
        assert "Placed through" in table.details.iloc[5]
        ties = coregstack.tie_points(tmp_path / "out")
        for k in range(1, 6):
            own = ties[(ties["item"] == f"part_{k}") & ties.inlier]
            # what a window says of the way to the anchor, and where it lies, whomever it was seen with
            np.testing.assert_allclose(own[["shift_y", "shift_x"]].median(), truth[k], atol=0.15)
            left = [0, 0, 110, 250, 380, 520][k]
            # at most half a window hangs over the edge
            assert own.col.between(left - 32, left + 332).all()
            assert own.row.between(-32, 332).all()
            # all windows of an item are seen with one other
            assert own.against.nunique() == 1
        against = ties.groupby("item").against.first()
        assert against["part_1"] == "part_0"
        assert against["part_5"] in ("part_3", "part_4")

    def test_their_fields_lie_on_one_control_lattice_that_covers_them(
        self, row: list[Path], tmp_path: Path
    ) -> None:
        truth = np.load(row[0].parent / "truth.npy")[[0, 2, 4]]
        result = coregstack.run_scenes(
            row[::2], anchor=0, output=tmp_path / "out", method="network", model="affine", threshold=1.0
        )
        assert not result.problems
        quality = result.to_quality().compute()
        assert quality.model.values.tolist() == ["", "affine", "affine"]
        assert float(quality.lattice_x[-1] - quality.lattice_x[0]) > 3 * (380 + 300 - 16)
        with rasterio.open(row[4]) as last:
            middle = last.transform * (150, 150)
        at = quality.sel(lattice_x=middle[0], lattice_y=middle[1], method="nearest")
        found = np.stack([at.displacement_y, at.displacement_x], axis=1)
        np.testing.assert_allclose(found[1:], truth[1:], atol=0.1)
        np.testing.assert_allclose(quality.shift_x[1:], truth[1:, 1], atol=0.1)

    def test_directly_they_fail(self, row: list[Path], tmp_path: Path) -> None:
        table = coregstack.run_scenes(row, anchor=0, output=tmp_path / "out").to_dataframe()
        assert table.status.iloc[5] == "failed"


def test_a_date_that_the_anchor_cannot_match_is_reached_through_others() -> None:
    """Clear in the west on one date, in the east on another: only a third date sees both."""
    stack = sample_stack(6, (256, 320), seed=11, max_shift=2, cloud_cover=0)
    clear = stack.clear.copy()
    clear[0, :, 150:], clear[4, :, :165] = False, False
    stack = stack.assign_coords(clear=clear)
    direct, network = (coregstack.estimate(stack, 0, method=m).compute() for m in ("direct", "network"))
    assert direct.status.values[4] == "failed"
    assert network.status.values[4] == "coregistered"
    assert error(network, stack)[4] < 0.05
    details = str(network.details[4].item())
    assert "Placed through" in details
    assert "Scores are against" in details
