"""Which item makes the best anchor, and the choice of one where none is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import coregstack
from coregstack.cli import main
from coregstack.testing import sample_stack, write_sample_order


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """Five dates without cloud; masks leave all of the third, parts of others, hardly any of the last."""
    made = sample_stack(5, (200, 200), seed=4, max_shift=2, cloud_cover=0)
    clear = made.clear.copy(data=np.ones(made.clear.shape, bool))
    for k in (0, 1, 3):
        clear[k, : 60 + 10 * k] = False
    clear[4, :180] = False
    return made.assign_coords(clear=clear)


def files(stack: xr.DataArray, folder: Path) -> list[Path]:
    paths = []
    for scene in stack:
        paths.append(folder / f"{scene.id.item()}.tif")
        scene.where(scene.clear, 0).drop_vars("clear").astype("uint16").rio.to_raster(paths[-1])
    return paths


def test_the_clearest_item_comes_first_and_the_table_says_why(stack: xr.DataArray) -> None:
    table = coregstack.rank_anchors(stack)
    assert table.index[0] == stack.id.values[2]
    assert table.index[-1] == stack.id.values[4]
    assert table.score.between(0, 1).all()
    assert table.why.iloc[0].startswith("sees 100 % of the area, 100 % clear")
    assert table.clear.loc[stack.id.values[4]] == pytest.approx(0.1, abs=0.01)


def test_ground_control_and_sensor_count_where_coordinates_tell(stack: xr.DataArray) -> None:
    even = stack.drop_vars("clear").assign_coords(ground_control=("time", [False, False, False, True, False]))
    table = coregstack.rank_anchors(even.assign_coords(platform=("time", ["a", "b", "b", "b", "a"])))
    assert table.ground_control.to_dict() == {i: float(k == 3) for k, i in enumerate(stack.id.values)}
    assert table.sensor.loc[stack.id.values[0]] == pytest.approx(2 / 3)
    assert "located by ground control" in table.why.loc[stack.id.values[3]]


def test_auto_aligns_to_the_first_of_the_ranking(stack: xr.DataArray) -> None:
    quality = coregstack.estimate(stack, "auto")
    assert quality.attrs["anchor"] == stack.id.values[2]
    assert "100 % clear" in quality.attrs["anchor_why"]
    assert quality.shift_y.chunks is not None
    assert quality.status.values[2] == "anchor"


def test_files_are_opened_on_the_lattice_of_the_chosen_scene(stack: xr.DataArray, tmp_path: Path) -> None:
    paths = files(stack, tmp_path)
    opened = coregstack.open_scenes(paths, anchor="auto")
    assert coregstack.rank_anchors(opened).index[0] == stack.id.values[2]
    assert coregstack.estimate(opened, "auto").attrs["anchor"] == stack.id.values[2]
    result = coregstack.run_scenes(paths, anchor="auto", output=tmp_path / "out")
    assert result.anchor == stack.id.values[2]
    assert "Chosen as the anchor" in result.notes[0]


def test_the_command_line_ranks_files_folders_and_orders(
    stack: xr.DataArray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scenes").mkdir()
    files(stack, tmp_path / "scenes")
    assert main(["anchors", str(tmp_path / "scenes"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["item"] == stack.id.values[2]
    order = write_sample_order(tmp_path / "order", size=200)
    assert main(["anchors", str(order.folder)]) == 0
    assert "ground control" in " ".join(capsys.readouterr().out.split())
    assert main(["anchors", str(tmp_path / "nothing.tif")]) == 2
