"""Scenes to match, and plans of the files to write, from a delivered order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from coregstack.errors import CoregError
from coregstack.export.plan import Asset, ItemPlan
from coregstack.matching.bands import band_classes, image_bands
from coregstack.orders.manifest import annotations_of
from coregstack.orders.scan import DeliveredFile, DeliveredItem
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.masks import Mask
from coregstack.pixels.scene import Scene
from coregstack.products.masks import MASKS
from coregstack.products.planet.bundles import band_names
from coregstack.products.planet.reader import CONTENT, preference
from coregstack.products.plans import planned
from coregstack.products.viewing import viewing_of
from coregstack.stack.opening import Unusable, read_headers, to_datetime64


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderScenes:
    """Items of an order, ready to be matched and delivered."""

    scenes: tuple[Scene, ...]
    """Those whose image can be opened."""
    unusable: tuple[Unusable, ...]
    """The others, and why."""
    plans: tuple[ItemPlan, ...]
    """All items with a file to deliver."""


def order_scenes(items: Sequence[DeliveredItem], anchor_id: str, *, verify: bool = True) -> OrderScenes:
    """Choose one image of every item to match in, and read the headers.

    Every item is matched in the anchor's product where it has it, else in its own best one.

    Parameters
    ----------
    items : sequence of DeliveredItem
        Items of one order, the anchor among them.
    anchor_id : str
        Id of the anchor.
    verify : bool
        Whether files have to have the digests that a manifest gives.

    Returns
    -------
    OrderScenes
    """
    anchor = next((item for item in items if item.item_id == anchor_id), None)
    wanted = _best(anchor.images).product.lower() if anchor is not None and anchor.images else ""
    images = {item.item_id: _best(item.images, wanted) for item in items if item.images}
    masks = {i.item_id: i.masks_of(images[i.item_id]) for i in items if i.images}
    headers = _headers([*images.values(), *(mask for found in masks.values() for mask in found)])
    scenes, unusable, plans = [], [], []
    for item in items:
        image = images.get(item.item_id)
        plans.append(item_plan(item, image, verify=verify))
        if image is None:
            reason = "No orthorectified image of it was delivered."
            unusable.append(Unusable(id=item.item_id, path="", reason=reason, unreadable=False))
            continue
        header = headers[str(image.path)]
        if isinstance(header, CoregError):
            unusable.append(Unusable(id=item.item_id, path=str(image.path), reason=str(header)))
            continue
        readable = [(mask, headers[str(mask.path)]) for mask in masks[item.item_id]]
        broken = [h for _, h in readable if isinstance(h, CoregError)]
        if broken:
            unusable.append(Unusable(id=item.item_id, path=str(image.path), reason=str(broken[0])))
            continue
        scenes.append(_scene(item, image, header, readable))
    return OrderScenes(scenes=tuple(scenes), unusable=tuple(unusable), plans=tuple(plans))


def item_plan(item: DeliveredItem, image: DeliveredFile | None, *, verify: bool = True) -> ItemPlan:
    """All files of an item and their names in the output, the image that is matched first."""
    rasters = [asset for asset in (*item.images, *item.masks) if asset != image]
    first = [] if image is None else [image]
    assets = [_planned(asset, item) for asset in (*first, *rasters)]
    assets += [_planned(asset, item, passed=True) for asset in item.passthrough]
    if not verify:
        assets = [replace(asset, expected=()) for asset in assets]
    return ItemPlan(id=item.item_id, assets=tuple(assets))


def passed_through(assets: Iterable[DeliveredFile]) -> list[Asset]:
    """Files of no item: they go out under their own names."""
    return [_planned(asset, None, passed=True) for asset in assets]


def _planned(asset: DeliveredFile, item: DeliveredItem | None, *, passed: bool = False) -> Asset:
    folder = asset.relative.parent
    known = dict(asset.annotations) or annotations_of(
        asset.name,
        item_id=None if item is None else item.item_id,
        item_type=None if item is None else item.item_type,
    )
    plain = planned(
        str(asset.path),
        "" if folder == PurePosixPath(".") else folder.as_posix(),
        asset.relative.name,
        None if passed else CONTENT[asset.kind],
    )
    return replace(
        plain,
        annotations=tuple(sorted(known.items())),
        expected=tuple(sorted(asset.digests.items())),
    )


def _best(images: Sequence[DeliveredFile], wanted: str = "") -> DeliveredFile:
    def rank(asset: DeliveredFile) -> tuple[bool, tuple[int, int, str]]:
        return asset.product.lower() != wanted, preference(asset.product, asset.relative)

    return min(images, key=rank)


def _headers(assets: Sequence[DeliveredFile]) -> dict[str, RasterHeader | CoregError]:
    paths = list(dict.fromkeys(str(asset.path) for asset in assets))
    return dict(zip(paths, read_headers(paths), strict=True))


def _scene(
    item: DeliveredItem,
    image: DeliveredFile,
    header: RasterHeader,
    masks: Sequence[tuple[DeliveredFile, RasterHeader | CoregError]],
) -> Scene:
    known = band_names(image.name, header.count)
    if known is not None and header.alpha is not None:
        known = tuple(name for k, name in enumerate(known) if k != header.alpha)
    bands = known or image_bands(header)
    return Scene(
        id=item.item_id,
        time=to_datetime64(item.time),
        image=header,
        bands=bands,
        classes=band_classes(header, bands),
        masks=tuple(
            Mask(header=mask_header, rule=MASKS[mask.kind])
            for mask, mask_header in masks
            if isinstance(mask_header, RasterHeader)
        ),
        viewing=viewing_of(asset.path for asset in item.passthrough),
    )
