"""Time the resampling and score kernels against memory bandwidth and against other libraries.

Run ``python benchmarks/kernels.py``; it prints one table. Everything runs on one thread. "x copy" is the time
over that of copying the same pixels in memory, "x ours" the time of another library over that of the
kernel above it, and "made of 0.10" the shift in pixels that a resampler really makes along a ramp
when it is asked for 0.10. With ``--first`` it tells instead how long a first run takes, which compiles all kernels
that it needs, and how long the next one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.displaced import displaced_positions, resample_at
from coregstack.kernels.displacement import Spline
from coregstack.kernels.moving import move_image
from coregstack.kernels.resample import translate, translate_mask
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.sources import ArraySource
from coregstack.model import Displacement, Shift

Mover = Callable[[NDArray[np.generic], Shift], NDArray[np.generic]]
START = Shift(0.3, -2.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One row of the table: what is called on what."""

    name: str
    call: Callable[[], object]
    moves: Mover | None = None
    """How it moves an image, if that is what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A kernel of this package, first, and those that do the same."""

    task: str
    pixels: NDArray[np.generic]
    contenders: Sequence[Contender]


def ours(kernel: str, nodata: float | None = None) -> Mover:
    """`translate` with one kernel, as a mover."""
    return lambda values, start: translate(
        values, start=start, shape=values.shape, kernel=kernel, nodata=nodata
    )


def by_scipy(order: int) -> Mover:
    """Splines of scipy.ndimage."""
    from scipy import ndimage

    return lambda values, start: ndimage.shift(values, (-start.y, -start.x), order=order)


def by_gdal(method: str) -> Mover:
    """GDAL's warp, through rasterio."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.warp import Resampling, reproject

    def move(values: NDArray[np.generic], start: Shift) -> NDArray[np.generic]:
        out = np.zeros_like(values)
        with rasterio.Env(GDAL_NUM_THREADS=1):
            reproject(
                values,
                out,
                src_transform=from_origin(5e5, 5e6, 3, 3),
                dst_transform=from_origin(5e5 + 3 * start.x, 5e6 - 3 * start.y, 3, 3),
                src_crs="EPSG:32633",
                dst_crs="EPSG:32633",
                resampling=Resampling[method],
                num_threads=1,
            )
        return out

    return move


def by_cv2(method: str) -> Mover:
    """OpenCV's affine warp."""
    import cv2

    cv2.setNumThreads(1)
    flags = getattr(cv2, f"INTER_{method.upper()}") | cv2.WARP_INVERSE_MAP

    def move(values: NDArray[np.generic], start: Shift) -> NDArray[np.generic]:
        return cv2.warpAffine(
            values, np.array([[1, 0, start.x], [0, 1, start.y]]), values.shape[::-1], flags=flags
        )

    return move


PEERS: dict[str, dict[str, tuple[str, Callable[[], Mover]]]] = {
    "nearest": {"scipy order 0": ("scipy", lambda: by_scipy(0))},
    "bilinear": {
        "scipy order 1": ("scipy", lambda: by_scipy(1)),
        "GDAL bilinear": ("rasterio", lambda: by_gdal("bilinear")),
        "OpenCV linear": ("cv2", lambda: by_cv2("linear")),
    },
    "cubic": {
        "scipy order 3": ("scipy", lambda: by_scipy(3)),
        "GDAL cubic": ("rasterio", lambda: by_gdal("cubic")),
        "OpenCV cubic": ("cv2", lambda: by_cv2("cubic")),
    },
    "lanczos": {
        "GDAL lanczos": ("rasterio", lambda: by_gdal("lanczos")),
        "OpenCV Lanczos-4": ("cv2", lambda: by_cv2("lanczos4")),
    },
    "allpass": {},
}


def movers(values: NDArray[np.generic], nodata: float | None, kernels: Sequence[str]) -> Iterator[Contest]:
    """Contests of moving an image by a sub-pixel shift."""

    def contender(name: str, move: Mover) -> Contender:
        return Contender(name=name, call=lambda: move(values, START), moves=move)

    for kernel in kernels:
        peers = PEERS[kernel] if nodata is None else {}
        others = [
            contender(name, make())
            for name, (module, make) in peers.items()
            if importlib.util.find_spec(module)
        ]
        label = f"move {values.dtype}" + ("" if nodata is None else ", with nodata")
        yield Contest(
            task=label, pixels=values, contenders=[contender(kernel, ours(kernel, nodata)), *others]
        )


def displaced(values: NDArray[np.generic]) -> Iterator[Contest]:
    """Contests of moving an image by a field of 0.5 px rms, positions and all, beside one shift for the whole."""
    from scipy import ndimage

    side = values.shape[0] // 32 + 2
    noise = np.random.default_rng(2).normal(size=(2, side, side))
    smooth = np.stack([ndimage.gaussian_filter(part, 1) for part in noise])
    y, x = (0.5 * smooth / smooth.std()).astype(np.float32)
    field = Displacement(origin=Shift(0.0, 0.0), step=32.0, y=y, x=x, sigma=0 * y)
    rows, cols = displaced_positions(Spline.of(field), (0, 0, *values.shape), Shift(0.0, 0.0))
    order = {"nearest": 0, "bilinear": 1, "cubic": 3}
    for kernel in ("nearest", "bilinear", "cubic", "lanczos"):
        calls = {
            f"{kernel} by a field": lambda kernel=kernel: move_image(values, field, kernel),
            "positions known": lambda kernel=kernel: resample_at(values, rows, cols, kernel=kernel),
            "by one shift": lambda kernel=kernel: translate(
                values, start=START, shape=values.shape, kernel=kernel
            ),
        }
        if kernel in order:
            calls["scipy map_coordinates"] = lambda kernel=kernel: ndimage.map_coordinates(
                values, [rows, cols], order=order[kernel]
            )
        entries = [Contender(name=name, call=call) for name, call in calls.items()]
        yield Contest(task=f"displace {values.dtype}", pixels=values, contenders=entries)


