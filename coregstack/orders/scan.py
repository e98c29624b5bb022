"""What a delivered order holds: its files, grouped into items.

Folder names are not used: orders come in many layouts. A file belongs to the item that a manifest names,
else to the one that its own name begins with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from coregstack.errors import UnreadableFile, UnsafePath
from coregstack.export.plan import TABLE
from coregstack.export.stac import FOLDER
from coregstack.orders.archives import ARCHIVE_EXTENSION
from coregstack.orders.manifest import (
    ASSET_TYPE,
    ITEM_ID,
    ITEM_TYPE,
    MANIFEST_NAME,
    ManifestEntry,
    read_manifest,
)
from coregstack.products.planet.item_metadata import ItemMetadata, read_item_metadata
from coregstack.products.planet.names import (
    RASTER_EXTENSIONS,
    AssetName,
    Kind,
    item_key,
    item_time,
    output_name,
    parse_name,
)
from coregstack.products.planet.reader import Described, masks_of
from coregstack.untrusted.limitedlist import LimitedList
from coregstack.untrusted.listing import FileProblem, list_files, more_problems
from coregstack.untrusted.names import check_item_id

_MASKS = (Kind.UDM2, Kind.UDM)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredFile:
    """One file of a delivered order."""

    path: Path
    """Absolute path."""
    relative: PurePosixPath
    """Path below the order's folder; the output keeps its folders."""
    kind: Kind
    """What the file holds."""
    name: AssetName
    """Its name, read."""
    annotations: Mapping[str, str]
    """Annotations of the manifest; empty where none lists the file."""
    digests: Mapping[str, str]
    """Digests of the manifest by algorithm; empty where none lists the file."""

    @property
    def product(self) -> str:
        """The product that the file belongs to, as its name has it; empty if it belongs to all."""
        return self.name.product

    @property
    def is_raster(self) -> bool:
        """True for images and masks."""
        return self.name.extension.lower() in RASTER_EXTENSIONS

    @property
    def orthorectified(self) -> bool:
        """False for basic products."""
        return self.name.orthorectified and not self.annotations.get(ASSET_TYPE, "").startswith("basic")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredItem:
    """One item and all of its files, sorted by path."""

    item_id: str
    """Id of the item."""
    item_type: str | None
    """For example ``PSScene``; None if not known."""
    images: tuple[DeliveredFile, ...]
    """Orthorectified images, one or more products."""
    masks: tuple[DeliveredFile, ...]
    """Their UDM2 and UDM."""
    passthrough: tuple[DeliveredFile, ...]
    """Files that go out as they are: XML, RPC, metadata, basic products."""
    metadata: ItemMetadata
    """Properties from the item's own JSON."""

    @property
    def time(self) -> datetime | None:
        """Acquisition time, UTC without a time zone: from the metadata, else from the id."""
        return self.metadata.acquired or item_time(self.item_id)

    def masks_of(self, image: DeliveredFile) -> tuple[DeliveredFile, ...]:
        """Masks that describe an image: UDM2 before UDM, at most one of each."""
        known = [Described(mask.kind, mask.product, mask.relative) for mask in self.masks]
        found = masks_of(Described(image.kind, image.product, image.relative), known, self.item_type)
        return tuple(next(mask for mask in self.masks if mask.relative == path) for path in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A delivered order as it lies on disk."""

    items: tuple[DeliveredItem, ...]
    """Sorted by id."""
    others: tuple[DeliveredFile, ...]
    """Files of no item; they go out as they are."""
    problems: tuple[FileProblem, ...]
    """Problems, file by file; none of them stops the rest."""


def scan_delivery(*folders: Path, item_ids: Iterable[str] = ()) -> Delivery:
    """Find the items of a delivered order in one or more folders.

    Only names, manifests and item metadata are read. Manifests, zip archives (see `unpack`), and quality
    sidecars and STAC collections of earlier runs are not among the files found.

    Parameters
    ----------
    *folders : Path
        The folders; a file that an earlier folder has at the same relative path is left out.
    item_ids : iterable of str, optional
        Ids that are known beforehand, from a payload for example. They name RapidEye tiles, whose file
        names do not hold the id.

    Returns
    -------
    Delivery
        All items, and the problems found.

    Raises
    ------
    MissingFile
        If a folder is not there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("AnalyticMS.tif", "udm2.tif", "AnalyticMS_metadata.xml"):
    ...         Path(folder, f"20200630_164149_0e3a_3B_{name}").touch()
    ...     (item,) = scan_delivery(Path(folder)).items
    >>> item.item_id, item.images[0].product, [str(mask.kind) for mask in item.masks_of(item.images[0])]
    ('20200630_164149_0e3a', 'AnalyticMS', ['udm2'])
    """
    problems: LimitedList[FileProblem] = LimitedList()
    files = _files(folders, problems)
    listed = _listed(files, problems)
    collections = {path.parent / FOLDER for path in files if path.name == TABLE}
    grouped: dict[str, list[DeliveredFile]] = defaultdict(list)
    others = []
    for relative, path in files.items():
        asset = _asset(relative, path, listed.get(relative), problems)
        if relative.name == MANIFEST_NAME or asset.kind is Kind.QUALITY or _is_archive(relative):
            continue
        if relative.parent in collections and relative.suffix == ".json":
            continue
        item_id = asset.annotations.get(ITEM_ID) or asset.name.item_id
        if item_id is not None:
            grouped[item_key(item_id)].append(asset)
            continue
        others.append(asset)
        if asset.is_raster:
            problems.append(_problem(relative, "It belongs to no known item: it is passed through."))
    known = {item_key(item_id): item_id for item_id in item_ids}
    items = [_item(assets, known.get(key), problems) for key, assets in grouped.items()]
    return Delivery(
        items=tuple(sorted(items, key=lambda item: item.item_id)),
        others=tuple(others),
        problems=problems.closed(more_problems),
    )


def _files(folders: Iterable[Path], problems: LimitedList[FileProblem]) -> dict[PurePosixPath, Path]:
    files: dict[PurePosixPath, Path] = {}
    for folder in folders:
        found, faults = list_files(folder)
        problems += faults
        for relative, path in found.items():
            if files.setdefault(relative, path) != path:
                problems.append(_problem(relative, f"{path} is left out: {files[relative]} is taken."))
    return dict(sorted(files.items()))


def _listed(
    files: Mapping[PurePosixPath, Path], problems: LimitedList[FileProblem]
) -> dict[PurePosixPath, ManifestEntry]:
    """The entry of every file that a manifest lists."""
    found: dict[PurePosixPath, ManifestEntry] = {}
    for relative, path in files.items():
        if relative.name != MANIFEST_NAME:
            continue
        try:
            manifest = read_manifest(path)
        except UnreadableFile as error:
            problems.append(_problem(relative, f"{error} Files are found by their names."))
            continue
        problems += manifest.problems
        for entry in manifest.entries:
            target = relative.parent / entry.path
            if target in files:
                found.setdefault(target, entry)
            else:
                problems.append(_problem(target, f"{relative} lists this file, but it is not there."))
    return found


def _asset(
    relative: PurePosixPath, path: Path, entry: ManifestEntry | None, problems: LimitedList[FileProblem]
) -> DeliveredFile:
    name = parse_name(relative.name)
    annotations = {} if entry is None else entry.annotations
    if ITEM_ID in annotations:
        try:
            check_item_id(annotations[ITEM_ID])
        except UnsafePath as error:
            problems.append(_problem(relative, f"{error} The manifest's annotations are not used."))
            annotations = {}
    kind, asset_type = name.kind, annotations.get(ASSET_TYPE, "")
    if name.extension.lower() in RASTER_EXTENSIONS and asset_type.endswith(("udm", "udm2")):
        kind = Kind.UDM2 if asset_type.endswith("udm2") else Kind.UDM
    return DeliveredFile(
        path=path,
        relative=relative,
        kind=kind,
        name=name,
        annotations=annotations,
        digests={} if entry is None else entry.digests,
    )


def _item(
    assets: list[DeliveredFile], known_id: str | None, problems: LimitedList[FileProblem]
) -> DeliveredItem:
    rasters = [asset for asset in assets if asset.is_raster and asset.orthorectified]
    rasters = _without_rivals(rasters, problems)
    images = tuple(asset for asset in rasters if asset.kind is Kind.IMAGE)
    item_id = known_id or _item_id(assets)
    metadata = _metadata(assets)
    if not images:
        problems.append(FileProblem(path=item_id, message="The item has no orthorectified image."))
    problems += [
        _problem(asset.relative, "It is not orthorectified: it is passed through.")
        for asset in assets
        if asset.is_raster and not asset.orthorectified
    ]
    problems += _twice(images)
    types = [asset.annotations.get(ITEM_TYPE) for asset in assets]
    types += [metadata.item_type, *(asset.name.item_type for asset in assets)]
    return DeliveredItem(
        item_id=item_id,
        item_type=next((found for found in types if found), None),
        images=images,
        masks=tuple(asset for asset in rasters if asset.kind in _MASKS),
        passthrough=tuple(asset for asset in assets if not (asset.is_raster and asset.orthorectified)),
        metadata=metadata,
    )


def _item_id(assets: Iterable[DeliveredFile]) -> str:
    """The id that a manifest gives, else the longest that a name gives: the full one of a RapidEye tile."""
    listed = sorted({asset.annotations[ITEM_ID] for asset in assets if ITEM_ID in asset.annotations})
    named = sorted(
        {asset.name.item_id for asset in assets if asset.name.item_id}, key=lambda name: (-len(name), name)
    )
    return (listed or named)[0]


def _metadata(assets: Iterable[DeliveredFile]) -> ItemMetadata:
    """The first item metadata with a time, else the first."""
    found = [read_item_metadata(asset.path) for asset in assets if asset.kind is Kind.ITEM_METADATA]
    return next((metadata for metadata in found if metadata.acquired), found[0] if found else ItemMetadata())


def _without_rivals(
    rasters: Iterable[DeliveredFile], problems: LimitedList[FileProblem]
) -> list[DeliveredFile]:
    """Leave out results of an earlier run that would be written under the name of another file."""
    kept: dict[PurePosixPath, DeliveredFile] = {}
    for asset in sorted(
        rasters, key=lambda asset: (bool({"coreg", "anchor"} & {*asset.name.suffixes}), asset.relative)
    ):
        target = asset.relative.with_name(output_name(asset.name.name, "_coreg"))
        if kept.setdefault(target, asset) is not asset:
            message = (
                f"It would be written under the same name as {kept[target].relative.name}: it is left out."
            )
            problems.append(_problem(asset.relative, message))
    return sorted(kept.values(), key=lambda asset: asset.relative)


def _twice(images: Iterable[DeliveredFile]) -> list[FileProblem]:
    """Name images that lie in several folders."""
    first: dict[str, PurePosixPath] = {}
    found = []
    for image in images:
        other = first.setdefault(image.relative.name, image.relative)
        if other != image.relative:
            found.append(
                _problem(image.relative, f"A file of this name lies at {other} too: both are delivered.")
            )
    return found


def _is_archive(relative: PurePosixPath) -> bool:
    return relative.suffix.lower() == ARCHIVE_EXTENSION


def _problem(relative: PurePosixPath, message: str) -> FileProblem:
    return FileProblem(path=relative.as_posix(), message=message)
