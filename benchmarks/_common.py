"""What the benchmarks of whole runs share: made scenes, the bare copy they are held against, tables."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from coregstack.kernels.resample import translate
from coregstack.model import Shift, Status
from coregstack.pixels import newraster, raster
from coregstack.run.scenes import run_scenes
from coregstack.testing import Conditions, scene_at

MARGIN = 8
"""Pixels of landscape beyond the scenes, so that shifted scenes are covered."""
BLOCK = 512, 4096
"""Rows and columns that the bare copy reads and writes at once."""
ANCHOR = "anchor"
_QUIET = Conditions(noise=0, gain_spread=0, offset_spread=0)


def landscape(shape: tuple[int, int], bands: int) -> NDArray[np.float32]:
    """Reflectance without noise, rendered by all cores, shape (bands, y + 16, x + 16)."""
    height, width = (size + 2 * MARGIN for size in shape)
    out = np.empty((bands, height, width), np.float32)
    strips = [slice(top, min(top + 128, height)) for top in range(0, height, 128)]

    def render(rows: slice) -> None:
        place = np.arange(rows.start, rows.stop)[:, None], np.arange(width)[None]
        out[:, rows] = scene_at(*place, conditions=_QUIET, bands=bands).values

    with ThreadPoolExecutor() as pool:
        list(pool.map(render, strips))
    return out


def texture(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Sums of smooth noise of many scales: a quick stand-in for a landscape, shape (1, y + 16, x + 16)."""
    height, width = (size + 2 * MARGIN for size in shape)
    rng = np.random.default_rng(1)
    out = np.full((height, width), 1500, np.float32)
    for level in range(9):
        step = 2**level
        grid = rng.normal(0, 60 + 10 * level, (height // step + 2, width // step + 2)).astype(np.float32)
        along = np.arange(width, dtype=np.float32) / step
        left, part = along.astype(int), along % 1
        for row in range(height):
            top, share = divmod(row / step, 1)
            line = (1 - share) * grid[int(top)] + share * grid[int(top) + 1]
            out[row] += line[left] * (1 - part) + line[left + 1] * part
    return np.maximum(out, 100)[None]


def make_scenes(
    folder: Path, count: int, shape: tuple[int, int], bands: int = 4, *, quick: bool = False
) -> list[Path]:
    """An anchor and `count` items, each shifted by 1.5 to 3 px, uint16, deflate level 6, tiled.

    So much that no item counts as aligned already.

    They show the landscape of `coregstack.testing`, or if `quick` a texture, all bands alike but for noise.

    Scenes that are there already are used again, so that a folder may be kept between runs.
    """
    names = [ANCHOR, *(f"item_{k:05d}" for k in range(count))]
    paths = [folder / f"{name}.tif" for name in names]
    if all(path.exists() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    ground = texture(shape) if quick else landscape(shape, bands)
    rng = np.random.default_rng(0)
    for k, path in enumerate(paths):
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 3)
        shift = Shift(length * np.sin(angle), length * np.cos(angle)) if k else Shift(0, 0)
        write_scene(path, ground, shift, (bands, *shape), rng)
    return paths


def write_scene(
    path: Path,
    ground: NDArray[np.float32],
    shift: Shift,
    shape: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """One scene of the ground that `shift` brings back, with noise and gain of its own."""
    bands, height, width = shape
    gain = np.float32(rng.normal(1, 0.03))
    side = 512 if min(height, width) >= 512 else 256
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "uint16",
        "nodata": 0, "crs": "EPSG:32633", "transform": from_origin(5e5, 5.3e6, 3, 3), "tiled": True,
        "blockxsize": side, "blockysize": side, "compress": "deflate", "zlevel": 6, "interleave": "pixel",
        "num_threads": "all_cores", "bigtiff": "if_safer",
    }  # fmt: skip
    start = Shift(MARGIN + shift.y, MARGIN + shift.x)
    with raster.gdal(), rasterio.open(path, "w", **profile) as out:
        for top in range(0, height, side):
            rows = min(side, height - top)
            near = ground[:, top : top + rows + 2 * MARGIN]
            signal = gain * translate(near, start=start, shape=(rows, width), kernel="lanczos")
            noise = rng.standard_normal((bands, rows, width), np.float32)
            values = np.clip(np.rint(signal + noise * (10 + 0.005 * signal)), 1, 65535).astype(np.uint16)
            out.write(values, window=Window(0, top, width, rows))


def bare_copy(paths: Sequence[Path], output: Path, workers: int) -> None:
    """Decode and encode files block by block: same codec, tiles, block order and threads as a run."""
    output.mkdir(parents=True)

    def copy(path: Path) -> None:
        with (
            raster.opened(str(path)) as source,
            newraster.created(str(output / path.name), source, raster.read_header(path).box) as target,
        ):
            for row in range(0, source.height, BLOCK[0]):
                for col in range(0, source.width, BLOCK[1]):
                    size = min(BLOCK[1], source.width - col), min(BLOCK[0], source.height - row)
                    window = Window(col, row, *size)
                    target.write(source.read(window=window), window=window)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(copy, paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds that something took."""

    wall: float
    cpu: float


def timed(call: Callable[[], object]) -> Taken:
    """Wall and processor time of a call; threads of this process count, other processes do not."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Taken(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def children_seconds() -> float:
    """Processor time of all processes that were started and have ended."""
    used = os.times()
    return used.children_user + used.children_system


def whole_run(paths: Sequence[Path], output: Path, workers: int) -> int:
    """Align all scenes to the first; returns how many were shifted."""
    with dask.config.set(scheduler="threads", num_workers=workers):
        return run_scenes(paths, anchor=0, output=output).count(Status.COREGISTERED)


def in_process(function: str, *arguments: Any, inline: bool = False) -> Any:
    """Call ``module:function`` of this folder in a new process; arguments and result travel as JSON.

    If `inline`, it is called right here, which is quicker, but peaks of memory then mean nothing.
    """
    if inline:
        module, name = function.split(":")
        return getattr(importlib.import_module(module), name)(*arguments)
    code = (
        "import importlib, json, sys; module, name = sys.argv[1].split(':'); "
        "print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, function, json.dumps(arguments)],
        cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def peak_mib() -> float:
    """Largest resident memory that this process has had, MiB.

    Linux hands the figure of ``getrusage`` on from the process that starts another, so it is read elsewhere there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextmanager
def workspace(kept: Path | None) -> Iterator[Path]:
    """A folder for scenes and outputs: one that is kept, or one that is removed at the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="coregstack-bench-") as folder:
        yield Path(folder)


def table(*columns: str) -> Callable[..., None]:
    """Print the head of a Markdown table; returns what prints a row of it."""
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns), flush=True)
    return lambda *cells: print("| " + " | ".join(map(str, cells)) + " |", flush=True)