def skimage_score(anchor: NDArray[np.float32], item: NDArray[np.float32], value_range: float) -> float:
    """Score of an unmasked pair by scikit-image."""
    from skimage.metrics import structural_similarity

    item = (item - item.mean()) / item.std() * anchor.std() + anchor.mean()
    error = np.sqrt(np.mean((anchor - item) ** 2)) / value_range
    return (structural_similarity(anchor, item, win_size=7, data_range=value_range) + 1 - error) / 2


def scores(values: NDArray[np.float32]) -> Iterator[Contest]:
    """Contests of scoring a pair of scenes."""
    usable = np.ones(values.shape, bool)
    item = values + np.random.default_rng(1).normal(size=values.shape).astype(np.float32) * 100
    a, b = ArraySource(values=values[None], usable=usable), ArraySource(values=item[None], usable=usable)
    value_range = anchor_range(a)
    once = [
        Contender(name="matching_scores", call=lambda: matching_scores(a, b, None, value_range=value_range)),
    ]
    if importlib.util.find_spec("skimage"):
        once.append(Contender(name="scikit-image", call=lambda: skimage_score(values, item, value_range)))
    yield Contest(task="score before", pixels=values, contenders=once)
    twice = Contender(
        name="matching_scores", call=lambda: matching_scores(a, b, Shift(0.3, 0.4), value_range=value_range)
    )
    yield Contest(task="score before and after", pixels=values, contenders=[twice])
    percentiles = Contender(name="numpy percentile", call=lambda: np.percentile(values, [2, 98]))
    mine = Contender(name="anchor_range", call=lambda: anchor_range(a))
    yield Contest(task="range of the anchor", pixels=values, contenders=[mine, percentiles])


def contests(size: int) -> Iterator[Contest]:
    """All contests on scenes of `size` x `size` pixels."""
    values = np.random.default_rng(0).integers(1, 5000, (size, size)).astype(np.uint16)
    yield from movers(values, None, ["nearest", "bilinear", "cubic", "lanczos"])
    holed = np.where(np.add.outer(np.arange(size), np.arange(size)) < size // 2, np.uint16(0), values)
    yield from movers(holed, 0, ["cubic"])
    yield from displaced(values)
    real = values.astype(np.float32)
    yield from movers(real, None, ["cubic", "allpass"])
    mask = values > 50
    move = Contender(name="translate_mask", call=lambda: translate_mask(mask, start=START, shape=mask.shape))
    yield Contest(task="move a mask", pixels=mask, contenders=[move])
    yield from scores(real)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median of several runs after one that is not counted."""
    call()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken)


def made_of_a_tenth(move: Mover) -> float:
    """The shift that a mover makes along the columns of a ramp when asked for 0.10."""
    ramp = np.tile(np.arange(64, dtype=np.float32) * 4, (64, 1))
    change = move(ramp, Shift(0.0, 0.1)).astype(float) - ramp
    return float(np.mean(change[16:48, 16:48])) / 4


def rows(contest: Contest, repeats: int) -> Iterator[tuple[str, ...]]:
    """The lines of a contest in the table."""
    target = np.empty_like(contest.pixels)
    copy = milliseconds(lambda: np.copyto(target, contest.pixels), max(repeats, 3))
    first = None
    for contender in contest.contenders:
        taken = milliseconds(contender.call, repeats)
        first = taken if first is None else first
        made = "" if contender.moves is None else f"{made_of_a_tenth(contender.moves):.4f}"
        yield (
            contest.task,
            contender.name,
            f"{taken:.1f}",
            f"{contest.pixels.size / taken / 1000:.0f}",
            f"{taken / copy:.1f}",
            f"{taken / first:.2f}",
            made,
        )


def first_runs() -> tuple[float, float]:
    """Seconds that the demo takes in a process that finds no compiled kernels, and in the next one."""
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": f"{folder}/kernels"}
        for name in ("first", "next"):
            command = [sys.executable, "-m", "coregstack", "demo", f"{folder}/{name}", "--quiet"]
            begin = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - begin)
    return taken[0], taken[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4000, help="rows and columns of the scenes")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--quick", action="store_true", help="a small smoke run: 200 pixels, one repeat")
    parser.add_argument("--first", action="store_true", help="seconds of a first run and of the next, alone")
    options = parser.parse_args(arguments)
    if options.first:
        print("first run of the demo {:.0f} s, next run {:.0f} s".format(*first_runs()))
        return
    size, repeats = (200, 1) if options.quick else (options.size, options.repeats)
    print(f"{size} x {size} pixels, one thread, median of {repeats}\n")
    print("| task | by | ms | Mpx/s | x copy | x ours | made of 0.10 |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for contest in contests(size):
        for row in rows(contest, repeats):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
