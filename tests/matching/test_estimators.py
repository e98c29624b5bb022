"""An estimator of one's own takes the place of coregstack's; all else stays, and what it gets wrong is named."""

from __future__ import annotations

import functools
import json
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import coregstack
from coregstack.errors import InvalidRequest
from coregstack.kernels.phase import phase
from coregstack.matching.options import MatchSettings
from coregstack.model import Status, Window, WindowEstimator, WindowShift
from coregstack.testing import sample_stack

SHAPE = 176, 192


def halves(anchor: Window, item: Window) -> WindowShift:
    """Phase correlation of what is usable, which says how sure it is."""
    found = phase(anchor, item)
    return found._replace(sigma=(0.05, 0.05))


def by_variance(anchor: Window, item: Window) -> WindowShift:
    """Matches how rough an item is with how bright the anchor is."""
    rough = gaussian_filter(np.square(item.values), 2)
    return phase(anchor._replace(values=gaussian_filter(anchor.values, 2)), item._replace(values=rough))


class Watch:
    """Keeps what it is called with."""

    seen: ClassVar[list[tuple[Window, Window]]] = []

    def __call__(self, anchor: Window, item: Window) -> WindowShift:
        self.seen.append((anchor, item))
        return halves(anchor, item)


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(3, SHAPE, seed=4, max_shift=2.5, cloud_cover=0.05)[:, 2:3]


def off(stack: xr.DataArray, quality: xr.Dataset) -> NDArray[np.float64]:
    """Length of the error of each item that was found, px."""
    truth = [stack[f"true_shift_{axis}"].values - stack[f"true_shift_{axis}"].values[0] for axis in "yx"]
    error = np.hypot(quality.shift_y.values - truth[0], quality.shift_x.values - truth[1])
    return error[1:]


@pytest.fixture(scope="module")
def by_phase(stack: xr.DataArray) -> xr.Dataset:
    return coregstack.estimate(stack, 0, estimator="phase").compute()


def test_phase_is_within_its_accuracy(stack: xr.DataArray, by_phase: xr.Dataset) -> None:
    assert by_phase.attrs["estimator"] == "phase"
    assert by_phase.status.values.tolist() == ["anchor", "coregistered", "coregistered"]
    assert (off(stack, by_phase) < 0.06).all()


def test_what_it_says_does_not_depend_on_chunks(stack: xr.DataArray, by_phase: xr.Dataset) -> None:
    chunked = stack.chunk({"time": 1, "y": 50, "x": 70})
    lazy = coregstack.estimate(chunked, 0, estimator="phase")
    assert lazy.status.chunks is not None
    xr.testing.assert_identical(lazy.compute(), by_phase)


def test_a_function_gets_windows_with_masks(stack: xr.DataArray) -> None:
    Watch.seen.clear()
    watch = Watch()
    assert isinstance(watch, WindowEstimator)
    masked = stack.assign_coords(clear=stack.clear & (np.arange(SHAPE[1]) < 150))
    quality = coregstack.estimate(masked, 0, estimator=watch).compute()
    assert (off(stack, quality) < 0.1).all()
    assert quality.attrs["estimator"].endswith("Watch")
    for window in (window for pair in Watch.seen for window in pair):
        assert window.values.shape == window.usable.shape
        assert (window.values.dtype, window.usable.dtype) == (np.float32, bool)
        assert not window.values[~window.usable].any()
    assert any(not window.usable.all() for pair in Watch.seen for window in pair)


@pytest.fixture(scope="module")
def rough() -> tuple[xr.DataArray, tuple[float, float]]:
    """An image, and noise that is as loud as the image is bright: no gradient of one lies in the other."""
    scene = (
        sample_stack(1, (216, 216), seed=8, cloud_cover=0, max_shift=0)[0].isel(band=2).values.astype(float)
    )
    loud = np.random.default_rng(1).normal(size=scene.shape) * (scene - scene.min() + 1)
    images = np.stack([scene[8:200, 8:200], loud[11:203, 6:198]])[:, None]
    return xr.DataArray(images, dims=("time", "band", "y", "x")), (3.0, -2.0)


def test_a_function_joins_what_nothing_else_joins(rough: tuple[xr.DataArray, tuple[float, float]]) -> None:
    pair, truth = rough
    for named in ("coregstack", "phase"):
        assert np.isnan(float(coregstack.estimate(pair, 0, estimator=named).shift_y[1])), named
    own = coregstack.estimate(pair, 0, estimator=by_variance, decide="evidence").compute()
    error = np.array([own.shift_y[1] - truth[0], own.shift_x[1] - truth[1]])
    sigma = np.array([own.shift_sigma_y[1], own.shift_sigma_x[1]])
    assert (np.abs(error) < 3 * sigma).all()
    assert np.hypot(*error) < 0.5
    assert own.status.values[1] == "coregistered"


