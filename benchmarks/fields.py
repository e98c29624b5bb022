"""Scenes that do not move as one: what is left after each model, and what the model says is left.

    python benchmarks/fields.py                                 all made kinds, real frames and the real dates
    python benchmarks/fields.py --only shifts                   fields by chance in 200 true shifts
    python benchmarks/fields.py --quick                         a smoke test of seconds
    python benchmarks/fields.py --kinds relief seam --models field --count 3

Made pairs: block means of a real scene, seen at positions that a known displacement gives at its fine resolution;
no coarse pixel is interpolated. Columns: root mean square and 95th percentile of what is left, px, away from a rim of
16 px; `told` is the `residual` of the item; error over sigma of the map, where there is one; the model that was
chosen; seconds of one core. With "off" in its name a row counts only ground that does not move by itself, or that is
clear. What is told is of the whole scene.

Real frames: aerial photographs put onto the map with wrong heights, whose displacement is computed (`frames.py`).

Real dates: pairs whose true displacement is near none (Landsat) or one shift (NAIP): the model that `auto` chooses,
and the spread that it tells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cases
import frames
import numpy as np
from _common import table
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates

from coregstack.kernels.displacement import Spline, sigma_on
from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.model import DisplacementEstimate

FACTOR = 4
"""Fine pixels in a pixel."""
RIM = 16
"""Pixels at the edges that do not count."""
SCENES = ((cases.S2.format("B04"), 1), (cases.NAIP.format("20160816"), 2), (cases.L8.format("B4"), 1))
KINDS = {
    "shift": "one shift",
    "affine": "affine, 0.3 px",
    "smooth30": "smooth over 30 px, 0.5 px",
    "smooth15": "smooth over 15 px, 0.5 px",
    "relief": "relief of all scales, 0.5 px",
    "seam": "a seam of 1 px",
    "cloudy shift": "one shift, 40 % cloud without mask",
    "cloudy relief": "relief, 30 % cloud without mask, off it",
    "noisy relief": "relief, 20 % noise",
    "island": "15 % of the area moves by 3 px, off it",
}
"""Made kinds, and what they are."""

COLUMNS = (
    "kind", "model", "rms, px", "p95, px", "told, px", "error over sigma", "chosen", "s of one core",
)  # fmt: skip
SHIFTS = 200
"""True shifts in which a field would be one by chance."""

Field = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A pair with exact truth."""

    anchor: NDArray[np.float32]
    item: NDArray[np.float32]
    truth: Field
    """Displacement (2, y, x): ``item(y - dy, x - dx) = anchor(y, x)``."""
    counts: NDArray[np.bool_]
    """Where what is left is counted."""


