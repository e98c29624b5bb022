"""Check of an output folder: digests, sidecars, lattices and pixels, and no file left over."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, MissingFile, UnreadableFile
from coregstack.export.files import PART, STATE
from coregstack.export.notes import delivered, read_notes
from coregstack.export.sidecar import sidecar_name
from coregstack.geometry.lattice import lattice_like, same_crs
from coregstack.model import Status
from coregstack.orders.manifest import MANIFEST_NAME, ManifestEntry, difference, locate, read_manifest
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.raster import check_pixels, read_header
from coregstack.products.planet.names import RASTER_EXTENSIONS
from coregstack.untrusted.folders import walked
from coregstack.untrusted.jsonfile import read_small_json
from coregstack.untrusted.limitedlist import LimitedList
from coregstack.untrusted.listing import FileProblem, more_problems
from coregstack.untrusted.names import safe_relative

LATTICE_TOLERANCE = 1e-9
"""How far from the anchor's lattice the corner of a moved raster may lie, in pixels of the anchor."""

_SIDECAR = "_coreg_qa_metadata.json"
_THREADS = 4


def verify_output(output: Path, *, pixels: bool = True) -> tuple[FileProblem, ...]:
    """Check a folder that a run has written.

    Checked are the size and digests of every file against the manifest (without one, the sizes that the run
    has noted); every sidecar against its JSON Schema; that moved rasters lie on the anchor's lattice; that
    aligned rasters can be read; and that no raster, sidecar or half-written file lies there that no run has listed.

    Parameters
    ----------
    output : Path
        Output folder.
    pixels : bool
        Whether all pixels of aligned rasters are read too, and not only their headers.

    Returns
    -------
    tuple of FileProblem
        Problems, sorted by path; empty if there are none.

    Raises
    ------
    MissingFile
        If there is no such folder, or it is not the output of a run.
    UnreadableFile
        If its manifest cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import run_order
    >>> from coregstack.testing import write_sample_order
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     order = write_sample_order(f"{folder}/order", size=200)
    ...     result = run_order(order.payload, input=order.folder, output=f"{folder}/out")
    ...     verify_output(Path(folder, "out"))
    ()
    """
    if not os.path.isdir(output):
        raise MissingFile(
            f"{str(output)!r} has to be the output folder of a run, but there is no such folder."
        )
    notes = read_notes(output)
    items = delivered(output)
    current = notes if items is None else {item: note for item, note in notes.items() if item in items}
    listed, problems = _listed(output, current)
    if not listed:
        raise MissingFile(
            f"{str(output)!r} holds neither {MANIFEST_NAME} nor notes of a run: nothing to check."
        )
    with ThreadPoolExecutor(_THREADS) as pool:
        entries = listed.values()
        problems += _named(entries, pool.map(lambda entry: difference(output, entry), entries))
        records, faults = _sidecars(output, listed)
        problems += faults
        rasters = [path for path in listed if _is_aligned(path, records)]
        check = _raster_check(output, listed, records, notes, pixels=pixels)
        problems += _named([listed[path] for path in rasters], pool.map(check, rasters))
    left = _left_behind(output, notes, listed)
    problems += left
    problems += _leftovers(output, {*listed, *(PurePosixPath(problem.path) for problem in left)})
    # more than one check reports a missing file, in the same words
    told: LimitedList[FileProblem] = LimitedList()
    told += sorted(set(problems), key=str)
    return told.closed(more_problems)


def _named(entries: Iterable[ManifestEntry], messages: Iterable[str]) -> list[FileProblem]:
    found = zip(entries, messages, strict=True)
    return [FileProblem(path=entry.path.as_posix(), message=message) for entry, message in found if message]


def _listed(
    output: Path, notes: Mapping[str, dict[str, Any]]
) -> tuple[dict[PurePosixPath, ManifestEntry], list[FileProblem]]:
    """Every file that the run says it has written."""
    if (output / MANIFEST_NAME).exists():
        manifest = read_manifest(output / MANIFEST_NAME)
        return {entry.path: entry for entry in manifest.entries}, list(manifest.problems)
    listed = {}
    for note in notes.values():
        for file in note["files"]:
            path = safe_relative(file["path"])
            listed[path] = ManifestEntry(
                path=path,
                media_type=None,
                size=file["size"],
                md5=file.get("md5"),
                sha256=file.get("sha256"),
                annotations={},
            )
    return listed, []


