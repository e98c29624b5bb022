"""Deep stacks whose shifts are exactly known: direct matching, the network, and a chain of AROSICS.

    python benchmarks/network.py                      the made stacks and the real NDVI series
    python benchmarks/network.py --dates 120          deeper stacks
    python benchmarks/network.py --anchors            how good a choice anchor="auto" is
    AROSICS_PYTHON=... python benchmarks/network.py   with AROSICS, of an environment that has it

A stack is made from real scenes of different places: one is what the ground looks like in summer, another
one in winter, a third changes from year to year. A date shows a blend by its season. As the scenes share
nothing, no date tells of the other season but through the dates between, and none is off by the others'
misregistration. All are block means of finer scenes, cut at whole fine pixels: the truth is exact. Clouds are
where real masks have them, bright, and seen by the masks but for their rims.
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
from cases import DATA, L8, NAIP, S2, block_mean, read
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

import coregstack

FACTOR = 3
"""Fine pixels along a pixel's side."""
MOST = 6
"""Largest shift along each axis, fine pixels."""
WRONG = 0.25
"""A shift that is further from the truth and yet applied is wrong but accepted, px."""

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
    applied: NDArray[np.bool_]
    """Shape (n,): the item is taken as aligned, with or without being moved."""
    seconds: float


def made_stack(
    name: str, dates: int, size: int = 224, seed: int = 0
) -> tuple[xr.DataArray, NDArray[np.float64]]:
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
    begin = time.perf_counter()
    quality = coregstack.estimate(stack, anchor, method=method).compute()
    seconds = time.perf_counter() - begin
    status = quality.status.values
    return Result(
        shift=np.stack([quality.shift_y, quality.shift_x], axis=1),
        sigma=np.stack([quality.shift_sigma_y, quality.shift_sigma_x], axis=1),
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
        begin = time.perf_counter()
        command = [python, str(Path(__file__).with_name("arosics_chain.py")), str(data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        shift = np.load(data.with_suffix(".npy"))
    unknown = np.full(shift.shape, np.nan)
    return Result(shift=shift, sigma=unknown, applied=np.isfinite(shift).all(axis=1), seconds=seconds)


def compare(name: str, dates: int) -> None:
    """Print what each method makes of one stack."""
    stack, truth = made_stack(name, dates)
    share = stack.clear.mean(("y", "x")).values
    summer = np.abs((stack.time.dt.dayofyear.values - 196 + 182) % 365 - 182)
    anchor = int(np.argmin(summer - 200.0 * share))
    truth = truth - truth[anchor]
    run(stack[:3], 0, "network")
    direct, network = run(stack, anchor, "direct"), run(stack, anchor, "network")
    results = {"direct": direct, "network": network, "AROSICS chain": arosics_chain(stack, anchor)}
    print(
        f"\n{name}: {dates} dates of {stack.sizes['y']} x {stack.sizes['x']} px, anchor {stack.id.values[anchor]}"
    )
    others = np.arange(dates) != anchor
    refused = others & ~np.isfinite(direct.shift).all(axis=1)
    rows = []
    for label, one in results.items():
        if one is None:
            continue
        away = np.hypot(*(one.shift - truth).T)
        got = others & one.applied & np.isfinite(away)
        rows.append(
            {
                "method": label,
                "aligned": f"{got.sum()}/{others.sum()}",
                "rmse": np.sqrt(np.mean(away[got] ** 2)) if got.any() else np.nan,
                "worst": away[got].max(initial=0),
                "wrong": int((away[got] > WRONG).sum()),
                "refused by direct, within 0.05 px": f"{(away[refused] < 0.05).sum()}/{refused.sum()}",
                "of these >= 20 % clear": f"{(away[refused & (share > 0.2)] < 0.05).sum()}/"
                f"{(refused & (share > 0.2)).sum()}",
                "s": one.seconds,
            }
        )
    print(pd.DataFrame(rows).set_index("method").round(4).to_string())
    before, after = (np.hypot(*(one.shift - truth).T) for one in (direct, network))
    both = others & np.isfinite(before) & direct.applied
    worse = both & ~(after <= before + np.hypot(*network.sigma.T))
    print(f"worse than direct by more than its sigma: {worse.sum()} of {both.sum()}", end="; ")
    ratio = ((network.shift - truth) / network.sigma)[others & np.isfinite(after)]
    print(
        f"error over sigma {np.sqrt(np.mean(ratio**2)):.2f}; time {network.seconds / direct.seconds:.1f} x direct"
    )


def anchors(name: str, dates: int, tried: int = 8) -> None:
    """Print how the mean sigma by the chosen anchor compares with that of the best of some clear ones."""
    stack, _ = made_stack(name, dates)
    table = coregstack.rank_anchors(stack)
    ids = stack.id.values.tolist()
    clear = np.argsort(-stack.clear.mean(("y", "x")).values, kind="stable")
    candidates = dict.fromkeys(
        [ids.index(table.index[0]), *clear[:: max(1, len(clear) // (2 * tried))][:tried].tolist()]
    )
    means = {}
    for anchor in candidates:
        sigma = run(stack, anchor, "network").sigma
        means[anchor] = float(np.nanmean(sigma)), int(np.isfinite(sigma).all(axis=1).sum())
    chosen = next(iter(candidates))
    most = max(count for _, count in means.values())
    best = min(mean for mean, count in means.values() if count >= most - 1)
    print(
        f"{name}: chosen {ids[chosen]}, mean sigma {means[chosen][0]:.4f} px of {means[chosen][1]} items;",
        end=" ",
    )
    print(f"best {best:.4f} px, of {most}")


def ndvi() -> None:
    """Print how much of a real series is aligned, and how well its loops close."""
    paths = sorted((DATA / "s2_ndvi_slovenia_10m").glob("*_ndvi.tif"))
    names = [path.name[3:18] for path in paths]
    pixels = np.stack([read(str(path.relative_to(DATA))) for path in paths])
    clouds = np.stack([read(str(path.relative_to(DATA)).replace("_ndvi.tif", "_clm.tif")) for path in paths])
    clear = (clouds != 1) & (pixels != -32768)
    stack = xr.DataArray(
        pixels,
        dims=("time", "y", "x"),
        coords={
            "time": pd.to_datetime(names).to_numpy("datetime64[ns]"),
            "id": ("time", names),
            "clear": (("time", "y", "x"), clear),
        },
    )
    enough = clear.mean(axis=(1, 2)) >= 0.4
    print(f"\nNDVI series: {len(names)} dates, {enough.sum()} of them at least 40 % clear")
    for anchor in ("20170401T100022", "auto"):
        for method in ("direct", "network"):
            quality = coregstack.estimate(stack, anchor, method=method).compute()
            known = np.isfinite(quality.shift_y.values) | (quality.status.values == "anchor")
            counts = quality.status.to_series()[enough].value_counts().to_dict()
            words = f"{quality.attrs['anchor']} {method}: shift known of {(known & enough).sum()}; {counts}"
            if "closure" in quality:
                closure = quality.closure.values[enough]
                words += f"; closure {np.sqrt(np.nanmean(closure**2)):.3f} px rms"
            print(words)


def main(arguments: list[str] | None = None) -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dates", type=int, default=60)
    parser.add_argument("--anchors", action="store_true")
    options: Any = parser.parse_args(arguments)
    for name in STACKS:
        (anchors if options.anchors else compare)(name, options.dates)
    if not options.anchors:
        ndvi()


if __name__ == "__main__":
    sys.exit(main())
