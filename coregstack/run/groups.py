"""Items of a run that are matched alike: in the same bands, and in pixels of one size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.export.plan import ItemPlan
from coregstack.matching.bands import anchor_bands, pair_bands
from coregstack.matching.decision import failure
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.told import Frames
from coregstack.model import ItemQuality
from coregstack.pixels.scene import Scene
from coregstack.stack.placing import scene_bands


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Items that are matched with the anchor in the same of its bands, and in pixels of the same size."""

    plans: tuple[ItemPlan, ...]
    """The items."""
    bands: tuple[tuple[int, ...], ...]
    """Positions of each item's match bands among its bands."""
    anchor: tuple[int, ...]
    """Positions of the match bands among the anchor's bands."""
    options: MatchOptions
    """How they are matched; its bands are counted among these."""
    frame: GeoBox
    """Lattice on which they are matched, as a box that covers the anchor."""

    def only(self, places: Sequence[int]) -> Group:
        """The same with some of the items."""
        return replace(
            self, plans=tuple(self.plans[k] for k in places), bands=tuple(self.bands[k] for k in places)
        )


_Way = tuple[tuple[int, ...], MatchOptions, GeoBox]
"""The anchor's match bands, how items are matched with them, and on which lattice."""


def grouped(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    output: GeoBox,
    match: MatchSettings,
) -> tuple[list[Group], dict[str, ItemQuality]]:
    """Items by the bands and the pixel size that each is matched in, and the failure of those that have no band.

    No item is so matched in fewer bands, or in larger pixels, because another has such; the anchor goes with most of
    those that are matched in the pixels of the output. In a network all are matched in these, or in larger ones of an
    anchor from outside.
    """
    found: dict[_Way, list[tuple[ItemPlan, tuple[int, ...]]]] = defaultdict(list)
    own = anchor.image.box
    refused = {}
    # scenes of one product have the same bands
    paired = cache(partial(pair_bands, match, scene_bands(anchor)))
    for plan in plans:
        if plan.id == anchor.id:
            continue
        try:
            pairs = paired(scene_bands(scenes[plan.id]))
        except (InvalidRequest, InvalidStack) as error:
            refused[plan.id] = failure(str(error))
            continue
        met = Frames.of(own, output, output if match.method == "network" else scenes[plan.id].image.box)
        found[pairs.anchor, pairs.options.told_in(met.ratio), met.matched].append((plan, pairs.item))
    if anchor.id in scenes:
        fitting = [way for way in found if way[2] == own]
        alone = anchor_bands(match, scene_bands(anchor))
        way = max(fitting, key=lambda way: len(found[way]), default=(alone.anchor, alone.options, own))
        found[way] += [(plan, way[0]) for plan in plans if plan.id == anchor.id]
    groups = [
        Group(
            plans=tuple(plan for plan, _ in group),
            bands=tuple(item for _, item in group),
            anchor=bands,
            options=options,
            frame=frame,
        )
        for (bands, options, frame), group in found.items()
    ]
    return groups, refused
