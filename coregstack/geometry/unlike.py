"""Which lattices scenes of unlike CRS and pixel size are delivered and matched on.

Two scenes are matched in the larger of their pixels: what the finer one shows beyond that has no counterpart in the
other. Shifts are told in pixels of the lattice of the output, whose frame begins where that of the match does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from coregstack.geometry.lattice import footprint, lattice_like, offset, pixel_scale, same_crs, same_pixels
from coregstack.model import NO_SHIFT, Shift

_SAME_SIZE = 0.02
"""Pixels whose sides differ by a smaller part count as equally large."""


def output_lattice(anchor: GeoBox, items: Sequence[GeoBox], *, like_anchor: bool = False) -> GeoBox:
    """The lattice of the output where the anchor is no item, as a box that covers the anchor.

    Parameters
    ----------
    anchor : GeoBox
        The anchor's own box.
    items : sequence of GeoBox
        Those of the items.
    like_anchor : bool
        Whether the anchor's own pixels are asked for; else those of the finest item are taken, counted from the
        anchor's corner if its CRS and axes are theirs, else on the lattice of that item.

    Examples
    --------
    >>> from affine import Affine
    >>> anchor = GeoBox((40, 50), Affine(10, 0, 300, 0, -10, 900), "EPSG:32633")
    >>> item = GeoBox((99, 99), Affine(3, 0, 301, 0, -3, 899), "EPSG:32633")
    >>> output_lattice(anchor, [item]).affine[:6]
    (3.0, 0.0, 300.0, 0.0, -3.0, 900.0)
    """
    if like_anchor or not items:
        return anchor
    finest = min(items, key=lambda box: math.prod(pixel_scale(box, anchor)))
    if same_crs(finest, anchor) and _same_axes(finest, anchor):
        return anchor if _equal(pixel_scale(finest, anchor)) else lattice_like(finest, anchor)
    return footprint(anchor, finest)


def match_lattice(output: GeoBox, anchor: GeoBox, item: GeoBox) -> GeoBox:
    """The lattice on which an item is matched with the anchor: that of the coarser one, in the CRS of the output.

    Parameters
    ----------
    output : GeoBox
        Lattice of the output, as a box that covers the anchor.
    anchor, item : GeoBox
        Their own boxes.

    Returns
    -------
    GeoBox
        It covers the anchor, and its corner is that of `output`.

    Examples
    --------
    >>> from affine import Affine
    >>> anchor = GeoBox((40, 50), Affine(10, 0, 300, 0, -10, 900), "EPSG:32633")
    >>> item = GeoBox((99, 99), Affine(3, 0, 301, 0, -3, 899), "EPSG:32633")
    >>> match_lattice(output_lattice(anchor, [item]), anchor, item) == anchor
    True
    """
    coarser = max((anchor, item), key=lambda box: math.prod(pixel_scale(box, output)))
    scale = pixel_scale(coarser, output)
    if math.prod(scale) <= 1 or _equal(scale):
        return output
    found = lattice_like(coarser, output)
    # the anchor's own box where that is it, whatever rounding of its size says
    own = same_pixels(anchor, found) and offset(anchor, found) == NO_SHIFT
    return anchor if own else found


def pixel_ratio(lattice: GeoBox, output: GeoBox) -> Shift:
    """Height and width of a pixel of a lattice in pixels of the output, which has the same axes."""
    return Shift(lattice.affine.e / output.affine.e, lattice.affine.a / output.affine.a)


def _equal(scale: Sequence[float]) -> bool:
    return all(abs(size - 1) < _SAME_SIZE for size in scale)


def _same_axes(box: GeoBox, other: GeoBox) -> bool:
    """Whether rows and columns of two boxes of one CRS run along the same axes, in the same directions."""
    (a, b, _, d, e, _), (p, q, _, s, t, _) = box.affine[:6], other.affine[:6]
    return not any((b, d, q, s)) and a * p > 0 and e * t > 0
