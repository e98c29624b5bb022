"""Draw the figures of the documentation: ``python docs/figures.py`` writes them to docs/images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from coregstack.kernels.correlation import correlate
from coregstack.kernels.match_image import orientation
from coregstack.kernels.resample import translate
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.model import Shift
from coregstack.testing import Conditions, SampleScene, shifted_scene

mpl.use("Agg")
import matplotlib.pyplot as plt

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#e69f00", "#009e73", "#777777"
RED, NIR = 2, 3
plt.rcParams |= {"font.size": 9, "axes.titlesize": 9, "figure.facecolor": "white", "savefig.dpi": 120}


def main() -> None:
    """Draw all figures."""
    for draw in (search, windows, score):
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
    surface = correlate(*turned, centre=(0, 0), reach=(24, 24))
    height = surface.agreement / np.sqrt(surface.pairs / 2)
    figure, axes = plt.subplots(1, 5, figsize=(11, 2.7), layout="constrained")
    for axis, scene, words in zip(axes[:2], pair, ("anchor, June", "item, August, cloud"), strict=True):
        axis.imshow(_colours(scene))
        axis.set_title(words)
    for axis, turn, words in zip(axes[2:4], turned, ("its orientations", "its orientations"), strict=True):
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
        c=GREEN, capsize=4, lw=1.5, label="shift found, 1 sigma",
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


def _source(scene: SampleScene) -> ArraySource:
    return ArraySource(values=scene.values.astype(np.float32), usable=scene.valid)


def _colours(scene: SampleScene) -> np.ndarray:
    """Near infrared, red and green as colours, for one look."""
    image = scene.values[[NIR, RED, 1]].astype(np.float32).transpose(1, 2, 0)
    low, high = np.percentile(image, (1, 97), axis=(0, 1))
    return np.clip((image - low) / (high - low), 0, 1)


if __name__ == "__main__":
    main()
