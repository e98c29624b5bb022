"""Which item makes the best anchor: reduced images of all items are looked at, here and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from coregstack.errors import InvalidStack
from coregstack.graph.matched import array_items, scene_items
from coregstack.graph.sketches import item_sketches, network_frame
from coregstack.kernels.descriptor import similarity
from coregstack.matching.bands import pair_bands
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.network import AnchorScore
from coregstack.network import rank_anchors as rank_measures
from coregstack.network.sketch import Sketch
from coregstack.pixels.scene import Scene
from coregstack.stack.comparing import comparable, groups_of
from coregstack.stack.conform import Stack, conform, item_times
from coregstack.stack.provenance import pristine_clear, pristine_scenes

AUTO = "auto"
"""Named in place of an anchor, it has one chosen."""
_SENSOR = ("platform", "eo:platform", "instruments", "constellation", "sensor")
_APART = "It overlaps none of the scenes that the anchor is chosen from, not even through others."
_GROUND_CONTROL = ("ground_control", "pl:ground_control")


def rank_anchors(stack: xr.DataArray, *, ids: Sequence[str] | None = None) -> pd.DataFrame:
    """Rank the items of a stack by how good an anchor each would make.

    An item is good if it sees much of the stack's area, is clear, has texture in common with the others, is
    sharp, taken in the season of most and by the sensor of most, and was located by ground control, where
    coordinates on time (`platform`, `ground_control`) tell. A reduced image of every item is computed at
    once: of files in one pass at reduced resolution, of any other stack by computing its scored band. Of a
    stack of files, what lies apart from the largest group of scenes that overlap comes last.

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

    Scenes that lie apart from the largest group of scenes that overlap, that cannot be put on a lattice with
    most of these, or whose rows do not run along the axes, are left out: ``attrs["left_out"]`` gives the
    reason, by id.

    Parameters
    ----------
    scenes : sequence of Scene
    ground_control : mapping
        Item id to whether the item was located by ground control, where that is known.
    """
    able, scores, left_out = _scene_scores(scenes, ground_control or {})
    table = _table(scores, [scene.id for scene in able])
    table.attrs["left_out"] = left_out
    return table


def best_scene(scenes: Sequence[Scene]) -> tuple[Scene, str, dict[str, str]]:
    """The scene that makes the best anchor, why, and which ones were left out of the choice, and why."""
    able, scores, left_out = _scene_scores(scenes, {})
    return able[scores[0].item], scores[0].sentence, left_out


def _scene_scores(
    scenes: Sequence[Scene], ground_control: Mapping[str, bool | None]
) -> tuple[list[Scene], tuple[AnchorScore, ...], dict[str, str]]:
    groups, left_out = groups_of(scenes)
    if not groups:
        reasons = "; ".join(f"{item}: {reason}" for item, reason in list(left_out.items())[:5])
        raise InvalidStack(f"None of the scenes can be the anchor. {reasons}")
    for group in groups:
        placed, unlike = comparable(group)
        sketches = item_sketches(scene_items(placed), _looked_at(0), placed[0].lattice).compute()
        # of a group that cannot be read nothing can be chosen
        if any(one is not None for one in sketches):
            break
    able = [item.scene for item in placed]
    inside = {scene.id for scene in group}
    left_out |= unlike | {scene.id: _APART for scene in chain(*groups) if scene.id not in inside}
    scores = _scores(
        sketches,
        [scene.id for scene in able],
        np.array([scene.time for scene in able], "datetime64[s]"),
        [f"{scene.image.dtype}, {len(scene.bands)} bands" for scene in able],
        [ground_control.get(scene.id) for scene in able],
    )
    return able, scores, {scene.id: left_out[scene.id] for scene in scenes if scene.id in left_out}


def _stack_scores(stack: Stack) -> tuple[AnchorScore, ...]:
    band = pair_bands(MatchSettings(), stack.held, stack.held).item[0]
    scenes = pristine_scenes(stack)
    if scenes is not None and pristine_clear(stack):
        groups, _ = groups_of([scene.scene for scene in scenes])
        first = stack.ids.index(groups[0][0].id) if groups else 0
        # scenes outside the largest group see nothing of its frame, and so come last
        frame = network_frame(scenes, first)
        items = scene_items([scene.on(frame) for scene in scenes])
        sketches = item_sketches(items, _looked_at(band), frame).compute()
    else:
        clear = None if stack.clear is None else stack.clear.data
        items = array_items(stack.array.data[:, [band]], clear, stack.ids, nodata=stack.empty)
        sketches = item_sketches(items, _looked_at(0)).compute()
    sensors = _on_time(stack, _SENSOR)
    located = _on_time(stack, _GROUND_CONTROL)
    return _scores(
        sketches,
        stack.ids,
        item_times(stack),
        None if sensors is None else [str(name) for name in sensors],
        None if located is None else [None if pd.isna(flag) else bool(flag) for flag in located],
    )


def _looked_at(band: int) -> MatchOptions:
    return MatchOptions(bands=(band,))


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
