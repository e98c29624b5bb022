"""Scenes that do not move as one: what is left after each model, and what the model says is left.

    python benchmarks/fields.py                                 all made kinds and the real dates
    python benchmarks/fields.py --quick                         a smoke test of seconds
    python benchmarks/fields.py --kinds relief seam --models field --count 3

Made pairs: block means of a real scene, seen at positions that a known displacement gives at its fine resolution;
no coarse pixel is interpolated. Columns: root mean square and 95th percentile of what is left, px, away from a rim of
16 px; `told` is the `residual` of the item; the model that was chosen; seconds of one core. With "off" in its name a
row counts only ground that does not move by itself, or that is clear.

Real dates: pairs whose true displacement is near none (Landsat) or one shift (NAIP): the model that `auto` chooses,
and the spread that it tells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cases
import numpy as np
from _common import table
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack.kernels.displacement import Spline
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
    anchor, item = _seen(fine, truth), _seen(fine, np.zeros_like(truth))
    spread, noise = float(item.std()), 0.2 if kind == "noisy relief" else 0.05
    anchor = anchor + rng.normal(0, noise * spread, anchor.shape)
    item = 1.2 * item + 0.1 * spread + rng.normal(0, 1.2 * noise * spread, item.shape)
    if kind.startswith("cloudy"):
        veil = cases.fractal((shape[0], shape[1]), rng, 3.0)
        cloud = veil > np.quantile(veil, 0.6 if kind == "cloudy shift" else 0.7)
        item = np.where(cloud, item.mean() + 6 * spread + 2 * spread * veil, item)
        counts &= ~_grown(cloud, 5)
    return Made(anchor=anchor.astype(np.float32), item=item.astype(np.float32), truth=truth, counts=counts)


def _about_mean(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> Field:
    """A displacement about its mean, px."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    if kind == "affine":
        return 0.3 * np.stack([_unit(a * y + b * x) for a, b in rng.normal(size=(2, 2))])
    if kind.startswith("smooth"):
        length = float(kind.removeprefix("smooth"))
        return 0.5 * np.stack(
            [_unit(gaussian_filter(rng.normal(size=shape), length, mode="wrap")) for _ in "yx"]
        )
    if kind == "relief":
        octaves = (gaussian_filter(rng.normal(size=shape), s, mode="wrap") * s**1.3 for s in (6, 12, 24, 48))
        angle = rng.uniform(0, 2 * np.pi)
        along = np.array([np.sin(angle), np.cos(angle)])[:, None, None]
        return np.sqrt(0.5) * along * _unit(sum(octaves))
    if kind == "seam":
        side = np.where(y > 0.45 * shape[0], 0.354, -0.354)
        return np.stack([side, -side])
    if kind == "island":
        inside = ((y / shape[0] - 0.6) ** 2 + (x / shape[1] - 0.4) ** 2) < 0.15 / np.pi
        return 3 * np.stack([inside, np.zeros_like(inside)]).astype(float)
    return np.zeros((2, *shape))


def _unit(values: Field) -> Field:
    values = values - values.mean()
    return values / np.sqrt(np.square(values).mean())


def _grown(mask: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    return gaussian_filter(mask.astype(float), by) > 0.02


def _seen(fine: NDArray[np.float32], displacement: Field) -> NDArray[np.float64]:
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
    """What coregstack finds, by one model; images of shape (y, x) or (band, y, x)."""
    sources = [
        ArraySource(values=np.atleast_3d(a.T).T, usable=np.ones(a.shape[-2:], bool)) for a in (anchor, item)
    ]
    prepared = prepare_anchor(sources[0])
    return estimate_displacement(prepared, sources[1], estimate_shift(prepared, sources[1]), model=model)


def left(found: DisplacementEstimate, pair: Made) -> NDArray[np.float64]:
    """Length of what is left at each pixel that counts, px."""
    height, width = pair.truth.shape[1:]
    if found.displacement is not None:
        known = np.stack(Spline.of(found.displacement).on((0, 0, height, width)))
    else:
        known = np.broadcast_to(np.array(found.shift or (np.nan, np.nan))[:, None, None], pair.truth.shape)
    inside = np.zeros((height, width), bool)
    inside[RIM:-RIM, RIM:-RIM] = True
    return np.hypot(*(known - pair.truth))[inside & pair.counts]


def made_kinds(
    kinds: Sequence[str], models: Sequence[str], scenes: Iterable[tuple[str, int]], count: int
) -> None:
    """Print the table of made pairs: one row a kind and model, over all scenes."""
    row = table("kind", "model", "rms, px", "p95, px", "told, px", "chosen", "s of one core")
    for kind in kinds:
        rng = np.random.default_rng(sorted(KINDS).index(kind))
        pairs = [made(cases.read(*scene), kind, rng) for scene in scenes for _ in range(count)]
        for model in models:
            rests, told, chosen, begin = [], [], [], time.process_time()
            for pair in pairs:
                found = estimate(pair.anchor, pair.item, model)
                rests.append(left(found, pair))
                told.append(np.nan if found.residual is None else found.residual)
                chosen.append(found.model if found.shift is not None else "refused")
            seconds = (time.process_time() - begin) / len(pairs)
            rms = [f"{np.sqrt(np.square(rest).mean()):.3f}" for rest in rests]
            tails = [f"{np.quantile(rest, 0.95):.3f}" for rest in rests]
            names = ", ".join(f"{chosen.count(name)} {name}" for name in sorted(set(chosen)))
            row(
                KINDS[kind], model, " ".join(rms), " ".join(tails), " ".join(f"{t:.3f}" for t in told),
                names, f"{seconds:.2f}",
            )  # fmt: skip


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
    parser.add_argument("--no-dates", action="store_true", help="leave the real dates out")
    options = parser.parse_args()
    if options.quick:
        made_kinds(["shift", "smooth30"], ["auto"], SCENES[1:2], 1)
        return
    made_kinds(options.kinds, options.models, SCENES, options.count)
    if not options.no_dates:
        print()
        real_dates()


if __name__ == "__main__":
    main()
