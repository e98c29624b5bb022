"""Which run an output folder belongs to: work of a run that has ended is not written any more.

A lock ends with its process, but a cluster may still be at work for a run that was interrupted or killed, or whose
scheduler was lost. What it finishes must not be mixed with the files of the next run, nor replace them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from coregstack.errors import CoregError
from coregstack.export.files import STATE, staged, while_held

CLAIM = "run"
"""Name of the file that names the present run, in the folder where runs keep their notes."""

_ENDED = "-" * 32


def claim(output: Path) -> str:
    """Claim a folder for a run; the claim of an earlier run no longer holds.

    Parameters
    ----------
    output : Path
        Folder, which exists and is locked.

    Returns
    -------
    str
        What names the run.

    Raises
    ------
    WriteError
        If the claim cannot be written.
    """
    token = secrets.token_hex(len(_ENDED) // 2)
    _write(output, token)
    return token


def release(output: Path) -> None:
    """End the claim of a run; tasks of it that still run write nothing more."""
    with suppress(CoregError):
        _write(output, _ENDED)


@contextmanager
def under(output: Path, token: str) -> Iterator[None]:
    """Files that this thread writes get their names only while the claim of a run holds.

    Parameters
    ----------
    output : Path
        The claimed folder.
    token : str
        What `claim` returned; empty for a run that has no claim.
    """
    if not token:
        yield
        return
    with while_held(partial(_holds, output / STATE / CLAIM, token.encode())):
        yield


def _holds(path: Path, token: bytes) -> bool:
    try:
        # it is read before each file gets its name: no buffer and no text are made of so few bytes
        with path.open("rb", buffering=0) as file:
            found = file.read()
    except OSError:
        # a worker elsewhere may see a new file late; only another name tells that this run has ended
        return True
    return found == token or len(found) != len(token) or not found.isascii()


def _write(output: Path, token: str) -> None:
    with staged(output / STATE / CLAIM) as temporary:
        temporary.write_bytes(token.encode())
