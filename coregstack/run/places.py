"""Where a run reads and writes: inputs, output and cube are compared before any work."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coregstack.cube.journal import read_journal
from coregstack.cube.mark import find_cube
from coregstack.cube.place import Place, place_of
from coregstack.errors import OutputConflict
from coregstack.export import claim
from coregstack.export.files import (
    WriteError,
    check_lasting,
    is_half_written,
    resolved,
)
from coregstack.export.lock import locked
from coregstack.untrusted.addresses import Address
from coregstack.untrusted.folders import walked

_STORE = ("zarr.json", ".zgroup", ".zarray")
"""Files by which a folder of a Zarr store is known."""


def check_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is or holds an input, or lies in an input folder.

    Raises
    ------
    OutputConflict
    """
    output = resolved(output)
    for path in inputs:
        where = resolved(path)
        folder = where if where.is_dir() else where.parent
        if _same(output, folder) or within(where, output) or (where.is_dir() and within(output, where)):
            raise OutputConflict(
                f"The output {str(output)!r} and the input {str(where)!r} overlap; inputs are never written to. "
                "Choose an output folder beside the input."
            )


def local_paths(inputs: Iterable[str]) -> tuple[Path, ...]:
    """Inputs that lie on this machine, which an output may overlap."""
    return tuple(Path(path) for path in inputs if not isinstance(path, Address))


def check_no_store(output: Path) -> None:
    """Refuse an output folder that is a Zarr store or lies in one.

    Raises
    ------
    OutputConflict
    """
    output = resolved(output)
    for folder in (output, *output.parents):
        if any(os.path.lexists(folder / name) for name in _STORE):
            raise OutputConflict(
                f"The output {str(output)!r} lies in the Zarr store {str(folder)!r}. Choose a folder beside it."
            )


def cube_place(
    store: Any,
    *,
    output: Path,
    inputs: Iterable[Path],
    overwrite: bool,
    append: bool = False,
    anchor: str,
    ids: Collection[str],
) -> Place | None:
    """The place where the cube of a run goes, refused before any work if the cube may not be written there.

    Parameters
    ----------
    store : path, URL, mapping or zarr Store
        Where it goes; None for none.
    output : Path
        Output folder of the run.
    inputs : iterable of Path
        Files and folders that the run reads.
    overwrite : bool
        Whether a cube that is there is replaced.
    append : bool
        Whether a cube that is there grows, and keeps its own anchor and dates.
    anchor : str
        Anchor of the run.
    ids : collection of str
        Its items.

    Raises
    ------
    OutputConflict
        If the place overlaps an input or the output, or holds anything but a cube of this anchor and of some of
        these items.
    InvalidRequest, UnreadableFile
        If it cannot be reached, or holds a cube that is damaged.
    """
    if store is None:
        return None
    place = place_of(store)
    if place.local is not None:
        check_apart(place.local, inputs)
        folder = resolved(output)
        if within(folder, place.local) or within(place.local, folder):
            raise OutputConflict(
                f"The cube {str(place.local)!r} and the output {str(folder)!r} overlap. Choose a place for the cube "
                "beside the output folder."
            )
    mark = find_cube(place, overwrite=overwrite)
    if mark is None or not mark.ready or overwrite or append:
        return place
    there = mark.layout.get("anchor")
    others = sorted({item.rsplit(" ", 1)[0] for item in read_journal(place).items if item} - set(ids))
    if there != anchor or others:
        what = (
            f"of the anchor {there!r}"
            if there != anchor
            else f"with {', '.join(others[:5])}, not of this run"
        )
        raise OutputConflict(
            f"{place.name} holds a cube {what}. Choose another store, or replace it with overwrite=True (--overwrite)."
        )
    return place


def within(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, by name or, for other names of one folder, by what is on disk."""
    return any(_same(part, folder) for part in (path, *path.parents))


def _same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def output_folder(output: Path, inputs: Iterable[Path]) -> Iterator[str]:
    """An output folder for one run alone: made, and cleared of what a killed run left half-written.

    Yields
    ------
    str
        The run's claim to the folder, which ends with it.

    Raises
    ------
    OutputConflict
        If the output is or holds an input, lies in an input folder, a Zarr store or a folder of unpacked archives,
        is a file, or is written by another run.
    WriteError
        If it cannot be made or locked.
    """
    check_apart(output, inputs)
    check_no_store(output)
    check_lasting(output)
    output = resolved(output)
    if output.exists() and not output.is_dir():
        raise OutputConflict(f"The output {str(output)!r} is a file; a folder was expected.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"{str(output)!r} cannot be made ({error.strerror}). Choose another folder."
        ) from error
    with locked(output):
        token = claim.claim(output)
        _clear(output)
        try:
            yield token
        finally:
            # a lost worker leaves what it was writing, and others may still be at work
            claim.release(output)
            _clear(output)


def _clear(output: Path) -> None:
    # what cannot be removed harms no file of the run; the check of the output reports it
    with suppress(OSError):
        for entry in walked(output):
            if is_half_written(Path(entry.path)):
                with suppress(OSError):
                    os.unlink(entry.path)
