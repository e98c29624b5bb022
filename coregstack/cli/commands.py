"""The command line: `coregstack order | align | anchors | inspect | verify | completion | demo`."""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask

from coregstack._version import __version__
from coregstack.cli.completion import SHELLS, completion_script
from coregstack.cli.console import CompilingNote, ProgressBar, counted, format_table, inspection_table, show
from coregstack.cli.signals import exit_code, stopping_in_order
from coregstack.cli.streams import sure_streams
from coregstack.cli.terminal import LogFormat, Parser, complain, say, say_json
from coregstack.errors import CoregError, SchedulerLost, WorkersPaused
from coregstack.export.stac import require_pystac
from coregstack.kernels.compiling import compiling_told
from coregstack.matching.decision import MIN_IMPROVEMENT, SCORE_THRESHOLD
from coregstack.matching.options import METHODS
from coregstack.orders.candidates import folder_scenes
from coregstack.orders.payload import PayloadError
from coregstack.orders.run import run_order
from coregstack.orders.verification import verify_output
from coregstack.pixels.warp import RESAMPLING
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
"""Exit code of commands that only print, where not all was printed, as a shell gives it."""

_OPTIONS = ("band", "max_shift", "threshold", "min_improvement", "method")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        0 delivered, 2 the request is wrong and nothing was written, 3 delivered, but some inputs could
        not be read or written, or the cluster was lost. It does not depend on whether what is printed can be
        written. 128 and the number of a signal that stopped it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """
    with sure_streams() as (out, _):
        options = build_parser().parse_args(arguments)
        _set_logging(options)
        code = _done(options)
        out.flush()
        if out.failure is not None:
            if not isinstance(out.failure, BrokenPipeError):
                complain(f"coregstack: standard output cannot be written ({out.failure}).")
            if options.run in _PRINTED:
                return CUT_SHORT
        return code


def _set_logging(options: argparse.Namespace) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormat("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    if options.verbose:
        logging.getLogger("coregstack").setLevel(logging.INFO)
    else:
        # GDAL remarks on odd but readable headers once for every time that a file is opened
        logging.getLogger("rasterio").setLevel(logging.ERROR)


def _done(options: argparse.Namespace) -> int:
    """Do what a command asks for; the exit code that tells how it went, whatever becomes of its words."""
    try:
        if getattr(options, "stac", False):
            require_pystac()
        with stopping_in_order(), _scheduler(options), compiling_told(CompilingNote(sys.stderr)):
            return int(options.run(options))
    except CoregError as error:
        if options.json:
            say_json(_api_error(error))
        else:
            complain(*f"coregstack: {error}".split("\n"))
        return WITH_PROBLEMS if isinstance(error, SchedulerLost | WorkersPaused) else WRONG_REQUEST
    except KeyboardInterrupt as stop:
        complain("coregstack: interrupted; run the same command again to do what is left.")
        return exit_code(stop)


def _order(options: argparse.Namespace) -> int:
    result = run_order(
        options.payload,
        input=options.input,
        output=options.output,
        zarr=options.zarr,
        append=options.append,
        resampling=options.resampling,
        overwrite=options.overwrite,
        check=options.check,
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
        check=options.check,
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
        complain(f"problem: {problem.id}: {problem.reason}")
    for item, reason in table.attrs["left_out"].items():
        complain(f"left out: {item}: {reason}")
    if options.json:
        say_json(json.loads(table.reset_index().to_json(orient="records")))
    elif options.quiet:
        say(str(table.index[0]))
    else:
        lines = [(str(item), f"{row.score:.3f}", str(row.why)) for item, row in table.iterrows()]
        columns = shutil.get_terminal_size((110, 24)).columns
        say(*format_table([("anchor", "score", "why"), *lines], max(columns, 80)))
    return WITH_PROBLEMS if problems else DELIVERED


def _verify(options: argparse.Namespace) -> int:
    problems = verify_output(Path(options.folder))
    if options.json:
        say_json({"output": options.folder, "problems": [str(problem) for problem in problems]})
        return WITH_PROBLEMS if problems else DELIVERED
    for problem in problems:
        complain(f"problem: {problem}")
    if not options.quiet:
        found = counted(len(problems), "problem")
        say(f"{found} in {options.folder}" if problems else f"{options.folder} is whole")
    return WITH_PROBLEMS if problems else DELIVERED


def _inspect(options: argparse.Namespace) -> int:
    table = inspect_folder(options.folder, anchor=options.anchor)
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


def _completion(options: argparse.Namespace) -> int:
    say(*completion_script(build_parser(), options.shell).splitlines())
    return DELIVERED


def _demo(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    if not options.json:
        say(f"Making a sample order in {folder / 'order'}: made scenes with known shifts, no download.")
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
        say("", "Recovered against true shifts, px:", *_truth_table(sample, result))
    return code


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
    return format_table(lines, 110)


def _finish(result: RunResult, options: argparse.Namespace) -> int:
    if getattr(options, "stac", False) and not result.dry_run:
        try:
            result.to_stac()
        except (CoregError, OSError) as error:
            result = replace(result, faults=(*result.faults, f"STAC: {error}"))
    written = None
    if not getattr(options, "no_report", False) and not result.dry_run:
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


_PRINTED = (_anchors, _completion, _inspect)
"""Commands whose words are all that they bring."""


class SchedulerNotFound(CoregError, ConnectionError):
    """A dask scheduler that does not answer."""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = Parser(
        prog="coregstack",
        description="Align a stack of satellite scenes to one anchor scene, to hundredths of a pixel.",
        epilog="Exit codes: 0 delivered; 2 the request is wrong, nothing was written; 3 delivered, but some files "
        "could not be read or written. New here? Run: coregstack demo",
    )
    parser.add_argument("--version", action="version", version=f"coregstack {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _order_command(commands)
    _align_command(commands)
    anchors = _command(commands, "anchors", _anchors, "Rank scenes by how good an anchor each would make.",
        "coregstack anchors order_folder")  # fmt: skip
    anchors.add_argument(
        "scenes",
        nargs="+",
        metavar="SCENE",
        help="image files, or the folder of a delivered order or of scenes",
    )
    _cluster_arguments(anchors)
    verify = _command(commands, "verify", _verify, "Check an output folder: digests, sidecars, lattices, pixels.",
        "coregstack verify aligned")  # fmt: skip
    verify.add_argument("folder", metavar="OUTPUT", help="folder that order or align has written")
    inspect = _command(commands, "inspect", _inspect,
        "Say what is in a folder, and what would be refused, and why; nothing is written.",
        "coregstack inspect order_folder")  # fmt: skip
    inspect.add_argument("folder", metavar="DIR", help="folder of a delivered order, or of any scenes")
    inspect.add_argument(
        "--anchor", metavar="ID", help="item the others are held against (default: the best overlap)"
    )
    completion = commands.add_parser(
        "completion",
        help="Print a script that completes commands and options in a shell.",
        description="Print a script that completes commands and options in a shell.",
        epilog='Example: eval "$(coregstack completion bash)"',
    )
    completion.set_defaults(run=_completion, json=False, quiet=False, verbose=False)
    completion.add_argument("shell", choices=SHELLS, help="which shell reads it")
    demo = _command(commands, "demo", _demo, "Make a sample order with known shifts and align it; no download.",
        "coregstack demo")  # fmt: skip
    demo.add_argument(
        "folder", nargs="?", default="coregstack-demo", metavar="DIR", help="default: %(default)s"
    )
    _cluster_arguments(demo)
    return parser


def _order_command(commands: Any) -> None:
    order = _command(commands, "order", _order, "Coregister a delivered Planet order as its payload asks.",
        "coregstack order payload.json --input order_folder --output aligned")  # fmt: skip
    order.add_argument("payload", help="JSON file: the order's payload, or the finished order's description")
    order.add_argument(
        "--input",
        required=True,
        type=_place,
        metavar="DIR",
        help="folder or zip archive of the delivered order",
    )
    order.add_argument(
        "--no-verify",
        action="store_true",
        help="neither compare inputs with the digests of their manifest, nor check the output at the end",
    )
    order.add_argument(
        "--append",
        action="store_true",
        help="append the items to the cube named by --zarr, aligned to its own anchor",
    )
    _run_arguments(order)


def _align_command(commands: Any) -> None:
    align = _command(commands, "align", _align, "Align any GeoTIFF or JPEG 2000 scenes.",
        "coregstack align scenes/*.tif --anchor 20200630 --output aligned")  # fmt: skip
    align.add_argument(
        "scenes", nargs="+", metavar="SCENE", help="image files, one for each item, the anchor among them"
    )
    align.add_argument(
        "--anchor",
        required=True,
        metavar="ID",
        help="the anchor: file name without extension, or time; 'auto' chooses one, as `coregstack anchors` does",
    )
    align.add_argument("--cog", action="store_true", help="write shifted scenes as cloud-optimised GeoTIFF")
    _run_arguments(align)


def _command(commands: Any, name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"Example: {example}"
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the result, or the error, as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no table")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done, item by item")
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, type=_place, metavar="DIR", help="folder to write to")
    parser.add_argument("--zarr", type=_place, metavar="PATH", help="write the aligned cube as well")
    parser.add_argument(
        "--stac", action="store_true", help="describe the output as a STAC collection in stac/collection.json"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="match and decide only, and print the table; write nothing"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="do everything anew, not only what is missing"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare digests before an item that an earlier run has done is taken for done, not only sizes and times",
    )
    parser.add_argument("--no-report", action="store_true", help="do not write report.html to the output")
    match = parser.add_argument_group("matching")
    match.add_argument(
        "--band", type=_band, help="band that is scored: name, position from 0, or 'mean' (default: red)"
    )
    match.add_argument(
        "--max-shift",
        type=float,
        metavar="PX",
        help="largest shift looked for (default: a quarter of the overlap)",
    )
    match.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help=f"aligned already from this score on (default: {SCORE_THRESHOLD})",
    )
    match.add_argument(
        "--min-improvement",
        type=float,
        metavar="SCORE",
        help=f"least gain that a shift is applied for (default: {MIN_IMPROVEMENT})",
    )
    match.add_argument(
        "--method",
        choices=METHODS,
        help="direct: each item with the anchor; network: with others too, all pairs adjusted (default: direct)",
    )
    match.add_argument("--resampling", default="cubic", choices=(*RESAMPLING, "none"),
        help="how pixels are moved; none moves only the geotransform (default: %(default)s)")  # fmt: skip
    _cluster_arguments(parser)


def _cluster_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where it runs").add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler", metavar="ADDRESS", help="a running dask cluster, for example tcp://10.0.0.1:8786"
    )
    where.add_argument(
        "--workers", type=_count, metavar="N", help="threads of this machine (default: all cores)"
    )


def _place(text: str) -> str:
    if not text:
        # as where a variable of a script is not set; it would mean the current folder
        raise argparse.ArgumentTypeError("a name was expected, but it is empty")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on was expected, not {text!r}")
    return int(text)


def _band(text: str) -> str | int:
    return int(text) if text.lstrip("-").isdigit() else text
