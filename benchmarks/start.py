"""How long it takes to begin: import, the command line's answers, and what a first run compiles.

Run ``python benchmarks/start.py``; it prints one table of processor time (user and system, with all children) and of
wall time. Runs that compile are given an empty cache; what a wheel has brought along is used all the same, as on a
fresh machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from _common import Taken, make_scenes, table, whole_run, workspace

_IMPORTS = "import xarray, dask, rasterio"
_WORKER = """
import sys
sys.path.insert(0, {here!r})
from start import first_estimate
first_estimate({paths!r})
"""
_RUN = """
import sys
sys.path.insert(0, {here!r})
from start import first_run
first_run({paths!r}, {output!r})
"""


def first_run(paths: Sequence[str], output: str) -> None:
    """Align scenes and write them, in threads."""
    whole_run([Path(path) for path in paths], Path(output), 2)


def first_estimate(paths: Sequence[str]) -> None:
    """Estimate shifts of scenes."""
    import coregstack

    coregstack.estimate(coregstack.open_scenes(paths, anchor=0), anchor=0).compute(scheduler="synchronous")


def taken(commands: Sequence[Sequence[str]], **variables: str) -> Taken:
    """What commands take that run at the same time, all together."""
    before, begin = _children(), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    running = [
        subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    for process in running:
        if process.wait():
            raise SystemExit(f"A process ended with {process.returncode}.")
    return Taken(wall=time.perf_counter() - begin, cpu=_children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def quickest(command: Sequence[str], repeats: int) -> Taken:
    """The quickest of several runs, by processor time."""
    return min((taken([command]) for _ in range(repeats)), key=lambda one: one.cpu)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs that do not compile, of which the best counts"
    )
    parser.add_argument("--quick", action="store_true", help="only what does not compile, once")
    options = parser.parse_args(arguments)
    repeats = 1 if options.quick else options.repeats
    row = table("what", "processor s", "wall s")

    def show(what: str, took: Taken) -> None:
        row(what, f"{took.cpu:.2f}", f"{took.wall:.2f}")

    show("coregstack --version", quickest(["-m", "coregstack", "--version"], repeats))
    show("coregstack --help", quickest(["-m", "coregstack", "--help"], repeats))
    show(_IMPORTS, quickest(["-c", _IMPORTS], repeats))
    show(f"{_IMPORTS}, coregstack", quickest(["-c", f"{_IMPORTS}, coregstack"], repeats))
    show("and its functions", quickest(["-c", f"{_IMPORTS}, coregstack; from coregstack import *"], repeats))
    if not options.quick:
        with workspace(None) as folder:
            _runs(folder, show)


def _runs(folder: Path, show: Callable[[str, Taken], None]) -> None:
    paths = [str(path) for path in make_scenes(folder / "scenes", 2, (512, 512))]
    here = str(Path(__file__).parent)
    for name, cache in (("first", "alone"), ("next", "alone")):
        code = _RUN.format(here=here, paths=paths, output=str(folder / name))
        took = taken([["-c", code]], NUMBA_CACHE_DIR=str(folder / cache))
        show(f"{name} run of a fresh machine, two scenes of 512", took)
    code = _WORKER.format(here=here, paths=paths)
    took = taken([["-c", code]] * 2, NUMBA_CACHE_DIR=str(folder / "shared"))
    show("two fresh workers on one cache, first estimate", took)


if __name__ == "__main__":
    main()
