"""Zip archives of delivered orders, unpacked without trusting them."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo
from zlib import error as ZlibError

from coregstack.errors import MissingFile, OutputConflict, UnreadableFile, UnsafePath
from coregstack.untrusted.folders import walked
from coregstack.untrusted.limits import ARCHIVE_BYTES, ARCHIVE_FILES, ARCHIVE_RATIO
from coregstack.untrusted.names import safe_relative

ARCHIVE_EXTENSION = ".zip"

_CHUNK = 2**20
_BROKEN = (BadZipFile, EOFError, LZMAError, NotImplementedError, RuntimeError, ValueError, ZlibError)
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """How much an archive may hold, so that a hostile one cannot fill a disk.

    Real orders hold images that are compressed already, and so grow little when they are unpacked.
    """

    max_files: int = field(default_factory=ARCHIVE_FILES)
    """Files in one archive."""
    max_bytes: int = field(default_factory=ARCHIVE_BYTES)
    """Bytes that all archives unpack to together."""
    max_ratio: float = field(default_factory=ARCHIVE_RATIO)
    """Bytes unpacked for each byte of an archive."""
    ratio_free_bytes: int = 2**30
    """The ratio is not looked at where an archive unpacks to no more than this."""


def find_archives(folder: Path) -> tuple[Path, ...]:
    """Zip archives in a folder and its subfolders, sorted; links are not followed."""
    found = (Path(e.path) for e in walked(folder) if e.is_file(follow_symlinks=False))
    return tuple(sorted(path for path in found if path.suffix.lower() == ARCHIVE_EXTENSION))


def archives_of(source: Path) -> tuple[Path, ...]:
    """The archives that an order came as: those in a folder, or the one that is named itself.

    Raises
    ------
    MissingFile
        If there is nothing at `source`.
    """
    if os.path.isdir(source):
        return find_archives(source)
    if os.path.isfile(source):
        return (source,)
    raise MissingFile(f"{source} has to be a folder or a zip archive, but there is nothing at this path.")


def unpack(source: Path, into: Path, *, limits: UnpackLimits | None = None) -> tuple[Path, ...]:
    """Make the folders of an order that came as a folder, as zip archives, or as both.

    A folder is used as it is; each archive in it is unpacked to a folder of the archive's own name, at
    the same place below `into`. A single archive is unpacked to `into` itself. Archives within archives
    are left packed. All archives are checked before the first byte is written.

    Parameters
    ----------
    source : Path
        A folder or a zip archive.
    into : Path
        Folder for what is unpacked, empty or not yet there; nothing is made in it if there is no archive.
    limits : UnpackLimits, optional
        How much is unpacked at most.

    Returns
    -------
    tuple of Path
        The folders to read, to be given to `scan_delivery`: `source` if it is a folder, and `into` if
        anything was unpacked.

    Raises
    ------
    MissingFile
        If there is nothing at `source`.
    UnsafePath
        If an archive holds a path that leads out of it, or a link or device.
    UnreadableFile
        If an archive is broken, encrypted, or larger than the limits.
    OutputConflict
        If a file to be unpacked is already there, or two have one name.
    """
    limits = limits or UnpackLimits()
    found = archives_of(source)
    if os.path.isdir(source):
        archives = {archive: into / archive.relative_to(source).with_suffix("") for archive in found}
        folders = [source, into] if archives else [source]
    else:
        archives, folders = dict.fromkeys(found, into), [into]
    total = sum(_check(archive, limits) for archive in archives)
    if total > limits.max_bytes:
        raise UnreadableFile(_too_large(source, f"{total} bytes", f"{limits.max_bytes} bytes"))
    for archive, folder in archives.items():
        _extract(archive, folder)
    return tuple(folders)


def _check(archive: Path, limits: UnpackLimits) -> int:
    """Check an archive's directory, and return how many bytes it says it unpacks to."""
    with _opened(archive) as file:
        members = file.infolist()
        if len(members) > limits.max_files:
            raise UnreadableFile(_too_large(archive, f"{len(members)} files", f"{limits.max_files} files"))
        for member in members:
            _check_member(archive, member)
        _check_twice(archive, members)
        total = sum(member.file_size for member in members)
    # Against the archive's real size, so that members that share their bytes are found out too.
    packed = max(archive.stat().st_size, 1)
    if total > limits.ratio_free_bytes and total / packed > limits.max_ratio:
        raise UnreadableFile(
            _too_large(archive, f"{total / packed:.0f} times its size", f"{limits.max_ratio:g} times")
        )
    return total


def _check_member(archive: Path, member: ZipInfo) -> None:
    try:
        # zipfile cuts a name at a NUL and turns separators; what the archive really says is in orig_filename.
        safe_relative(member.orig_filename)
    except UnsafePath as error:
        raise UnsafePath(f"Archive {archive} is not unpacked. {error}") from error
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafePath(
            f"Archive {archive} is not unpacked: {member.filename!a} is a link or a device, not a file."
        )
    if member.flag_bits & _ENCRYPTED:
        raise UnreadableFile(f"Archive {archive} is encrypted: unpack it, then give the folder.")


def _check_twice(archive: Path, members: Iterable[ZipInfo]) -> None:
    seen: set[PurePosixPath] = set()
    for member in members:
        path = safe_relative(member.filename)
        if path in seen and not member.is_dir():
            raise OutputConflict(f"Archive {archive} is not unpacked: it holds {path} twice.")
        seen.add(path)


def _extract(archive: Path, folder: Path) -> None:
    with _opened(archive) as file:
        for member in file.infolist():
            target = folder / safe_relative(member.filename)
            try:
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                # Mode x opens nothing that is there already, a link least of all. The reader stops at the
                # size that the directory gives, which was checked.
                with target.open("xb") as output, file.open(member) as packed:
                    shutil.copyfileobj(packed, output, _CHUNK)
            except FileExistsError as error:
                raise OutputConflict(
                    f"{target} is already there: unpack {archive} to an empty folder."
                ) from error
            except (*_BROKEN, OSError) as error:
                raise UnreadableFile(
                    f"{member.filename} of archive {archive} cannot be unpacked: {error}."
                ) from error


def _opened(archive: Path) -> ZipFile:
    try:
        return ZipFile(archive)
    except (*_BROKEN, OSError) as error:
        raise UnreadableFile(f"{archive} has to be a zip archive, but it cannot be read: {error}.") from error


def _too_large(archive: Path, found: str, limit: str) -> str:
    return (
        f"{archive} unpacks to {found}, more than {limit}: if you trust it, unpack it, then give the folder."
    )
