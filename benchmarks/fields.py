"""Scenes that do not move as one: what is left after each model, and what the model says is left.

    python benchmarks/fields.py                                 all made kinds, real frames and the real dates
    python benchmarks/fields.py --only shifts                   fields by chance in 200 true shifts
    python benchmarks/fields.py --only network                  dates that share nothing with the anchor
    python benchmarks/fields.py --only large --side 2000        time and memory of one large scene
    python benchmarks/fields.py --quick                         a smoke test of seconds
    python benchmarks/fields.py --kinds relief seam --models field --count 3

Made pairs: block means of a real scene, seen at positions that a known displacement gives at its fine resolution;
no coarse pixel is interpolated. Columns: root mean square and 95th percentile of what is left, px, away from a rim of
16 px; `told` is the `residual` of the item; error over sigma of the map, where there is one; the model that was
chosen; seconds of one core. With "off" in its name a row counts only ground that does not move by itself, or that is
clear. What is told is of the whole scene.

Real frames: aerial photographs put onto the map with wrong heights, whose displacement is computed (`frames.py`); only
ground that both cameras see counts, for a photograph tells nothing of what is hidden.

With the interpreter of an environment that has AROSICS in AROSICS_PYTHON, its `COREG_LOCAL` is a model of these tables
as well: tie points every 16 px of windows of 64 px, one band.

Real dates: triples of dates whose true displacement is near none or one shift. The model that `auto` chooses for the
three pairs, the largest spread and residual that are told, and the rms by which the displacements of a pair differ
between two sets of bands, between there and back, and around the triple.

A network: five dates displaced by fields of their own. The first and the last show grounds that share nothing, those
between both, so that the last one is reached through them. What is left, what is told, error over sigma of each date
and of its mean, and also of dates that all show one ground.

A large scene: processor time and peak memory of a whole run of one item by one shift and by a field, each in a process
of its own, in terms of the bare copy of the same files. The item is displaced as one: what is asked for is a field.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cases
import dask
import frames
import numpy as np
import xarray as xr
from _common import bare_copy, children_seconds, in_process, make_scenes, peak_mib, table, timed, workspace
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates

from coregstack import estimate as estimate_stack
from coregstack import run_scenes
from coregstack.kernels.displacement import Spline, composed, constant, sigma_on
from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.model import Displacement, DisplacementEstimate, Shift, Status

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
CHAIN = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Part of the anchor's ground that each date of a network shows."""
TURNS = 4
"""Runs of a large scene each way."""
AROSICS = "AROSICS"
_REFERENCES = "s2_refscenes_slovenia_13band/s2_ref{}.tif"
_LANDSAT = "landsat_pucallpa_geographic/landsat_{}.tif"
TRIPLES = {
    "NAIP": (cases.NAIP, ("20160816", "20180716", "20200831"), ((1, 2, 3), (4,))),
    "NAIP, others": (cases.NAIP, ("20120731", "20160816", "20190904"), ((1, 2, 3), (4,))),
    "Landsat": (_LANDSAT, ("1985", "1990", "1995"), ((1, 2, 3), (4,))),
    "Landsat, others": (_LANDSAT, ("2010", "2015", "2020"), ((1, 2, 3), (4,))),
    "Sentinel-2": (_REFERENCES, ("1", "2", "3"), ((2, 3, 4), (8, 9))),
    "Sentinel-2, others": (_REFERENCES, ("2", "3", "4"), ((2, 3, 4), (8, 9))),
}
"""Files, dates, and two sets of bands."""

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
        for anchor, item, truth, known in frames.pairs(kind):
            both = np.isfinite(anchor).all(axis=0) & np.isfinite(item).all(axis=0)
            counts = binary_erosion(both, iterations=RIM) & known
            pairs.append(Made(anchor=anchor, item=item, truth=truth, counts=counts))
        for model in models:
            row(*_row(f"frames, {name}", pairs, model))


