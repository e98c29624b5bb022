"""Deep stacks whose shifts are exactly known: direct matching, the network, and a chain of AROSICS.

    python benchmarks/network.py                      the made stacks and the real NDVI series
    python benchmarks/network.py --dates 120          deeper stacks
    python benchmarks/network.py --seed 1             other dates, shifts, clouds and noise
    python benchmarks/network.py --anchors 60         anchor="auto" against so many of the clearest dates
    AROSICS_PYTHON=... python benchmarks/network.py   with AROSICS, of an environment that has it

A stack is made from real scenes of different places: one is what the ground looks like in summer, another
one in winter, a third changes from year to year. A date shows a blend by its season. As the scenes share
nothing, no date tells of the other season but through the dates between, and none is off by the others'
misregistration. All are block means of finer scenes, cut at whole fine pixels: the truth is exact. Clouds are
where real masks have them, bright, and seen by the masks but for their rims. The last table sets what was
measured against what is promised; times are those of the processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from _common import children_seconds, table
from cases import DATA, L8, NAIP, S2, block_mean, read
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

import coregstack

SIZE = 224
"""Side of the made stacks, px."""
FACTOR = 3
"""Fine pixels along a pixel's side."""
MOST = 6
"""Largest shift along each axis, fine pixels."""
WRONG = 0.25
"""A shift that is further from the truth and yet applied is wrong but accepted, px."""
CLOSE = 0.05
"""A shift that is nearer to the truth is right, px."""
CLOSED = 0.15
"""What the loops of a real series may fail to close by, px rms."""
NDVI_ANCHOR = "20170401T100022"
NDVI_HIDDEN = "20170220T100635"
"""A date that its mask calls 84 % clear, but that shows nothing of the ground: one sheet of cloud, of NDVI 0.12
to 0.22, which is like no other date. A shift found for it would be wrong."""

STACKS: dict[str, tuple[tuple[str, int], tuple[str, int], tuple[str, int]]] = {
    "fields": ((NAIP.format("20160816"), 1), (S2.format("B04"), 1), (NAIP.format("20180716"), 4)),
    "forest": ((S2.format("B08"), 1), (L8.format("B4"), 1), (S2.format("B02"), 1)),
}
"""What the ground looks like in summer, in winter, and what changes from year to year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one method found for a stack."""

    shift: NDArray[np.float64]
    """Shape (n, 2), px; NaN where none was found."""
    sigma: NDArray[np.float64]
    closure: NDArray[np.float64]
    """Shape (n,), px; NaN where there is none."""
    applied: NDArray[np.bool_]
    """Shape (n,): the item is taken as aligned, with or without being moved."""
    seconds: float
    """Processor time."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (n,): a shift was found."""
        return np.isfinite(self.shift).all(axis=1)


