"""Draw the figures of the documentation: ``python docs/figures.py`` writes them to docs/images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr

from coregstack import apply, estimate
from coregstack.kernels.correlation import correlate_all
from coregstack.kernels.descriptor import similarity
from coregstack.kernels.match_image import orientation
from coregstack.kernels.resample import translate
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import prepare
from coregstack.matching.items import reduced_pixels
from coregstack.matching.options import MatchOptions
from coregstack.model import NO_SHIFT, Shift
from coregstack.network import adjust
from coregstack.network.matches import match_with_anchor, match_with_partners
from coregstack.network.planning import plan_by_looks
from coregstack.network.sketch import SKETCH_SIDE, sketch
from coregstack.pixels.scene import MatchPixels
from coregstack.testing import Conditions, SampleScene, sample_stack, shifted_scene

mpl.use("Agg")
import matplotlib.pyplot as plt

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#e69f00", "#009e73", "#777777"
RED, NIR = 2, 3
plt.rcParams |= {"font.size": 9, "axes.titlesize": 9, "figure.facecolor": "white", "savefig.dpi": 120}


def main() -> None:
    """Draw all figures."""
    for draw in (search, windows, score, network, failures, tutorial):
        figure = draw()
        figure.savefig(IMAGES / f"{draw.__name__}.png")
        plt.close(figure)


def search() -> Any:
    """Images, orientations, correlation surface."""
    shift = Shift(7.0, -11.0)
    pair = [
        shifted_scene((256, 256), Shift(0, 0), conditions=Conditions(seed=0, season=0.45), seed=3),
        shifted_scene((256, 256), shift, conditions=Conditions(seed=4, season=0.62, cloud_cover=0.3), seed=3),
    ]
    turned = [orientation(scene.values[RED].astype(np.float32), scene.valid) for scene in pair]
    (surface,) = correlate_all(*([turn] for turn in turned), centre=(0, 0), reach=(24, 24))
    height = surface.agreement / np.sqrt(surface.pairs / 2)
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), layout="constrained")
    for axis, scene, words in zip(axes[:2], pair, ("anchor, June", "item, August, cloud"), strict=True):
        axis.imshow(_colours(scene))
        axis.set_title(words)
    for axis, turn, words in zip(
        axes[2:4], turned, ("orientations, anchor", "orientations, item"), strict=True
    ):
        axis.imshow(np.ma.masked_where(turn == 0, np.angle(turn)), cmap="twilight", interpolation="nearest")
        axis.set_title(words)
    shown = axes[4].imshow(height, extent=(-24.5, 24.5, 24.5, -24.5), cmap="cividis")
    peak = surface.peak(100)
    axes[4].plot(peak.x, peak.y, "o", ms=14, mfc="none", mec="white")
    axes[4].set_title("agreement at each lag")
    axes[4].set_xlabel("lag x [px]")
    axes[4].set_ylabel("lag y [px]")
    figure.colorbar(shown, ax=axes[4], label="standard deviations", shrink=0.9)
    for axis in axes[:4]:
        axis.set_axis_off()
    return figure


def windows() -> Any:
    """Each window's own shift over a scene whose cloud is not masked."""
    shift = Shift(-1.3, 2.1)
    anchor = shifted_scene((640, 640), Shift(0, 0), conditions=Conditions(seed=0, season=0.45), seed=5)
    item = shifted_scene(
        (640, 640), shift, conditions=Conditions(seed=9, season=0.5, cloud_cover=0.35), seed=5
    )
    found = estimate_shift(prepare_anchor(_source(anchor)), _source(item))
    ties = found.ties
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.4), layout="constrained")
    axes[0].imshow(_colours(item))
    kinds = [(ties.inlier, ORANGE, "o", "that agree"), (~ties.inlier, BLUE, "X", "that lost their weight")]
    for chosen, colour, marker, words in kinds:
        if chosen.any():
            style = {"c": colour, "marker": marker, "s": 42, "edgecolors": "black", "linewidths": 0.5}
            axes[0].scatter(ties.x[chosen], ties.y[chosen], **style)
            axes[1].scatter(ties.shift_x[chosen], ties.shift_y[chosen], label=f"windows {words}", **style)
    axes[0].set_title("windows on the item, its cloud not masked")
    axes[0].set_axis_off()
    axes[1].errorbar(
        found.shift.x, found.shift.y, xerr=found.sigma.x, yerr=found.sigma.y,
        c=GREEN, capsize=4, lw=1.5, zorder=4, label="shift found, 1 sigma",
    )  # fmt: skip
    axes[1].plot(shift.x, shift.y, "+", ms=18, mew=1.5, c="black", label="true shift")
    axes[1].set(
        xlabel="shift x [px]", ylabel="shift y [px]", aspect="equal", title="what each window says alone",
        xlim=(shift.x - 0.15, shift.x + 0.15), ylim=(shift.y + 0.15, shift.y - 0.15),
    )  # fmt: skip
    axes[1].grid(alpha=0.3)
    axes[1].legend(loc="upper left")
    return figure


