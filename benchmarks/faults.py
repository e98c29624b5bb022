"""Let disks, processes and clusters fail in the middle of an order, and see what becomes of it.

    python benchmarks/faults.py --faults 245
    python benchmarks/faults.py --kind "bytes read" --seed 0 --only 7      one fault again

Each fault strikes a whole order (an anchor and two items, with masks, metadata and a manifest) at a place that
is drawn from the kind, the seed and its number. Then no final name may hold anything but the bytes of an
undisturbed run or of the source; every item has to be finished or named; the inputs have to be as they were; and
the same command, run again without the fault, has to bring the undisturbed output, file for file. Faults that
strike a cube are those of `cube_faults.py`.
"""

from __future__ import annotations

import argparse
import builtins
import errno
import hashlib
import io
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cube_faults
import dask
import numpy as np
import rasterio
import recipes
from rasterio.errors import RasterioIOError

from coregstack import run_order
from coregstack.cli import main as command
from coregstack.errors import CoregError
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.run.result import RunResult

IDS = ("20240101_100000_0e3a", "20240102_100000_0e3a", "20240103_100000_0e3a")
SHIFTS = ((0.0, 0.0), (1.3, -0.7), (-2.1, 0.4))
CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)
LIMIT_S = 180
"""A run that takes longer hangs."""

Rng = np.random.Generator
Progress = Callable[[int, int], None]


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file of a folder, without the notes of runs."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".coregstack" not in path.parts
    }


@dataclass(kw_only=True)
class Bench:
    """An order, and what an undisturbed run makes of it."""

    folder: Path
    source: Path = field(init=False)
    inputs: dict[str, str] = field(init=False)
    whole: dict[str, str] = field(init=False)

    @cached_property
    def cubes(self) -> cube_faults.CubeBench:
        """Scenes and a cube, for faults that strike cubes."""
        return cube_faults.CubeBench(folder=self.folder / "cubes")

    def __post_init__(self) -> None:
        self.source = self.folder / "order"
        write_order(self.source)
        self.inputs = tree(self.source)
        self.run(self.folder / "whole")
        self.whole = tree(self.folder / "whole")

    def run(
        self,
        output: Path,
        *,
        source: Path | None = None,
        progress: Progress | None = None,
        threads: bool = True,
    ) -> RunResult:
        """Run the order; on threads of this process only if no cluster is asked for."""
        scheduler: AbstractContextManager[Any] = (
            dask.config.set(scheduler="synchronous") if threads else nullcontext()
        )
        with scheduler:
            return run_order(
                recipes.payload(list(IDS), IDS[0]),
                input=source or self.source,
                output=output,
                progress=progress,
            )


def write_order(folder: Path) -> None:
    """An anchor and two items, each with an image, a mask and metadata, and the manifest of all."""
    folder.mkdir(parents=True)
    for item, shift in zip(IDS, SHIFTS, strict=True):
        recipes.write_tiff(folder / f"{item}_3B_AnalyticMS.tif", recipes.pixels(shift))
        (folder / f"{item}_3B_udm2.tif").write_bytes(recipes.mask_bytes())
        (folder / f"{item}_3B_AnalyticMS_metadata.xml").write_text(f"<item>{item}</item>")
    files = [
        {"path": path.name, "digests": {"md5": hashlib.md5(path.read_bytes()).hexdigest()}}
        for path in sorted(folder.iterdir())
    ]
    (folder / "manifest.json").write_text(json.dumps({"name": "faults", "files": files}))


Broken = cube_faults.Broken


def judge(bench: Bench, output: Path, result: RunResult | None, source: Path | None = None) -> str:
    """Hold what a fault has left to the promises: "equal", "named" or "stopped".

    Where another `source` was read, its files may have been delivered as they are, if they are named.
    """
    inputs = bench.inputs if source is None else tree(source)
    if tree(bench.source) != bench.inputs:
        raise Broken("an input was changed")
    files = tree(output) if output.exists() else {}
    for name, digest in files.items():
        known = {bench.whole.get(name), bench.inputs.get(name), inputs.get(name)}
        if name.endswith((".tif", ".xml")) and digest not in known:
            raise Broken(f"{name} holds what it should not")
    if result is None:
        return "stopped"
    if left := list(output.rglob("*.part")):
        raise Broken(f"half-written: {left[0].name}")
    for report in result.reports:
        own = {name: digest for name, digest in bench.whole.items() if name.startswith(report.id)}
        missing = [name for name, digest in own.items() if files.get(name) != digest]
        if missing and not report.problems:
            raise Broken(f"{report.id} lacks {missing} and is not named")
        told = " ".join(report.problems)
        if "unexpected" in told or ".part" in told:
            raise Broken(told)
        if report.quality.status is Status.FAILED and not report.problems:
            raise Broken(f"{report.id} has failed and is not named")
    return "named" if result.problems else "equal"


