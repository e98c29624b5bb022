"""Time whole runs against the bare copy of the same files, and against AROSICS; then how long it takes to begin.

Run ``python benchmarks/throughput.py``; it prints one table for whole runs, small scenes first, and that of
``benchmarks/start.py``. Every scene but the anchor is shifted by a part of a pixel, so that a run matches, scores,
moves and writes all of them. The bare copy decodes and encodes the same files block by block with the same codec,
tiles and threads, in turn with the runs. Processor time is disturbed less by other work on the machine than wall
time. "ms beyond" is the processor time of a scene beyond that of its copy.

The lines "two workers" are runs on two processes of one thread each, as dask starts them; their processor time is not
counted.

AROSICS needs GDAL's own Python bindings and so, mostly, another environment: name its interpreter by
``--arosics`` or COREGSTACK_AROSICS. It finds a global shift, moves pixels onto the anchor's grid and writes
with the same codec, in as many processes as the run has threads.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import start
from _common import Taken, bare_copy, make_scenes, table, timed, whole_run, workspace

from coregstack import report
from coregstack.model import Status
from coregstack.run.scenes import run_scenes

_AROSICS = """
import json, sys, time
from concurrent.futures import ProcessPoolExecutor
from arosics import COREG, DESHIFTER

def one(job):
    anchor, item, out = job
    coreg = COREG(anchor, item, max_shift=8, ws=(256, 256), r_b4match=3, s_b4match=3, nodata=(0, 0), q=True,
                  fmt_out='GTIFF', CPUs=1, progress=False, ignore_errors=True)
    coreg.calculate_spatial_shifts()
    if not coreg.success:
        return False
    DESHIFTER(item, coreg.coreg_info, path_out=out, align_grids=True, resamp_alg='cubic', fmt_out='GTIFF',
              out_crea_options=['TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=6'], CPUs=1, progress=False,
              q=True).correct_shifts()
    return True

if __name__ == '__main__':
    jobs, workers = json.loads(sys.argv[1])
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(len, ['warm'] * workers))
        begin = time.perf_counter()
        done = sum(pool.map(one, jobs))
        print(json.dumps([time.perf_counter() - begin, done]))
"""


def arosics(interpreter: str, paths: Sequence[Path], output: Path, workers: int) -> tuple[float, int]:
    """Wall time of AROSICS on the same scenes, and how many it has written."""
    output.mkdir(parents=True)
    script = output / "arosics_pool.py"
    script.write_text(_AROSICS)
    jobs = [(str(paths[0]), str(path), str(output / path.name)) for path in paths[1:]]
    done = subprocess.run(
        [interpreter, str(script), json.dumps([jobs, workers])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"AROSICS failed:\n{done.stderr[-2000:]}")
    seconds, written = json.loads(done.stdout.splitlines()[-1])
    return seconds, written


def rows(folder: Path, size: int, count: int, options: argparse.Namespace, row: Callable[..., None]) -> None:
    """The lines of the table for scenes of one size."""
    paths = make_scenes(folder / f"scenes_{size}", count, (size, size))
    output, workers = folder / "output", options.workers
    ways: dict[str, Callable[[], int]] = {
        "bare copy": lambda: bare_copy(paths[1:], output, workers) or 0,
        "coregstack": lambda: whole_run(paths, output, workers),
        "with report": lambda: _with_report(paths, output, workers),
    }
    whole_run(paths[:2], output, workers)
    shutil.rmtree(output)
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    moved = dict.fromkeys(ways, 0)
    for _ in range(options.repeats):
        for name, way in ways.items():
            taken[name].append(timed(lambda way=way, name=name: moved.update({name: way()})))
            shutil.rmtree(output)
    copies, ours = taken["bare copy"], statistics.median(t.wall for t in taken["coregstack"])
    for name, times in taken.items():
        _row(row, f"{count} x {size} x {size} x 4", name, moved[name], times, copies, count)
    others: dict[str, Callable[[], tuple[float, int]]] = {}
    if size < options.size and options.cluster:
        others["two workers"] = lambda: _on_workers(paths, output)
    if options.arosics:
        others["AROSICS"] = lambda: arosics(options.arosics, paths, output, workers)
    for name, other in others.items():
        seconds, done = other()
        shutil.rmtree(output)
        copy = statistics.median(t.wall for t in copies)
        row(
            f"{count} x {size} x {size} x 4", name, done, "", f"{seconds:.2f}", "", f"{seconds / copy:.2f}", "",
            f"{seconds / ours:.2f}",
        )  # fmt: skip


def _row(
    row: Callable[..., None],
    scenes: str,
    name: str,
    moved: int,
    times: Sequence[Taken],
    copies: Sequence[Taken],
    count: int,
) -> None:
    pairs = list(zip(times, copies, strict=True))
    row(
        scenes,
        name,
        moved or count,
        f"{statistics.median(t.cpu for t in times):.2f}",
        f"{statistics.median(t.wall for t in times):.2f}",
        f"{statistics.median(t.cpu / c.cpu for t, c in pairs):.2f}",
        f"{statistics.median(t.wall / c.wall for t, c in pairs):.2f}",
        f"{1000 * statistics.median(t.cpu - c.cpu for t, c in pairs) / count:.1f}",
        "1.00" if name == "coregstack" else "",
    )


def _with_report(paths: Sequence[Path], output: Path, workers: int) -> int:
    moved = whole_run(paths, output, workers)
    report(output)
    return moved


def _on_workers(paths: Sequence[Path], output: Path) -> tuple[float, int]:
    """Wall time of a run on two processes of one thread, after one that is not counted, and what it has moved."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        run_scenes(paths[:3], anchor=0, output=output)
        shutil.rmtree(output)
        begin = time.perf_counter()
        moved = run_scenes(paths, anchor=0, output=output).count(Status.COREGISTERED)
        return time.perf_counter() - begin, moved


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", help="only scenes of these sizes, px")
    parser.add_argument("--scenes", type=int, default=20, help="scenes of the larger size, beside the anchor")
    parser.add_argument("--size", type=int, default=4000, help="rows and columns of the larger scenes")
    parser.add_argument(
        "--small-scenes", type=int, default=100, help="scenes of 128 and of 512 pixels a side"
    )
    parser.add_argument("--workers", type=int, default=2, help="threads, and processes of AROSICS")
    parser.add_argument("--repeats", type=int, default=3, help="copies and runs, of which the median counts")
    parser.add_argument(
        "--arosics", default=os.environ.get("COREGSTACK_AROSICS"), help="a Python with AROSICS"
    )
    parser.add_argument("--no-cluster", dest="cluster", action="store_false", help="no run on two processes")
    parser.add_argument(
        "--no-start", dest="start", action="store_false", help="not how long it takes to begin"
    )
    parser.add_argument("--folder", type=Path, help="keep the scenes here for the next time")
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    options = parser.parse_args(arguments)
    sizes = [(128, options.small_scenes), (512, options.small_scenes), (options.size, options.scenes)]
    if options.quick:
        sizes, options.repeats, options.cluster, options.start = [(256, 2)], 1, False, False
    print(f"{options.workers} threads, uint16, deflate level 6, median of {options.repeats}\n")
    row = table("scenes", "by", "moved", "CPU s", "s", "CPU x copy", "x copy", "ms beyond", "s over ours")
    with workspace(options.folder) as folder:
        for size, count in sizes:
            if not options.sizes or size in options.sizes:
                rows(folder, size, count, options, row)
    if options.start:
        print("\nTo begin\n")
        start.main([])


if __name__ == "__main__":
    main()
