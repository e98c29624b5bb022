"""Files of no known product: one a scene, or alike but for the band, with masks beside them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath

from coregstack.errors import InvalidRequest
from coregstack.export.plan import Content
from coregstack.products.item import ProductFile, ProductItem, Reader, beside, image, is_raster
from coregstack.products.masks import mask_name
from coregstack.untrusted.bandnames import names_classes, scene_of_band
from coregstack.untrusted.names import split_extension
from coregstack.untrusted.times import time_from_name

_MASK = re.compile(
    r"(?P<base>.+?)[-_. ](?P<mask>clm|cloud_?mask|clouds?|mask|udm2?|scl|qa_pixel|bqa|fmask)(?:_(?:coreg|anchor))?",
    re.IGNORECASE,
)
_NO_NAME = re.compile(r"(?:[-_. ](?:\d+m|sr|toa|boa|band))+(?=$|[-_. ])", re.IGNORECASE)
"""Words of a name that tell neither scene nor band."""
_BETWEEN = "-_. "

Key = tuple[PurePosixPath, str]
"""Folder and id of a scene whose bands are files of their own."""


def read(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
    """Every raster is an item, but for bands of one scene, and for masks.

    Files of a folder are bands of one scene where their names are alike but for the name of a band
    (``20200101_B04.tif``, ``20200101_B08.tif``), or where they are named by bands alone: then the folder is the scene.
    At least one scene has to have two of them. A file that is named as another with ``_clm``, ``_cloudmask``,
    ``_mask``, ``_udm``, ``_udm2``, ``_scl``, ``_qa_pixel``, ``_bqa`` or ``_fmask`` behind is its mask. Files of other
    kinds that are named as an item go with it.
    """
    rasters = [path for path in paths if is_raster(path)]
    bands = _bands_of_scenes(rasters)
    single = [path for path in rasters if path not in bands]
    scenes: dict[Key, list[ProductFile]] = defaultdict(list)
    for path, (key, band) in bands.items():
        scenes[key].append(_band_file(path, band))
    masks: dict[Key, list[ProductFile]] = defaultdict(list)
    stems = {(path.parent, split_extension(path.name)[0].lower()) for path in single}
    bases = stems | {(folder, item_id.lower()) for folder, item_id in scenes}
    for path in single:
        found = _MASK.fullmatch(split_extension(path.name)[0])
        base = None if found is None else _scene_of_mask(path.parent, found["base"].lower(), bases)
        if found is None or base is None:
            continue
        masks[base].append(_mask_file(path, found["mask"].lower()))
    taken = {file.path for files in masks.values() for file in files}
    items = [(folder, item_id, files) for (folder, item_id), files in scenes.items()]
    items += [
        (path.parent, split_extension(path.name)[0], [image(path)]) for path in single if path not in taken
    ]
    others = _others(paths)
    for folder, item_id, files in items:
        known = files + masks.get((folder, item_id.lower()), [])
        passed = [ProductFile(path=path) for path in others.get((folder, item_id.lower()), [])]
        yield ProductItem(id=item_id, time=time_from_name(item_id), files=(*known, *passed))


def by_pattern(pattern: str) -> Reader:
    """A reader of files that are named by a pattern.

    Parameters
    ----------
    pattern : str
        The end of a path, with ``{id}`` where the scene is named and, where each band is a file, ``{band}``; ``*``
        stands for anything. ``{id}.tif`` makes every file an item of its own.

    Raises
    ------
    InvalidRequest
        If it holds no ``{id}``, or a part more than once.

    Examples
    --------
    >>> (item,) = by_pattern("{id}_{band}.tif")([PurePosixPath("a_red.tif"), PurePosixPath("a_nir.tif")])
    >>> item.id, [file.bands for file in item.files]
    ('a', [('red',), ('nir',)])
    """
    if not isinstance(pattern, str) or pattern.count("{id}") != 1 or pattern.count("{band}") > 1:
        raise InvalidRequest(
            "assets has to be a pattern of file names with {id} once, and {band} at most once, as '{id}_{band}.tif', "
            f"not {pattern!r}."
        )
    text = re.escape(pattern).replace(r"\*", "[^/]*")
    text = text.replace(re.escape("{id}"), "(?P<id>[^/]+)").replace(re.escape("{band}"), "(?P<band>[^/]+)")
    known = re.compile(rf"(?:.*/)?{text}", re.IGNORECASE)

    def read_pattern(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
        found: dict[str, list[ProductFile]] = defaultdict(list)
        for path in paths:
            if is_raster(path) and (name := known.fullmatch(path.as_posix())):
                band = name.groupdict().get("band")
                found[name["id"]].append(image(path) if band is None else _band_file(path, band))
        for item_id, files in found.items():
            yield ProductItem(id=item_id, time=time_from_name(item_id), files=tuple(files))

    return read_pattern


def _band_file(path: PurePosixPath, band: str) -> ProductFile:
    return beside(path, band) if mask_name(band) or names_classes(band) else image(path, band)


def _mask_file(path: PurePosixPath, kind: str) -> ProductFile:
    name = mask_name(kind) or "clm"
    contents = {"udm": Content.UDM, "udm2": Content.UDM2}
    return ProductFile(path=path, content=contents.get(name, Content.CLASSES), mask=name)


def _bands_of_scenes(rasters: Sequence[PurePosixPath]) -> dict[PurePosixPath, tuple[Key, str]]:
    """For each file that is one band of a scene, which scene and which band; empty where no scene has two."""
    found = {path: told for path in rasters if (told := _scene_and_band(path)) is not None}
    bands: dict[Key, set[str]] = defaultdict(set)
    for key, band in found.values():
        bands[key].add(band.lower())
    return found if any(len(names) > 1 for names in bands.values()) else {}


@cache
def _scene_and_band(path: PurePosixPath) -> tuple[Key, str] | None:
    stem = split_extension(path.name)[0]
    stem = re.sub(r"_(?:coreg|anchor)$", "", stem, flags=re.IGNORECASE)
    alone = scene_of_band(f"scene {stem}")
    if alone is not None and alone[0] == "scene" and path.parent.name:
        return (path.parent.parent, path.parent.name), stem
    told = scene_of_band(stem)
    if told is None or not told[0]:
        return None
    written = r"[^A-Za-z0-9]*".join(map(re.escape, told[1]))
    places = list(re.finditer(rf"(?<![A-Za-z0-9]){written}(?![A-Za-z0-9])", stem, re.IGNORECASE))
    if not places:
        return None
    start, end = places[-1].span()
    rest = f"{stem[:start].rstrip(_BETWEEN)}{stem[end:]}"
    item_id = _NO_NAME.sub("", rest).strip(_BETWEEN)
    return ((path.parent, item_id), stem[start:end]) if item_id else None


def _scene_of_mask(folder: PurePosixPath, base: str, known: set[Key]) -> Key | None:
    """The scene that a mask belongs to: the one of its name, else the only one whose name begins so."""
    if (folder, base) in known:
        return folder, base
    longer = [
        (where, name)
        for where, name in known
        if where == folder
        and name.startswith(base)
        and name[len(base)] in _BETWEEN
        and not _MASK.fullmatch(name)
    ]
    return longer[0] if len(longer) == 1 else None


def _others(paths: Sequence[PurePosixPath]) -> Mapping[Key, list[PurePosixPath]]:
    """Files that are no rasters, by folder and by what their names have before the extension."""
    found: dict[Key, list[PurePosixPath]] = defaultdict(list)
    for path in paths:
        if not is_raster(path):
            found[path.parent, split_extension(path.name)[0].lower()].append(path)
    return found
