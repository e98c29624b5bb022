"""From files and folders to scenes: products are grouped into items, and headers are read."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from coregstack.errors import CoregError, InvalidRequest, MissingFile
from coregstack.export.plan import Asset, Content, ItemPlan
from coregstack.matching.bands import band_classes, image_bands
from coregstack.pixels.header import RasterHeader, joined
from coregstack.pixels.masks import Mask, MaskRule
from coregstack.pixels.raster import read_header
from coregstack.pixels.scene import Scene
from coregstack.products.item import ProductFile, ProductItem
from coregstack.products.masks import AskedMask, asked_masks, rule_of
from coregstack.products.plans import item_plan, planned
from coregstack.products.readers import OWN, find_items
from coregstack.stack.inputs import Place, find_inputs
from coregstack.stack.lookup import find_scene
from coregstack.stack.opening import Unusable, found_time, given_time, read_headers, to_datetime64
from coregstack.stack.viewing import seen_from
from coregstack.untrusted.bandnames import find_band, same_bands, spectral_order
from coregstack.untrusted.given import given_list
from coregstack.untrusted.names import check_item_id

Headers = Mapping[str, RasterHeader | CoregError]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundScenes:
    """Items that were found among files, ready to be matched and delivered."""

    scenes: tuple[Scene, ...]
    """Those whose image and masks can be opened."""
    unusable: tuple[Unusable, ...]
    """The others, and why."""
    plans: tuple[ItemPlan, ...]
    """All items, in the order of their first files."""
    others: tuple[Asset, ...]
    """Files of no item."""
    roots: tuple[str, ...]
    """The files and folders that were named; they are never written to."""
    notes: tuple[str, ...]
    """What a user should know of how files were grouped."""


def find_scenes(
    paths: Any,
    *,
    ids: Sequence[str] | None = None,
    times: Sequence[object] | None = None,
    assets: str | None = None,
    mask: object = None,
    anchor: object = None,
    bands: Iterable[object] = (),
) -> FoundScenes:
    """Scenes behind files, or in folders; only names and headers are read.

    Every item is matched in its finest bands that share a name with the anchor's finest ones.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files, folders, or one folder.
    ids : sequence of str, optional
        Ids of the items, in the order of their first files; by default as their names tell.
    times : sequence, optional
        Times of acquisition of the items (anything that pandas takes, UTC); by default from a tag or the names.
    assets : str, optional
        Pattern of file names, as ``{id}_{band}.tif``; by default the layouts that are known are recognised.
    mask : str, sequence of str or bool, optional
        As `coregstack.products.masks.asked_masks` takes it.
    anchor : object, optional
        The anchor, as `coregstack.stack.lookup.find_scene` takes it; by default the first item.
    bands : iterable of str or int
        Names of bands that the scenes have to have, where an item has them at any pixel size.

    Raises
    ------
    InvalidRequest
        If there are no files, counts differ, ids repeat, a time cannot be understood, or a mask is not known.
    MissingFile, UnreadableFile
        If a folder holds no scene or cannot be listed, or a mask for all scenes cannot be read.
    """
    inputs = find_inputs(paths)
    places = inputs.files
    found = find_items(places, assets)
    items, others = _with_named(found.items, found.others, places)
    alone = all(len(item.files) == 1 and places[item.files[0].path].named for item in items)
    if alone and ids is None:
        # a file for each item, each named by the user, who knows it by its name
        items = [replace(item, id=PurePosixPath(item.files[0].path.name).stem) for item in items]
    items = _as_asked(items, ids)
    moments = None if times is None else _times(items, times)
    asked = asked_masks(mask)
    everywhere, beside = _masks_of_files(asked or (), items, places)
    _check_kinds(asked or (), items)
    wanted = [band for band in bands if isinstance(band, str) and band != "mean"]
    tiers = {item.id: _tiers(item, wanted) for item in items}
    masks = {item.id: [] if asked is None else _masks(item) for item in items}
    headers = _headers(
        places, [file for item in items for file in (*next(iter(tiers[item.id]), []), *masks[item.id])]
    )
    choices: dict[str, list[Scene]] = {}
    unusable = []
    for k, item in enumerate(items):
        try:
            scenes = _choices(item, next(iter(tiers[item.id]), []), headers, places, wanted)
            own = [
                Mask(header=_readable(headers, places, file), rule=rule_of(file.mask, asked or ()))
                for file in masks[item.id]
            ]
        except CoregError as error:
            first = next(iter(tiers[item.id]), [item.files[0]])[0]
            unusable.append(Unusable(id=item.id, path=places[first.path].source, reason=str(error)))
            continue
        time = moments[k] if moments is not None else None
        own += [*beside.get(item.id, ()), *everywhere]
        seen = seen_from(item, places)
        choices[item.id] = [
            _dated(replace(one, masks=tuple(own), viewing=seen), item, time) for one in scenes
        ]
    chosen = _alike(choices, anchor)
    return FoundScenes(
        scenes=tuple(chosen.values()),
        unusable=tuple(unusable),
        plans=tuple(_plan(item, places, chosen.get(item.id), alone or ids is not None) for item in items),
        others=tuple(planned(places[p].source, places[p].folder, p.name, None) for p in others),
        roots=inputs.roots,
        notes=(*inputs.problems, *found.notes),
    )


def _with_named(
    items: Sequence[ProductItem], others: Sequence[PurePosixPath], places: Mapping[PurePosixPath, Place]
) -> tuple[list[ProductItem], list[PurePosixPath]]:
    """Items, those among them that no layout knows but a user names: such a file is refused when it is opened."""
    left = {*others, *(path for path in places if path.name.lower().endswith(OWN))}
    named = [path for path, place in places.items() if place.named and path in left]
    order = {path: k for k, path in enumerate(places)}
    more = [
        ProductItem(
            id=path.stem,
            time=None,
            files=(ProductFile(path=path, content=Content.IMAGE, matched=True),),
        )
        for path in named
    ]
    both = sorted([*items, *more], key=lambda item: min(order[file.path] for file in item.files))
    return both, [path for path in others if not places[path].named]


def _as_asked(items: Sequence[ProductItem], ids: Sequence[str] | None) -> list[ProductItem]:
    """Items under the ids that a user gives them, each of which is the only one."""
    if not items:
        raise MissingFile("There is no GeoTIFF or JPEG 2000 file in what was given. Unpack archives first.")
    if ids is not None:
        _check_count("ids", names := given_list(ids, "ids"), items)
        items = [replace(item, id=name) for item, name in zip(items, names, strict=True)]
    names = [check_item_id(item.id) for item in items]
    if len(set(names)) < len(names):
        repeated = sorted({n for n in names if names.count(n) > 1})
        hint = "By default they are file names without extension: rename files, or pass ids=... in Python."
        raise InvalidRequest(f"Item ids have to be unique, but these repeat: {repeated[:5]}. {hint}")
    return list(items)


def _times(items: Sequence[ProductItem], times: Sequence[object]) -> list[np.datetime64]:
    _check_count("times", given := given_list(times, "times"), items)
    return [given_time(time) for time in given]


def _check_count(name: str, values: Sequence[object], items: Sequence[ProductItem]) -> None:
    if len(values) == len(items):
        return
    several = next((item for item in items if len(item.files) > 1), None)
    hint = (
        ""
        if several is None
        else f" Files of one acquisition are one item: {several.id} has {len(several.files)}. "
        "assets='{id}.tif' makes each file an item."
    )
    raise InvalidRequest(f"{len(items)} {name} were expected, one for each item, not {len(values)}.{hint}")


def _tiers(item: ProductItem, wanted: Sequence[str]) -> list[list[ProductFile]]:
    """Files that may be matched in, by the pixel size that names tell: finest first, after those that are wanted."""
    sizes: dict[float, list[ProductFile]] = defaultdict(list)
    for file in item.files:
        if file.matched:
            sizes[file.pixel_size or 0.0].append(file)
    ordered = [sizes[size] for size in sorted(sizes)]

    def lacks(files: Sequence[ProductFile]) -> tuple[bool, bool]:
        return _lacks(
            [name for file in files if isinstance(file.bands, tuple) for name in file.bands], wanted
        )

    return sorted(ordered, key=lacks)


def _lacks(names: Sequence[str], wanted: Sequence[str]) -> tuple[bool, bool]:
    """Whether a band that is wanted is missing, by any of its names and as it is written."""
    known = {name.lower() for name in names}
    return (
        any(find_band(names, band) is None for band in wanted),
        any(band.lower() not in known for band in wanted),
    )


def _masks(item: ProductItem) -> list[ProductFile]:
    """The files that tell which pixels are usable: the finest of each kind."""
    best: dict[str, ProductFile] = {}
    for file in sorted(item.files, key=lambda file: file.pixel_size or np.inf):
        if file.mask:
            best.setdefault(file.mask, file)
    return list(best.values())


def _headers(places: Mapping[PurePosixPath, Place], files: Sequence[ProductFile]) -> Headers:
    sources = list(dict.fromkeys(places[file.path].source for file in files))
    return dict(zip(sources, read_headers(sources), strict=True))


def _readable(headers: Headers, places: Mapping[PurePosixPath, Place], file: ProductFile) -> RasterHeader:
    header = headers[places[file.path].source]
    if isinstance(header, CoregError):
        raise header
    return header


def _choices(
    item: ProductItem,
    files: Sequence[ProductFile],
    headers: Headers,
    places: Mapping[PurePosixPath, Place],
    wanted: Sequence[str],
) -> list[Scene]:
    """Scenes that an item may be matched as, best first: bands on one lattice, of one dtype and nodata value."""
    if not files:
        raise NoImage(f"{item.id} has no image that can be matched in: it is delivered as it came.")
    groups: dict[Any, list[tuple[ProductFile, RasterHeader]]] = defaultdict(list)
    for file in files:
        header = _readable(headers, places, file)
        alone = file.path if header.alpha is not None or header.internal_mask else None
        # the text of a CRS is at hand, and to take a box for a key would write it anew
        box = tuple(header.box.shape), header.box.affine, str(header.box.crs)
        groups[box, header.dtype, repr(header.nodata), alone].append((file, header))
    scenes = [_scene(item, group) for group in groups.values()]

    def rank(scene: Scene) -> tuple[tuple[bool, bool], float, int]:
        size = abs(scene.image.box.affine.determinant)
        return _lacks(scene.bands, wanted), size, -len(scene.bands)

    return sorted(scenes, key=rank)


class NoImage(CoregError, ValueError):
    """An item that holds nothing to be matched in."""


def _scene(item: ProductItem, group: Sequence[tuple[ProductFile, RasterHeader]]) -> Scene:
    told = [_band_names(file, one) for file, one in group]
    order = spectral_order([" ".join(names) for names in told])
    group, told = [group[k] for k in order], [told[k] for k in order]
    header = joined([header for _, header in group])
    bands = tuple(name for names in told for name in names)
    if len(set(bands)) < len(bands):
        bands = tuple(
            f"{file.path.stem}_{name}" for (file, _), names in zip(group, told, strict=True) for name in names
        )
    return Scene(
        id=item.id,
        time=to_datetime64(None),
        image=header,
        bands=bands,
        classes=band_classes(header, bands),
    )


def _band_names(file: ProductFile, header: RasterHeader) -> tuple[str, ...]:
    positions = [k for k in range(header.count) if k != header.alpha]
    known = file.bands(header.count) if callable(file.bands) else file.bands
    if known is not None and len(known) == header.count:
        known = tuple(known[k] for k in positions)
    return known if known is not None and len(known) == len(positions) else image_bands(header)


def _dated(scene: Scene, item: ProductItem, time: np.datetime64 | None) -> Scene:
    """The scene with its time: as a user gives it, else as a tag of the file or a name tells it."""
    if time is None:
        told = to_datetime64(item.time)
        time = found_time(scene.image, told)
    return replace(scene, time=time)


def _alike(choices: Mapping[str, Sequence[Scene]], anchor: object) -> dict[str, Scene]:
    """For each item the first of its scenes that has a band of the anchor's, else the first."""
    first = [scenes[0] for scenes in choices.values()]
    try:
        like = first[0] if anchor is None else find_scene(first, anchor)
    except (CoregError, IndexError):
        # whoever needs the anchor says what is wrong with it
        return {item: scenes[0] for item, scenes in choices.items()}
    return {
        item: like
        if item == like.id
        else next((one for one in scenes if same_bands(like.bands, one.bands)), scenes[0])
        for item, scenes in choices.items()
    }


