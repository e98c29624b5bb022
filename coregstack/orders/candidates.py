"""All scenes of a folder, whether it is a delivered order or holds plain image files."""

from __future__ import annotations

import os
from pathlib import Path

from coregstack.errors import MissingFile
from coregstack.orders.scan import scan_delivery
from coregstack.orders.scenes import order_scenes
from coregstack.pixels.scene import Scene
from coregstack.stack.opening import Unusable, scenes_of

_EXTENSIONS = (".tif", ".tiff", ".jp2")


def folder_scenes(
    folder: str | os.PathLike[str],
) -> tuple[list[Scene], list[Unusable], dict[str, bool | None]]:
    """Scenes of a folder.

    Parameters
    ----------
    folder : path-like
        Folder of a delivered order in any layout, or of GeoTIFF and JPEG 2000 files.

    Returns
    -------
    scenes : list of Scene
        Those whose image can be opened.
    unusable : list of Unusable
        The others, and why.
    ground_control : dict
        Item id to whether its metadata say that it was located by ground control; None where silent.

    Raises
    ------
    MissingFile
        If the folder holds no scene.
    """
    root = Path(folder)
    items = scan_delivery(root).items
    if items:
        found = order_scenes(items, items[0].item_id)
        control = {item.item_id: item.metadata.ground_control for item in items}
        return list(found.scenes), list(found.unusable), control
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in _EXTENSIONS)
    if not files:
        raise MissingFile(f"{str(root)!r} holds neither an order nor GeoTIFF or JPEG 2000 files.")
    scenes, unusable = scenes_of(files)
    return scenes, unusable, {}
