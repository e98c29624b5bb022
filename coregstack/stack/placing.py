"""Whether scenes can be put on one lattice, and which bands they share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.geometry.lattice import crs_name, frame_bounds, overlaps
from coregstack.pixels.raster import check_pixels
from coregstack.pixels.scene import Scene
from coregstack.untrusted.limits import PIXELS


def check_lattice(anchor: Scene) -> None:
    """Refuse an anchor whose rows and columns do not run along its coordinates.

    Raises
    ------
    InvalidStack
        If its geotransform is rotated or sheared.
    """
    affine = anchor.image.box.affine
    if affine.b or affine.d:
        raise InvalidStack(
            f"The anchor {anchor.id!r} has a rotated geotransform; its rows and columns have to run along the "
            "axes of its CRS. Warp it north-up, for example with gdalwarp, or choose another anchor."
        )


def check_anchor(anchor: Scene) -> None:
    """Make sure that the anchor can be read, since every other item depends on it.

    Raises
    ------
    InvalidStack
        If its geotransform is rotated or sheared, or it holds no valid pixel.
    UnreadableFile, MissingFile
        If it, or a mask of it, is damaged.
    """
    check_lattice(anchor)
    for mask in anchor.masks:
        check_pixels(mask.header, None)
    if not check_pixels(anchor.image, anchor.nodata):
        raise InvalidStack(f"The anchor {anchor.id!r} holds no valid pixel; choose another one.")


def unplaceable(scene: Scene, anchor: Scene, *, apart: bool = False) -> str | None:
    """Why a scene cannot be put on the anchor's lattice or matched with it, or None if it can.

    Parameters
    ----------
    scene, anchor : Scene
    apart : bool
        Whether it may lie apart from the anchor, because others link the two.
    """
    try:
        top, bottom, left, right = frame_bounds(scene.image.box, anchor.image.box)
    except InvalidStack as error:
        return str(error)
    if not apart and not overlaps(scene.image.box, anchor.image.box):
        return (
            f"The scene does not overlap the anchor ({crs_name(scene.image.box)}, "
            f"bounds {tuple(round(v, 1) for v in scene.image.box.boundingbox.bbox)})."
        )
    rows, cols = math.ceil(bottom - top), math.ceil(right - left)
    if rows * cols > PIXELS():
        return (
            f"On the anchor's lattice the scene would have {rows} x {cols} pixels. Check its pixel size and CRS, or "
            f"raise {PIXELS.variable}."
        )
    return None


def common_bands(
    scenes: Sequence[Scene], anchor: Scene, bands: Sequence[str | int] | None = None
) -> tuple[str, ...]:
    """Names of the bands that all scenes share, in the anchor's order, or of those asked for among them.

    Raises
    ------
    InvalidStack
        If they share no name and differ in number.
    InvalidRequest
        If a band is asked for that not all have.
    """
    shared = [b for b in anchor.bands if all(b in scene.bands for scene in scenes)]
    if not shared:
        counts = {len(scene.bands) for scene in scenes}
        if len(counts) != 1:
            raise InvalidStack(
                f"The scenes have no band name in common and differ in their number of bands ({sorted(counts)}). "
                "Describe the bands alike, or open each kind separately."
            )
        shared = list(anchor.bands)
    if bands is None:
        return tuple(shared)
    picked = []
    for band in [bands] if isinstance(bands, str | int) else bands:
        if isinstance(band, int) and -len(shared) <= band < len(shared):
            picked.append(shared[band])
        elif band in shared:
            picked.append(str(band))
        else:
            raise InvalidRequest(f"There is no band {band!r} in all scenes; they share {', '.join(shared)}.")
    return tuple(picked)


def band_indexes(scene: Scene, names: Sequence[str]) -> tuple[int, ...]:
    """Positions in the file of the bands that are called `names`, else of the first ones."""
    positions = [k for k in range(scene.image.count) if k != scene.image.alpha]
    if all(name in scene.bands for name in names):
        return tuple(positions[scene.bands.index(name)] for name in names)
    return tuple(positions[: len(names)])
