"""Series of real dates, of which no shift is known, but which have to be consistent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import cases
import numpy as np
import peers
from cases import Image, Mask, Pair, read
from scipy.ndimage import gaussian_filter, shift, sobel

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
    """Clear dates of the NDVI series, before and after, by an estimator of another kind."""
    dates = sorted(p.name[3:18] for p in (cases.DATA / "s2_ndvi_slovenia_10m").glob("*_ndvi.tif"))
    scenes = {d: _ndvi_scene(d) for d in dates}
    value, usable = scenes[NDVI_ANCHOR]
    anchor = prepare_anchor(ArraySource(values=value[None], usable=usable))
    before, after, refused = [], [], 0
    for date in dates:
        item, clear = scenes[date]
        found = estimate_shift(anchor, ArraySource(values=item[None], usable=clear))
        refused += found.shift is None
        if clear.mean() > 0.98 and date != NDVI_ANCHOR and found.shift is not None:
            before.append(_edges_apart(value, item))
            after.append(_edges_apart(value, shift(item, found.shift, order=3, mode="nearest")))
    for name, left in (("as they are", before), ("shifted", after)):
        spread = np.std(left, axis=0)
        robust = 1.4826 * np.median(np.abs(left - np.median(left, axis=0)), axis=0)
        yield (
            f"NDVI series, clear dates       {name:20s} {len(left)} dates: standard deviation "
            f"({spread[0]:.2f}, {spread[1]:.2f}) px, robust ({robust[0]:.2f}, {robust[1]:.2f}); {refused} dates refused"
        )


def _ndvi_scene(date: str) -> tuple[Image, Mask]:
    value = read(NDVI.format(date, "ndvi"))
    return value, (value != -32768) & (read(NDVI.format(date, "clm")) != 1)


def _edges_apart(first: Image, second: Image) -> tuple[float, float]:
    """Shift between the edge strengths of two images: plain correlation, tapered, within 2 px.

    Edges stay where they are when crops turn from dark to bright, so their strength can be correlated
    over a year. This shares nothing with the estimator but the images.
    """

    def edges(image: Image) -> Image:
        smooth = gaussian_filter(image, 0.7)
        strength = np.hypot(sobel(smooth, 0), sobel(smooth, 1))
        taper = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
        return (strength - gaussian_filter(strength, 6)) * taper

    product = np.fft.fft2(edges(first)) * np.conj(np.fft.fft2(edges(second)))
    reach = np.arange(-2, 2.001, 0.02)
    fy, fx = (np.fft.fftfreq(n) for n in first.shape)
    surface = (
        np.exp(2j * np.pi * np.outer(reach, fy)) @ product @ np.exp(2j * np.pi * np.outer(fx, reach))
    ).real
    y, x = np.unravel_index(np.argmax(surface), surface.shape)
    return float(reach[y]), float(reach[x])


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
