"""Missing data that no one declared, taken out of a match as declared nodata is."""

from __future__ import annotations

from dataclasses import dataclass

from coregstack.kernels.filling import shared_filling
from coregstack.kernels.sources import ArraySource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WithoutFilling:
    """Two scenes without a region that one value fills in both."""

    anchor: ArraySource
    item: ArraySource
    remark: str
    """What was left out, in words; empty where nothing was, and both are as they were."""


def without_filling(anchor: ArraySource, item: ArraySource) -> WithoutFilling:
    """Leave out of the match of two scenes what one value fills in both, with its rim in the same pixels.

    Parameters
    ----------
    anchor, item
        Match bands of both.

    Examples
    --------
    >>> import numpy as np
    >>> scene = np.random.default_rng(0).normal(size=(1, 90, 90)).cumsum(1).cumsum(2)
    >>> scene[:, :20] = 0
    >>> source = ArraySource(values=scene, usable=np.ones((90, 90), bool))
    >>> without_filling(source, source).remark.split(":")[0]
    '22% of the pixels hold 0 in the anchor and the item alike and are left out of the match'
    """
    found = shared_filling(anchor, item)
    if found is None:
        return WithoutFilling(anchor=anchor, item=item, remark="")
    return WithoutFilling(
        anchor=anchor.without(found.anchor),
        item=item.without(found.item),
        remark=(
            f"{found.part:.0%} of the pixels hold {found.value:g} in the anchor and the item alike and are left out of "
            "the match: declare it as nodata if it marks missing data, so that nothing is interpolated with it"
        ),
    )
