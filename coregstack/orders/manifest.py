"""The manifest of a folder: which files it holds, and how to know that they are whole."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile, UnsafePath
from coregstack.products.planet.bundles import asset_type
from coregstack.products.planet.names import AssetName
from coregstack.untrusted.jsonfile import read_json, write_json
from coregstack.untrusted.limitedlist import LimitedList
from coregstack.untrusted.listing import FileProblem, more_problems
from coregstack.untrusted.names import safe_relative

MANIFEST_NAME = "manifest.json"
ITEM_ID, ITEM_TYPE = "planet/item_id", "planet/item_type"
ASSET_TYPE, BUNDLE_TYPE = "planet/asset_type", "planet/bundle_type"

_CHUNK = 2**20
_HEX = {"md5": re.compile(r"[0-9a-fA-F]{32}"), "sha256": re.compile(r"[0-9a-fA-F]{64}")}
_MEDIA_TYPES = {
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".jp2": "image/jp2",
    ".json": "application/json",
    ".xml": "text/xml",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".html": "text/html",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One file of a manifest."""

    path: PurePosixPath
    """Relative to the manifest's folder; never leads out of it."""
    media_type: str | None
    """For example ``image/tiff``."""
    size: int | None
    """Bytes."""
    md5: str | None
    """Hexadecimal digest, lower case."""
    sha256: str | None
    """Hexadecimal digest, lower case."""
    annotations: Mapping[str, str]
    """Planet's annotations, ``planet/item_id`` for example."""

    @property
    def digests(self) -> dict[str, str]:
        """The digests that are given, by algorithm."""
        return {name: value for name in _HEX if (value := getattr(self, name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest that was read; entries that cannot be used are among the problems."""

    name: str
    """Name of the order, often empty."""
    entries: tuple[ManifestEntry, ...]
    """In the order written."""
    problems: tuple[FileProblem, ...]
    """What had to be left out."""


def annotations_of(
    name: AssetName, *, item_id: str | None = None, item_type: str | None = None, bundle: str | None = None
) -> dict[str, str]:
    """Annotations for a file that no manifest describes, as far as its name gives them.

    Parameters
    ----------
    name : AssetName
        The file's name, read.
    item_id, item_type, bundle : str, optional
        What is known beyond the name; the name fills in id and type.

    Examples
    --------
    >>> from coregstack.products.planet.names import parse_name
    >>> annotations_of(parse_name("20200630_164149_0e3a_3B_udm2.tif"))["planet/asset_type"]
    'ortho_udm2'
    """
    known = {
        ASSET_TYPE: asset_type(name),
        BUNDLE_TYPE: bundle,
        ITEM_ID: item_id or name.item_id,
        ITEM_TYPE: item_type or name.item_type,
    }
    return {key: value for key, value in known.items() if value}


def media_type(name: str) -> str:
    """Media type of a file by its name.

    Examples
    --------
    >>> media_type("a.tif"), media_type("b.unknown")
    ('image/tiff', 'application/octet-stream')
    """
    return _MEDIA_TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")


def describe_file(root: Path, path: PurePosixPath, annotations: Mapping[str, str]) -> ManifestEntry:
    """Make the entry of a file; it is read once, piece by piece.

    Parameters
    ----------
    root : Path
        Folder that the manifest lies in.
    path : PurePosixPath
        The file, relative to it.
    annotations : mapping
        Carried from the input's manifest, or from `annotations_of`.

    Raises
    ------
    UnsafePath
        If the path leads out of the folder.
    MissingFile, UnreadableFile
        If the file is not there or cannot be read.
    """
    size, digests = _digests(locate(root, path))
    return ManifestEntry(
        path=path,
        media_type=media_type(path.name),
        size=size,
        annotations=dict(annotations),
        **digests,
    )


def write_manifest(root: Path, entries: Iterable[ManifestEntry], *, name: str = "") -> Path:
    """Write ``manifest.json`` into a folder; the same entries give the same bytes.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    InvalidRequest
        If two entries have one path.
    """
    ordered = sorted(entries, key=lambda entry: entry.path.as_posix())
    twice = [path for path, count in Counter(entry.path for entry in ordered).items() if count > 1]
    if twice:
        raise InvalidRequest(f"Every file of a manifest has one entry, but {twice[0]} has several.")
    target = root / MANIFEST_NAME
    write_json(target, {"name": name, "files": [_as_json(entry) for entry in ordered]})
    return target


def list_again(root: Path, *paths: PurePosixPath) -> None:
    """Enter files that were written after the manifest; what the manifest said of them before is replaced.

    Parameters
    ----------
    root : Path
        Folder that the manifest lies in.
    *paths : PurePosixPath
        The files, relative to it.

    Raises
    ------
    MissingFile, UnreadableFile
        If the manifest or a file is not there or cannot be read; the manifest stays as it was then.
    UnsafePath
        If a path leads out of the folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     root = Path(folder)
    ...     _ = write_manifest(root, [])
    ...     _ = (root / "late.txt").write_text("late")
    ...     list_again(root, PurePosixPath("late.txt"))
    ...     [entry.size for entry in read_manifest(root / MANIFEST_NAME).entries]
    [4]
    """
    manifest = read_manifest(root / MANIFEST_NAME)
    others = [entry for entry in manifest.entries if entry.path not in paths]
    write_manifest(root, [*others, *(describe_file(root, path, {}) for path in paths)], name=manifest.name)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and check every entry; what cannot be used is named, not raised.

    Raises
    ------
    MissingFile
        If there is no file at the path.
    UnreadableFile
        If it is no manifest: not JSON, or without a list of files.
    """
    value = read_json(path)
    files = value.get("files") if isinstance(value, dict) else None
    if not isinstance(files, list):
        raise UnreadableFile(f"{path} has to be an object with a list 'files', but it is not.")
    entries: dict[PurePosixPath, ManifestEntry] = {}
    problems: LimitedList[FileProblem] = LimitedList()
    for number, file in enumerate(files, start=1):
        try:
            entry = _entry(file)
        except (UnsafePath, InvalidRequest) as error:
            problems.append(
                FileProblem(path=f"{path.name}, file {number}", message=f"{error} It is left out.")
            )
            continue
        if entries.setdefault(entry.path, entry) != entry:
            message = "The manifest holds two different entries: the first one is used."
            problems.append(FileProblem(path=entry.path.as_posix(), message=message))
    name = value.get("name")
    return Manifest(
        name=name if isinstance(name, str) else "",
        entries=tuple(entries.values()),
        problems=problems.closed(more_problems),
    )


def verify(path: Path) -> tuple[FileProblem, ...]:
    """Compare the files of a folder with its manifest: presence, size and every digest.

    Parameters
    ----------
    path : Path
        The manifest.

    Returns
    -------
    tuple of FileProblem
        One for each file that is not as the manifest says; empty if all are.

    Raises
    ------
    MissingFile, UnreadableFile
        If the manifest itself cannot be read.
    """
    manifest = read_manifest(path)
    problems: LimitedList[FileProblem] = LimitedList()
    problems += manifest.problems
    for entry in manifest.entries:
        message = difference(path.parent, entry)
        if message:
            problems.append(FileProblem(path=entry.path.as_posix(), message=message))
    return problems.closed(more_problems)


def locate(root: Path, path: PurePosixPath) -> Path:
    """Path on disk of a file of a manifest, after every link has been followed.

    Raises
    ------
    UnsafePath
        If a link leads out of the folder.
    MissingFile
        If there is no regular file.
    """
    base = root.resolve()
    try:
        found = (base / path).resolve()
        regular = found.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingFile(f"{path} cannot be found: {error}.") from error
    if not found.is_relative_to(base):
        raise UnsafePath(f"{path} has to lie inside its folder, but a link leads out of it.")
    if not regular:
        raise MissingFile(f"{path} has to be a file, but there is none at this path.")
    return found


def _as_json(entry: ManifestEntry) -> dict[str, Any]:
    return {
        "path": entry.path.as_posix(),
        "media_type": entry.media_type,
        "size": entry.size,
        "digests": entry.digests,
        "annotations": dict(sorted(entry.annotations.items())),
    }


def _entry(file: Any) -> ManifestEntry:
    if not isinstance(file, dict):
        raise InvalidRequest("A file of a manifest has to be an object, but it is not.")
    size, media_type = file.get("size"), file.get("media_type")
    digests = _mapping(file.get("digests"))
    annotations = _mapping(file.get("annotations"))
    return ManifestEntry(
        path=safe_relative(file.get("path")),
        media_type=media_type if isinstance(media_type, str) else None,
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        md5=_digest("md5", digests.get("md5")),
        sha256=_digest("sha256", digests.get("sha256")),
        annotations={key: value for key, value in annotations.items() if isinstance(value, str)},
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _digest(kind: str, value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and _HEX[kind].fullmatch(value) else None


def _digests(path: Path) -> tuple[int, dict[str, str]]:
    size, hashes = 0, {kind: hashlib.new(kind, usedforsecurity=False) for kind in _HEX}
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                for algorithm in hashes.values():
                    algorithm.update(chunk)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error}.") from error
    return size, {kind: algorithm.hexdigest() for kind, algorithm in hashes.items()}


def difference(root: Path, entry: ManifestEntry) -> str:
    """Say how a file of a folder differs from its entry in a manifest; empty if it does not."""
    try:
        size, digests = _digests(locate(root, entry.path))
    except (UnsafePath, MissingFile, UnreadableFile) as error:
        return str(error)
    if entry.size is not None and entry.size != size:
        return f"The manifest says {entry.size} bytes, but the file has {size}."
    wrong = [kind for kind, value in entry.digests.items() if value != digests[kind]]
    return f"The file's {' and '.join(wrong)} is not the one that the manifest holds." if wrong else ""