def score() -> Any:
    """Score over the shift: of the scoring kernel, and of cubic interpolation, on a noisy pair."""
    rng = np.random.default_rng(0)
    scene = shifted_scene((256, 300), Shift(0, 0), conditions=Conditions(seed=0, season=0.5), seed=7)
    clean = scene.values[RED].astype(np.float32)
    noise = 0.35 * clean.std()
    anchor, item = (clean + rng.normal(0, noise, clean.shape).astype(np.float32) for _ in range(2))
    usable = np.ones(clean.shape, bool)
    first = ArraySource(values=anchor[None], usable=usable)
    second = ArraySource(values=item[None], usable=usable)
    value_range = anchor_range(first)
    lags = np.linspace(-0.45, 0.45, 37)
    fair = [matching_scores(first, second, Shift(0, lag), value_range=value_range).after for lag in lags]
    smoothed = []
    for lag in lags:
        moved = translate(item, start=Shift(0, -lag), shape=item.shape, kernel="bilinear")
        other = ArraySource(values=moved[None], usable=usable)
        smoothed.append(matching_scores(first, other, None, value_range=value_range).before)
    figure, axis = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    axis.plot(lags, smoothed, c=BLUE, ls="--", label="moved by bilinear interpolation: wrong shifts gain")
    axis.plot(lags, fair, c=ORANGE, label="moved as coregstack scores")
    axis.axvline(0, c=GREY, lw=0.8)
    axis.annotate("true shift", (0, axis.get_ylim()[0]), xytext=(4, 4), textcoords="offset points", c=GREY)
    axis.set(
        xlabel="shift x that is tried [px]",
        ylabel="matching score after",
        title="a noisy pair that lies right already",
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    axis.grid(alpha=0.3)
    return figure


def network(dates: int = 42) -> Any:
    """Pairs of three years of dates, and the way of one of them; errors by season, of all and of direct pairs."""
    rng = np.random.default_rng(3)
    days = np.sort(rng.choice(3 * 365, dates, replace=False))
    times = np.datetime64("2020-01-01", "s") + days * np.timedelta64(86400, "s")
    anchor = int(np.argmin(np.abs(days - 365 - 200)))
    truth = [Shift(*rng.uniform(-2, 2, 2)) for _ in days]
    truth[anchor] = Shift(0, 0)
    items = [_wintry(int(day), shift, k) for k, (day, shift) in enumerate(zip(days, truth, strict=True))]
    sketches = [sketch(*reduced_pixels(item, SKETCH_SIDE)) for item in items]
    plan = plan_by_looks(sketches, times, None, anchor)
    options = MatchOptions(bands=(0,))
    reference = prepare(items[anchor])
    matches = [match_with_anchor(reference, items[k], (anchor, k), options) for k in sorted(plan.direct)]
    for own, others in enumerate(plan.duties):
        matches += match_with_partners(items[own], own, [(k, items[k]) for k in others], options)
    pairs = [(match.first, match.second) for match in matches]
    textures = np.stack([sketch.descriptor.texture for sketch in sketches])
    alike = similarity(textures)[tuple(np.transpose(pairs))]
    unknown = Shift(np.nan, np.nan)
    shifts, sigmas = [m.shift or unknown for m in matches], [m.sigma or unknown for m in matches]
    found = adjust(pairs, shifts, sigmas, count=len(days), anchor=anchor, likeness=alike)
    figure = plt.figure(figsize=(10, 4.6), layout="constrained")
    wheel, axis = figure.add_subplot(1, 2, 1, projection="polar"), figure.add_subplot(1, 2, 2)
    months = np.arange(12)
    names = [f"{month:%b}" for month in pd.date_range("2020-01-01", periods=12, freq="MS")]
    angle, radius = 2 * np.pi * (days % 365) / 365, 1.5 + days // 365
    direct, inner = (
        {"c": BLUE, "lw": 0.8, "label": "with the anchor"},
        {"c": GREY, "lw": 1.0, "label": "with each other"},
    )
    for match in matches:
        if match.shift is not None:
            ends = [match.first, match.second]
            wheel.plot(angle[ends], radius[ends], **(direct if anchor in ends else inner))
    way = list(max(found.path, key=len))
    wheel.plot(angle[way], radius[way], c=ORANGE, lw=2.5, label="way of one date to the anchor")
    wheel.scatter(angle, radius, c="black", s=14, zorder=3)
    wheel.scatter(angle[anchor], radius[anchor], c=ORANGE, s=130, marker="*", zorder=4, edgecolors="black")
    wheel.set(theta_zero_location="N", theta_direction=-1, yticks=[], ylim=(0, 3.8))
    wheel.set_xticks(2 * np.pi * months / 12, names)
    wheel.set_title("pairs that could be matched; three years, from the inside out")
    lines = dict(zip(*wheel.get_legend_handles_labels()[::-1], strict=True))
    wheel.legend(
        lines.values(), lines, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=3, frameon=False
    )
    others = np.flatnonzero(np.arange(len(days)) != anchor)
    day, sigma = days[others] % 365, np.hypot(*found.sigma[others].T)
    error = np.hypot(*(found.shift - np.array(truth)).T)[others]
    alone = {match.second: match.shift for match in matches if match.first == anchor}
    apart = np.array([np.hypot(*np.subtract(alone[k] or unknown, truth[k])) for k in others])
    axis.vlines(day, 0, sigma, colors=ORANGE, lw=5, alpha=0.3, label="network: sigma")
    axis.plot(day, error, "o", ms=4.5, c=ORANGE, label="network: error")
    axis.plot(day, apart, "x", c=BLUE, label="direct: error")
    refused = day[np.isnan(apart)]
    axis.plot(refused, np.full(refused.size, -0.006), "|", ms=8, c=BLUE, label="direct: refused")
    axis.set(ylabel="error of the shift [px]", xlim=(-4, 366), ylim=(-0.012, 0.2), title="what comes out")
    axis.set_xticks(365 * months / 12, names)
    axis.legend(loc="upper center")
    axis.grid(alpha=0.3)
    return figure


def failures() -> Any:
    """Items that are refused, or that one shift does not follow; what is told of each is printed."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:320, :320]

    def orchard(y: float, x: float) -> np.ndarray:
        trees = (1 + np.cos(2 * np.pi * (rows - y) / 8)) * (1 + np.cos(2 * np.pi * (cols - x) / 8))
        return np.repeat((600 * trees + 800 + rng.normal(0, 12, trees.shape))[None], 4, axis=0)

    anchor, clouded = _summer(), _summer(Shift(1.4, -2.2), cloud_cover=1.0)
    torn = np.where(cols < 160, _summer(Shift(2.2, 1.1)).values, _summer(Shift(2.2, 2.3)).values)
    striped = _summer(Shift(0.6, -0.4)).values + 0.8 * anchor.values.std() * rng.normal(size=(1, 320, 1))
    cases = {
        "full cloud": (anchor.values, clouded.values, clouded.clear, {}),
        "another place": (anchor.values, _summer(seed=9).values, anchor.valid, {}),
        "an orchard": (orchard(0, 0), orchard(2.4, 1.3), anchor.valid, {}),
        "44 px away": (anchor.values, _summer(Shift(3, 44)).values, anchor.valid, {"max_shift": 20}),
        "torn by 1.2 px": (anchor.values, torn, anchor.valid, {}),
        "striped detector": (anchor.values, striped, anchor.valid, {}),
    }
    figure, axes = plt.subplots(4, 3, figsize=(5.2, 7.4), layout="constrained")
    pairs = axes.reshape(2, 2, 3).transpose(0, 2, 1).reshape(-1, 2)  # three cases, and three below them
    for axes_of, (name, (first, second, clear, options)) in zip(pairs, cases.items(), strict=True):
        pair = np.stack([first, second]).clip(1, 65535).astype(np.uint16)
        stack = xr.DataArray(
            pair, dims=("time", "band", "y", "x"),
            coords={"id": ("time", ["anchor", name]), "clear": (("time", "y", "x"), [anchor.valid, clear])},
        ).rio.write_nodata(0)  # fmt: skip
        found = estimate(stack, "anchor", **options).compute().isel(time=1)
        print(f"{name}: {found.status.item()}: {found.details.item()}")
        for axis, values, words in zip(axes_of, pair, ("anchor", name), strict=True):
            axis.imshow(values[RED, 80:240, 80:240], cmap="gray", vmax=np.percentile(values[RED], 99))
            axis.set_title(words)
            axis.set_axis_off()
    return figure


def tutorial(dates: int = 8) -> Any:
    """What the tutorial shows: two dates before and after, and the shifts with their truth."""
    stack = sample_stack(dates, shape=(384, 384), seed=2, max_shift=3.0)
    quality = estimate(stack, anchor=0).compute()
    aligned = apply(stack, quality)
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained", width_ratios=[1, 1, 1.15])
    for axis, array, words in zip(axes[:2], (stack, aligned), ("before", "after"), strict=True):
        red = array.sel(band="red")[:, 30:190, 80:240]
        first, other = (red[k].values.astype(np.float32) / 2000 for k in (0, 5))
        axis.imshow(np.clip(np.dstack([first, (first + other) / 2, other]), 0, 1))
        axis.set_title(f"date 6 over the anchor, {words}")
        axis.set_axis_off()
    axes[2].plot(stack.true_shift_x, stack.true_shift_y, "o", ms=10, mfc="none", mec="black", label="truth")
    axes[2].plot(quality.shift_x, quality.shift_y, "x", c=ORANGE, label="found")
    axes[2].set(xlabel="shift x [px]", ylabel="shift y [px]", title="shifts of all dates")
    axes[2].invert_yaxis()
    axes[2].grid(alpha=0.3)
    axes[2].legend()
    return figure


def _summer(shift: Shift = NO_SHIFT, *, seed: int = 3, cloud_cover: float = 0.0) -> SampleScene:
    conditions = Conditions(seed=1, season=0.45, cloud_cover=cloud_cover)
    return shifted_scene((320, 320), shift, conditions=conditions, seed=seed)


def _wintry(day: int, shift: Shift, seed: int) -> MatchPixels:
    """A date of a place that snow turns into another one every winter."""
    snow = float(np.clip(0.5 + 0.9 * np.cos(2 * np.pi * (day - 15) / 365), 0, 1))
    conditions = Conditions(seed=seed, season=0.45, cloud_cover=0.15)
    summer, winter = (shifted_scene((200, 200), shift, conditions=conditions, seed=k) for k in (5, 6))
    values = ((1 - snow) * summer.values[RED] + snow * winter.values[RED]).astype(np.float32)
    usable = summer.valid & summer.clear
    return MatchPixels(source=ArraySource(values=values[None], usable=usable), valid=summer.valid)


def _source(scene: SampleScene) -> ArraySource:
    return ArraySource(values=scene.values.astype(np.float32), usable=scene.valid)


def _colours(scene: SampleScene) -> np.ndarray:
    """Near infrared, red and green as colours, for one look."""
    image = scene.values[[NIR, RED, 1]].astype(np.float32).transpose(1, 2, 0)
    low, high = np.percentile(image, (1, 97), axis=(0, 1))
    return np.clip((image - low) / (high - low), 0, 1)


if __name__ == "__main__":
    main()