def _row(name: str, pairs: Sequence[Made], model: str) -> list[str]:
    """A row of the tables."""
    if model == AROSICS:
        return _row_of_arosics(name, pairs)
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


def left_by_arosics(pairs: Sequence[Made]) -> tuple[list[NDArray[np.float64]], float]:
    """Length of what is left of each pair at each pixel that counts, px, and seconds of one core a pair."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "pairs.npz")
        images = {}
        for k, pair in enumerate(pairs):
            images |= {f"anchor{k}": _one_band(pair.anchor), f"item{k}": _one_band(pair.item)}
        np.savez(data, **images)
        begin = children_seconds()
        command = [os.environ["AROSICS_PYTHON"], str(Path(__file__).with_name("arosics_local.py")), str(data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = (children_seconds() - begin) / len(pairs)
        found = np.load(data.with_suffix(".found.npz"))
        aways = [(found[f"found{k}"] - pair.truth)[:, _counted(pair)] for k, pair in enumerate(pairs)]
    return [np.hypot(*away)[np.isfinite(away).all(axis=0)] for away in aways], seconds


def _row_of_arosics(name: str, pairs: Sequence[Made]) -> list[str]:
    """The same of AROSICS, which tells no error."""
    rests, seconds = left_by_arosics(pairs)
    known = sum(rest.size > 0 for rest in rests)
    return [
        name,
        "AROSICS local",
        " ".join(f"{np.sqrt(np.square(rest).mean()):.3f}" if rest.size else "refused" for rest in rests),
        " ".join(f"{np.quantile(rest, 0.95):.3f}" if rest.size else "refused" for rest in rests),
        "",
        "",
        f"{known} of {len(pairs)}",
        f"{seconds:.2f}",
    ]


def _one_band(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return image if image.ndim == 2 else image[1]


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
    """Print what `auto` makes of real dates whose displacement is near one shift, and what confirms it."""
    row = table(
        "dates", "chosen", "spread, px", "residual, px", "other bands, px", "way back, px", "closure, px",
        "s of one core",
    )  # fmt: skip
    for name, (files, dates, bands) in TRIPLES.items():
        every = tuple(band for some in bands for band in some)
        begin = time.process_time()
        one, two, three = (_date(files.format(date), every) for date in dates)
        pairs = [estimate(one, two, "auto"), estimate(two, three, "auto"), estimate(one, three, "auto")]
        back = estimate(two, one, "auto")
        parts = [estimate(*(_date(files.format(date), some) for date in dates[:2]), "auto") for some in bands]
        seconds = (time.process_time() - begin) / 6
        first, second, whole = map(_field_of, pairs)
        still = constant(Shift(0.0, 0.0))
        row(
            f"{name} {' '.join(dates)}",
            ", ".join(found.model if found.shift else "refused" for found in pairs),
            f"{max(found.spread or 0.0 for found in pairs):.3f}",
            f"{max(found.residual or 0.0 for found in pairs):.3f}",
            *(
                _apart(made, told, one.shape[1:])
                for made, told in (
                    ([_field_of(parts[0])], _field_of(parts[1])),
                    ([first, _field_of(back)], still),
                    ([first, second], whole),
                )
            ),
            f"{seconds:.2f}",
        )


def _date(path: str, bands: Sequence[int]) -> NDArray[np.float32]:
    return np.stack([cases.read(path, band) for band in bands])


def _field_of(found: DisplacementEstimate) -> Displacement | None:
    """What was found, also where it is one shift; None where nothing was."""
    return found.displacement or (None if found.shift is None else constant(found.shift))


def _apart(steps: Sequence[Displacement | None], told: Displacement | None, shape: tuple[int, ...]) -> str:
    """Rms length of what one or two displacements after each other differ from another by, px."""
    known = [step for step in steps if step is not None]
    if told is None or len(known) < len(steps):
        return "refused"
    area = (RIM, RIM, shape[0] - 2 * RIM, shape[1] - 2 * RIM)
    made = known[0] if len(known) == 1 else composed(*known)
    here, there = (np.stack(Spline.of(found).on(area)) for found in (made, told))
    return f"{np.sqrt(np.square(here - there).sum(axis=0).mean()):.3f}"


def networks() -> None:
    """Print what a network tells of dates displaced by fields, by how much of the anchor's ground they show."""
    row = table(
        "network",
        "part of the anchor's ground",
        "rms, px",
        "told, px",
        "error over sigma",
        "of the mean",
        "through",
    )
    for kind in ("smooth30", "relief"):
        for shares in (CHAIN, (1.0,) * len(CHAIN)):
            rng = np.random.default_rng(sorted(KINDS).index(kind))
            stack, truth = _dates_of(kind, shares, rng)
            quality = estimate_stack(
                stack, anchor=0, model="field", method="network", threshold=1.0
            ).compute()
            for k in range(1, len(shares)):
                row(KINDS[kind], f"{shares[k]:.2f}", *_numbers(quality.isel(time=k), stack, truth[k]))