def made_stack(name: str, dates: int, size: int, seed: int = 0) -> tuple[xr.DataArray, NDArray[np.float64]]:
    """A stack, and the true shifts of its items onto the first lattice, shape (dates, 2), px."""
    rng = np.random.default_rng(seed)
    fine = size * FACTOR + 2 * MOST
    summer, winter, other = (_fine_scene(*source, fine) for source in STACKS[name])
    winter, other = _unrelated(winter, summer), _unrelated(other, summer)
    days = np.sort(rng.choice(3 * 365, dates, replace=False))
    masks = _cloud_masks(size)
    pixels = np.empty((dates, size, size), np.float32)
    clear = np.empty((dates, size, size), bool)
    truth = rng.integers(-MOST, MOST + 1, (dates, 2))
    for k, day in enumerate(days):
        snow = np.clip(0.5 + 0.9 * np.cos(2 * np.pi * (day - 15) / 365), 0, 1)
        year = 0.25 * np.sin(2.4 * (day // 365) + 1)
        ground = (1 - snow) * (summer + year * other) + snow * winter
        top, left = MOST + truth[k]
        seen = block_mean(ground[top : top + size * FACTOR, left : left + size * FACTOR], FACTOR)
        seen = rng.uniform(0.8, 1.2) * seen + rng.normal(0, 0.04, seen.shape) * seen.std()
        cloud = masks[rng.integers(len(masks))][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        bright = 3 + gaussian_filter(rng.normal(0, 20, seen.shape), 6)
        # The masks miss the rims of the clouds.
        clear[k] = ~binary_erosion(cloud, iterations=2)
        pixels[k] = np.where(cloud, bright, seen)
    stack = xr.DataArray(
        (3000 + 500 * pixels).clip(1, 60000).astype(np.uint16),
        dims=("time", "y", "x"),
        coords={
            "time": np.datetime64("2020-01-01", "ns") + days.astype("timedelta64[D]"),
            "id": ("time", [f"d{day:04d}" for day in days]),
            "clear": (("time", "y", "x"), clear),
            "y": 5e6 - 10.0 * np.arange(size),
            "x": 5e5 + 10.0 * np.arange(size),
        },
    )
    return stack.rio.write_crs(32633).rio.write_nodata(0), truth / FACTOR


def _fine_scene(path: str, band: int, fine: int) -> NDArray[np.float32]:
    image = read(path, band)
    valid = image > 0
    rows, cols = ((side - fine) // 2 for side in image.shape)
    if min(rows, cols) < 0:
        raise SystemExit(f"{path} is too small for stacks of this size.")
    part, inside = (a[rows : rows + fine, cols : cols + fine] for a in (image, valid))
    middle, spread = np.mean(part[inside]), np.std(part[inside])
    return np.where(inside, ((part - middle) / spread).clip(-4, 4), 0).astype(np.float32)


def _unrelated(scene: NDArray[np.float32], summer: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scene, turned and mirrored so that by chance it looks least like a movement of the summer's.

    What correlates with the gradient of another scene moves the blend of both as a true shift would.
    """

    def seen(image: NDArray[np.float32]) -> NDArray[np.float32]:
        means = block_mean(image, FACTOR)
        return means - gaussian_filter(means, 4)

    gradients = [gradient.ravel() for gradient in np.gradient(seen(summer))]

    def movement(image: NDArray[np.float32]) -> float:
        values = seen(image).ravel()
        return float(np.hypot(*((values @ gradient) / (gradient @ gradient) for gradient in gradients)))

    turned = [np.rot90(side, k) for side in (scene, scene[::-1]) for k in range(4)]
    return min(turned, key=movement)


def _cloud_masks(size: int) -> list[NDArray[np.bool_]]:
    """Real cloud masks, those of wholly clouded dates left out."""
    masks = []
    for path in sorted((DATA / "s2_ndvi_slovenia_10m").glob("*_clm.tif")):
        mask = read(str(path.relative_to(DATA))) == 1
        if mask.mean() < 0.9:
            scale = size / min(mask.shape)
            masks.append(zoom(mask.astype(np.uint8), scale, order=0)[:size, :size] > 0)
    return masks


def run(stack: xr.DataArray, anchor: int, method: str) -> Result:
    """Shifts by one of the package's own methods."""
    begin = time.process_time()
    quality = coregstack.estimate(stack, anchor, method=method).compute()
    seconds = time.process_time() - begin
    status = quality.status.values
    unknown = np.full(quality.status.shape, np.nan)
    return Result(
        shift=np.stack([quality.shift_y, quality.shift_x], axis=1),
        sigma=np.stack([quality.shift_sigma_y, quality.shift_sigma_x], axis=1),
        closure=quality.closure.values if "closure" in quality else unknown,
        applied=np.isin(status, ["coregistered", "already_aligned", "no_improvement"]),
        seconds=seconds,
    )


def arosics_chain(stack: xr.DataArray, anchor: int) -> Result | None:
    """Every date against the date before it, from the anchor on both ways, shifts added up."""
    python = os.environ.get("AROSICS_PYTHON")
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "stack.npz")
        np.savez(data, pixels=stack.values, clear=stack.clear.values, anchor=anchor)
        begin = children_seconds()
        command = [python, str(Path(__file__).with_name("arosics_chain.py")), str(data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = children_seconds() - begin
        shift = np.load(data.with_suffix(".npy"))
    unknown = np.full(shift.shape, np.nan)
    return Result(
        shift=shift,
        sigma=unknown,
        closure=unknown[:, 0],
        applied=np.isfinite(shift).all(axis=1),
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One promise, and what was measured of it."""

    what: str
    bound: str
    measured: str
    met: bool


def compare(name: str, dates: int, size: int, seed: int) -> list[Goal]:
    """Print what each method makes of one stack; returns what became of the goals."""
    stack, truth = made_stack(name, dates, size, seed)
    share = stack.clear.mean(("y", "x")).values
    summer = np.abs((stack.time.dt.dayofyear.values - 196 + 182) % 365 - 182)
    anchor = int(np.argmin(summer - 200.0 * share))
    truth = truth - truth[anchor]
    run(stack[:3], 0, "network")
    direct, network = run(stack, anchor, "direct"), run(stack, anchor, "network")
    results = {"direct": direct, "network": network, "AROSICS chain": arosics_chain(stack, anchor)}
    print(f"\n{name}: {dates} dates of {size} x {size} px, anchor {stack.id.values[anchor]}\n")
    row = table("method", "shift known", "RMSE, px", "worst, px", f"more than {WRONG} px off", "CPU s")
    others = np.arange(dates) != anchor
    for label, one in results.items():
        if one is not None:
            away = np.hypot(*(one.shift - truth).T)[others & one.applied & one.known]
            rmse = np.sqrt(np.mean(away**2)) if away.size else np.nan
            wrong = int((away > WRONG).sum())
            cells = f"{rmse:.4f}", f"{away.max(initial=0):.3f}", wrong, f"{one.seconds:.1f}"
            row(label, f"{away.size} of {others.sum()}", *cells)
    refused = others & ~direct.known
    before, after = (np.hypot(*(one.shift - truth).T) for one in (direct, network))
    found = int((after[refused] < CLOSE).sum())
    both = others & direct.known & direct.applied
    worse = int((both & ~(after <= before + np.hypot(*network.sigma.T))).sum())
    wrong = int((after[others & network.applied & network.known] > WRONG).sum())
    ratio = ((network.shift - truth) / network.sigma)[others & network.known]
    print(f"\nerror over sigma, network: {np.sqrt(np.mean(ratio**2)):.2f}")
    cost = network.seconds / direct.seconds
    return [
        Goal(
            what=f"{name}: refused by direct, within {CLOSE} px by the network",
            bound=">= 95 %",
            measured=f"{found} of {refused.sum()}",
            met=found >= 0.95 * refused.sum(),
        ),
        Goal(
            what=f"{name}: worse than direct by more than its sigma",
            bound="0",
            measured=f"{worse} of {both.sum()}",
            met=worse == 0,
        ),
        Goal(
            what=f"{name}: wrong but accepted", bound="0",
            measured=f"{wrong} of {others.sum()}", met=wrong == 0,
        ),
        Goal(what=f"{name}: CPU time", bound="<= 4 x direct", measured=f"{cost:.2f}", met=cost <= 4),
    ]  # fmt: skip


def ndvi(stack: xr.DataArray) -> list[Goal]:
    """Print how much of a real series is aligned, and how well its loops close."""
    hidden = stack.id.values == NDVI_HIDDEN
    enough = (stack.clear.mean(("y", "x")).values >= 0.4) & ~hidden
    count = int(enough.sum())
    print(
        f"\nNDVI series: {enough.size} dates, {count} of them at least 40 % clear and not hidden by cloud\n"
    )
    row = table("anchor", "method", "shift known, of these", "closure, px rms", "CPU s")
    goals = []
    for anchor in (stack.id.values.tolist().index(NDVI_ANCHOR), _chosen(stack)):
        for method in ("direct", "network"):
            one = run(stack, anchor, method)
            known = int(((one.known | (np.arange(enough.size) == anchor)) & enough).sum())
            closures = one.closure[enough & np.isfinite(one.closure)]
            closure = np.sqrt(np.mean(closures**2)) if closures.size else np.nan
            day = stack.id.values[anchor][:8]
            row(day, method, f"{known} of {count}", f"{closure:.3f}", f"{one.seconds:.1f}")
            if method == "network":
                goals += [
                    Goal(
                        what=f"NDVI, anchor {day}: dates at least 40 % clear, aligned",
                        bound="all", measured=f"{known} of {count}", met=known == count,
                    ),
                    Goal(
                        what=f"NDVI, anchor {day}: closure", bound=f"< {CLOSED} px rms",
                        measured=f"{closure:.3f}", met=bool(closure < CLOSED),
                    ),
                    Goal(
                        what=f"NDVI, anchor {day}: a date of nothing but cloud, aligned", bound="0",
                        measured=f"{(one.known & hidden).sum()} of 1", met=not (one.known & hidden).any(),
                    ),
                ]  # fmt: skip
    return goals


def ndvi_stack() -> xr.DataArray:
    """The real series, with its own cloud masks."""
    paths = sorted((DATA / "s2_ndvi_slovenia_10m").glob("*_ndvi.tif"))
    names = [path.name[3:18] for path in paths]
    pixels = np.stack([read(str(path.relative_to(DATA))) for path in paths])
    clouds = np.stack([read(str(path.relative_to(DATA)).replace("_ndvi.tif", "_clm.tif")) for path in paths])
    clear = (clouds != 1) & (pixels != -32768)
    return xr.DataArray(
        pixels,
        dims=("time", "y", "x"),
        coords={
            "time": pd.to_datetime(names).to_numpy("datetime64[ns]"),
            "id": ("time", names),
            "clear": (("time", "y", "x"), clear),
        },
    )


def auto_anchor(name: str, stack: xr.DataArray, tried: int) -> Goal:
    """How the mean sigma by the chosen anchor compares with that of the best of the `tried` clearest ones.

    A choice counts if it reaches as many items as any, and if its loops close as promised: a small sigma that
    its own loops contradict is no better. What the ratio is to all that reach as many is said as well.
    """
    chosen = _chosen(stack)
    clear = np.argsort(-stack.clear.mean(("y", "x")).values, kind="stable")[:tried].tolist()
    results = {k: run(stack, k, "network") for k in dict.fromkeys([chosen, *clear])}
    sigmas = {k: np.hypot(*one.sigma.T) for k, one in results.items()}
    reached = {k: int(np.isfinite(sigma).sum()) for k, sigma in sigmas.items()}
    full = [k for k in sigmas if reached[k] >= max(reached.values()) - 1]
    able = [k for k in full if np.sqrt(np.nanmean(results[k].closure ** 2)) < CLOSED]
    means = {k: float(np.nanmean(sigmas[k])) for k in dict.fromkeys([chosen, *full])}
    best = min(dict.fromkeys([chosen, *able]), key=lambda k: means[k])
    labels = stack.id.values
    return Goal(
        what=f"{name}: mean sigma by the anchor chosen over the best of {len(sigmas)}",
        bound="<= 1.10",
        measured=f"{means[chosen] / means[best]:.2f} ({labels[chosen]}: {means[chosen]:.4f} px of "
        f"{reached[chosen]}; {labels[best]}: {means[best]:.4f} px of {reached[best]}; "
        f"{means[chosen] / min(means.values()):.2f} with those whose loops stay open)",
        met=chosen in able and means[chosen] <= 1.1 * means[best],
    )


def _chosen(stack: xr.DataArray) -> int:
    """Position of the anchor that is chosen for a stack."""
    return stack.id.values.tolist().index(coregstack.rank_anchors(stack).index[0])


def main(arguments: list[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dates", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the made stacks")
    parser.add_argument("--anchors", type=int, default=8, help="anchors that the chosen one is compared with")
    parser.add_argument("--quick", action="store_true", help="one small made stack, seconds")
    options: Any = parser.parse_args(arguments)
    if not DATA.is_dir():
        parser.error(f"no scenes at {DATA}: set COREGSTACK_DATA to the folder that holds them")
    goals = []
    for name in list(STACKS)[:1] if options.quick else STACKS:
        dates, size = (28, 160) if options.quick else (options.dates, SIZE)
        goals += compare(name, dates, size, options.seed)
        if options.anchors and not options.quick:
            stack = made_stack(name, dates, size, options.seed)[0]
            goals.append(auto_anchor(name, stack, options.anchors))
    if not options.quick:
        series = ndvi_stack()
        goals += ndvi(series)
        if options.anchors:
            goals.append(auto_anchor("NDVI", series, options.anchors))
    print()
    row = table("goal", "bound", "measured", "met")
    for goal in goals:
        row(goal.what, goal.bound, goal.measured, "yes" if goal.met else "NO")


if __name__ == "__main__":
    sys.exit(main())
