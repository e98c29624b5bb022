"""Names in the output folder, of which no two files may have the same: refused before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.export.files import STATE
from coregstack.export.heights import HEIGHT_ERROR
from coregstack.export.index import INDEX
from coregstack.export.notes import delivered, note_delivered
from coregstack.export.plan import REPORT, TABLE, Asset, ItemPlan
from coregstack.export.stac import FOLDER

_NEEDED = {
    TABLE: "the table of the run",
    REPORT: "the report of the run",
    "manifest.json": "the manifest",
    INDEX: "the tile index",
    HEIGHT_ERROR: "the error of the height model",
    FOLDER: "the folder of the STAC collection",
    f"{FOLDER}/collection.json": "the STAC collection",
    STATE: "the folder of the run's notes",
}
"""Names that a run needs for itself, and for what."""

_NAMED = 3
"""How many files an error names."""


def check_targets(plans: Sequence[ItemPlan]) -> None:
    """Refuse items whose files may be written under one name, or under one that the run itself needs.

    Raises
    ------
    InvalidRequest
        If there are such, for example where a run's own output is among its inputs.
    """
    needed = _needed(plans)
    owners: dict[str, Asset] = {}
    for plan in plans:
        for asset in plan.assets:
            for path in sorted(asset.targets):
                _check_free_of(needed, path, asset)
                other = owners.setdefault(path, asset)
                if other is not asset:
                    raise InvalidRequest(
                        f"{other.source!r} and {asset.source!r} may both be written as {path!r}. Leave one out, or "
                        "give them other ids."
                    )
    for path, asset in owners.items():
        for folder in _folders(path):
            if folder in owners:
                raise InvalidRequest(
                    f"{owners[folder].source!r} may be written as {folder!r}, and {asset.source!r} into a folder "
                    "of this name. Leave one out, or give it another name."
                )


def begin(plans: Sequence[ItemPlan], output: Path, *, overwrite: bool, also: Iterable[str] = ()) -> None:
    """Check all names that a run may write, and note which items it is asked for.

    Parameters
    ----------
    plans : sequence of ItemPlan
        All items.
    output : Path
        Output folder, which exists.
    overwrite : bool
        Whether files that no run has written may be replaced.
    also : iterable of str
        Other paths that the run writes, relative to the output.

    Raises
    ------
    InvalidRequest
        If two files may have one name, or one that the run itself needs.
    OutputConflict
        If the folder holds files of names that this run may write, of items that no run before was asked for; or, where
        no run has written to it at all, files of names of the run itself.
    WriteError
        If the items cannot be noted.
    """
    check_targets(plans)
    if not overwrite:
        known = _known(output)
        names = set() if known else {TABLE, REPORT, *also}
        _check_unclaimed(names.union(*(plan.targets for plan in plans if plan.id not in known)), output)
    note_delivered(output, (plan.id for plan in plans))


def _known(output: Path) -> frozenset[str]:
    """Items that earlier runs over an output were asked for: what has their names may be theirs."""
    noted = (path.stem for path in (output / STATE).glob("*.json"))
    return frozenset(noted) | (delivered(output) or frozenset())


def needed_names(plans: Iterable[ItemPlan]) -> set[str]:
    """Paths in the output that a run may need for itself, relative to it."""
    return set(_needed(plans))


def _needed(plans: Iterable[ItemPlan]) -> dict[str, str]:
    """Paths that a run may need for itself, and for what."""
    needed = dict(_NEEDED)
    for plan in plans:
        needed[plan.sidecar] = f"the sidecar of {plan.id!r}"
        needed[f"{FOLDER}/{plan.id}.json"] = f"the STAC item of {plan.id!r}"
    return needed


def _check_unclaimed(names: Iterable[str], output: Path) -> None:
    """Refuse an output that holds files of names that no run has written yet: they are not ours to replace.

    A link is replaced and not written through, so that what it leads to is not lost.
    """
    places = {name: os.path.join(output, name) for name in names}
    found = sorted(
        name for name, place in places.items() if os.path.exists(place) and not os.path.islink(place)
    )
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise OutputConflict(
            f"The output {str(output)!r} holds files that no run has written but this one would replace: "
            f"{', '.join(found[:_NAMED])}{more}. Choose another folder, move them, or ask to overwrite."
        )


def _check_free_of(needed: dict[str, str], path: str, asset: Asset) -> None:
    """Refuse a path that is needed, or that lies in a folder of a needed file's name."""
    free = {FOLDER}  # files of items may lie in this folder
    for name in (path, *(folder for folder in _folders(path) if folder not in free)):
        if name in needed:
            raise InvalidRequest(
                f"{asset.source!r} may be written as {path!r}, but {name!r} is {needed[name]}. Leave it out, or give "
                "it another name."
            )


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: k + 1]) for k in reversed(range(len(parts))))
