"""Scenes that an anchor is chosen from, whether they are a delivered order or lie in any files and folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from coregstack.orders.scan import scan_delivery
from coregstack.orders.scenes import order_scenes
from coregstack.pixels.scene import Scene
from coregstack.stack.finding import find_scenes
from coregstack.stack.opening import Unusable


def candidate_scenes(
    paths: Sequence[str | os.PathLike[str]],
) -> tuple[Sequence[Scene], Sequence[Unusable], dict[str, bool | None]]:
    """Scenes behind files, in folders, or of a delivered order.

    Parameters
    ----------
    paths : sequence of path-like
        Files and folders; or the folder of a delivered order in any layout.

    Returns
    -------
    scenes : sequence of Scene
        Those whose image can be opened.
    unusable : sequence of Unusable
        The others, and why.
    ground_control : dict
        Item id to whether its metadata say that it was located by ground control; None where silent.

    Raises
    ------
    InvalidRequest
        If there is no scene.
    """
    if len(paths) == 1 and os.path.isdir(paths[0]):
        items = scan_delivery(Path(paths[0])).items
        if items:
            order = order_scenes(items, items[0].item_id)
            control = {item.item_id: item.metadata.ground_control for item in items}
            return order.scenes, order.unusable, control
    found = find_scenes(paths)
    return found.scenes, found.unusable, {}