def _plan(
    item: ProductItem, places: Mapping[PurePosixPath, Place], scene: Scene | None, renamed: bool
) -> ItemPlan:
    """All files of an item and their names; a single file that was given an id is named by it."""
    where = {file.path: (places[file.path].source, places[file.path].folder) for file in item.files}
    read = [] if scene is None else [file.path for file in scene.image.files]
    first = [file.path for file in item.files if where[file.path][0] in read]
    first = first or [file.path for file in item.files if file.matched]
    plan = replace(item_plan(item, where, first), read=() if scene is None else _read(scene))
    if renamed and len(item.files) == 1 and places[item.files[0].path].named:
        asset = plan.assets[0]
        suffix = PurePosixPath(asset.source).suffix
        moved = suffix if suffix.lower() in (".tif", ".tiff") else ".tif"
        alone = replace(
            planned(asset.source, "", f"{item.id}{suffix}", Content.IMAGE, nodata=asset.nodata),
            coreg_name=f"{item.id}_coreg{moved}",
            anchor_name=f"{item.id}_anchor{suffix}",
        )
        return replace(plan, assets=(alone,))
    return plan


def _read(scene: Scene) -> tuple[str, ...]:
    """What is matched in, and by which masks, as an item depends on them."""
    masks = ((mask.rule, mask.header.path, mask.header.size, mask.header.modified) for mask in scene.masks)
    return (*(file.path for file in scene.image.files), *(repr(mask) for mask in masks))