def heal(bench: Bench, output: Path) -> None:
    """The same command again, without the fault, brings what an undisturbed run brings."""
    result = bench.run(output)
    if result.problems:
        raise Broken(f"the next run has problems: {result.problems}")
    if tree(output) != bench.whole:
        raise Broken("the next run does not bring the undisturbed output")
    if problems := verify_output(output):
        raise Broken(f"the next run's output does not verify: {problems[0]}")


class Fault:
    """Raises an error at the n-th call, and from then on if it lasts."""

    def __init__(self, error: Callable[[], Exception], at: float, *, lasting: bool = False) -> None:
        self.error, self.at, self.lasting = error, at, lasting
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at + 1 or (self.lasting and self.calls > self.at):
            raise self.error()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with the fault in front of it."""

        def wrapped(*args: Any, **options: Any) -> Any:
            self()
            return function(*args, **options)

        return wrapped


class FailingFile:
    """An open file some of whose methods fail."""

    def __init__(self, file: Any, methods: Sequence[str], fault: Fault) -> None:
        self._file, self._methods, self._fault = file, methods, fault

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._file, name)
        return self._fault.before(value) if name in self._methods else value

    def __enter__(self) -> FailingFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


@contextmanager
def failing_files(folder: Path, methods: Sequence[str], fault: Fault) -> Iterator[None]:
    """Opening files below a folder, or their methods, fails."""
    real = builtins.open

    def opening(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, int) or not str(file).startswith(str(folder)):
            return real(file, *args, **options)
        if "open" in methods:
            fault()
        return FailingFile(real(file, *args, **options), methods, fault)

    with patch.object(builtins, "open", opening), patch.object(io, "open", opening):
        yield


CALLS: dict[str, Callable[[Path, Fault], AbstractContextManager[Any]]] = {
    "opening of a file": lambda folder, fault: failing_files(folder, ("open",), fault),
    "bytes read": lambda folder, fault: failing_files(folder, ("read", "readinto"), fault),
    "bytes written": lambda folder, fault: failing_files(folder, ("write",), fault),
    "flush to disk": lambda _, fault: patch.object(os, "fsync", fault.before(os.fsync)),
    "renaming": lambda _, fault: patch.object(os, "replace", fault.before(os.replace)),
    "pixels read": lambda _, fault: patch.object(
        rasterio.io.DatasetReader, "read", fault.before(rasterio.io.DatasetReader.read)
    ),
    "pixels written": lambda _, fault: patch.object(
        rasterio.io.DatasetWriter, "write", fault.before(rasterio.io.DatasetWriter.write)
    ),
}
"""What is made to fail at its n-th call, by the kind of fault."""


def failing_call(kind: str) -> Callable[[Bench, Rng, Path], str]:
    """A read, write, flush or rename fails, once or from then on."""

    def inject(bench: Bench, rng: Rng, output: Path) -> str:
        code = int(rng.choice(CODES))

        def error() -> Exception:
            return (
                RasterioIOError(os.strerror(code)) if "pixels" in kind else OSError(code, os.strerror(code))
            )

        counted = Fault(error, np.inf)
        with CALLS[kind](bench.folder, counted):
            bench.run(output)
        shutil.rmtree(output)
        fault = Fault(error, int(rng.integers(0, counted.calls)), lasting=bool(rng.integers(0, 2)))
        with CALLS[kind](bench.folder, fault):
            try:
                result = bench.run(output)
            except CoregError:
                result = None
        if fault.calls <= fault.at:
            raise Broken("the fault was not injected")
        end = judge(bench, output, result)
        if kind == "pixels read" and result is not None:
            delivered = tree(output)
            for report in result.reports:
                names = [name for name in bench.inputs if name.startswith(report.id)]
                if report.problems and report.id != IDS[0]:
                    wrong = [name for name in names if delivered.get(name) != bench.inputs[name]]
                    if wrong:
                        raise Broken(f"sources not delivered as they came: {wrong}")
        return end

    return inject


def damaged(rng: Rng, data: bytes) -> bytes | None:
    """Bytes cut, changed, emptied, replaced or gone."""
    match int(rng.integers(0, 5)):
        case 0:
            return data[: int(rng.integers(0, max(len(data), 1)))]
        case 1:
            at = int(rng.integers(0, max(len(data), 1)))
            return (
                data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :] if data else b"x"
            )
        case 2:
            return b""
        case 3:
            return rng.bytes(len(data))
    return None


def put(path: Path, data: bytes | None) -> None:
    """Write a file, or remove it."""
    path.unlink()
    if data is not None:
        path.write_bytes(data)


def damaged_output(bench: Bench, rng: Rng, output: Path) -> str:
    """Files and notes of an earlier run are damaged; half-written ones lie about."""
    bench.run(output)
    paths = sorted(path for path in output.rglob("*") if path.is_file())
    for path in rng.choice(np.array(paths, object), int(rng.integers(1, 4)), replace=False):
        put(path, damaged(rng, path.read_bytes()))
    (output / f".{rng.bytes(8).hex()}.part").write_bytes(rng.bytes(100))
    return judge(bench, output, bench.run(output))


def changed_input(bench: Bench, rng: Rng, output: Path) -> str:
    """A file of the input is changed or removed after the run has read its header."""
    source = output.with_name("changing")
    shutil.copytree(bench.source, source)
    names = [name for name in bench.inputs if not name.endswith(".json")]
    path = source / str(rng.choice(names))
    when = int(rng.integers(0, len(IDS)))

    def strike(done: int, total: int) -> None:
        if done == when and path.exists():
            data = path.read_bytes()
            put(path, damaged(rng, data))

    try:
        result = bench.run(output, source=source, progress=strike)
    except CoregError:
        result = None
    return judge(bench, output, result, source)


def stale_lock(bench: Bench, rng: Rng, output: Path) -> str:
    """The lock and notes of a run that is no more, or something else in their place."""
    state = output / ".coregstack"
    state.mkdir(parents=True)
    left = [b"", b"process 1 on elsewhere", b"process 999999999 on here", rng.bytes(300)]
    (state / "lock").write_bytes(left[int(rng.integers(0, len(left)))])
    for item in IDS:
        if rng.random() < 0.5:
            (state / f"{item}.json").write_bytes(rng.bytes(200) if rng.random() < 0.5 else b"{}")
    return judge(bench, output, bench.run(output))


def run_apart(bench: Bench, output: Path, size: int | None) -> None:
    """Run the order in a process of its own, in which no file may grow beyond a size, if one is given."""
    logging.disable()
    warnings.simplefilter("ignore")
    if size is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        result = bench.run(output)
    except CoregError:
        end = "stopped"
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        try:
            end = judge(bench, output, result)
        except Broken as broken:
            end = str(broken)
    output.with_name("end").write_text(end)


def started(bench: Bench, output: Path, size: int | None = None) -> BaseProcess:
    """A process that runs the order; it is forked from one that has all modules, and no thread of GDAL."""
    output.with_name("end").unlink(missing_ok=True)
    process = get_context("forkserver").Process(target=run_apart, args=(bench, output, size))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for a process's end; its exit code, negative for a signal."""
    process.join(LIMIT_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise Broken("a run hangs")
    return process.exitcode


def full_disk(bench: Bench, rng: Rng, output: Path) -> str:
    """The system lets no file grow beyond a size, GDAL's own writes included."""
    code = ended(started(bench, output, int(rng.integers(100, 250_000))))
    if code != 0:
        raise Broken(f"a run ended with {code}")
    end = output.with_name("end").read_text()
    if end not in ("equal", "named", "stopped"):
        raise Broken(end)
    return judge(bench, output, None) if end == "stopped" else end


def begun(process: BaseProcess, output: Path) -> None:
    """Wait until a run has made its folder, or is at its end."""
    while process.is_alive() and not output.exists():
        time.sleep(0.001)


def killed_process(bench: Bench, rng: Rng, output: Path) -> str:
    """A run is killed at any moment after it has begun to write."""
    process = started(bench, output)
    begun(process, output)
    began = time.monotonic()
    ended(process)
    took = time.monotonic() - began
    for _ in range(20):
        shutil.rmtree(output)
        process = started(bench, output)
        begun(process, output)
        process.join(float(rng.uniform(0, took)))
        process.kill()
        if ended(process) == -signal.SIGKILL:
            return judge(bench, output, None)
    raise Broken("the fault was not injected")


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    """A client, and the process of its cluster."""
    from distributed import Client

    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        with Client(process.stdout.readline().strip(), timeout=60) as client:
            yield client, process
    finally:
        process.kill()
        process.communicate()


def killed_worker(bench: Bench, rng: Rng, output: Path) -> str:
    """A worker of a cluster is killed between two items."""
    when = int(rng.integers(0, len(IDS)))
    with cluster(output.parent) as (client, _):
        victims = [int(rng.choice(sorted(client.run(os.getpid).values())))]

        def strike(done: int, total: int) -> None:
            if done == when and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        return judge(bench, output, bench.run(output, progress=strike, threads=False))


def lost_scheduler(bench: Bench, rng: Rng, output: Path) -> str:
    """The scheduler of a cluster is killed between two items."""
    when = int(rng.integers(0, len(IDS)))
    with cluster(output.parent) as (client, process):
        workers = sorted(client.run(os.getpid).values())

        def strike(done: int, total: int) -> None:
            if done == when:
                process.kill()

        try:
            result = bench.run(output, progress=strike, threads=False)
        except CoregError as error:
            if not any(item in str(error) for item in IDS):
                raise Broken(f"nothing undone is named: {error}") from error
            result = None
    for worker in workers:
        # what is left of the cluster finishes what it has at hand; the next run is not to meet it
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    return judge(bench, output, result)


STREAMS = (
    ">&-",
    "2>&-",
    ">&- 2>&-",
    "<&- >&- 2>&-",
    ">/dev/full",
    "2>/dev/full",
    ">/dev/full 2>&1",
    "| true",
)
"""What a shell may make of the streams of a command."""


def words_of(bench: Bench, output: Path, source: Path) -> list[str]:
    """Words of the command that runs the order."""
    payload = output.with_name("payload.json")
    payload.write_text(json.dumps(recipes.payload(list(IDS), IDS[0])))
    return ["order", str(payload), "--input", str(source), "--output", str(output), "--no-report"]


def odd_streams(bench: Bench, rng: Rng, output: Path) -> str:
    """Standard streams are closed, full, gone, or of few characters: the order is delivered all the same."""
    amiss = str(rng.choice(STREAMS))
    more = [option for option in ("--json", "--verbose", "--quiet") if rng.random() < 0.3]
    call = ["bash", "-c", f'set -o pipefail; "$@" {amiss}', "bash", sys.executable, "-m", "coregstack"]
    done = subprocess.run(
        [*call, *words_of(bench, output, bench.source), *more], capture_output=True, check=False, timeout=LIMIT_S,
        env=os.environ | {"PYTHONIOENCODING": str(rng.choice(["ascii:strict", "utf-8:strict"]))},
    )  # fmt: skip
    if done.returncode or b"Traceback" in done.stderr or b"Exception" in done.stderr:
        raise Broken(f"{amiss}: exit code {done.returncode}; {done.stderr.decode(errors='replace')}")
    if tree(output) != bench.whole:
        raise Broken(f"{amiss}: the order is not delivered")
    judge(bench, output, None)
    return "equal"


def command_apart(arguments: Sequence[str], scratch: Path) -> None:
    """Run a command in a process of its own, which unpacks archives to a folder."""
    logging.disable()
    warnings.simplefilter("ignore")
    tempfile.tempdir = str(scratch)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        code = command(arguments)
    sys.exit(code)


def stopping_signal(bench: Bench, rng: Rng, output: Path) -> str:
    """A command is asked to stop at any moment: it ends in order, with the code of the signal."""
    number = int(rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
    scratch = output.with_name("unpacked")
    scratch.mkdir()
    source = Path(shutil.make_archive(str(output.with_name("order")), "zip", bench.source))
    for _ in range(20):
        shutil.rmtree(output, ignore_errors=True)
        arguments = words_of(bench, output, source)
        process = get_context("forkserver").Process(target=command_apart, args=(arguments, scratch))
        process.start()
        begun(process, output)
        process.join(float(rng.uniform(0, 1)))
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, number)
        code = ended(process)
        if left := [*output.rglob("*.part"), *scratch.iterdir()]:
            raise Broken(f"left behind: {left[0]}")
        if code == 128 + number:
            return judge(bench, output, None)
        if code != 0:
            raise Broken(f"a command that got signal {number} ended with {code}")
    raise Broken("the fault was not injected")


def swapped_input(bench: Bench, rng: Rng, output: Path) -> str:
    """After a run an input is another of the same size and time: the next run brings what a fresh one brings."""
    source, fresh = output.with_name("swapped"), output.with_name("fresh")
    shutil.copytree(bench.source, source)
    if rng.random() < 0.7:
        # without digests nothing but the bytes tells
        (source / "manifest.json").unlink()
    bench.run(output, source=source)
    path = source / str(rng.choice([name for name in bench.inputs if not name.endswith(".json")]))
    before, data = path.stat(), path.read_bytes()
    at = int(rng.integers(0, len(data)))
    flipped = data[:at] + bytes([data[at] ^ int(rng.integers(1, 256))]) + data[at + 1 :]
    path.write_bytes(flipped if rng.random() < 0.7 else rng.bytes(len(data)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        expected = bench.run(fresh, source=source)
    except CoregError:
        try:
            bench.run(output, source=source)
        except CoregError:
            return "stopped"
        raise Broken("a run went on that a fresh one did not begin") from None
    result = bench.run(output, source=source)
    if tree(output) != tree(fresh) or result.problems != expected.problems:
        raise Broken(f"{path.name} was swapped and not noticed")
    return "named" if result.problems else "equal"


def on_cubes(inject: Callable[[cube_faults.CubeBench, Rng, Path], str]) -> Callable[[Bench, Rng, Path], str]:
    """A fault that strikes a cube, and what heals it."""
    return lambda bench, rng, output: inject(bench.cubes, rng, output.parent)


KINDS: dict[str, tuple[int, Callable[[Bench, Rng, Path], str]]] = {
    **{kind: (18, failing_call(kind)) for kind in CALLS},
    "damaged earlier output": (24, damaged_output),
    "input changed meanwhile": (12, changed_input),
    "stale lock and notes": (10, stale_lock),
    "no room for a file": (14, full_disk),
    "killed process": (12, killed_process),
    "killed worker": (3, killed_worker),
    "lost scheduler": (3, lost_scheduler),
    "odd streams": (16, odd_streams),
    "signal to stop": (9, stopping_signal),
    "swapped input": (16, swapped_input),
    **{kind: (count, on_cubes(inject)) for kind, (count, inject) in cube_faults.KINDS.items()},
}
"""How many of 359 faults are of a kind, and how one is injected."""


def one(kind: str, seed: int, number: int, bench: Bench) -> str:
    """Inject one fault; how it ended, or what promise was not kept."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    with tempfile.TemporaryDirectory(prefix="fault-", dir=bench.folder) as scratch:
        output = Path(scratch) / "out"
        try:
            end = KINDS[kind][1](bench, rng, output)
            if kind not in cube_faults.KINDS:
                heal(bench, output)
        except Broken as broken:
            return str(broken)
        except Exception:
            return traceback.format_exc()
    return end


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject faults and print a table; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=245, help="at least so many (default: %(default)s)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="inject this one fault and print its end")
    options = parser.parse_args(arguments)
    kinds = options.kind or list(KINDS)
    whole = sum(KINDS[kind][0] for kind in kinds)
    warnings.simplefilter("ignore")
    logging.disable()
    injected = failed = 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(folder=Path(folder))
        if options.only is not None:
            print(one(kinds[0], options.seed, options.only, bench))
            return 0
        print(f"seed {options.seed}\n")
        print("| fault | injected | equal | named | stopped | failures |\n|---|---|---|---|---|---|")
        for kind in kinds:
            count = -(-options.faults * KINDS[kind][0] // whole)
            ends = [one(kind, options.seed, number, bench) for number in range(count)]
            bad = [
                (number, end) for number, end in enumerate(ends) if end not in ("equal", "named", "stopped")
            ]
            injected, failed = injected + count, failed + len(bad)
            counts = " | ".join(str(ends.count(end)) for end in ("equal", "named", "stopped"))
            print(f"| {kind} | {count} | {counts} | {len(bad)} |", flush=True)
            for number, end in bad[:20]:
                last = end.strip().splitlines()[-1]
                print(f'--kind "{kind}" --seed {options.seed} --only {number}: {last}', file=sys.stderr)
    print(f"\n{injected} faults, {failed} failures")
    return int(failed > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
