"""Time and memory of whole runs as scenes grow in number and size, and as workers are added.

Run ``python benchmarks/scaling.py``; it prints six tables. Each line is measured in a process of its own, whose
peak is its largest resident memory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import rioxarray  # noqa: F401 (its accessor)
import xarray as xr
from _common import bare_copy, in_process, make_scenes, peak_mib, table, timed, whole_run, workspace

import coregstack
from coregstack.export.plan import DeliverySettings, ItemReport
from coregstack.matching.assess import assess, prepare
from coregstack.matching.decision import ANCHOR_QUALITY
from coregstack.matching.options import MatchSettings
from coregstack.pixels.scene import PlacedScene, load_match
from coregstack.run import execute as delivery
from coregstack.run.plans import scene_plans
from coregstack.stack.finding import find_scenes

LARGEST = 12367, 8719, 8
"""Columns, rows and bands of a full SuperDove frame."""


def measure_run(paths: list[str], output: str, workers: int) -> dict[str, float]:
    """Times and peak memory of a whole run in this process, after one that is not counted."""
    files, folder = [Path(p) for p in paths], Path(output)
    if len(files) > 2:
        whole_run(files[:2], folder, workers)
        shutil.rmtree(folder)
    moved = 0

    def run() -> None:
        nonlocal moved
        moved = whole_run(files, folder, workers)

    taken = timed(run)
    shutil.rmtree(folder)
    return {"wall": taken.wall, "cpu": taken.cpu, "moved": moved, "peak": peak_mib()}


def measure_copy(paths: list[str], output: str, workers: int) -> dict[str, float]:
    """Times of the bare copy of all but the first."""
    taken = timed(lambda: bare_copy([Path(p) for p in paths[1:]], Path(output), workers))
    shutil.rmtree(output)
    return {"wall": taken.wall, "cpu": taken.cpu}


def measure_match(paths: list[str]) -> dict[str, float]:
    """Processor time of the kernels alone, for one scene: all that is not the engine's own."""
    scenes = find_scenes(paths).scenes
    options = MatchSettings().bound(scenes[0].bands)
    placed = [
        PlacedScene(
            scene=scene, lattice=scenes[0].image.box, bands=scene.bands, fill=0,
            indexes=tuple(range(len(scene.bands))), dtype=scene.image.dtype,
        )
        for scene in scenes
    ]  # fmt: skip
    pixels = [load_match(item, options.bands, mean=False, reach=None) for item in placed]
    reference = prepare(pixels[0])
    assess(reference, pixels[1], options)
    taken = timed(lambda: [assess(reference, item, options) for item in pixels[1:]])
    return {"cpu": taken.cpu / (len(paths) - 1)}


def measure_graph(path: str, count: int) -> dict[str, float]:
    """Seconds to build the graph of a run over `count` scenes, and its tasks; nothing is computed."""
    scenes = find_scenes([path]).scenes
    many = [replace(scenes[0], id=f"item_{k}") for k in range(count)]
    settings = DeliverySettings(
        output=str(Path(path).with_name("out")), anchor_id="item_0", anchor=scenes[0].image.box,
        resampling="cubic", cog=False, fingerprint=(),
    )  # fmt: skip
    tasks = 0

    def count_tasks(parts: Sequence[da.Array], *_: Any, **__: Any) -> list[ItemReport]:
        nonlocal tasks
        tasks = sum(len(dask.optimize(part)[0].__dask_graph__()) for part in parts)
        return [ItemReport(id=scene.id, quality=ANCHOR_QUALITY, files=()) for scene in many]

    real, delivery.compute_items = delivery.compute_items, count_tasks
    begin = time.perf_counter()
    try:
        delivery.run_items(
            scene_plans(many), {scene.id: scene for scene in many}, many[0], [], settings, MatchSettings(),
            references={}
        )  # fmt: skip
    finally:
        delivery.compute_items = real
    return {"wall": time.perf_counter() - begin, "tasks": tasks, "peak": peak_mib()}


def measure_stack(count: int, size: int, workers: int) -> dict[str, float]:
    """Peak memory of aligning a stack that has no files behind it, reduced date by date."""

    def plane(block_info: Any = None) -> Any:
        where = block_info[None]["chunk-location"]
        rng = np.random.default_rng([where[0]])
        ground = np.random.default_rng(0).normal(1500, 100, (size + 8, size + 8))
        ground = ground + np.roll(ground, 1, 0) + np.roll(ground, 1, 1)
        cut = ground[where[0] % 5 : where[0] % 5 + size, :size]
        return (cut + rng.normal(0, 20, cut.shape)).astype(np.uint16)[None, None]

    pixels = da.map_blocks(plane, chunks=((1,) * count, (1,) * 4, (size,), (size,)), dtype=np.uint16)
    stack = xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.datetime64("2024-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D"),
            "y": 5.3e6 - 3.0 * np.arange(size), "x": 5e5 + 3.0 * np.arange(size),
        },
    ).rio.write_crs("EPSG:32633").rio.write_nodata(0)  # fmt: skip
    with dask.config.set(scheduler="threads", num_workers=workers):
        taken = timed(lambda: coregstack.align(stack, anchor=0).mean(("band", "y", "x")).compute())
    return {"wall": taken.wall, "cpu": taken.cpu, "peak": peak_mib()}


def measured(function: str, *arguments: Any) -> Any:
    """What a function of this file measures in a process of its own, or right here in a quick run."""
    return in_process(f"scaling:{function}", *arguments, inline="--quick" in sys.argv)


