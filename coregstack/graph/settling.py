"""What every task on one item does beside judging it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.graph.blocks import boxed
from coregstack.matching.assess import Reference, reference_quality, unmatched
from coregstack.model import ItemQuality

if TYPE_CHECKING:
    from coregstack.matching.items import MatchItem


def settled(
    reference: Reference | ItemQuality,
    item: MatchItem,
    judge: Callable[[Reference], ItemQuality],
    *,
    is_anchor: bool,
) -> NDArray[np.object_]:
    """What becomes of an item: as the anchor, where the anchor cannot be read, as it is judged, or where that fails."""
    if is_anchor:
        return boxed(reference_quality(reference))
    if isinstance(reference, ItemQuality):
        return boxed(reference)
    try:
        return boxed(judge(reference))
    except Exception as error:
        return boxed(unmatched(item.id, error))