WRONG = {
    "raises": (lambda anchor, item: 1 / 0, "failed with ZeroDivisionError: division by zero"),
    "nothing": (lambda anchor, item: None, "returned None, where a WindowShift"),
    "no tuple of three": (lambda anchor, item: (1.0, 2.0), "where a WindowShift"),
    "NaN": (lambda anchor, item: WindowShift((np.nan, 0.0)), "where two finite numbers"),
    "wrong shape": (lambda anchor, item: WindowShift((1.0, 2.0, 3.0)), "where two finite numbers"),
    "words": (lambda anchor, item: WindowShift("up", None, ""), "where two finite numbers"),
    "negative sigma": (lambda anchor, item: WindowShift((0.0, 0.0), (-1.0, 1.0)), "the sigma"),
    "beyond the window": (
        lambda anchor, item: WindowShift((1e6, 0.0)),
        "mostly: a shift beyond the window was found",
    ),
    "refuses": (lambda anchor, item: WindowShift(None, reason="it is Monday"), "mostly: it is Monday"),
    "scatters": (
        lambda anchor, item: WindowShift((float(anchor.values[9, 9] % 17), float(item.values[9, 9] % 19))),
        "windows disagree",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_an_estimator_gets_wrong_is_named(kind: str, stack: xr.DataArray) -> None:
    estimator, words = WRONG[kind]
    quality = coregstack.estimate(stack[:2], 0, estimator=estimator).compute()
    assert quality.status.values[1] == "failed"
    assert words in quality.details.values[1]


def test_one_bad_item_stops_no_other(stack: xr.DataArray) -> None:
    bright = stack.copy(data=stack.values.copy())
    bright[1] = bright[1] + 20000

    def some(anchor: Window, item: Window) -> WindowShift:
        if item.values.max() > 20000:
            raise ValueError("too bright")
        return phase(anchor, item)

    quality = coregstack.estimate(bright, 0, estimator=some).compute()
    assert quality.status.values.tolist() == ["anchor", "failed", "coregistered"]
    assert "too bright" in quality.details.values[1]


class Locked:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self, anchor: Window, item: Window) -> WindowShift:
        return phase(anchor, item)


def test_requests_that_cannot_be_honoured_are_refused_before_work(stack: xr.DataArray) -> None:
    for estimator, words in ((Locked(), "cannot be pickled"), (Locked, "pass an instance")):
        with pytest.raises(InvalidRequest, match=words):
            coregstack.estimate(stack, 0, estimator=estimator)
    for model in ("affine", "field", "auto"):
        with pytest.raises(InvalidRequest, match="use model='shift'"):
            coregstack.estimate(stack, 0, estimator="phase", model=model)


def test_settings_with_a_function_are_values() -> None:
    one, same = (MatchSettings(estimator=halves) for _ in range(2))
    assert (one, hash(one)) == (same, hash(same))
    assert one != MatchSettings(estimator=functools.partial(halves))


def test_a_network_uses_it_too(stack: xr.DataArray) -> None:
    quality = coregstack.estimate(stack, 0, method="network", estimator="phase").compute()
    assert (off(stack, quality) < 0.1).all()


@pytest.fixture(scope="module")
def files(stack: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scenes")
    paths = [folder / f"{name}.tif" for name in "abc"]
    for path, scene in zip(paths, stack.drop_vars("clear"), strict=True):
        scene.rio.to_raster(path)
    return paths


def test_a_run_remembers_its_estimator(files: list[Path], tmp_path: Path) -> None:
    def run(**options: Any) -> tuple[list[bool], str]:
        result = coregstack.run_scenes(files, anchor="a", output=tmp_path / "out", **options)
        sidecar = json.loads((tmp_path / "out" / "b_coreg_qa_metadata.json").read_text())
        assert result.count(Status.COREGISTERED) == 2
        return [report.resumed for report in result.reports[1:]], sidecar["estimator"]

    assert run(estimator="phase") == ([False, False], "phase")
    assert run(estimator="phase") == ([True, True], "phase")
    assert run() == ([False, False], "coregstack")
    assert run(estimator=halves) == ([False, False], f"{__name__}.halves")
    assert run(estimator=halves) == ([True, True], f"{__name__}.halves")


def test_an_aligned_stack_tells_its_estimator(stack: xr.DataArray, tmp_path: Path) -> None:
    aligned = coregstack.align(stack[:2], 0, estimator=halves)
    result = coregstack.to_geotiffs(aligned, tmp_path / "out")
    sidecar = json.loads((tmp_path / "out" / f"{result.reports[1].id}_coreg_qa_metadata.json").read_text())
    assert sidecar["estimator"] == f"{__name__}.halves"
    with pytest.raises(InvalidRequest, match="pass it as estimator="):
        coregstack.tie_points(aligned)
    assert coregstack.tie_points(aligned, estimator=halves).inlier.any()
