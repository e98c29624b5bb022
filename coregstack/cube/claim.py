"""One run at a time writes to a cube: a lock file where it lies in a folder, a claim object in any other store."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from coregstack.cube.place import Place, create, names_in, read, remove, write
from coregstack.cube.template import JOURNAL
from coregstack.errors import CoregError, OutputConflict
from coregstack.export.files import WriteError
from coregstack.export.lock import LOCK, locked_file

CLAIM = re.compile(rf"{LOCK}\.(\d{{1,9}})")
_LONGEST = 100
"""Characters of each part of a claim that are shown."""
_KEPT: set[str] = set()
"""Marks of the claims that this process holds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has claimed a cube, as the claim says."""

    mark: str
    """Text that no other claim has."""
    process: int
    """Its number."""
    host: str
    """Name of its machine."""
    space: str
    """Where the number means this process: the machine since it was started, and its container."""
    since: str
    """When it claimed the cube, ISO 8601."""

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended: a process of this machine that does not exist any more."""
        if os.name != "posix" or self.space != _space() or self.mark in _KEPT:
            return False
        if self.process == os.getpid():
            return True
        try:
            os.kill(self.process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.process} on {self.host[:_LONGEST]}, since {self.since[:_LONGEST]}"


@contextmanager
def claimed(place: Place) -> Iterator[None]:
    """Keep other runs from a cube for as long as this one lasts.

    In a folder, the operating system holds a lock file and frees it when its process ends, however it ends. In
    any other store, a claim is an object that is made only where there is none; where a store cannot do that,
    the log says so, and only a claim that is there already is noticed. A claim whose process is known to be gone
    is taken over; any other has to be removed by hand, and the error says whose it is.

    Parameters
    ----------
    place : Place
        Of the cube; its folder is made.

    Raises
    ------
    OutputConflict
        If another run has it; the message says which.
    WriteError
        If the store cannot be written to.
    """
    if place.local is not None:
        try:
            (place.local / JOURNAL).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(
                f"{str(place.local)!r} cannot be made ({error.strerror}). Choose another folder."
            ) from error
        with locked_file(place.local / JOURNAL / LOCK, place.local):
            yield
        return
    mine = Holder(
        mark=uuid4().hex,
        process=os.getpid(),
        host=socket.gethostname(),
        space=_space(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _KEPT.add(mine.mark)
    try:
        key = _claim(place, mine)
        try:
            yield
        finally:
            with suppress(CoregError):
                remove(place, [key])
    finally:
        _KEPT.discard(mine.mark)


def is_lock(name: str) -> bool:
    """Whether an object of a cube's journal is a lock or a claim."""
    return name == LOCK or CLAIM.fullmatch(name) is not None


def _claim(place: Place, mine: Holder) -> str:
    """Make the claim; it counts only if no other was made meanwhile.

    Claims are numbered, and the next number is made only where there is none of it. So of all that find the
    same claim of a run that is gone, one alone takes it over.
    """
    data = json.dumps(asdict(mine)).encode()
    seen = claims(place)
    for number, holder in seen.items():
        if holder is None or not holder.gone:
            raise _taken(place, number, holder)
    number = max(seen, default=0) + 1
    key = _key(place, number)
    made = create(place, key, data)
    if made is False:
        raise _taken(place, number, claims(place).get(number))
    # a store that creates an object twice does not separate runs
    if made is None or create(place, key, data + b" ") is not False:
        log.warning(
            "%s cannot create an object only if there is none yet; do not start a second run on it",
            place.name,
        )
        write(place, key, data)
    found = claims(place)
    for other, holder in found.items():
        if holder != (mine if other == number else seen.get(other)):
            remove(place, [key] if found.get(number) == mine else [])
            raise _taken(place, other, holder)
    remove(place, [_key(place, old) for old in seen])
    return key


def claims(place: Place) -> dict[int, Holder | None]:
    """Who has claimed a cube, by the number of the claim; None where the claim does not say."""
    found = {}
    for name in names_in(place, JOURNAL):
        if match := CLAIM.fullmatch(name):
            data = read(place, place.key(JOURNAL, name))
            if data is not None:
                found[int(match[1])] = _holder(data)
    return found


def _holder(data: bytes) -> Holder | None:
    try:
        told = json.loads(data)
        holder = Holder(**told)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (holder.mark, holder.host, holder.space, holder.since)
    sound = (
        all(isinstance(text, str) for text in texts) and type(holder.process) is int and holder.process > 0
    )
    return holder if sound else None


def _key(place: Place, number: int) -> str:
    return place.key(JOURNAL, f"{LOCK}.{number}")


def _taken(place: Place, number: int, holder: Holder | None) -> OutputConflict:
    return OutputConflict(
        f"Another run ({holder or 'it is not known which'}) has claimed {place.name}. Wait for its end. "
        f"If it has ended already, remove its claim {_key(place, number)!r} from the store and run again."
    )


def _space() -> str:
    """The machine since it was started, and the container, in which a number means one process."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
