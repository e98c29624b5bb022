"""Which scenes can be compared with each other, so that one of them can be chosen as the anchor of them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from coregstack.errors import CoregError
from coregstack.geometry.globe import together
from coregstack.geometry.lattice import union
from coregstack.matching.bands import pair_bands
from coregstack.matching.options import MatchSettings
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.stack.placing import check_lattice, placed_scene, scene_bands, unplaceable


def groups_of(scenes: Sequence[Scene]) -> tuple[list[list[Scene]], dict[str, str]]:
    """Scenes that could be an anchor, in groups of those that lie together.

    Scenes that overlap or touch, directly or through others, are a group. The group with most scenes comes
    first; of those with equally many, the one that holds the earliest scene; where times do not tell, the one
    that holds the first scene.

    Parameters
    ----------
    scenes : sequence of Scene
        On whatever part of the world.

    Returns
    -------
    groups : list of list of Scene
        Each in the order of `scenes`.
    refused : dict
        Item id to why the scene cannot be an anchor of any.
    """
    able, refused = [], {}
    for scene in scenes:
        reason = _unfit(scene)
        if reason is None:
            able.append(scene)
        else:
            refused[scene.id] = reason
    groups = defaultdict(list)
    for scene, number in zip(able, together([scene.image.box for scene in able]), strict=True):
        groups[int(number)].append(scene)
    return sorted(groups.values(), key=_standing), refused


def comparable(group: Sequence[Scene]) -> tuple[list[PlacedScene], dict[str, str]]:
    """Scenes of a group in the box that holds them all, on the lattice of the first one that suits most of them.

    Parameters
    ----------
    group : sequence of Scene
        As `groups_of` returns it.

    Returns
    -------
    placed : list of PlacedScene
        Each with one band alone: the one that it is scored in against the scene that gives the lattice.
    left_out : dict
        Item id to why the scene cannot be put on that lattice.
    """
    best: tuple[list[PlacedScene], dict[str, str]] = [], {}
    for reference in group:
        placed, left_out = _beside(group, reference)
        if len(placed) > len(best[0]):
            best = placed, left_out
        if len(best[0]) > len(group) / 2:
            break
    placed, left_out = best
    frame = union([item.scene.image.box for item in placed], placed[0].lattice)
    return [item.on(frame) for item in placed], left_out


def _unfit(scene: Scene) -> str | None:
    try:
        check_lattice(scene)
    except CoregError:
        return "Its geotransform is rotated."
    return unplaceable(scene, scene)


def _standing(group: Sequence[Scene]) -> tuple[int, bool, np.datetime64]:
    times = np.array([scene.time for scene in group], "datetime64[s]")
    known = times[~np.isnat(times)]
    return -len(group), not known.size, known.min() if known.size else np.datetime64(0, "s")


def _beside(group: Sequence[Scene], reference: Scene) -> tuple[list[PlacedScene], dict[str, str]]:
    placed, left_out = [], {}
    for scene in group:
        reason = unplaceable(scene, reference, apart=True)
        if reason is not None:
            left_out[scene.id] = reason
            continue
        try:
            pairs = pair_bands(MatchSettings(), scene_bands(reference), scene_bands(scene))
        except CoregError as error:
            left_out[scene.id] = str(error)
            continue
        mine, other = pairs.anchor[0], pairs.item[0]
        index = scene.positions[other]
        placed.append(placed_scene(scene, reference.image.box, [index], names=[reference.bands[mine]]))
    return placed, left_out