def by_count(folder: Path, counts: Sequence[int], side: int, workers: int) -> None:
    """How time and memory grow with the number of small scenes."""
    paths = [str(p) for p in make_scenes(folder / f"small_{side}", max(counts), (side, side))]
    few = paths[: min(len(paths), 101)]
    kernels = measured("measure_match", few[:41])["cpu"]
    codec = measured("measure_copy", few, str(folder / "output"), workers)["cpu"] / (len(few) - 1)
    print(
        f"\nScenes of {side} x {side} x 4, {workers} threads; of a scene, the kernels alone take "
        f"{1000 * kernels:.0f} ms and the bare copy {1000 * codec:.0f} ms\n"
    )
    row = table("scenes", "s", "ms CPU a scene", "ms CPU each extra scene", "the engine's own", "peak MiB")
    before = None
    for count in counts:
        found = measured("measure_run", paths[: count + 1], str(folder / "output"), workers)
        extra = rest = ""
        if before is not None:
            step = (found["cpu"] - before[1]) / (count - before[0])
            extra, rest = f"{1000 * step:.0f}", f"{1000 * (step - kernels - codec):.0f}"
        before = count, found["cpu"]
        row(
            count,
            f"{found['wall']:.2f}",
            f"{1000 * found['cpu'] / count:.0f}",
            extra,
            rest,
            f"{found['peak']:.0f}",
        )


def by_size(folder: Path, shapes: Sequence[tuple[int, int, int]], workers: int) -> None:
    """How time and memory grow with the size of a pair of scenes."""
    print(f"\nAn anchor and one item, {workers} threads\n")
    row = table("columns x rows x bands", "s", "x copy", "CPU x copy", "moved", "peak MiB")
    for width, height, bands in shapes:
        place = folder / f"size_{width}"
        paths = [str(p) for p in make_scenes(place, 1, (height, width), bands, quick=True)]
        copy = measured("measure_copy", paths, str(folder / "output"), workers)
        found = measured("measure_run", paths, str(folder / "output"), workers)
        wall, cpu = found["wall"] / copy["wall"], found["cpu"] / copy["cpu"]
        size = f"{width} x {height} x {bands}"
        row(
            size,
            f"{found['wall']:.2f}",
            f"{wall:.2f}",
            f"{cpu:.2f}",
            int(found["moved"]),
            f"{found['peak']:.0f}",
        )
        if width > 4000:
            shutil.rmtree(place)


def by_workers(folder: Path, count: int, size: int) -> None:
    """What a second worker brings, to the run and to the bare copy."""
    paths = [str(p) for p in make_scenes(folder / "workers", count, (size, size), quick=True)]
    print(f"\n{count} scenes of {size} x {size} x 4\n")
    row = table("workers", "s", "x one worker", "bare copy s", "x one worker", "peak MiB")
    one: tuple[float, float] | None = None
    for workers in (1, 2):
        run = measured("measure_run", paths, str(folder / "output"), workers)
        copy = measured("measure_copy", paths, str(folder / "output"), workers)
        one = one or (run["wall"], copy["wall"])
        gain, plain = one[0] / run["wall"], one[1] / copy["wall"]
        row(
            workers,
            f"{run['wall']:.2f}",
            f"{gain:.2f}",
            f"{copy['wall']:.2f}",
            f"{plain:.2f}",
            f"{run['peak']:.0f}",
        )


def graphs(folder: Path, counts: Sequence[int]) -> None:
    """How long graphs take to build."""
    path = str(make_scenes(folder / "graph", 1, (256, 256))[0])
    print("\nGraph of a run, built and optimised, nothing computed\n")
    row = table("scenes", "s", "tasks", "tasks a scene", "peak MiB")
    for count in counts:
        found = measured("measure_graph", path, count)
        each = f"{found['tasks'] / count:.1f}"
        row(count, f"{found['wall']:.2f}", int(found["tasks"]), each, f"{found['peak']:.0f}")


def stacks(counts: Sequence[int], size: int, workers: int) -> None:
    """Memory of a lazy stack without files."""
    print(
        f"\nLazy stack without files, dates of {size} x {size} x 4, each plane a block, {workers} threads\n"
    )
    row = table("dates", "s", "raw MiB", "peak MiB")
    for count in counts:
        found = measured("measure_stack", count, size, workers)
        row(count, f"{found['wall']:.2f}", f"{count * size * size * 8 / 2**20:.0f}", f"{found['peak']:.0f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--folder", type=Path, help="keep scenes here for the next time")
    parser.add_argument(
        "--only", choices=("count", "many", "size", "workers", "graph", "stack"), help="one table"
    )
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    options = parser.parse_args(arguments)
    quick = options.quick
    sides = (300,) if quick else (1000, 2000, 4000, 8000)
    shapes = [(side, side, 4) for side in sides] + ([] if quick else [LARGEST])
    parts = {
        "count": lambda f: by_count(
            f, (2, 4) if quick else (10, 50, 100, 500, 1000, 2000), 256, options.workers
        ),
        "many": lambda f: by_count(f, (2,) if quick else (100, 1000, 3000, 10_000), 64, options.workers),
        "size": lambda f: by_size(f, shapes, options.workers),
        "workers": lambda f: by_workers(f, 2 if quick else 8, 256 if quick else 2000),
        "graph": lambda f: graphs(f, (20,) if quick else (1000, 10_000, 100_000)),
        "stack": lambda f: stacks((3,) if quick else (10, 40), 200 if quick else 1000, options.workers),
    }
    with workspace(options.folder) as folder:
        for name, part in parts.items():
            if options.only in (None, name):
                part(folder)


if __name__ == "__main__":
    main()
