"""What the commands do, once the command line has been read; all that they need is loaded here."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask

from coregstack.cli.console import CompilingNote, ProgressBar, counted, format_table, inspection_table, show
from coregstack.errors import CoregError, SchedulerLost
from coregstack.export.stac import require_pystac
from coregstack.kernels.compiling import compiling_told
from coregstack.kernels.warming import warm
from coregstack.orders.candidates import folder_scenes
from coregstack.orders.payload import PayloadError
from coregstack.orders.run import run_order
from coregstack.orders.verification import verify_output
from coregstack.run.result import RunResult, rows
from coregstack.run.scenes import run_scenes
from coregstack.show.inspection import inspect_folder, summarise
from coregstack.show.report import report as write_report
from coregstack.stack.anchor import rank_scenes
from coregstack.stack.opening import scenes_of, unreadable_files
from coregstack.testing import SampleOrder, write_sample_order

DELIVERED, WRONG_REQUEST, WITH_PROBLEMS = 0, 2, 3
"""Exit codes: done; nothing was written; done, but some files could not be read or written, or not all was done."""

CUT_SHORT = 141
"""Exit code where nobody read all that was printed, as a shell gives it."""

_OPTIONS = ("band", "max_shift", "threshold", "min_improvement", "method")


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
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if options.verbose:
        logging.getLogger("coregstack").setLevel(logging.INFO)
    else:
        # GDAL remarks on odd but readable headers once for every time that a file is opened
        logging.getLogger("rasterio").setLevel(logging.ERROR)
    try:
        if getattr(options, "stac", False):
            require_pystac()
        with _scheduler(options), compiling_told(CompilingNote(sys.stderr)):
            code = COMMANDS[options.command](options)
        sys.stdout.flush()
        return code
    except CoregError as error:
        if options.json:
            print(json.dumps(_api_error(error)))
        else:
            print(f"coregstack: {error}", file=sys.stderr)
        return WITH_PROBLEMS if isinstance(error, SchedulerLost) else WRONG_REQUEST
    except BrokenPipeError:
        # who reads has read enough, as `head` does; what Python holds back to the end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_SHORT
    except KeyboardInterrupt:
        print("coregstack: interrupted; run the same command again to do what is left.", file=sys.stderr)
        return 130


def _order(options: argparse.Namespace) -> int:
    result = run_order(
        options.payload,
        input=options.input,
        output=options.output,
        zarr=options.zarr,
        append=options.append,
        resampling=options.resampling,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
        verify=not options.no_verify,
        progress=ProgressBar(sys.stderr),
        **_match_options(options),
    )
    return _finish(result, options)


def _align(options: argparse.Namespace) -> int:
    result = run_scenes(
        options.scenes,
        anchor=options.anchor,
        output=options.output,
        zarr=options.zarr,
        resampling=options.resampling,
        cog=options.cog,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
        progress=ProgressBar(sys.stderr),
        **_match_options(options),
    )
    return _finish(result, options)


def _anchors(options: argparse.Namespace) -> int:
    if len(options.scenes) == 1 and Path(options.scenes[0]).is_dir():
        scenes, problems, control = folder_scenes(options.scenes[0])
    else:
        (scenes, problems), control = scenes_of(options.scenes), {}
    if not scenes:
        raise unreadable_files(problems)
    table = rank_scenes(scenes, control)
    for problem in problems:
        print(f"problem: {problem.id}: {problem.reason}", file=sys.stderr)
    for item, reason in table.attrs["left_out"].items():
        print(f"left out: {item}: {reason}", file=sys.stderr)
    if options.json:
        print(table.reset_index().to_json(orient="records"))
    elif options.quiet:
        print(table.index[0])
    else:
        lines = [(str(item), f"{row.score:.3f}", str(row.why)) for item, row in table.iterrows()]
        columns = shutil.get_terminal_size((110, 24)).columns
        print(format_table([("anchor", "score", "why"), *lines], max(columns, 80)))
    return WITH_PROBLEMS if problems else DELIVERED


def _verify(options: argparse.Namespace) -> int:
    problems = verify_output(Path(options.folder))
    if options.json:
        print(json.dumps({"output": options.folder, "problems": [str(problem) for problem in problems]}))
        return WITH_PROBLEMS if problems else DELIVERED
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if not options.quiet:
        found = counted(len(problems), "problem")
        print(f"{found} in {options.folder}" if problems else f"{options.folder} is whole")
    return WITH_PROBLEMS if problems else DELIVERED


def _inspect(options: argparse.Namespace) -> int:
    table = inspect_folder(options.folder, anchor=options.anchor)
    if options.json:
        items = json.loads(table.reset_index().to_json(orient="records", date_format="iso"))
        print(
            json.dumps({"anchor": table.attrs["anchor"], "items": items, "problems": table.attrs["problems"]})
        )
        return DELIVERED
    if not options.quiet:
        print(inspection_table(table))
        print()
    for problem in table.attrs["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    print("\n".join(summarise(table)))
    return DELIVERED


def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    if not options.json:
        print(f"Making a sample order in {folder / 'order'}: made scenes with known shifts, no download.")
    sample = write_sample_order(folder / "order")
    result = run_order(
        sample.payload,
        input=sample.folder,
        output=folder / "aligned",
        overwrite=True,
        progress=ProgressBar(sys.stderr),
    )
    code = _finish(result, options)
    if not options.json:
        print("\nRecovered against true shifts, px:")
        print(_truth_table(sample, result))
    return code


def _warm(options: argparse.Namespace) -> int:
    begin = time.monotonic()
    warm()
    seconds = time.monotonic() - begin
    if options.json:
        print(json.dumps({"seconds": round(seconds, 1)}))
    elif not options.quiet:
        print(f"All kernels are compiled; it took {seconds:.0f} s.")
    return DELIVERED


def _truth_table(sample: SampleOrder, result: RunResult) -> str:
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
    return format_table(lines, 110)


def _finish(result: RunResult, options: argparse.Namespace) -> int:
    if getattr(options, "stac", False) and not result.dry_run:
        try:
            result.to_stac()
        except CoregError as error:
            result = replace(result, faults=(*result.faults, f"STAC: {error}"))
    written = None
    if not getattr(options, "no_report", False) and not result.dry_run:
        try:
            written = str(write_report(result))
        except CoregError as error:
            result = replace(result, faults=(*result.faults, f"report: {error}"))
    if options.json:
        print(json.dumps({"output": result.output, "anchor": result.anchor, "items": rows(result.reports),
                          "notes": result.notes, "problems": result.problems, "report": written}))  # fmt: skip
    else:
        show(result, table=not options.quiet)
        if written is not None:
            print(f"Report: {written}")
    return WITH_PROBLEMS if result.problems else DELIVERED


def _api_error(error: CoregError) -> dict[str, Any]:
    """An error in the shape that the Orders API answers with."""
    if isinstance(error, PayloadError):
        return error.as_api()
    return {"field": {}, "general": [{"message": str(error)}]}


def _match_options(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _OPTIONS if getattr(options, name) is not None}


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
