"""Plans of scenes by their images alone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from coregstack.export.plan import Asset, Content, ItemPlan
from coregstack.pixels.scene import Scene
from coregstack.products.plans import planned
from coregstack.untrusted.addresses import Address


def scene_plans(scenes: Sequence[Scene]) -> list[ItemPlan]:
    """Plans of scenes by their images alone, named by ids; of bands in several files each by its own name."""
    names = Counter(Path(part.path).name for scene in scenes for part in scene.image.parts)
    plans = []
    for scene in scenes:
        if not scene.image.parts:
            plans.append(file_plan(scene.id, scene.image.path))
            continue
        assets = []
        for part in scene.image.parts:
            own = Path(part.path).name
            name = own if names[own] == 1 else f"{scene.id}_{own}"
            assets.append(planned(part.path, "", name, Content.IMAGE, nodata=scene.nodata))
        plans.append(ItemPlan(id=scene.id, assets=tuple(assets)))
    return plans


def file_plan(item_id: str, path: str) -> ItemPlan:
    """Plan of an item that has one image file, named by the item's id."""
    place = path if isinstance(path, Address) else os.path.abspath(path)
    extension = os.path.splitext(path)[1]
    moved = extension if extension.lower() in (".tif", ".tiff") else ".tif"
    asset = Asset(
        source=place,
        folder="",
        name=f"{item_id}{extension}",
        coreg_name=f"{item_id}_coreg{moved}",
        anchor_name=f"{item_id}_anchor{extension}",
        content=Content.IMAGE,
    )
    return ItemPlan(id=item_id, assets=(asset,))
