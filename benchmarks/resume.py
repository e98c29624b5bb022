"""Kill whole runs, and workers of a cluster, at random moments: the finished output has to be the undisturbed one.

Run ``python benchmarks/resume.py``; it prints one line a kill. A killed run is started again and finished; a killed
worker's tasks go to another. Outputs are compared byte for byte, and nothing half-written may lie under a final name.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from _common import make_scenes, table, whole_run, workspace

from coregstack.export.files import PART
from coregstack.run.scenes import run_scenes

STATE = ".coregstack"
_RUN = "import sys; from _common import *; whole_run([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]), 2)"


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the notes of the run itself."""
    files = (path for path in folder.rglob("*") if path.is_file() and STATE not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def start(paths: Sequence[Path], output: Path) -> subprocess.Popen[bytes]:
    """A whole run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, str(output), *map(str, paths)], cwd=Path(__file__).parent
    )


def kill_run(paths: Sequence[Path], output: Path, share: float) -> tuple[int, int]:
    """Kill a run when a share of its items is done, a little later; returns items done, and files half-written."""
    process = start(paths, output)
    notes = output / STATE
    while process.poll() is None and len(list(notes.glob("*.json"))) < share * len(paths):
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.2))
    process.kill()
    process.wait()
    return len(list(notes.glob("*.json"))), sum(1 for _ in output.rglob(f"*{PART}"))


def kill_worker(paths: Sequence[Path], output: Path, share: float) -> int:
    """Run on a cluster of which one worker is killed when a share of the items is done; returns how many were."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        victims = list(client.run(os.getpid).values())[:1]
        at = 0

        def progress(done: int, of: int) -> None:
            nonlocal at
            if victims and done >= max(1, share * of):
                os.kill(victims.pop(), signal.SIGKILL)
                at = done

        run_scenes(paths, anchor=0, output=output, progress=progress)
    return at


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; the exit code tells whether all outputs were equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, default=1000, help="rows and columns of the scenes")
    parser.add_argument("--kills", type=int, default=10, help="how often each is killed")
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    options = parser.parse_args(arguments)
    if options.quick:
        options.scenes, options.size, options.kills = 3, 200, 1
    random.seed(0)
    equal = True
    with workspace(None) as folder:
        paths = make_scenes(folder / "scenes", options.scenes, (options.size, options.size), quick=True)
        whole_run(paths, folder / "undisturbed", 2)
        wanted = contents(folder / "undisturbed")
        row = table("killed", "items done then", "half-written files", "left over", "equal")
        for kind in ["run"] * options.kills + ["worker"] * options.kills:
            output = folder / "output"
            share = random.uniform(0, 0.9)
            if kind == "run":
                done, parts = kill_run(paths, output, share)
                whole_run(paths, output, 2)
            else:
                done, parts = kill_worker(paths, output, share), 0
            found = contents(output)
            left = sum(name.endswith(PART) for name in found)
            same = found == wanted
            equal &= same
            row(kind, done, parts, left, "yes" if same else "NO")
            shutil.rmtree(output)
    if not equal:
        raise SystemExit("Outputs differ.")


if __name__ == "__main__":
    main()
