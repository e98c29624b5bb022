"""What is shown of a scene that does not move as one is what was found, and where it was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from coregstack import align, apply, estimate, open_scenes, tie_points
from coregstack.errors import InvalidRequest
from coregstack.export.evidence import kept_evidence
from coregstack.matching.preview import CHIP
from coregstack.show.plot import _decoded
from coregstack.testing import sample_stack

ITEM = "20240201_b"


def test_residuals_of_windows_are_what_the_field_does_not_explain(bent: Any) -> None:
    found = {name: tie_points(getattr(bent, name).output) for name in ("field", "shift")}
    for ties in found.values():
        assert set(ties["item"]) == {ITEM}
    ties = found["field"]
    ties = ties[ties.inlier & ties.row.between(30, 250) & ties.col.between(30, 250)]
    for axis, truth in zip("yx", bent.truth, strict=True):
        true = map_coordinates(truth, [ties.row, ties.col], order=3)
        assert np.std(ties[f"shift_{axis}"] - ties[f"residual_{axis}"] - true) < 0.1
        assert ties[f"residual_{axis}"].std() < 0.25 * ties[f"shift_{axis}"].std()
    ties, shift = found["shift"], bent.shift.reports[1].quality.shift
    for axis in "yx":
        left = ties[f"shift_{axis}"] - ties[f"residual_{axis}"]
        np.testing.assert_allclose(left, getattr(shift, axis), atol=1e-9)


def test_chips_show_what_one_shift_leaves_where_the_field_is_far_from_its_mean(bent: Any) -> None:
    evidence = kept_evidence(Path(bent.field.output), ITEM).evidence
    picture = _decoded(evidence)[:CHIP].astype(float)
    anchor, _, after, single = picture.reshape(CHIP, 4, CHIP).transpose(1, 0, 2)
    assert np.abs(after - anchor).mean() < 0.4 * np.abs(single - anchor).mean()
    middle = [int(place) + CHIP // 2 for place in evidence.chips]
    away = np.hypot(*(bent.truth - bent.truth.mean(axis=(1, 2), keepdims=True)))
    assert away[tuple(middle)] > np.median(away)
    alone = kept_evidence(Path(bent.shift.output), ITEM).evidence
    assert _decoded(alone).shape[1] == 3 * CHIP


plt = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is an optional extra")


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def opened(bent: Any) -> Any:
    return open_scenes(bent.paths, anchor="20240101_a")


@pytest.fixture(scope="module")
def quality(opened: Any) -> Any:
    return estimate(opened, anchor="20240101_a", model="field", threshold=1.0).compute()


def test_arrows_are_the_displacement_less_its_mean(bent: Any, quality: Any) -> None:
    given = plt.figure(layout="constrained").subplots(1, 3)
    axes = quality.coreg.plot.field(ITEM, ax=given)
    assert list(axes) == list(given)
    arrows = axes[0].collections[0]
    x, y = np.transpose(arrows.get_offsets())
    inside = (np.minimum(x, y) > 30) & (np.maximum(x, y) < 250)
    one = quality.isel(time=1)
    for drawn, truth, mean in zip((arrows.V, arrows.U), bent.truth, (one.shift_y, one.shift_x), strict=True):
        true = map_coordinates(truth, [y, x], order=3) - float(mean)
        assert np.sqrt(np.mean((drawn - true)[inside] ** 2)) < 0.1
    np.testing.assert_array_equal(axes[2].images[0].get_array(), one.displacement_sigma)
    assert all("[px]" in text for text in (axes[0].get_xlabel(), axes[0].get_ylabel(), axes[1].get_title()))


def test_a_stack_shows_its_field_over_its_picture(opened: Any, quality: Any) -> None:
    length = np.asarray(quality.coreg.plot.field(ITEM)[1].images[0].get_array())
    for stack in (apply(opened, quality), opened):
        axes = stack.coreg.plot.field(ITEM, anchor="20240101_a")
        assert len(axes[0].images) == 1
        assert np.abs(np.asarray(axes[1].images[0].get_array()) - length).mean() < 0.05
    turned = opened.coreg.plot.field(ITEM, anchor="20240101_a", model="affine")
    drawn = np.asarray(turned[1].images[0].get_array())
    assert np.abs(drawn - length).mean() > 0.1


def test_aligned_stacks_are_matched_again_by_the_model_that_moved_them(opened: Any, quality: Any) -> None:
    ties = apply(opened, quality).coreg.tie_points()
    assert ties.residual_x.std() < 0.25 * ties.shift_x.std()


def test_what_cannot_be_seen_is_refused(bent: Any, opened: Any, quality: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"quality\.coreg\.plot\.field"):
        apply(opened, quality).compute().coreg.plot.field(ITEM)
    with pytest.raises(InvalidRequest, match="No item is called 'nobody'"):
        quality.coreg.plot.field("nobody")
    with pytest.raises(InvalidRequest, match="This item is the anchor"):
        opened.coreg.plot.field("20240101_a", anchor=0)
    with pytest.raises(InvalidRequest, match="estimate it with model="):
        estimate(opened, anchor=0).coreg.plot.field(ITEM)
    with pytest.raises(InvalidRequest, match="three axes, but ax holds 2"):
        quality.coreg.plot.field(ITEM, ax=plt.figure().subplots(1, 2))


def test_residuals_are_plotted_beside_what_one_shift_leaves(quality: Any) -> None:
    axes = quality.coreg.plot.residuals()
    hollow, filled = axes.lines
    one = quality.isel(time=1)
    assert filled.get_ydata() == pytest.approx([float(one.residual)])
    assert hollow.get_ydata() == pytest.approx([float(one.spread)], rel=0.01)
    assert "[px rms]" in axes.get_ylabel()
    with pytest.raises(InvalidRequest, match="estimate it again"):
        quality.drop_vars("residual").coreg.plot.residuals()


def test_an_item_that_moves_as_one_has_nothing_that_varies() -> None:
    aligned = align(sample_stack(2, (224, 224), seed=8), anchor=0)
    ties = aligned.coreg.tie_points()
    np.testing.assert_allclose(ties.shift_x - ties.residual_x, float(aligned.shift_x[1].compute()), atol=0.02)
