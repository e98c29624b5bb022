"""Files of no item, which go out as they came."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from coregstack.errors import CoregError
from coregstack.export.contents import copy_file
from coregstack.export.deliver import check_source
from coregstack.export.files import inside
from coregstack.export.plan import Asset, WrittenFile, written


def copy_others(
    others: Iterable[Asset], target: Path, taken: set[str], *, verify: bool
) -> tuple[list[WrittenFile], list[str], list[str]]:
    """Copy the files of no item as they came, unless a file of this run has their name.

    Returns
    -------
    tuple of list
        What was written, what failed, and what was left out.
    """
    files, faults, left_out = [], [], []
    for asset in others:
        if (relative := PurePosixPath(asset.folder, asset.name).as_posix()) in taken:
            left_out.append(
                f"{relative} of the input is left out: the run needs this name for a file of its own."
            )
            continue
        try:
            path = inside(target, asset.folder, asset.name)
            copy_file(asset.source, path)
            files.append(written(path, str(target), dict(asset.annotations)))
            if verify:
                check_source(asset)
        except CoregError as error:
            faults.append(str(error))
    return files, faults, left_out