def _sidecars(
    output: Path, listed: Iterable[PurePosixPath]
) -> tuple[dict[str, dict[str, Any]], list[FileProblem]]:
    """The record of each raster by its file name, and what is wrong with sidecars."""
    records: dict[str, dict[str, Any]] = {}
    problems = []
    names = {path.name for path in listed}
    for path in listed:
        if not path.name.endswith(_SIDECAR):
            continue
        try:
            value = read_small_json(locate(output, path))
            _validator().validate(value)
            if path.name != sidecar_name(value["target_item"]):
                raise UnreadableFile(f"It describes another item, {value['target_item']!r}.")
            if missing := [name for name in value["output_item"] if name not in names]:
                raise UnreadableFile(f"It names files that are not in the output: {', '.join(missing)}.")
        except jsonschema.ValidationError as error:
            problems.append(FileProblem(path=str(path), message=f"{error.json_path}: {error.message}"))
        except CoregError as error:
            problems.append(FileProblem(path=str(path), message=str(error)))
        else:
            records |= dict.fromkeys(value["output_item"], value)
    return records, problems


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = files("coregstack.export").joinpath("schema/quality.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(schema))


def _is_aligned(path: PurePosixPath, records: Mapping[str, dict[str, Any]]) -> bool:
    """Whether a raster belongs to the anchor or lies on its lattice; others are delivered as they came,
    damaged or not."""
    if path.suffix.lower() not in RASTER_EXTENSIONS:
        return False
    record = records.get(path.name)
    if record is None:
        return "_anchor" in path.stem
    return record["status"] in (Status.ALREADY_ALIGNED, Status.COREGISTERED)


def _raster_check(
    output: Path,
    listed: Iterable[PurePosixPath],
    records: Mapping[str, dict[str, Any]],
    notes: Mapping[str, dict[str, Any]],
    *,
    pixels: bool,
) -> Callable[[PurePosixPath], str]:
    anchors = [path for path in listed if _is_aligned(path, records) and path.name not in records]
    boxes = list(_boxes(output, anchors))

    def check(path: PurePosixPath) -> str:
        try:
            header = read_header(locate(output, path))
            if pixels:
                check_pixels(header, header.nodata)
        except CoregError as error:
            return str(error)
        record = records.get(path.name)
        if record is None or not boxes or not _was_moved(record, notes):
            return ""
        off = min((_off_lattice(header, box) for box in boxes), default=0.0)
        return f"It lies {off:.3g} px off the anchor's lattice." if off else ""

    return check


def _boxes(output: Path, paths: Iterable[PurePosixPath]) -> Iterator[GeoBox]:
    for path in paths:
        try:
            yield read_header(locate(output, path)).box
        except CoregError:
            continue


def _was_moved(record: Mapping[str, Any], notes: Mapping[str, dict[str, Any]]) -> bool:
    """Whether an item's rasters were put onto the lattice, and not left or only given another geotransform."""
    if record["status"] == Status.COREGISTERED:
        return notes.get(record["target_item"], {}).get("resampling") != "none"
    return record["projection_epsg_after"] is not None


def _off_lattice(header: RasterHeader, anchor: GeoBox) -> float:
    """Distance of a raster's corner from the lattice of its pixel size, px; 0 within the tolerance."""
    box = header.box
    if not same_crs(box, anchor):
        return math.inf
    lattice = lattice_like(box, anchor)
    offsets = ~lattice.affine * (box.affine.c, box.affine.f)
    off = max(abs(offset - round(offset)) for offset in offsets)
    # a coordinate is stored to one part in 2**53, which of a small pixel is more than the tolerance
    coarse = (
        max(abs(box.affine.c), abs(box.affine.f)) * 2**-52 / min(abs(anchor.affine.a), abs(anchor.affine.e))
    )
    return 0.0 if off <= max(LATTICE_TOLERANCE, coarse) else off


def _left_behind(
    output: Path, notes: Mapping[str, dict[str, Any]], listed: Mapping[PurePosixPath, ManifestEntry]
) -> list[FileProblem]:
    """Files that an earlier run has recorded, and that the last run does not list."""
    noted = {safe_relative(file["path"]) for note in notes.values() for file in note["files"]}
    words = "An earlier run has written it, but the last run does not list it."
    return [
        FileProblem(path=path.as_posix(), message=words)
        for path in sorted(noted - set(listed))
        if os.path.lexists(output / path)
    ]


def _leftovers(output: Path, listed: Iterable[PurePosixPath]) -> tuple[FileProblem, ...]:
    """Files that look like results but are none; other files in the folder are the user's own."""
    known = set(listed)
    problems: LimitedList[FileProblem] = LimitedList()

    def amiss(path: str, words: str) -> None:
        problems.append(FileProblem(path=os.path.relpath(path, output), message=words))

    for entry in walked(output, amiss=amiss, enter=lambda name: name != STATE):
        path = PurePosixPath(Path(entry.path).relative_to(output).as_posix())
        half = entry.name.endswith(PART)
        result = entry.name.endswith(_SIDECAR) or path.suffix.lower() in RASTER_EXTENSIONS
        if path in known or not (half or result) or entry.is_dir():
            continue
        words = "It was only partly written." if half else "No run has listed it."
        problems.append(FileProblem(path=str(path), message=words))
    return problems.closed(more_problems)