def _dates_of(
    kind: str, shares: Sequence[float], rng: np.random.Generator
) -> tuple[xr.DataArray, NDArray[np.float64]]:
    """Dates that show two grounds in some shares, and how each is displaced, shape (date, 2, y, x); the first not."""
    grounds = [cases.read(*scene) for scene in SCENES[:2]]
    height, width = (min(n) for n in zip(*(ground.shape for ground in grounds), strict=True))
    first, second = ((ground[:height, :width] - ground.mean()) / ground.std() for ground in grounds)
    shape = height // FACTOR - 16, width // FACTOR - 16
    truth = np.zeros((len(shares), 2, *shape))
    pixels = []
    for k, share in enumerate(shares):
        if k:
            truth[k] = _about_mean(kind, shape, rng) + rng.uniform(-2, 2, 2)[:, None, None]
        # an item shows at q what the ground has at p where p - d(p) = q
        seen_from = np.zeros((2, *shape))
        at = np.mgrid[: shape[0], : shape[1]].astype(float)
        for _ in range(20):
            seen_from = np.stack(
                [map_coordinates(one, at + seen_from, order=1, mode="nearest") for one in truth[k]]
            )
        image = seen((share * first + (1 - share) * second).astype(np.float32), -seen_from)
        pixels.append(image + rng.normal(0, 0.05 * image.std(), shape))
    stack = xr.DataArray(
        (3000 + 500 * np.stack(pixels)).clip(1, 60000).astype(np.uint16)[:, None],
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + np.arange(len(shares)) * np.timedelta64(30, "D"),
            "y": 5e6 - 10.0 * np.arange(shape[0]),
            "x": 5e5 + 10.0 * np.arange(shape[1]),
        },
    )
    return stack.rio.write_crs(32633).rio.write_nodata(0), truth


def _numbers(one: xr.Dataset, stack: xr.DataArray, truth: Field) -> list[str]:
    """What is left of a date of a network, what it tells, and whether it is scored against another one."""
    if not bool(one.displacement_y.notnull().all()):
        return ["refused", "", "", "", ""]
    mean = truth.mean(axis=(1, 2))
    of_mean = [
        (float(one[f"shift_{axis}"]) - true) / float(one[f"shift_sigma_{axis}"])
        for axis, true in zip("yx", mean, strict=True)
    ]
    starts = [(one[f"lattice_{axis}"] - stack[axis][0]) / (stack[axis][1] - stack[axis][0]) for axis in "yx"]
    found = Displacement(
        origin=Shift(*(float(nodes[0]) for nodes in starts)),
        step=float(starts[0][1] - starts[0][0]),
        y=one.displacement_y.values,
        x=one.displacement_x.values,
        sigma=one.displacement_sigma.values,
    )
    area, inner = (0, 0, *truth.shape[1:]), (..., slice(RIM, -RIM), slice(RIM, -RIM))
    away = (np.stack(Spline.of(found).on(area)) - truth)[inner]
    return [
        f"{np.sqrt(np.square(away).sum(axis=0).mean()):.3f}",
        f"{float(one.residual):.3f}",
        f"{np.sqrt(np.square(away / sigma_on(found, area)[inner]).mean()):.2f}",
        f"{np.sqrt(np.square(of_mean).mean()):.2f}",
        "others" if str(one.against.item()) else "the anchor",
    ]


