"""Plots draw the numbers they are given, with units, on the axes they are given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from coregstack import align, estimate
from coregstack.errors import AnchorNotFound, CoregError, InvalidRequest
from coregstack.model import Status
from coregstack.show import plot
from coregstack.testing import sample_stack

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is an optional extra")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(4, (224, 224), seed=8, max_shift=2.0)


@pytest.fixture(scope="module")
def aligned(stack: xr.DataArray) -> xr.DataArray:
    return align(stack, anchor=0).compute()


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def axes() -> Any:
    return plt.figure(layout="constrained").subplots()


@pytest.mark.parametrize("name", ["shifts", "scores"])
def test_plots_of_all_items_are_drawn_where_asked_and_labelled(
    name: str, aligned: xr.DataArray, axes: Any
) -> None:
    assert getattr(aligned.coreg.plot, name)(ax=axes) is axes
    assert axes.get_xlabel() == "time (UTC)"
    assert "[" in axes.get_ylabel()
    assert axes.get_title(loc="left")


def test_shifts_are_those_of_the_stack(aligned: xr.DataArray, axes: Any) -> None:
    aligned.coreg.plot.shifts(ax=axes)
    drawn = {line.get_label(): line for line in axes.containers}
    for name, words in (("shift_x", "x, right"), ("shift_y", "y, down")):
        line = drawn[words].lines[0]
        np.testing.assert_array_equal(line.get_ydata(), aligned[name])


def test_quality_plots_itself_without_times_too(stack: xr.DataArray, axes: Any) -> None:
    quality = estimate(stack, anchor=0).drop_vars("time")
    assert quality.coreg.plot.shifts(ax=axes).get_xlabel() == "item"


def test_items_without_a_time_are_counted_where_they_are_not_shown(axes: Any) -> None:
    table = made_table(6, 30)
    table.loc[table.index[:2], "time"] = pd.NaT
    for draw in (plot.shifts, plot.scores):
        assert "2 without a time: not shown" in draw(table, ax=axes).get_xlabel()


def test_an_accessor_says_what_can_be_done(stack: xr.DataArray) -> None:
    quality = estimate(stack, anchor=0)
    assert "the quality of" in repr(quality.coreg)
    assert "align(anchor)" in repr(stack.to_dataset("band").coreg)


def test_failed_items_are_marked(axes: Any) -> None:
    table = pd.DataFrame(
        {
            "time": pd.to_datetime(["2024-01-01", "2024-02-01"]),
            "status": ["coregistered", "failed"],
            **{name: [1.0, np.nan] for name in ("shift_x", "shift_y", "shift_sigma_x", "shift_sigma_y")},
        }
    )
    plot.shifts(table, ax=axes)
    assert "failed" in axes.get_legend_handles_labels()[1]


def made_table(count: int, days: float) -> pd.DataFrame:
    """Items with every status, evenly spread over some days."""
    rng = np.random.default_rng(count)
    names = [
        "matching_score_before",
        "matching_score_after",
        "shift_x",
        "shift_y",
        "shift_sigma_x",
        "shift_sigma_y",
    ]
    table = pd.DataFrame(rng.uniform(0.1, 1, (count, len(names))), columns=names)
    table["status"] = [list(Status)[k % len(Status)] for k in range(count)]
    table["time"] = pd.Timestamp("2020-01-15") + pd.to_timedelta(np.linspace(0, days, count), unit="D")
    return table


@pytest.mark.parametrize("name", ["shifts", "scores"])
@pytest.mark.parametrize("width", [4, 9])
@pytest.mark.parametrize("days", [0.2, 3, 10, 60, 300, 1500, 9000])
def test_legend_and_title_lie_beside_the_data(name: str, width: float, days: float) -> None:
    figure = plt.figure(figsize=(width, 3.2), layout="constrained")
    axes = getattr(plot, name)(made_table(300, days), ax=figure.subplots())
    figure.canvas.draw()
    inside, legend = axes.get_window_extent(), axes.get_legend().get_window_extent()
    title = axes._left_title.get_window_extent()
    assert inside.y1 <= legend.y0
    assert legend.y1 <= title.y0
    assert max(legend.x1, title.x1, inside.x1) <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
    labels = [tick.get_window_extent() for tick in axes.get_xticklabels() if tick.get_text()]
    assert len(labels) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(labels))


def test_windows_beside_the_scene_and_their_arrows_are_seen_whole(stack: xr.DataArray, axes: Any) -> None:
    quality = stack.coreg.plot._matched(str(stack.id.values[2]), 0, {})
    ties = quality.evidence.ties
    corner = np.array([260.0, *ties.x[1:]])
    beside = replace(quality, evidence=replace(quality.evidence, ties=replace(ties, x=corner)))
    plot.matches(beside, ax=axes)
    arrows = axes.collections[0]
    tips = arrows.get_offsets() + np.column_stack([arrows.U, arrows.V]) / arrows.scale
    (left, right), (lower, upper) = axes.get_xlim(), axes.get_ylim()
    for x, y in np.vstack([arrows.get_offsets(), tips, [[260, ties.y[0]]]]):
        assert left < x < right
        assert upper < y < lower


def test_matches_point_the_way_of_the_true_shift(stack: xr.DataArray, axes: Any) -> None:
    item = str(stack.id.values[2])
    assert stack.coreg.plot.matches(item, anchor=0, ax=axes) is axes
    arrows = axes.collections[0]
    truth = stack.isel(time=2)
    np.testing.assert_allclose(np.median(arrows.U), truth.true_shift_x, atol=0.1)
    np.testing.assert_allclose(np.median(arrows.V), truth.true_shift_y, atol=0.1)
    assert "[px]" in axes.get_xlabel()
    assert "[px]" in axes.get_ylabel()
    assert item in axes.get_title(loc="left")


def test_compare_shows_the_gain(aligned: xr.DataArray) -> None:
    anchor, before, after, both = aligned.coreg.plot.compare(str(aligned.id.values[2]))
    images = [np.asarray(one.images[0].get_array(), float) for one in (anchor, before, after)]
    off = [np.median(np.abs(image - images[0])) for image in images]
    assert off[2] < 0.8 * off[1]
    colours = np.asarray(both.images[0].get_array(), float)
    np.testing.assert_array_equal(colours[..., 0], images[0])
    np.testing.assert_array_equal(colours[..., 2], images[2])
    np.testing.assert_allclose(colours[..., 1], (images[0] + images[2]) / 2, atol=0.6)
    assert all(one.get_xlabel() and one.get_title() for one in (anchor, before, after, both))


def test_item_reached_through_another_is_shown_beside_that_one(chain: xr.DataArray, axes: Any) -> None:
    _, _, third, fourth = (str(item) for item in chain.id.values)
    chain.coreg.plot.matches(fourth, ax=axes)
    assert f"matched with {third}, aligned" in axes.get_title(loc="left")
    arrows = axes.collections[0]
    np.testing.assert_allclose(np.median(arrows.U), chain.true_shift_x[3], atol=0.1)
    np.testing.assert_allclose(np.median(arrows.V), chain.true_shift_y[3], atol=0.1)
    other, before, after, both = chain.coreg.plot.compare(fourth)
    assert third in other.get_title()
    assert "anchor" not in both.get_title()
    images = [np.asarray(one.images[0].get_array(), float) for one in (other, before, after)]
    there = images[0] > 0
    off = [np.median(np.abs(image - images[0])[there]) for image in images]
    assert off[2] < 0.8 * off[1]


def test_compare_takes_four_axes_and_no_other_number(aligned: xr.DataArray) -> None:
    item = str(aligned.id.values[1])
    given = plt.figure(layout="constrained").subplots(2, 2)
    assert list(aligned.coreg.plot.compare(item, ax=given)) == list(given.ravel())
    with pytest.raises(InvalidRequest, match="four axes, but ax holds 2"):
        aligned.coreg.plot.compare(item, ax=given[0])


def test_what_cannot_be_plotted_is_refused(stack: xr.DataArray, aligned: xr.DataArray) -> None:
    with pytest.raises(InvalidRequest, match="is the anchor"):
        aligned.coreg.plot.compare(str(stack.id.values[0]))
    with pytest.raises(InvalidRequest, match="No item is called 'nobody'"):
        aligned.coreg.plot.matches("nobody")
    with pytest.raises(AnchorNotFound, match="anchor="):
        stack.coreg.plot.matches(str(stack.id.values[1]))


def test_missing_matplotlib_is_named_with_its_remedy(
    aligned: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(CoregError, match=r"pip install 'coregstack\[plot\]'") as caught:
        aligned.coreg.plot.shifts()
    assert isinstance(caught.value, ImportError)


def test_axes_never_need_pyplot(aligned: xr.DataArray) -> None:
    from matplotlib.figure import Figure

    own = Figure().subplots()
    aligned.coreg.plot.scores(ax=own)
    assert not plt.get_fignums()


def test_a_stack_that_is_not_aligned_has_no_shifts_to_plot(stack: xr.DataArray) -> None:
    for draw in (stack.coreg.plot.shifts, stack.coreg.plot.scores):
        with pytest.raises(InvalidRequest, match="pass what align, apply or estimate returned"):
            draw()
