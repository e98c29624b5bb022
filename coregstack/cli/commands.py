"""What the commands do, once the command line has been read; all that they need is loaded here."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import dask

from coregstack.cli.console import ProgressBar, counted, format_table, inspection_table, show, terminal_width
from coregstack.cli.signals import exit_code, stopping_in_order
from coregstack.cli.terminal import LogFormat, complain, say, say_json
from coregstack.cube.check import is_cube, verify_cube
from coregstack.errors import CoregError, SchedulerLost, WorkersPaused
from coregstack.export.files import WriteError
from coregstack.export.stac import require_pystac
from coregstack.kernels.compiling import notify_compiling
from coregstack.kernels.warming import warm
from coregstack.matching.options import MatchSettings
from coregstack.orders.candidates import candidate_scenes
from coregstack.orders.payload import PayloadError
from coregstack.orders.run import run_order
from coregstack.orders.verification import verify_output
from coregstack.run.result import RunResult, rows
from coregstack.run.scenes import run_scenes
from coregstack.show.inspection import inspect_folder, summarise
from coregstack.show.report.page import report as write_report
from coregstack.stack.anchor import rank_scenes
from coregstack.stack.opening import unreadable_files
from coregstack.testing import SampleOrder, find_sample_order, write_sample_order
from coregstack.untrusted.given import given_place

DELIVERED, WRONG_REQUEST, WITH_PROBLEMS = 0, 2, 3
"""Exit codes: done; nothing was written; done, but some files could not be read or written, or not all was done."""


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; it was read by `coregstack.cli.parser`.

    Parameters
    ----------
    options : Namespace
        `command` names one of `COMMANDS`; the others are its own.

    Returns
    -------
    int
        As `coregstack.cli.main`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormat("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    if options.verbose:
        logging.getLogger("coregstack").setLevel(logging.INFO)
    else:
        # GDAL remarks on odd but readable headers once for every time that a file is opened
        logging.getLogger("rasterio").setLevel(logging.ERROR)
    try:
        if getattr(options, "stac", False):
            require_pystac()
            given_place(options.output, "With --stac, --output")
        with (
            _warnings_as_lines(),
            stopping_in_order(),
            _scheduler(options),
            ProgressBar(sys.stderr) as options.progress,
            notify_compiling(options.progress.note_compiling),
        ):
            return COMMANDS[options.command](options)
    except CoregError as error:
        if options.json:
            say_json(_api_error(error))
        else:
            complain(*f"coregstack: {error}".split("\n"))
        return WITH_PROBLEMS if isinstance(error, SchedulerLost | WorkersPaused) else WRONG_REQUEST
    except KeyboardInterrupt as stop:
        complain("coregstack: interrupted; run the same command again to do what is left.")
        return exit_code(stop)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings of any library go to the terminal the way of everything else: they may hold names of files."""

    def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        complain(f"{category.__name__}: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        yield


def _order(options: argparse.Namespace) -> int:
    result = run_order(
        options.payload,
        input=options.input,
        append=options.append,
        verify=not options.no_verify,
        **_run_options(options),
    )
    return _finish(result, options)


def _align(options: argparse.Namespace) -> int:
    result = run_scenes(
        options.scenes,
        anchor=options.anchor,
        lattice=options.lattice,
        assets=options.assets,
        mask=_mask(options),
        cog=options.cog,
        vrt=options.vrt,
        dem=options.dem,
        **_run_options(options),
    )
    return _finish(result, options)


def _anchors(options: argparse.Namespace) -> int:
    scenes, problems, control = candidate_scenes(options.scenes)
    if not scenes:
        raise unreadable_files(problems)
    table = rank_scenes(scenes, control)
    for problem in problems:
        complain(f"problem: {problem.id}: {problem.reason}")
    for item, reason in table.attrs["left_out"].items():
        complain(f"left out: {item}: {reason}")
    if options.json:
        say_json(json.loads(table.reset_index().to_json(orient="records")))
    elif options.quiet:
        say(str(table.index[0]))
    else:
        lines = [(str(item), f"{row.score:.3f}", str(row.why)) for item, row in table.iterrows()]
        say(*format_table([("anchor", "score", "why"), *lines], terminal_width()))
    return WITH_PROBLEMS if problems else DELIVERED


def _verify(options: argparse.Namespace) -> int:
    where = options.folder
    problems: tuple[object, ...] = verify_cube(where) if is_cube(where) else verify_output(Path(where))
    if options.json:
        say_json({"output": options.folder, "problems": [str(problem) for problem in problems]})
        return WITH_PROBLEMS if problems else DELIVERED
    for problem in problems:
        complain(f"problem: {problem}")
    if not options.quiet:
        found = counted(len(problems), "problem")
        say(f"{found} in {options.folder}" if problems else f"no problem found in {options.folder}")
    return WITH_PROBLEMS if problems else DELIVERED


def _inspect(options: argparse.Namespace) -> int:
    table = inspect_folder(options.scenes, anchor=options.anchor, mask=_mask(options))
    if options.json:
        items = json.loads(table.reset_index().to_json(orient="records", date_format="iso"))
        say_json({"anchor": table.attrs["anchor"], "items": items, "problems": table.attrs["problems"]})
        return DELIVERED
    if not options.quiet:
        say(*inspection_table(table), "")
    for problem in table.attrs["problems"]:
        complain(f"problem: {problem}")
    say(*summarise(table))
    return DELIVERED


def _mask(options: argparse.Namespace) -> list[str] | bool | None:
    """What is asked of masks; False for none at all."""
    asked: list[str] | None = options.mask
    return False if asked == ["none"] else asked


def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    try:
        sample = find_sample_order(folder / "order")
        if not options.json:
            does = "Making" if sample is None else "Using"
            say(f"{does} a sample order in {folder / 'order'}: made scenes with known shifts, no download.")
        sample = sample or write_sample_order(folder / "order")
    except CoregError:
        raise
    except OSError as error:
        raise WriteError(
            f"{str(folder)!r} cannot be written ({error.strerror}). Choose another folder."
        ) from error
    result = run_order(
        sample.payload,
        input=sample.folder,
        output=folder / "aligned",
        progress=options.progress,
    )
    code = _finish(result, options)
    if not options.json:
        say("", "Recovered against true shifts, px:", *_truth_table(sample, result))
    return code


def _warm(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    warm()
    seconds = time.monotonic() - begin
    if options.json:
        say_json({"seconds": round(seconds, 1)})
    elif not options.quiet:
        say(f"All kernels are compiled; it took {seconds:.0f} s.")
    return DELIVERED


def _truth_table(sample: SampleOrder, result: RunResult) -> list[str]:
    lines = [("item", "status", "true x, y", "found x, y", "error")]
    for report in result.reports:
        truth, found = sample.truth[report.id], report.quality.shift
        error = ""
        if truth is not None and found is not None:
            error = f"{math.hypot(truth.x - found.x, truth.y - found.y):.4f}"
        lines.append(
            (
                report.id,
                str(report.quality.status),
                "cannot be known" if truth is None else f"{truth.x:+.3f}, {truth.y:+.3f}",
                "" if found is None else f"{found.x:+.3f}, {found.y:+.3f}",
                error,
            )
        )
    return format_table(lines, terminal_width())


def _finish(result: RunResult, options: argparse.Namespace) -> int:
    if getattr(options, "stac", False) and not result.dry_run:
        try:
            result.to_stac()
        except (CoregError, OSError) as error:
            result = replace(result, faults=(*result.faults, f"STAC: {error}"))
    written = None
    away = "://" in result.output
    if away and not options.json:
        complain(
            "note: report.html is not made in an object store; coregstack.report makes it of a local copy."
        )
    if not getattr(options, "no_report", False) and not result.dry_run and not away:
        try:
            written = str(write_report(result))
        except (CoregError, OSError) as error:
            result = replace(result, faults=(*result.faults, f"report: {error}"))
    if options.json:
        say_json({"output": result.output, "anchor": result.anchor, "items": rows(result.reports),
                  "notes": result.notes, "problems": result.problems, "report": written})  # fmt: skip
    else:
        show(result, table=not options.quiet)
        if written is not None:
            say(f"Report: {written}")
    return WITH_PROBLEMS if result.problems else DELIVERED


def _api_error(error: CoregError) -> dict[str, Any]:
    """An error in the shape that the Orders API answers with."""
    if isinstance(error, PayloadError):
        return error.as_api()
    return {"field": {}, "general": [{"message": str(error)}]}


_RUN_OPTIONS = ("output", "zarr", "sharding", "resampling", "overwrite", "check", "dry_run")
"""What every run takes beside the settings of its matching."""


def _run_options(options: argparse.Namespace) -> dict[str, Any]:
    names = (*_RUN_OPTIONS, *(field.name for field in fields(MatchSettings)))
    return {name: getattr(options, name) for name in names} | {"progress": options.progress}


@contextmanager
def _scheduler(options: argparse.Namespace) -> Iterator[None]:
    """The dask scheduler that was asked for; threads of this process by default."""
    if getattr(options, "scheduler", None):
        from distributed import Client

        try:
            client = Client(options.scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise SchedulerNotFound(
                f"No dask scheduler answers at {options.scheduler!r} ({error}). Check the address, for example "
                "tcp://10.0.0.1:8786."
            ) from error
        with client:
            yield
        return
    with dask.config.set(scheduler="threads", num_workers=getattr(options, "workers", None)):
        yield


class SchedulerNotFound(CoregError, ConnectionError):
    """A dask scheduler that does not answer."""


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "order": _order,
    "align": _align,
    "anchors": _anchors,
    "verify": _verify,
    "inspect": _inspect,
    "demo": _demo,
    "warm": _warm,
}
"""What each command does; returns the exit code."""
