"""The commands and their options: `coregstack order | align | anchors | inspect | verify | completion | demo | warm`.

Nothing heavy is loaded to read a command line, so that help, version and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from coregstack._version import __version__
from coregstack.cli.completion import SHELLS
from coregstack.cli.terminal import Parser
from coregstack.matching.choices import (
    DECISIONS,
    ESTIMATORS,
    LATTICES,
    METHODS,
    MIN_IMPROVEMENT,
    MODELS,
    RESAMPLING,
    SCORE_THRESHOLD,
)


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
    anchors = _command(commands, "anchors", "Rank scenes by how good an anchor each would make.",
        "coregstack anchors order_folder")  # fmt: skip
    anchors.add_argument(
        "scenes",
        nargs="+",
        metavar="SCENE",
        help="image files, quoted patterns, addresses, or the folder of a delivered order or of scenes",
    )
    _cluster_arguments(anchors)
    verify = _command(commands, "verify",
        "Check an output folder (digests, sidecars, lattices, pixels) or a cube (chunks, coordinates, quality).",
        "coregstack verify aligned")  # fmt: skip
    verify.add_argument(
        "folder", metavar="OUTPUT", help="folder or cube that order or align has written; a cube may be a URL"
    )
    inspect = _command(commands, "inspect",
        "List what is in a folder, what would be refused, and why; nothing is written.",
        "coregstack inspect order_folder")  # fmt: skip
    inspect.add_argument(
        "scenes",
        nargs="+",
        metavar="SCENE",
        help="folder of a delivered order or of any scenes; or image files, quoted patterns and addresses",
    )
    inspect.add_argument(
        "--anchor", metavar="ID", help="item that the others are compared with (default: the best overlap)"
    )
    _mask_argument(inspect)
    completion = commands.add_parser(
        "completion",
        help="Print a script that completes commands and options in a shell.",
        description="Print a script that completes commands and options in a shell.",
        epilog='Example: eval "$(coregstack completion bash)"',
    )
    completion.set_defaults(command="completion", json=False, quiet=False, verbose=False)
    completion.add_argument("shell", choices=SHELLS, help="which shell reads it")
    demo = _command(commands, "demo", "Make a sample order with known shifts and align it; no download.",
        "coregstack demo")  # fmt: skip
    demo.add_argument(
        "folder", nargs="?", default="coregstack-demo", metavar="DIR", help="default: %(default)s"
    )
    _cluster_arguments(demo)
    _command(commands, "warm", "Compile all kernels now, so that no run has to wait for it; for images of containers.",
        "coregstack warm")  # fmt: skip
    return parser


def _order_command(commands: Any) -> None:
    order = _command(commands, "order", "Coregister a delivered Planet order as its payload asks.",
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
        help="do not compare inputs with the digests of their manifest, and do not check the output at the end",
    )
    order.add_argument(
        "--append",
        action="store_true",
        help="append the items to the cube named by --zarr, aligned to its own anchor",
    )
    _run_arguments(order)


def _align_command(commands: Any) -> None:
    align = _command(commands, "align", "Align any scenes: products as they come, or GeoTIFF and JPEG 2000 files.",
        "coregstack align products --anchor LC08_L2SP_190027_20200620_20200823_02_T1 --output aligned")  # fmt: skip
    align.add_argument(
        "scenes",
        nargs="+",
        metavar="SCENE",
        help="folders of products, or image files, the anchor among them; also quoted patterns, and https, s3, gs and "
        "az addresses; files of one acquisition are one item",
    )
    align.add_argument(
        "--anchor",
        required=True,
        metavar="ID|PATH",
        help="the anchor: file name without extension, or time; or the path of a scene from outside, of any CRS and "
        "pixel size; 'auto' chooses one, as `coregstack anchors` does",
    )
    align.add_argument(
        "--lattice",
        choices=LATTICES,
        default="items",
        help="items: moved scenes keep their pixel size; anchor: they take the anchor's CRS and pixel size "
        "(default: %(default)s)",
    )
    align.add_argument(
        "--dem",
        metavar="PATH",
        help="the height model that orthorectified the scenes: its error is written as height_error.tif, with --model "
        "terrain, where metadata tell the angles of view",
    )
    align.add_argument(
        "--assets",
        metavar="PATTERN",
        help="how files are named where that is not recognised, as '{id}_{band}.tif'",
    )
    _mask_argument(align)
    kind = align.add_mutually_exclusive_group()
    kind.add_argument("--cog", action="store_true", help="write shifted scenes as cloud-optimised GeoTIFF")
    kind.add_argument(
        "--vrt",
        action="store_true",
        help="copy no pixel: write a VRT for each file, which names it and holds its moved geotransform",
    )
    _run_arguments(align)


def _command(commands: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"Example: {example}"
    )
    parser.set_defaults(command=name)
    parser.add_argument("--json", action="store_true", help="print the result, or the error, as JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no table")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done, item by item")
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", required=True, type=_place, metavar="DIR", help="folder to write to")
    parser.add_argument("--zarr", type=_place, metavar="PATH", help="write the aligned cube as well")
    parser.add_argument(
        "--sharding",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="put the chunks of a date of the cube together into one object; readers that know no shards need each by "
        "itself",
    )
    parser.add_argument(
        "--stac", action="store_true", help="describe the output as a STAC collection in stac/collection.json"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="match and decide only, and print the table; write nothing"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="process everything again, not only what is missing"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="before an item counts as done, compare the digests of its files, not only sizes and times",
    )
    parser.add_argument("--no-report", action="store_true", help="do not write report.html to the output")
    _match_arguments(parser.add_argument_group("matching"))
    _cluster_arguments(parser)


def _match_arguments(match: argparse._ArgumentGroup) -> None:
    """Options of `MatchSettings`, each with its default."""
    match.add_argument(
        "--band",
        type=_band,
        help="band that is scored: name, position from 0, or 'mean' (default: red); 'pan,red' for the anchor's band "
        "and the one of the other scenes",
    )
    match.add_argument(
        "--nearest",
        type=_bands,
        default=(),
        metavar="BANDS",
        help="names or positions of bands of classes, with commas between: never matched, moved by nearest neighbour "
        "(bands that tell so by colour table, name or attributes need not be named)",
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
        default=SCORE_THRESHOLD,
        metavar="SCORE",
        help="an item with this score or a higher one counts as aligned (default: %(default)s)",
    )
    match.add_argument(
        "--min-improvement",
        type=float,
        default=MIN_IMPROVEMENT,
        metavar="SCORE",
        help="smallest improvement of the score for which a shift is applied (default: %(default)s)",
    )
    match.add_argument(
        "--method",
        choices=METHODS,
        default="direct",
        help="direct: each item with the anchor; network: with others too, all pairs adjusted (default: %(default)s)",
    )
    match.add_argument(
        "--model",
        choices=MODELS,
        default="shift",
        help="shift: a scene moves as one; affine: turned, scaled or sheared; field: part by part; terrain: as all "
        "scenes do, by one relief; auto: the simplest that fits (default: %(default)s)",
    )
    match.add_argument(
        "--decide",
        choices=DECISIONS,
        default="score",
        help="score: move what improves the matching score; evidence: move what is known and significant "
        "(default: %(default)s)",
    )
    match.add_argument(
        "--datum",
        type=_datum,
        default="anchor",
        metavar="DATUM",
        help="what holds the position of all scenes: anchor, mean (the weighted mean of all), ids of trusted scenes "
        "with commas between, a reference image, or ids and images with their sigma in pixels, as a=0.2,map.tif=0.5; "
        "with --decide evidence (default: %(default)s)",
    )
    match.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="coregstack",
        help="what tells the shift of a pair: coregstack's own, or phase correlation of windows (default: %(default)s)",
    )
    match.add_argument("--resampling", default="cubic", choices=(*RESAMPLING, "none"),
        help="how pixels are moved; none moves only the geotransform (default: %(default)s)")  # fmt: skip


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
        # for example an unset variable of a script; it would mean the current folder
        raise argparse.ArgumentTypeError("a name was expected, but it is empty")
    return text


def _mask_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mask",
        action="append",
        metavar="MASK",
        help="what is not used for matching: 'scl:3,8,9,10', '{id}_cloud.tif:1', 'water.tif:1'; 'none' for no masks at "
        "all; may be given several times (default: the masks of the products)",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on was expected, not {text!r}")
    return int(text)


def _band(text: str) -> str | int | tuple[str | int, ...]:
    parts = _bands(text)
    return parts if len(parts) == 2 else parts[0] if len(parts) == 1 else text


_SIGMA = re.compile(r"(.+)=(\d+\.?\d*|\.\d+)")
"""A name with its sigma."""


def _datum(text: str) -> str | tuple[str, ...] | dict[str, float]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    known = [_SIGMA.fullmatch(part) for part in parts]
    if any(known):
        if not all(known):
            raise argparse.ArgumentTypeError(
                f"either every part of {text!r} has a sigma, as a=0.2, or none has"
            )
        return {one[1]: float(one[2]) for one in known if one}
    return parts[0] if len(parts) == 1 else parts or text


def _bands(text: str) -> tuple[str | int, ...]:
    parts = (part.strip() for part in text.split(","))
    return tuple(int(part) if part.lstrip("-").isdigit() else part for part in parts if part)