def large_scene(side: int, kept: Path | None, *, inline: bool = False) -> None:
    """Print time and memory of one large scene by one shift and by a field, against the bare copy.

    The ways take turns, and the least of a few times counts: other work on a machine only adds to them.
    """
    row = table(f"{side} x {side} x 4", "s of one core", "of the copy", "of one shift", "peak, MiB", "moved")
    ways = {"copy": "bare copy", "shift": 'model="shift"', "field": 'model="field"'}
    taken: dict[str, tuple[float, float, int]] = {}
    with workspace(kept) as folder, tempfile.TemporaryDirectory(dir=folder) as written:
        paths = [str(path) for path in make_scenes(folder / f"large_{side}", 1, (side, side), quick=True)]
        for turn, way in product(range(TURNS), ways):
            output = str(Path(written, f"{way}_{turn}"))
            one = in_process("fields:run_large", way, paths, output, inline=inline)
            taken[way] = min(taken.get(way, one), one)
    for way, (seconds, peak, moved) in taken.items():
        row(
            ways[way],
            f"{seconds:.2f}",
            f"{seconds / taken['copy'][0]:.2f}",
            f"{seconds / taken['shift'][0]:.2f}",
            f"{peak:.0f}",
            str(moved),
        )


def run_large(way: str, paths: Sequence[str], output: str) -> tuple[float, float, int]:
    """Seconds of one core, peak memory (MiB) and items moved of one way to write an item; compiled before."""
    files = list(map(Path, paths))
    if way == "copy":
        taken = timed(lambda: bare_copy(files[1:], Path(output), 1))
        return taken.cpu, peak_mib(), 0
    with tempfile.TemporaryDirectory() as folder, dask.config.set(scheduler="threads", num_workers=1):
        small = make_scenes(Path(folder, "small"), 1, (512, 512), quick=True)
        run_scenes(small, anchor=0, output=Path(folder, "warm"), model=way)
        begin = time.process_time()
        moved = run_scenes(files, anchor=0, output=output, model=way).count(Status.COREGISTERED)
        return time.process_time() - begin, peak_mib(), moved


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two kinds of one scene")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    other = [AROSICS] if "AROSICS_PYTHON" in os.environ else []
    parser.add_argument(
        "--models",
        nargs="+",
        choices=("shift", "affine", "field", "auto", *other),
        default=["shift", "auto", *other],
    )
    parser.add_argument("--count", type=int, default=1, help="pairs of each scene and kind")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=("made", "frames", "shifts", "dates", "network", "large"),
        help="by default all but the shifts and the large scene",
    )
    parser.add_argument("--side", type=int, default=4000, help="side of the large scene, px")
    parser.add_argument("--keep", type=Path, help="folder in which the large scenes are kept")
    parser.add_argument("--shifts", type=int, default=SHIFTS, help="how many true shifts")
    options = parser.parse_args()
    if options.quick:
        made_kinds(["shift", "smooth30"], ["auto"], SCENES[1:2], 1)
        return
    parts: dict[str, Callable[[], None]] = {
        "made": lambda: made_kinds(options.kinds, options.models, SCENES, options.count),
        "frames": lambda: real_frames(options.models),
        "shifts": lambda: true_shifts(options.shifts),
        "dates": real_dates,
        "network": networks,
        "large": lambda: large_scene(options.side, options.keep),
    }
    for name in options.only or ("made", "frames", "dates", "network"):
        parts[name]()
        print()


if __name__ == "__main__":
    main()