def _masks_of_files(
    asked: Sequence[AskedMask], items: Sequence[ProductItem], places: Mapping[PurePosixPath, Place]
) -> tuple[list[Mask], dict[str, list[Mask]]]:
    """Masks that hold for all scenes, and those that a pattern finds for each."""
    everywhere: list[Mask] = []
    beside: dict[str, list[Mask]] = defaultdict(list)
    for one in asked:
        if one.known is not None:
            continue
        rule = MaskRule(name=os.path.basename(one.where), bands=(one.rule,))
        if "{id}" not in one.where and "*" not in one.where:
            everywhere.append(Mask(header=read_header(one.where), rule=rule))
            continue
        found = {item.id: _matching(one.where, item, places) for item in items}
        if not any(found.values()):
            raise InvalidRequest(
                f"The pattern of masks {one.where!r} finds no file. {{id}} stands for the id of an item, for example "
                f"{items[0].id!r}; a name without folders is looked for beside the item's files."
            )
        for item, path in found.items():
            if path is not None:
                beside[item].append(Mask(header=read_header(path), rule=rule))
    return everywhere, beside


def _matching(pattern: str, item: ProductItem, places: Mapping[PurePosixPath, Place]) -> str | None:
    """The file that a pattern names for an item, beside its files or where the pattern says."""
    head, tail = os.path.split(pattern.replace("{id}", "\0"))
    folders = [head] if head else sorted({os.path.dirname(places[file.path].source) for file in item.files})
    for folder in folders:
        text = os.path.join(glob.escape(folder) if not head else folder, tail).replace(
            "\0", glob.escape(item.id)
        )
        if found := sorted(glob.glob(text)):
            return found[0]
    return None


def _check_kinds(asked: Sequence[AskedMask], items: Sequence[ProductItem]) -> None:
    """Refuse values for a kind of mask that no item has."""
    there = {file.mask for item in items for file in item.files} - {""}
    for one in asked:
        if one.known is not None and one.known.name not in there:
            raise InvalidRequest(
                f"mask tells values of {one.where!r}, but no item has such a mask; they have "
                f"{', '.join(sorted(there)) or 'none'}."
            )
