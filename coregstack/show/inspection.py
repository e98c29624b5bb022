"""What lies in a folder: items, dates, grids, masks, overlaps, and what would be refused, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from coregstack.errors import CoregError, InvalidStack, MissingFile
from coregstack.geometry.lattice import crs_name, frame_bounds, same_crs, same_pixels
from coregstack.orders.scan import scan_delivery
from coregstack.orders.scenes import order_scenes
from coregstack.pixels.scene import Scene
from coregstack.stack.comparing import groups_of
from coregstack.stack.finding import find_scenes
from coregstack.stack.lookup import find_scene
from coregstack.stack.opening import Unusable, unreadable_files
from coregstack.stack.placing import check_anchor, unplaceable
from coregstack.untrusted.given import given_path

COLUMNS = ("time", "rows", "cols", "pixel_x", "pixel_y", "crs", "bands", "dtype", "nodata", "masks",
           "overlap", "refused", "notes")  # fmt: skip
"""Columns of the table that `inspect_folder` returns."""


def inspect_folder(
    folder: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    anchor: str | None = None,
    mask: str | Sequence[str] | bool | None = None,
) -> pd.DataFrame:
    """Say what is in a folder, and what would become of it; only headers are read.

    Parameters
    ----------
    folder : path-like, or sequence of path-like
        Folder of a delivered order, or of any scenes, searched with all its subfolders; or files, folders, patterns
        and addresses, as in `coregstack.open_scenes`.
    anchor : str, optional
        Item that the others are held against; by default, of the largest group of items that overlap, the one
        that overlaps most with the others.
    mask : str, sequence of str or bool, optional
        As in `coregstack.open_scenes`.

    Returns
    -------
    DataFrame
        One row an item: `time` (UTC), `rows`, `cols`, `pixel_x` and `pixel_y` (units of the CRS), `crs`, `bands`,
        `dtype`, `nodata`, `masks`, `overlap` (share of the anchor's extent that it covers, 0 to 1), `refused` (why it
        would not be matched, else empty) and `notes`. ``attrs`` hold the `anchor` and `problems` of files.

    Raises
    ------
    MissingFile, UnreadableFile
        If the folder is not there, or holds no raster; or of several files none can be read.
    AnchorNotFound
        If no item, or more than one, is the anchor.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack.testing import write_sample_order
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     order = write_sample_order(f"{folder}/order", size=64)
    ...     table = inspect_folder(order.folder, anchor=order.anchor_item)
    >>> table.crs.value_counts().to_dict()
    {'EPSG:32633': 7, 'EPSG:32632': 1}
    """
    given = folder if isinstance(folder, list | tuple) else [given_path(folder, "folder")]
    problems: list[str] = []
    if len(given) == 1 and os.path.isdir(given[0]):
        scenes, unusable, problems = _found(Path(given[0]), mask)
    else:
        found = find_scenes(given, mask=mask)
        scenes, unusable, problems = list(found.scenes), list(found.unusable), list(found.notes)
        if not scenes:
            raise unreadable_files(unusable)
    if not scenes and not unusable:
        raise MissingFile(f"{str(given[0])!r} holds no GeoTIFF or JPEG 2000 file. Unpack archives first.")
    rows = {item.id: _refused(item) for item in unusable}
    chosen = _anchor(scenes, anchor)
    if chosen is not None:
        rows |= {scene.id: _row(scene, chosen) for scene in scenes}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS)).rename_axis("item")
    table["time"] = pd.to_datetime(table["time"])
    table.attrs = {"anchor": "" if chosen is None else chosen.id, "problems": problems}
    return table.sort_values("time", kind="stable", na_position="last")


def summarise(table: pd.DataFrame) -> list[str]:
    """A few lines that say what a table of `inspect_folder` holds."""
    there = table[table["refused"] == ""]
    times = there["time"].dropna()
    span = f", {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else ""
    unknown = len(there) - len(times)
    lines = [f"{len(table)} items{span}; {len(table) - len(there)} would be refused"]
    if unknown:
        lines.append(f"{unknown} items have no known time: name files by date, or pass times= in Python")
    for name, values in (
        ("CRS", there["crs"]),
        ("pixel", [f"{x:g} x {y:g}" for x, y in zip(there["pixel_x"], there["pixel_y"], strict=True)]),
        ("bands", there["bands"]),
        ("masks", [masks or "none" for masks in there["masks"]]),
    ):
        lines.append(f"{name}: " + ", ".join(f"{value} ({n})" for value, n in Counter(values).most_common(4)))
    return [line for line in lines if not line.endswith(": ")]


def _found(root: Path, mask: object) -> tuple[list[Scene], list[Unusable], list[str]]:
    delivery = scan_delivery(root)
    order = order_scenes(delivery.items, "", verify=False)
    try:
        found = find_scenes(root, mask=mask)
    except MissingFile:
        found = None
    problems = [str(problem) for problem in delivery.problems]
    if found is None:
        return list(order.scenes), list(order.unusable), problems
    # what is told of a delivered order says more of its items than names do
    known = {str(file.path) for item in delivery.items for file in item.images}
    scenes = [scene for scene in found.scenes if scene.image.path not in known]
    unusable = [item for item in found.unusable if item.path not in known]
    listed = {asset.relative.as_posix() for asset in delivery.others}
    problems = [problem for problem in problems if problem.split(": ")[0] not in listed]
    notes = [note for note in found.notes if note not in problems]
    return [*order.scenes, *scenes], [*order.unusable, *unusable], [*problems, *notes]


def _anchor(scenes: Sequence[Scene], anchor: str | None) -> Scene | None:
    if anchor is not None:
        return find_scene(scenes, anchor)
    if not scenes:
        return None
    groups, _ = groups_of(scenes)
    near = groups[0] if groups else scenes
    bounds = np.array([_bounds(scene, near[0]) for scene in near])
    low = np.maximum(bounds[:, None, ::2], bounds[None, :, ::2])
    high = np.minimum(bounds[:, None, 1::2], bounds[None, :, 1::2])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    return near[int(np.nansum(shared, axis=1).argmax())]


def _bounds(scene: Scene, other: Scene) -> tuple[float, ...]:
    try:
        return frame_bounds(scene.image.box, other.image.box)
    except InvalidStack:
        return (np.nan,) * 4


def _refused(item: Unusable) -> dict[str, object]:
    return dict.fromkeys(COLUMNS) | {
        "refused": item.reason, "notes": "", "masks": "", "bands": "", "crs": "", "dtype": "",
    }  # fmt: skip


def _row(scene: Scene, anchor: Scene) -> dict[str, object]:
    image = scene.image
    box = image.box
    return {
        "time": scene.time,
        "rows": box.shape[0],
        "cols": box.shape[1],
        "pixel_x": abs(box.affine.a) or abs(box.affine.b),
        "pixel_y": abs(box.affine.e) or abs(box.affine.d),
        "crs": crs_name(box),
        "bands": " ".join(scene.bands),
        "dtype": image.dtype,
        "nodata": scene.nodata,
        "masks": " ".join(mask.rule.name for mask in scene.masks),
        "overlap": _overlap(scene, anchor),
        "refused": _why_not(scene, anchor),
        "notes": "; ".join(_remarks(scene, anchor)),
    }


def _overlap(scene: Scene, anchor: Scene) -> float:
    top, bottom, left, right = _bounds(scene, anchor)
    height, width = anchor.image.box.shape
    shared = max(min(bottom, height) - max(top, 0), 0) * max(min(right, width) - max(left, 0), 0)
    return round(shared / (height * width), 3)


def _why_not(scene: Scene, anchor: Scene) -> str:
    try:
        if scene is anchor:
            check_anchor(scene)
            return ""
        return unplaceable(scene, anchor) or ""
    except CoregError as error:
        return str(error)


def _remarks(scene: Scene, anchor: Scene) -> list[str]:
    """What differs from the anchor, in words."""
    if scene is anchor:
        return ["the anchor"]
    box, other = scene.image.box, anchor.image.box
    remarks = []
    if box.crs is None:
        remarks.append("no CRS")
    elif not same_crs(box, other):
        remarks.append("other CRS than the anchor: is warped when it is read")
    elif not same_pixels(box, other):
        remarks.append("other pixel size than the anchor: is warped when it is read")
    missing = [band for band in anchor.bands if band not in scene.bands]
    if missing and len(missing) < len(anchor.bands):
        remarks.append(f"lacks {' '.join(missing)} of the anchor")
    if np.isnat(scene.time):
        remarks.append("no time is known")
    return remarks
