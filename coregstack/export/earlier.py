"""What an earlier run has made of items: what is still valid, why the rest is done again, and what no longer
belongs."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from coregstack._version import __version__
from coregstack.errors import CoregError
from coregstack.export.contents import file_digest, sample_digest
from coregstack.export.files import STATE, inside
from coregstack.export.notes import read_note, read_notes, write_note
from coregstack.export.plan import DeliverySettings, ItemPlan, ItemReport, WrittenFile
from coregstack.matching.quality import plain_values, quality_of
from coregstack.pixels.inputs import state_of
from coregstack.untrusted.addresses import Address

_THREADS = 8
_NAMED = 5
"""How many files a line names."""

_CHANGED = {
    "version": "they are of another version of coregstack",
    "anchor": "the anchor is another one or has changed",
    "options": "an option has changed",
    "datum": "an image that the datum names is another one or has changed",
    "lattice": "the lattice of the output is another one",
    "scenes": "the scenes of the network have changed",
    "quality": "the shifts have changed",
    "writing": "the options for writing have changed",
    "inputs": "their own inputs have changed",
    "read": "their masks, or the bands that they are matched in, have changed",
}
"""In words, what an item depends on has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier run has left of an item."""

    report: ItemReport | None = None
    """What it did, if nothing has changed since and its files are still there."""
    again: str = ""
    """Why the item is done again; empty where there is nothing of an earlier run, or where it holds."""


def made_from(plan: ItemPlan, settings: DeliverySettings) -> dict[str, str]:
    """What an item depends on: the name of each and a text that stands for it."""
    inputs = [
        [a.source, a.folder, a.name, a.coreg_name, a.anchor_name, a.expected, *_stamp(a.source)]
        for a in plan.assets
    ]
    read = {"read": _token(plan.read)} if plan.read else {}
    return {
        "version": __version__,
        **dict(settings.fingerprint),
        "writing": ", ".join(map(str, _writing(settings))),
        "inputs": _token([plan.id, inputs]),
        **read,
    }


def _writing(settings: DeliverySettings) -> tuple[object, ...]:
    """What tells how rasters are written; what is usual, and was not told by earlier versions, is left out."""
    lattice = ("pixels of the anchor",) if settings.like_anchor else ()
    described = ("described",) if settings.vrt else ()
    return settings.resampling, settings.cog, *lattice, *described, *settings.nearest


def states(plan: ItemPlan) -> list[tuple[int, ...]]:
    """What the file system says of each file of an item; while it is the same, no byte of them was changed."""
    return [_state(asset.source) for asset in plan.assets]


def earlier(plan: ItemPlan, settings: DeliverySettings) -> Earlier:
    """What an earlier run has left of an item, and whether it holds."""
    path = note_path(plan, settings)
    try:
        noted = path.stat().st_mtime_ns
    except OSError:
        return Earlier()
    try:
        note = read_note(path)
    except CoregError:
        return Earlier(again="their notes were damaged")
    files = tuple(WrittenFile(**entry) for entry in note["files"])
    again = _changed(note, plan, settings) or _harmed(files, noted, plan, settings)
    if not again and settings.check:
        again = _unlike(note, files, plan, settings)
    if again:
        return Earlier(again=again)
    quality = quality_of(note["quality"])
    return Earlier(report=ItemReport(id=plan.id, quality=quality, files=files, resumed=True))


def all_earlier(plans: Sequence[ItemPlan], settings: DeliverySettings) -> dict[str, Earlier]:
    """`earlier` of many items, by their ids."""
    try:
        noted = set(os.listdir(Path(settings.output, STATE)))
    except OSError:
        noted = set()
    known = [plan for plan in plans if f"{plan.id}.json" in noted]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = {
            plan.id: one
            for plan, one in zip(known, pool.map(partial(earlier, settings=settings), known), strict=True)
        }
    return {plan.id: found.get(plan.id) or Earlier() for plan in plans}


def own_files(plan: ItemPlan, settings: DeliverySettings) -> set[str]:
    """Files that an earlier run has noted of an item, as far as the item may have them.

    A note may be a copy of another item's, or be changed: names that the plan would not give are ignored.
    """
    try:
        noted = {file["path"] for file in read_note(note_path(plan, settings))["files"]}
    except CoregError:
        return set()
    return noted & plan.targets


def left_behind(plans: Iterable[ItemPlan], output: Path) -> tuple[str, ...]:
    """Files that earlier runs have noted and that lie in the output, but belong to no item of this run."""
    noted = {file["path"] for note in read_notes(output).values() for file in note["files"]}
    if not noted:
        return ()
    wanted = frozenset[str]().union(*(plan.targets for plan in plans))
    return tuple(sorted(path for path in noted - wanted if os.path.lexists(output / path)))


def remember(
    plan: ItemPlan,
    report: ItemReport,
    parts: Mapping[str, str],
    sources: Mapping[str, str],
    settings: DeliverySettings,
) -> None:
    """Note what was done with an item, from what.

    Parameters
    ----------
    plan, report, settings
        The item, what became of it, and what holds for the run.
    parts : mapping
        What `made_from` gave when the item was begun; empty for an item that the next run has to do again.
    sources : mapping
        SHA-256 of files that were read, by their paths, as far as it is known.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    note = {
        "fingerprint": _token(dict(parts)) if parts else "",
        "parts": dict(parts),
        "sources": dict(sources),
        "quality": plain_values(report.quality),
        "resampling": settings.resampling,
        "files": [asdict(f) for f in report.files],
    }
    write_note(note_path(plan, settings), note)


