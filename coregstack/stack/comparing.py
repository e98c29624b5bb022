"""Which scenes can be compared with each other, so that one of them can be chosen as the anchor of them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from coregstack.errors import CoregError
from coregstack.geometry.globe import together
from coregstack.geometry.lattice import union
from coregstack.matching.options import match_bands
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.stack.placing import band_indexes, check_lattice, common_bands, unplaceable


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
            names = common_bands([reference, scene], reference)
        except CoregError as error:
            left_out[scene.id] = str(error)
            continue
        band = match_bands(names, None)[0][0]
        placed.append(
            PlacedScene(
                scene=scene,
                lattice=reference.image.box,
                bands=(names[band],),
                indexes=(band_indexes(scene, names)[band],),
                dtype=scene.image.dtype,
                fill=scene.nodata or 0,
            )
        )
    return placed, left_out
