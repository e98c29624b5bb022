"""Planet's items in any folder: all files whose names begin with one item id."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from coregstack.export.plan import Content
from coregstack.products.item import ProductFile, ProductItem, is_raster
from coregstack.products.planet.bundles import band_names
from coregstack.products.planet.names import AssetName, Kind, item_key, item_time, parse_name

PREFERENCE = ("analytic_sr", "analyticms_sr", "bgrn_sr", "analyticms", "analytic", "bgrn", "panchromatic")
"""Products that are matched in, best first, by the beginning of their names; any other comes after."""

CONTENT = {Kind.IMAGE: Content.IMAGE, Kind.UDM: Content.UDM, Kind.UDM2: Content.UDM2}
"""What rasters of a kind hold."""

_PAIRED_BY_STEM = ("SkySatCollect", "SkySatScene", "PelicanScene")


class Described(NamedTuple):
    """A raster of an item: what it holds, the product that it belongs to, and where it lies."""

    kind: Kind
    product: str
    path: PurePosixPath


def read(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
    """Items of Planet, by the names of their files; see `coregstack.products.planet.names`."""
    found: dict[str, list[tuple[PurePosixPath, AssetName]]] = defaultdict(list)
    for path in paths:
        name = parse_name(path.name)
        if name.item_id is not None and name.kind is not Kind.QUALITY:
            found[item_key(name.item_id)].append((path, name))
    for files in found.values():
        rasters = [(path, name) for path, name in files if _is_moved(path, name)]
        images = [(path, name) for path, name in rasters if name.kind is Kind.IMAGE]
        if images:
            best = min(images, key=lambda one: preference(one[1].product, one[0]))[0]
            item_id = max((name.item_id or "" for _, name in files), key=len)
            product, item_type = next((name.product, name.item_type) for path, name in images if path == best)
            known = [Described(name.kind, name.product, path) for path, name in rasters]
            masks = masks_of(Described(Kind.IMAGE, product, best), known, item_type)
            yield ProductItem(
                id=item_id,
                time=item_time(item_id),
                files=tuple(
                    _file(path, name, matched=path == best, mask=path in masks) for path, name in files
                ),
            )


def masks_of(
    image: Described, rasters: Iterable[Described], item_type: str | None
) -> tuple[PurePosixPath, ...]:
    """Masks that describe an image: UDM2 before UDM, at most one of each.

    SkySat masks belong to images whose product begins alike; those of other items to all. Of equal masks the one in
    the image's own folder is taken, since each bundle may bring its own.
    """
    found = []
    for kind in (Kind.UDM2, Kind.UDM):
        fitting = [one.path for one in rasters if one.kind is kind and _describes(one, image, item_type)]
        found += sorted(fitting, key=lambda path: (path.parent != image.path.parent, path))[:1]
    return tuple(found)


def _describes(mask: Described, image: Described, item_type: str | None) -> bool:
    if item_type not in _PAIRED_BY_STEM or not mask.product:
        return True
    return _first_word(mask.product) == _first_word(image.product)


def _first_word(product: str) -> str:
    return product.split("_", 1)[0].lower()


def preference(product: str, path: PurePosixPath) -> tuple[int, int, str]:
    """Place of an image among those of an item that may be matched in; the least is the best."""
    known = product.lower()
    place = next((k for k, p in enumerate(PREFERENCE) if known.startswith(p)), len(PREFERENCE))
    return place, -len(known), path.as_posix()


def _is_moved(path: PurePosixPath, name: AssetName) -> bool:
    return is_raster(path) and name.orthorectified


def _file(path: PurePosixPath, name: AssetName, *, matched: bool, mask: bool) -> ProductFile:
    if not _is_moved(path, name):
        return ProductFile(path=path)
    return ProductFile(
        path=path,
        content=CONTENT[name.kind],
        bands=partial(band_names, name),
        matched=matched,
        mask=str(name.kind) if mask else "",
    )
