"""Time whole runs against the bare copy of the same files, and against AROSICS.

Run ``python benchmarks/throughput.py``; it prints one table. Every scene but the anchor is shifted by a part
of a pixel, so that a run matches, scores, moves and writes all of them. The bare copy decodes and
encodes the same files block by block with the same codec, tiles and threads, in turn with the runs. "x copy" is
the ratio of wall times, "CPU x copy" that of processor times, which other work on the machine disturbs less.

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
from collections.abc import Callable, Sequence
from pathlib import Path

from _common import bare_copy, make_scenes, table, timed, whole_run, workspace

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
    output = folder / "output"
    what = f"{count} x {size} x {size} x 4"
    whole_run(paths[:2], output, options.workers)
    shutil.rmtree(output)
    copies, runs = [], []
    for _ in range(options.repeats):
        copies.append(timed(lambda: bare_copy(paths[1:], output, options.workers)))
        shutil.rmtree(output)
        moved = 0

        def run() -> None:
            nonlocal moved
            moved = whole_run(paths, output, options.workers)

        runs.append(timed(run))
        shutil.rmtree(output)
    copy = statistics.median(t.wall for t in copies)
    wall = statistics.median(r.wall / c.wall for r, c in zip(runs, copies, strict=True))
    cpu = statistics.median(r.cpu / c.cpu for r, c in zip(runs, copies, strict=True))
    run_wall = statistics.median(t.wall for t in runs)
    row(what, "bare copy", count, f"{copy:.2f}", f"{count / copy:.2f}", "1.00", "1.00", "")
    row(
        what, "coregstack", moved, f"{run_wall:.2f}", f"{count / run_wall:.2f}", f"{wall:.2f}", f"{cpu:.2f}", "1.0"
    )  # fmt: skip
    if options.arosics:
        seconds, written = arosics(options.arosics, paths, output, options.workers)
        shutil.rmtree(output)
        times = f"{seconds / run_wall:.1f}"
        row(
            what,
            "AROSICS",
            written,
            f"{seconds:.2f}",
            f"{count / seconds:.2f}",
            f"{seconds / copy:.2f}",
            "",
            times,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=20, help="scenes of the larger size, beside the anchor")
    parser.add_argument("--size", type=int, default=4000, help="rows and columns of the larger scenes")
    parser.add_argument("--small-scenes", type=int, default=100, help="scenes of 512 x 512 pixels")
    parser.add_argument("--workers", type=int, default=2, help="threads, and processes of AROSICS")
    parser.add_argument("--repeats", type=int, default=3, help="copies and runs, of which the median counts")
    parser.add_argument(
        "--arosics", default=os.environ.get("COREGSTACK_AROSICS"), help="a Python with AROSICS"
    )
    parser.add_argument("--folder", type=Path, help="keep the scenes here for the next time")
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    options = parser.parse_args(arguments)
    sizes = [(512, options.small_scenes), (options.size, options.scenes)]
    if options.quick:
        sizes, options.repeats = [(256, 2)], 1
    print(f"{options.workers} threads, uint16, deflate level 6, median of {options.repeats}\n")
    row = table("scenes", "by", "moved", "s", "scenes/s", "x copy", "CPU x copy", "slower than ours")
    with workspace(options.folder) as folder:
        for size, count in sizes:
            rows(folder, size, count, options, row)


if __name__ == "__main__":
    main()