def made(fine: NDArray[np.float32], kind: str, rng: np.random.Generator) -> Made:
    """A pair of one kind out of a fine scene."""
    shape = tuple(n // FACTOR - 16 for n in fine.shape)
    about = _about_mean(kind.split()[-1], (shape[0], shape[1]), rng)
    mean = rng.uniform(-3, 3, 2)[:, None, None]
    truth = about + mean
    counts = np.ones(truth.shape[1:], bool)
    if kind == "island":
        counts = np.abs(about).max(axis=0) == 0
    # the item is the scene as it is; the anchor is the scene seen at p - d(p)
    anchor, item = seen(fine, truth), seen(fine, np.zeros_like(truth))
    spread, noise = float(item.std()), 0.2 if kind == "noisy relief" else 0.05
    anchor = anchor + rng.normal(0, noise * spread, anchor.shape)
    item = 1.2 * item + 0.1 * spread + rng.normal(0, 1.2 * noise * spread, item.shape)
    if kind.startswith("cloudy"):
        veil = cases.fractal((shape[0], shape[1]), rng, 3.0)
        cloud = veil > np.quantile(veil, 0.6 if kind == "cloudy shift" else 0.7)
        item = np.where(cloud, item.mean() + 6 * spread + 2 * spread * veil, item)
        counts &= ~grown(cloud, 5)
    return Made(anchor=anchor.astype(np.float32), item=item.astype(np.float32), truth=truth, counts=counts)


def _about_mean(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """A displacement about its mean, px."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    if kind == "affine":
        return 0.3 * np.stack([unit(a * y + b * x) for a, b in rng.normal(size=(2, 2))])
    if kind.startswith("smooth"):
        length = float(kind.removeprefix("smooth"))
        return 0.5 * np.stack(
            [unit(gaussian_filter(rng.normal(size=shape), length, mode="wrap")) for _ in "yx"]
        )
    if kind == "relief":
        angle = rng.uniform(0, 2 * np.pi)
        along = np.array([np.sin(angle), np.cos(angle)])[:, None, None]
        return np.sqrt(0.5) * along * relief(shape, rng)
    if kind == "seam":
        side = np.where(y > 0.45 * shape[0], 0.354, -0.354)
        return np.stack([side, -side])
    if kind == "island":
        inside = ((y / shape[0] - 0.6) ** 2 + (x / shape[1] - 0.4) ** 2) < 0.15 / np.pi
        return 3 * np.stack([inside, np.zeros_like(inside)]).astype(float)
    return np.zeros((2, *shape))


def relief(shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """A shape with detail at all scales down to 6 px, as terrain has it, mean 0 and rms 1."""
    return unit(
        sum(gaussian_filter(rng.normal(size=shape), s, mode="wrap") * s**1.3 for s in (6, 12, 24, 48))
    )


def unit(values: Field) -> Field:
    values = values - values.mean()
    return values / np.sqrt(np.square(values).mean())


def grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    return gaussian_filter(mask.astype(float), by) > 0.02


def seen(fine: NDArray[np.float32], displacement: Field) -> NDArray[np.float64]:
    """Block means of the fine scene, each fine pixel seen where the displacement says."""
    rows, cols = ((np.arange(n * FACTOR) + 0.5) / FACTOR - 0.5 for n in displacement.shape[1:])
    at = np.meshgrid(rows, cols, indexing="ij")
    y, x = (
        (here - map_coordinates(one, at, order=1, mode="nearest") + 8.5) * FACTOR - 0.5
        for here, one in zip(at, displacement, strict=True)
    )
    whole = map_coordinates(fine, [y, x], order=5, mode="reflect")
    height, width = displacement.shape[1:]
    return whole.reshape(height, FACTOR, width, FACTOR).mean(axis=(1, 3))


def estimate(anchor: NDArray[np.float32], item: NDArray[np.float32], model: str) -> DisplacementEstimate:
    """What coregstack finds, by one model; images of shape (y, x) or (band, y, x), NaN where nothing is."""
    sources = []
    for image in (anchor, item):
        bands = image.reshape(-1, *image.shape[-2:])
        usable = np.isfinite(bands).all(axis=0)
        sources.append(ArraySource(values=np.where(usable, bands, 0), usable=usable))
    prepared = prepare_anchor(sources[0])
    return estimate_displacement(prepared, sources[1], estimate_shift(prepared, sources[1]), model=model)


def left(found: DisplacementEstimate, pair: Made) -> NDArray[np.float64]:
    """Length of what is left at each pixel that counts, px."""
    return np.hypot(*_away(found, pair))


def over_sigma(found: DisplacementEstimate, pair: Made) -> float:
    """Root mean square of what is left along an axis over its sigma; NaN where one shift was found."""
    if found.displacement is None:
        return np.nan
    sigma = sigma_on(found.displacement, (0, 0, *pair.truth.shape[1:]))[_counted(pair)]
    return float(np.sqrt(np.square(_away(found, pair) / sigma).mean()))


def _away(found: DisplacementEstimate, pair: Made) -> NDArray[np.float64]:
    height, width = pair.truth.shape[1:]
    if found.displacement is not None:
        known = np.stack(Spline.of(found.displacement).on((0, 0, height, width)))
    else:
        known = np.broadcast_to(np.array(found.shift or (np.nan, np.nan))[:, None, None], pair.truth.shape)
    return (known - pair.truth)[:, _counted(pair)]


def _counted(pair: Made) -> NDArray[np.bool_]:
    inside = np.zeros(pair.counts.shape, bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    return inside & pair.counts


def made_kinds(
    kinds: Sequence[str], models: Sequence[str], scenes: Iterable[tuple[str, int]], count: int
) -> None:
    """Print the table of made pairs: one row a kind and model, over all scenes."""
    row = table(*COLUMNS)
    for kind in kinds:
        rng = np.random.default_rng(sorted(KINDS).index(kind))
        pairs = [made(cases.read(*scene), kind, rng) for scene in scenes for _ in range(count)]
        for model in models:
            row(*_row(KINDS[kind], pairs, model))


def real_frames(models: Sequence[str]) -> None:
    """Print the table of aerial frames with wrong heights."""
    row = table(*COLUMNS)
    names = {
        "right heights": "right heights",
        "8 m": "height error of 8 m",
        "10 %": "10 % of the relief missing",
    }
    for kind, name in names.items():
        pairs = []
        for anchor, item, truth in frames.pairs(kind):
            both = np.isfinite(anchor).all(axis=0) & np.isfinite(item).all(axis=0)
            counts = binary_erosion(both, iterations=RIM)
            pairs.append(Made(anchor=anchor, item=item, truth=truth, counts=counts))
        for model in models:
            row(*_row(f"frames, {name}", pairs, model))


def _row(name: str, pairs: Sequence[Made], model: str) -> list[str]:
    """A row of the tables."""
    begin = time.process_time()
    found = [estimate(pair.anchor, pair.item, model) for pair in pairs]
    seconds = (time.process_time() - begin) / len(pairs)
    rests = [left(one, pair) for one, pair in zip(found, pairs, strict=True)]
    chosen = [one.model if one.shift is not None else "refused" for one in found]
    numbers = [
        [np.sqrt(np.square(rest).mean()) for rest in rests],
        [np.quantile(rest, 0.95) for rest in rests],
        [np.nan if one.residual is None else one.residual for one in found],
    ]
    ratios = [over_sigma(one, pair) for one, pair in zip(found, pairs, strict=True)]
    return [
        name,
        model,
        *(" ".join(f"{value:.3f}" for value in values) for values in numbers),
        " ".join("" if np.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios),
        ", ".join(f"{chosen.count(one)} {one}" for one in sorted(set(chosen))),
        f"{seconds:.2f}",
    ]


def true_shifts(count: int) -> None:
    """Print how often `auto` finds anything but a shift where there is nothing else, without and with cloud."""
    row = table(
        "200 true shifts" if count == 200 else f"{count} true shifts", "not a shift", "rms, px", "told, px"
    )
    for kind in ("shift", "cloudy shift"):
        rng = np.random.default_rng(200)
        models, rests, told = [], [], []
        for k in range(count // 2):
            pair = made(cases.read(*SCENES[k % len(SCENES)]), kind, rng)
            found = estimate(pair.anchor, pair.item, "auto")
            models.append(found.model)
            rests.append(np.square(left(found, pair)).mean())
            told.append(found.residual or 0.0)
        others = sum(model != "shift" for model in models)
        row(
            f"{count // 2} of {KINDS[kind]}",
            str(others),
            f"{np.sqrt(np.mean(rests)):.4f}",
            f"{np.mean(told):.4f}",
        )


def real_dates() -> None:
    """Print what `auto` makes of real dates whose displacement is near one shift."""
    row = table("pair", "chosen", "spread, px", "residual, px", "s of one core")
    naip, landsat = cases.NAIP, "landsat_pucallpa_geographic/landsat_{}.tif"
    pairs = [(naip, "20160816", date) for date in ("20180716", "20190904", "20200831")]
    pairs += [(landsat, "1985", "1990"), (landsat, "2015", "2020")]
    for name, first, second in pairs:
        images = [
            np.stack([cases.read(name.format(date), band) for band in (1, 2, 3, 4)])
            for date in (first, second)
        ]
        height, width = (min(image.shape[k] for image in images) for k in (1, 2))
        begin = time.process_time()
        found = estimate(*(image[:, :height, :width] for image in images), "auto")
        seconds = time.process_time() - begin
        values = ("" if value is None else f"{value:.3f}" for value in (found.spread, found.residual))
        row(f"{name.split('/')[0]} {first} {second}", found.model, *values, f"{seconds:.2f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two kinds of one scene")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    parser.add_argument(
        "--models", nargs="+", choices=("shift", "affine", "field", "auto"), default=["shift", "auto"]
    )
    parser.add_argument("--count", type=int, default=1, help="pairs of each scene and kind")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("made", "frames", "shifts", "dates"),
        help="by default all but the shifts",
    )
    parser.add_argument("--shifts", type=int, default=SHIFTS, help="how many true shifts")
    options = parser.parse_args()
    if options.quick:
        made_kinds(["shift", "smooth30"], ["auto"], SCENES[1:2], 1)
        return
    parts = {
        "made": lambda: made_kinds(options.kinds, options.models, SCENES, options.count),
        "frames": lambda: real_frames(options.models),
        "shifts": lambda: true_shifts(options.shifts),
        "dates": real_dates,
    }
    for name in options.only or ("made", "frames", "dates"):
        parts[name]()
        print()


if __name__ == "__main__":
    main()