def note_path(plan: ItemPlan, settings: DeliverySettings) -> Path:
    """Where the note of an item lies."""
    return inside(settings.output, STATE, f"{plan.id}.json")


def words_of_again(reports: Iterable[ItemReport]) -> tuple[str, ...]:
    """One line that says how many items were done again and why, or none.

    Examples
    --------
    >>> from coregstack.matching.decision import failure
    >>> report = ItemReport(id="a", quality=failure(""), files=(), again="the anchor is another")
    >>> words_of_again([report])
    ('Done again: 1 item, since the anchor is another.',)
    """
    counts = Counter(report.again for report in reports if report.again).most_common()
    each = [f"{count} item{'' if count == 1 else 's'}, since {reason}" for reason, count in counts]
    return (f"Done again: {'; '.join(each)}.",) if each else ()


def words_of_left(paths: Sequence[str]) -> tuple[str, ...]:
    """One line that names files of earlier runs that no longer belong, or none.

    Examples
    --------
    >>> words_of_left(["a.tif", "b.tif"])
    ('Files of earlier runs that do not belong to this run were left as they are: a.tif, b.tif.',)
    """
    if not paths:
        return ()
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    named = ", ".join(paths[:_NAMED])
    return (f"Files of earlier runs that do not belong to this run were left as they are: {named}{more}.",)


def _changed(note: Mapping[str, Any], plan: ItemPlan, settings: DeliverySettings) -> str:
    """What the item depends on that is no longer as it was, in words."""
    if not note["fingerprint"]:
        return "not all of their files could be read or written"
    parts, known = made_from(plan, settings), note["parts"]
    if note["fingerprint"] == _token(parts):
        return ""
    words = [text for name, text in _CHANGED.items() if known.get(name) != parts.get(name)]
    return " and ".join(words) or "their notes were damaged"


def _harmed(files: Sequence[WrittenFile], noted: int, plan: ItemPlan, settings: DeliverySettings) -> str:
    """What has happened to an item's files since `noted` (ns since the epoch), as far as sizes and times
    show."""
    if not {file.path for file in files} <= plan.targets:
        return "their notes name files of other items"
    if settings.digests and not all(file.sha256 for file in files):
        return "their digests were not recorded"
    try:
        found = [inside(settings.output, file.path).stat() for file in files]
    except (OSError, ValueError):
        return "some of their files were removed"
    same = all(s.st_size == f.size and s.st_mtime_ns <= noted for s, f in zip(found, files, strict=True))
    return "" if same else "some of their files have changed"


def _unlike(
    note: Mapping[str, Any], files: Sequence[WrittenFile], plan: ItemPlan, settings: DeliverySettings
) -> str:
    """Which bytes, read or written, are no longer those that were noted, in words."""
    noted: Mapping[str, str] = note["sources"]
    if any(noted.get(path) != digest for path, digest in settings.references):
        return "the digest of the anchor has changed or was not recorded"
    try:
        for asset in plan.assets:
            if noted.get(asset.source) != file_digest(asset.source, "sha256"):
                return "the digest of an input has changed or was not recorded"
        for file in files:
            if file.sha256 != file_digest(str(inside(settings.output, file.path)), "sha256"):
                return "the digest of one of their files has changed"
    except CoregError:
        return "some of their files cannot be read"
    return ""


def _stamp(path: str) -> tuple[int, int, str]:
    """Size, time of change and a digest of samples of a file; zeros where it is gone."""
    try:
        return *state_of(path), sample_digest(path)
    except CoregError:
        return 0, 0, ""


def _state(path: str) -> tuple[int, ...]:
    """Which file it is, its size, and the times of its changes, the second of which no program can set; else none."""
    if isinstance(path, Address):
        return _stamp(path)[:2]
    try:
        stat = os.stat(path)
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _token(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
