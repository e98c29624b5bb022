"""Series of real dates, of which no shift is known, but which have to be consistent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import cases
import numpy as np
import peers
import rioxarray  # noqa: F401 (its accessor)
import xarray as xr
from cases import Image, Mask, Pair, read
from scipy.ndimage import binary_dilation, gaussian_filter, label, shift
from scipy.optimize import minimize

import coregstack
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource

NDVI = "s2_ndvi_slovenia_10m/s2_{}_{}.tif"
NDVI_ANCHOR = "20170401T100022"


def closure(estimators: dict[str, peers.Estimator]) -> Iterator[str]:
    """Shifts a to b, b to c and c to a of every triple of NAIP dates must add up to nothing."""
    for name, estimate in estimators.items():
        yield _closure(name, estimate, (1,))
    for bands in ((4,), (1, 4), (1, 2, 3, 4)):
        yield _closure("coregstack", None, bands)


def _closure(name: str, estimate: peers.Estimator | None, bands: tuple[int, ...]) -> str:
    dates, box = cases.NAIP_DATES, (slice(100, 612), slice(200, 712))
    usable = np.ones((512, 512), bool)
    images = {d: np.stack([read(cases.NAIP.format(d), b)[box] for b in bands]) for d in dates}
    found = {}
    for a, b in itertools.combinations(dates, 2):
        if estimate is not None:
            pair = Pair(
                family="",
                anchor=images[a][0],
                item=images[b][0],
                anchor_usable=usable,
                item_usable=usable,
                truth=None,
            )
            found[a, b] = estimate(pair)[:2]
        else:
            anchor, item = (ArraySource(values=images[d], usable=usable) for d in (a, b))
            result = estimate_shift(prepare_anchor(anchor), item)
            found[a, b] = result.shift, result.sigma
    gaps, ratios = [], []
    for a, b, c in itertools.combinations(dates, 3):
        sides = found[a, b], found[b, c], found[a, c]
        if all(s[0] is not None for s in sides):
            gaps.append(np.add(sides[0][0], sides[1][0]) - sides[2][0])
            if all(s[1] is not None for s in sides):
                ratios.append(gaps[-1] / np.sqrt(sum(np.square(s[1]) for s in sides)))
    gap = np.array(gaps).reshape(-1, 2)
    ratio = f", over sigma {np.sqrt(np.mean(np.square(ratios))):.2f}" if ratios else ""
    rms = np.sqrt(np.mean(gap**2, axis=0)) if len(gap) else (np.nan, np.nan)
    which = "+".join(str(b) for b in bands)
    return (
        f"closure of NAIP triples        {name:20s} band {which}: rms ({rms[0]:.3f}, {rms[1]:.3f}) px, "
        f"{len(gap)} of 56 triples{ratio}"
    )


def ndvi(_: dict[str, peers.Estimator]) -> Iterator[str]:
    """Clear dates of the NDVI series by an estimator of another kind, as they are and where they were put."""
    dates = sorted(p.name[3:18] for p in (cases.DATA / "s2_ndvi_slovenia_10m").glob("*_ndvi.tif"))
    scenes = {date: _ndvi_scene(date) for date in dates}
    clear = [date for date in dates if scenes[date][1].mean() > 0.98]
    line = _lasting_line([scenes[date][0] for date in clear])
    own = {date: _line_shift(scenes[NDVI_ANCHOR][0], scenes[date][0], line) for date in clear}
    own.pop(NDVI_ANCHOR)
    yield _ndvi_row("as they are", own, dict.fromkeys(own, (0.0, 0.0)))
    for method in ("direct", "network"):
        found = _ndvi_shifts(scenes, method)
        left = {date: found[date] for date in own if date in found}
        yield f"{_ndvi_row(method, own, left)}; {len(found)} of {len(dates)} dates known"
        yield _drift_row(method, own, left)


def _ndvi_row(name: str, own: dict[str, tuple[float, float]], found: dict[str, tuple[float, float]]) -> str:
    rest = np.array([np.subtract(own[date], found[date]) for date in found])
    spread, most = np.std(rest, axis=0), np.abs(rest - np.median(rest, axis=0)).max(axis=0)
    return (
        f"NDVI series, clear dates       {name:20s} {len(rest)} dates: standard deviation "
        f"({spread[0]:.2f}, {spread[1]:.2f}) px, most ({most[0]:.2f}, {most[1]:.2f})"
    )


def _drift_row(name: str, own: dict[str, tuple[float, float]], found: dict[str, tuple[float, float]]) -> str:
    """How what is left changes from June to October: textures move with the sun, the road does not."""
    days = {date: np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:8]}") for date in found}
    of_year = {date: int((day - day.astype("datetime64[Y]")).astype(int)) for date, day in days.items()}
    summer = [date for date, day in of_year.items() if 150 <= day < 300]
    if len({of_year[date] for date in summer}) < 3:
        return f"NDVI series, June to October   {name:20s} too few dates"
    rest = np.array([np.subtract(found[date], own[date]) for date in summer])
    y, x = 30 * np.polyfit([of_year[date] for date in summer], rest, 1)[0]
    return f"NDVI series, June to October   {name:20s} {len(summer)} dates drift by ({y:+.2f}, {x:+.2f}) px in 30 days"


def _ndvi_shifts(scenes: dict[str, tuple[Image, Mask]], method: str) -> dict[str, tuple[float, float]]:
    """Shifts of the dates that are known, by date."""
    values, usable = (np.stack(part) for part in zip(*scenes.values(), strict=True))
    times = [np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:8]}", "ns") for d in scenes]
    stack = xr.DataArray(
        values,
        dims=("time", "y", "x"),
        coords={
            "time": times, "id": ("time", list(scenes)),
            "y": 5.1e6 - 10.0 * np.arange(values.shape[1]), "x": 5e5 + 10.0 * np.arange(values.shape[2]),
        },
    ).rio.write_crs("EPSG:32633").rio.write_nodata(-32768)  # fmt: skip
    clear = xr.DataArray(usable, dims=stack.dims, coords={k: stack[k] for k in ("time", "y", "x")})
    quality = coregstack.estimate(stack, anchor=NDVI_ANCHOR, mask=clear, method=method).compute()
    known = quality.shift_y.notnull().values
    return {
        str(date): (float(y), float(x))
        for date, y, x in zip(
            quality.id.values[known],
            quality.shift_y.values[known],
            quality.shift_x.values[known],
            strict=True,
        )
    }


def _ndvi_scene(date: str) -> tuple[Image, Mask]:
    value = read(NDVI.format(date, "ndvi"))
    return value, (value != -32768) & (read(NDVI.format(date, "clm")) != 1)


def _lasting_line(images: list[Image]) -> Mask:
    """Where the longest line lies that is darker than its surroundings over the years: a road, and its verge.

    The forest round it looks another way with every season, so that its texture proves little.
    """
    typical = np.median([_flattened(image) for image in images], axis=0)
    parts, _ = label(binary_dilation(typical < np.percentile(typical, 6)))
    sizes = np.bincount(parts.ravel())
    longest = parts == 1 + int(np.argmax(sizes[1:]))
    # above the bridge, its dark pixels are those of a village
    longest[:12] = False
    return binary_dilation(longest, iterations=3)


def _line_shift(anchor: Image, item: Image, line: Mask) -> tuple[float, float]:
    """Shift that brings the line in the item onto that in the anchor: plain correlation, sign and all.

    It shares nothing with the estimator but the images.
    """
    first, second = _flattened(anchor)[line], _flattened(item)

    def miss(offset: Sequence[float]) -> float:
        return -float(np.corrcoef(first, shift(second, offset, order=3, mode="nearest")[line])[0, 1])

    start = min(itertools.product(np.arange(-3, 3.1, 0.5), np.arange(-2, 2.1, 0.5)), key=miss)
    # The simplex that scipy starts from by default is all but a point where the start is 0.
    simplex = np.add(start, [(0, 0), (0.25, 0), (0, 0.25)])
    options = {"xatol": 0.01, "fatol": 1e-5, "initial_simplex": simplex}
    y, x = minimize(miss, start, method="Nelder-Mead", options=options).x
    return float(y), float(x)


def _flattened(image: Image) -> Image:
    return image - gaussian_filter(image, 5)


def speed(_: dict[str, peers.Estimator]) -> Iterator[str]:
    """Seconds of one core for scenes of two sizes, the anchor prepared."""
    rng = np.random.default_rng(0)
    for side in (2048, 8000):
        coarse = cases.fractal((side // 4 + 20, side // 4 + 20), rng, 2.2)
        scene = np.kron(coarse, np.ones((4, 4), np.float32))
        scene += 0.3 * rng.standard_normal(scene.shape, dtype=np.float32)
        scene = (2000 + 400 * scene).astype(np.uint16)
        usable = np.ones((side, side), bool)
        first, second = scene[20 : 20 + side, 20 : 20 + side], scene[33 : 33 + side, 9 : 9 + side]
        anchor = prepare_anchor(ArraySource(values=first[None], usable=usable))
        item = ArraySource(values=second[None], usable=usable)
        taken = []
        for _run in range(4):
            start = time.process_time()
            estimate_shift(anchor, item)
            taken.append(time.process_time() - start)
        yield f"time                           coregstack           {side} x {side} px: {min(taken):.3f} s"


SERIES = {"closure": closure, "ndvi": ndvi, "speed": speed}
