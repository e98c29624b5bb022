"""Which item makes the best anchor: reduced images of all items are looked at, here and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from coregstack.errors import InvalidStack
from coregstack.kernels.descriptor import similarity
from coregstack.matching import match_bands
from coregstack.network import AnchorScore
from coregstack.network import rank_anchors as rank_measures
from coregstack.network.graph import array_sketches, network_frame, scene_sketches
from coregstack.network.matching import Sketch
from coregstack.opening.files import check_lattice, place, unplaceable
from coregstack.opening.provenance import pristine_clear, pristine_scenes
from coregstack.pixels.scene import Scene
from coregstack.stack import Stack, conform, item_times

AUTO = "auto"
"""Named in place of an anchor, it has one chosen."""
_SENSOR = ("platform", "eo:platform", "instruments", "constellation", "sensor")
_GROUND_CONTROL = ("ground_control", "pl:ground_control")


def rank_anchors(stack: xr.DataArray, *, ids: Sequence[str] | None = None) -> pd.DataFrame:
    """Rank the items of a stack by how good an anchor each would make.

    An item is good if it sees much of the stack's area, is clear, has texture in common with the others, is
    sharp, taken in the season of most and by the sensor of most, and was located by ground control, where
    coordinates on time (`platform`, `ground_control`) tell. A reduced image of every item is computed at
    once: of files in one pass at reduced resolution, of any other stack by computing its scored band.

    Parameters
    ----------
    stack : DataArray
        Dims (time, band, y, x) or (time, y, x), numpy or dask, from any loader.
    ids : sequence of str, optional
        Item ids, where the stack has no coordinate `id`.

    Returns
    -------
    DataFrame
        One row an item, best first, by id: `score`, `area` and `clear` (shares), the parts that are known
        relative to the best item (`similarity`, `sharpness`, `season`, `sensor`, `ground_control`), and
        `why` in words. All numbers from 0 to 1.

    Raises
    ------
    InvalidStack
        If the DataArray is no stack.

    Examples
    --------
    >>> from coregstack.testing import sample_stack
    >>> table = rank_anchors(sample_stack(4, shape=(256, 256), cloud_cover=0.3))
    >>> len(table), bool(table.score.is_monotonic_decreasing)
    (4, True)
    """
    known = conform(stack, ids)
    return _table(_stack_scores(known), known.ids)


def best_item(stack: Stack) -> tuple[int, str]:
    """Position of the item that makes the best anchor of a stack, and why."""
    chosen = str(stack.array.attrs.get("coregstack_anchor_chosen", ""))
    if chosen in stack.ids:
        return stack.ids.index(chosen), str(stack.array.attrs.get("coregstack_anchor_why", ""))
    best = _stack_scores(stack)[0]
    return best.item, best.sentence


def rank_scenes(
    scenes: Sequence[Scene], ground_control: Mapping[str, bool | None] | None = None
) -> pd.DataFrame:
    """Rank scenes behind files, as `rank_anchors` does the items of a stack.

    Parameters
    ----------
    scenes : sequence of Scene
        Those that cannot be placed beside the first, or whose rows do not run along the axes, are left out.
    ground_control : mapping
        Item id to whether the item was located by ground control, where that is known.
    """
    able = _able(scenes)
    return _table(_scene_scores(able, ground_control or {}), [scene.id for scene in able])


def best_scene(scenes: Sequence[Scene]) -> tuple[Scene, str]:
    """The scene that makes the best anchor, and why."""
    able = _able(scenes)
    best = _scene_scores(able, {})[0]
    return able[best.item], best.sentence


def _able(scenes: Sequence[Scene]) -> list[Scene]:
    able: list[Scene] = []
    for scene in scenes:
        try:
            check_lattice(scene)
        except InvalidStack:
            continue
        if unplaceable(scene, (able or [scene])[0], apart=True) is None:
            able.append(scene)
    if not able:
        raise InvalidStack(
            "All scenes have a rotated geotransform; an anchor's rows have to run along the axes."
        )
    return able


def _scene_scores(
    scenes: Sequence[Scene], ground_control: Mapping[str, bool | None]
) -> tuple[AnchorScore, ...]:
    placed, box = place(scenes, scenes[0], None)
    band = match_bands(placed[0].bands, None)[0][0]
    sketches = scene_sketches([scene.on(box) for scene in placed], box, band).compute()
    return _scores(
        sketches,
        [scene.id for scene in scenes],
        np.array([scene.time for scene in scenes], "datetime64[s]"),
        [f"{scene.image.dtype}, {len(scene.bands)} bands" for scene in scenes],
        [ground_control.get(scene.id) for scene in scenes],
    )


def _stack_scores(stack: Stack) -> tuple[AnchorScore, ...]:
    band = match_bands(stack.bands, None)[0][0]
    scenes = pristine_scenes(stack)
    if scenes is not None and pristine_clear(stack):
        frame = network_frame(scenes, 0)
        sketches = scene_sketches([scene.on(frame) for scene in scenes], frame, band).compute()
    else:
        clear = None if stack.clear is None else stack.clear.data
        sketches = array_sketches(stack.array.data[:, [band]], clear, nodata=stack.nodata).compute()
    sensors = _on_time(stack, _SENSOR)
    located = _on_time(stack, _GROUND_CONTROL)
    return _scores(
        sketches,
        stack.ids,
        item_times(stack),
        None if sensors is None else [str(name) for name in sensors],
        None if located is None else [None if pd.isna(flag) else bool(flag) for flag in located],
    )


def _on_time(stack: Stack, names: Sequence[str]) -> list[object] | None:
    for name in names:
        if name in stack.array.coords and stack.array.coords[name].dims == ("time",):
            return list(stack.array.coords[name].values)
    return None


def _scores(
    sketches: Sequence[Sketch | None],
    names: Sequence[str],
    times: NDArray[np.datetime64],
    sensors: Sequence[str] | None,
    ground_control: Sequence[bool | None] | None,
) -> tuple[AnchorScore, ...]:
    known = [one for one in sketches if one is not None]
    if not known:
        raise InvalidStack("None of the items can be read, so none can be the anchor.")
    blank = np.zeros_like(known[0].descriptor.texture)
    textures = np.stack([blank if one is None else one.descriptor.texture for one in sketches])
    return rank_measures(
        area=[0.0 if one is None else one.covered for one in sketches],
        clear=[0.0 if one is None else one.clear for one in sketches],
        sharpness=[0.0 if one is None else one.descriptor.sharpness for one in sketches],
        similarity=similarity(textures),
        times=None if np.isnat(times).all() else times,
        sensors=sensors,
        ground_control=ground_control,
        names=names,
    )


def _table(scores: Sequence[AnchorScore], names: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"item": names[one.item], "score": one.total, "area": one.area, "clear": one.clear}
        | one.parts
        | {"why": one.sentence.removeprefix(f"{names[one.item]}: ")}
        for one in scores
    ]
    return pd.DataFrame(rows).set_index("item")
