"""The layouts that are known, and the items that they find among files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import PurePosixPath

from coregstack.errors import CoregError, InvalidRequest
from coregstack.products import hls, landsat, plain, sentinel2
from coregstack.products.item import ProductItem, Reader, is_raster
from coregstack.products.planet import reader as planet
from coregstack.untrusted.bandnames import scene_of_band
from coregstack.untrusted.names import check_item_id

READERS: Mapping[str, Reader] = {
    "planet": planet.read,
    "sentinel-2": sentinel2.read,
    "landsat": landsat.read,
    "hls": hls.read,
    "plain": plain.read,
}
"""Readers of layouts; each is asked for what those before it have left."""

GROUP = "coregstack.products"
"""Entry points of packages that bring readers of their own; these are asked first."""

OWN = ("_coreg_qa_metadata.json", "_coreg_displacement.tif")
"""Ends of the names of files that runs write beside scenes: among scenes of a folder they are none."""
"""Ends of names of files that runs write."""
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z")
"""Ends of names of archives: what they hold is not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundItems:
    """Items among files."""

    items: tuple[ProductItem, ...]
    """In the order of their first files."""
    others: tuple[PurePosixPath, ...]
    """Files of no item."""
    notes: tuple[str, ...]
    """What a user should know of how files were grouped."""


def find_items(paths: Iterable[PurePosixPath], assets: str | None = None) -> FoundItems:
    """Group files into items by the layouts that are known.

    Only names are looked at.

    Parameters
    ----------
    paths : iterable of PurePosixPath
        Relative to a common folder.
    assets : str, optional
        Pattern of file names, as ``{id}_{band}.tif``, that is tried before all layouts; see
        `coregstack.products.plain.by_pattern`.

    Raises
    ------
    InvalidRequest
        If the pattern is none, or a reader fails or says what cannot be.

    Examples
    --------
    >>> names = ["LC08_L1TP_190027_20200620_20200707_02_T1_B4.TIF", "LC08_L1TP_190027_20200620_20200707_02_T1_MTL.txt"]
    >>> (item,) = find_items(map(PurePosixPath, names)).items
    >>> item.id, [file.bands for file in item.files]
    ('LC08_L1TP_190027_20200620_20200707_02_T1', [('red',), ()])
    """
    order = list(dict.fromkeys(path for path in paths if not path.name.lower().endswith(OWN)))
    archives = [path for path in order if path.name.lower().endswith(_ARCHIVES)]
    order = [path for path in order if path not in set(archives)]
    left = dict.fromkeys(order)
    readers = {**_plugins(), **READERS}
    if assets is not None:
        readers = {"assets": plain.by_pattern(assets), **readers}
    found: list[ProductItem] = []
    for name, read in readers.items():
        for item in _items(name, read, list(left)):
            _check(name, item, left)
            for file in item.files:
                del left[file.path]
            found.append(item)
    place = {path: k for k, path in enumerate(order)}
    found.sort(key=lambda item: min(place[file.path] for file in item.files))
    return FoundItems(
        items=tuple(_with_own_ids(found)),
        others=tuple(left),
        notes=(*_apart(found), *_versions(found), *_packed(archives)),
    )


def _plugins() -> dict[str, Reader]:
    """Readers that other packages bring."""
    try:
        return {point.name: point.load() for point in entry_points(group=GROUP)}
    except Exception as error:
        raise InvalidRequest(
            f"The readers of products that other packages bring cannot be loaded ({type(error).__name__}: {error}). "
            "Repair or leave out the package."
        ) from error


def _items(name: str, read: Reader, paths: Sequence[PurePosixPath]) -> list[ProductItem]:
    try:
        return list(read(paths))
    except CoregError:
        raise
    except Exception as error:
        raise InvalidRequest(
            f"The reader of products {name!r} failed ({type(error).__name__}: {error}). Report it to whoever wrote it, "
            "or leave its package out."
        ) from error


def _check(name: str, item: ProductItem, left: Mapping[PurePosixPath, None]) -> None:
    """Refuse an item of a reader that cannot be; ours name items by files, to which a user may give other ids."""
    if name not in READERS:
        check_item_id(item.id)
    paths = [file.path for file in item.files]
    if unknown := [path for path in paths if path not in left]:
        raise InvalidRequest(
            f"The reader of products {name!r} says that {unknown[0]} belongs to {item.id!r}, but that file is of "
            "another item, or was not among those that it was told of."
        )
    if len(set(paths)) < len(paths) or not any(file.content is not None for file in item.files):
        raise InvalidRequest(
            f"The reader of products {name!r} has found {item.id!r} with no raster, or with a file twice."
        )


def _with_own_ids(items: Sequence[ProductItem]) -> list[ProductItem]:
    """Items whose ids are unique: those that repeat tell their folders as well."""
    # on disks that do not tell cases apart two such ids would be one file
    counts = Counter(item.id.casefold() for item in items)
    return [
        item
        if counts[item.id.casefold()] == 1
        else replace(item, id="_".join([*_folder(item).parts, item.id]))
        for item in items
    ]


def _folder(item: ProductItem) -> PurePosixPath:
    return min((file.path for file in item.files if file.content is not None), key=str).parent


def _apart(items: Sequence[ProductItem]) -> list[str]:
    """What is to be said of files that look like bands of one scene, but are items of their own."""
    single = [item.files[0].path for item in items if sum(is_raster(file.path) for file in item.files) == 1]
    scenes: dict[tuple[PurePosixPath, str], dict[str, str]] = {}
    for path in single:
        if told := scene_of_band(path.stem):
            scenes.setdefault((path.parent, told[0]), {})[told[1]] = path.name
    several = [list(files.values()) for files in scenes.values() if len(files) > 1]
    if not several:
        return []
    count = sum(map(len, several))
    return [
        f"{count} files look like the bands of {len(several)} scene{'s' if len(several) > 1 else ''}, as "
        f"{several[0][0]} and {several[0][1]} do, but each is an item of its own, so that bands of one scene may be "
        "moved differently. Say how they are named by assets, for example '{id}_{band}.tif'."
    ]


def _packed(archives: Sequence[PurePosixPath]) -> list[str]:
    """What is to be said of archives."""
    if not archives:
        return []
    count = "1 archive is" if len(archives) == 1 else f"{len(archives)} archives are"
    return [f"{count} neither opened nor copied, as {archives[0]}: unpack what is to be aligned."]


def _versions(items: Sequence[ProductItem]) -> list[str]:
    """What is to be said of products that are versions of one acquisition."""
    found: dict[tuple[str, object], list[str]] = {}
    for item in items:
        if item.time is not None and (head := _acquisition(item.id)):
            found.setdefault((head, item.time), []).append(item.id)
    several = [ids for ids in found.values() if len(ids) > 1]
    if not several:
        return []
    return [
        f"{several[0][0]} and {several[0][1]} are products of one acquisition: each is an item of its own and is "
        f"matched by itself ({len(several)} such). Leave out the ones that are not needed."
    ]


def _acquisition(item_id: str) -> str:
    """What ids of versions of one acquisition have in common; empty where ids do not tell."""
    parts = item_id.upper().split("_")
    if len(parts) == 7 and parts[1].startswith("MSIL"):
        return "_".join([parts[0], parts[2], parts[4], parts[5]])
    if len(parts) == 7 and parts[1][:1] == "L":
        return "_".join([parts[0], parts[2], parts[3]])
    return ""
