"""Whether scenes can be put on one lattice, and which bands they share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.geometry.lattice import crs_name, frame_bounds, meets
from coregstack.matching.bands import Bands, position_of
from coregstack.pixels.raster import check_pixels
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.untrusted.bandnames import same_bands
from coregstack.untrusted.given import given_list
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


def unplaceable(
    scene: Scene, anchor: Scene, *, apart: bool = False, lattice: GeoBox | None = None
) -> str | None:
    """Why a scene cannot be put on the anchor's lattice or matched with it, or None if it can.

    Parameters
    ----------
    scene, anchor : Scene
    apart : bool
        Whether it may lie apart from the anchor, because others link the two.
    lattice : GeoBox, optional
        Lattice of the output, as a box that covers the anchor; by default the anchor's own.
    """
    box = anchor.image.box if lattice is None else lattice
    try:
        bounds = top, bottom, left, right = frame_bounds(scene.image.box, box)
    except InvalidStack as error:
        return str(error)
    if not apart and not meets(bounds, box):
        return (
            f"The scene does not overlap the anchor ({crs_name(scene.image.box)}, "
            f"bounds {tuple(round(v, 1) for v in scene.image.box.boundingbox.bbox)})."
        )
    rows, cols = math.ceil(bottom - top), math.ceil(right - left)
    if rows * cols > PIXELS():
        return (
            f"On the lattice of the output the scene would have {rows} x {cols} pixels. Check its pixel size and CRS, "
            f"or raise {PIXELS.variable}."
        )
    return None


def scene_bands(scene: Scene) -> Bands:
    """The bands of a scene, and which of them hold classes."""
    return Bands(names=scene.bands, classes=scene.classes or ("",) * len(scene.bands))


def check_nearest(nearest: Sequence[str | int], scenes: Sequence[Scene]) -> None:
    """Refuse bands of classes that a user names, but that no scene has.

    Raises
    ------
    InvalidRequest
    """
    for band in nearest:
        if all(position_of(scene.bands, band) is None for scene in scenes):
            raise InvalidRequest(
                f"nearest names the band {band!r}, which no scene has; the first has {', '.join(scenes[0].bands)}."
            )


def common_bands(
    scenes: Sequence[Scene], anchor: Scene, bands: Sequence[str | int] | None = None
) -> tuple[str, ...]:
    """Names of the bands that all scenes share, in the anchor's order, or of those asked for among them.

    Raises
    ------
    InvalidStack
        If they share no name, and positions do not tell either.
    InvalidRequest
        If a band is asked for that not all have.
    """
    positions = [dict(same_bands(anchor.bands, scene.bands)) for scene in scenes]
    shared = [name for k, name in enumerate(anchor.bands) if all(k in found for found in positions)]
    if bands is None and not shared:
        raise InvalidStack(_unlike(scenes, anchor))
    if bands is None:
        return tuple(shared)
    wanted = [bands] if isinstance(bands, str | int) else given_list(bands, "bands")
    if not wanted:
        raise InvalidRequest(
            "bands has to name at least one band; without it, all that the scenes share are opened."
        )
    fewest = min(len(scene.bands) for scene in (anchor, *scenes))
    # where no name says otherwise, a position that is asked for is one in every file
    known = shared or list(anchor.bands[:fewest] if all(isinstance(band, int) for band in wanted) else ())
    picked = []
    for band in wanted:
        found = position_of(known, band)
        if found is None:
            if not shared:
                raise InvalidRequest(f"There is no band {band!r} in all scenes. {_unlike(scenes, anchor)}")
            raise InvalidRequest(f"There is no band {band!r} in all scenes; they share {', '.join(shared)}.")
        picked.append(known[found])
    return tuple(picked)


def _unlike(scenes: Sequence[Scene], anchor: Scene) -> str:
    """Why scenes cannot be in one stack, and what to do."""
    other = next((s for s in scenes if not same_bands(anchor.bands, s.bands)), None)
    example = (
        f"the anchor {anchor.id!r} has {', '.join(anchor.bands[:8])}, {other.id!r} has {', '.join(other.bands[:8])}"
        if other is not None
        else f"none of the anchor's {', '.join(anchor.bands[:8])} is in all of them"
    )
    return (
        f"The scenes have no band name in common: {example}. bands=[0] takes the first band of every file whatever "
        "it is called; files of unlike bands are aligned, each with its own, by run_scenes, which pairs bands as "
        "band=('pan', 'red') says, or the best ones."
    )


def band_indexes(scene: Scene, anchor: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    """Positions in a scene's file of bands that the anchor, or a stack, calls `names`.

    Parameters
    ----------
    scene : Scene
    anchor : sequence of str
        Names of all bands of the anchor.
    names : sequence of str
        Some of them, as `common_bands` returns them.
    """
    shared = dict(same_bands(anchor, scene.bands))
    wanted = [list(anchor).index(name) for name in names]
    return tuple(scene.positions[shared.get(k, k)] for k in wanted)


def with_match_bands(scene: Scene, bands: Sequence[int], frame: GeoBox) -> PlacedScene:
    """A scene in the frame that it is matched in, with the bands that are matched, by position."""
    indexes = [scene.positions[k] for k in bands]
    return placed_scene(scene, frame, indexes, names=[scene.bands[k] for k in bands])


def placed_scene(
    scene: Scene,
    lattice: GeoBox,
    indexes: Sequence[int],
    *,
    names: Sequence[str],
    dtype: str | None = None,
    fill: float | None = None,
) -> PlacedScene:
    """A scene on a lattice with some bands of its file, under names that a stack has for them.

    `dtype` and `fill` are those of the stack; by default the scene's own.
    """
    told = dict(zip(scene.positions, scene_bands(scene).classes, strict=True))
    classes = tuple(told[index] for index in indexes)
    return PlacedScene(
        scene=scene,
        lattice=lattice,
        bands=tuple(names),
        indexes=tuple(indexes),
        dtype=scene.image.dtype if dtype is None else dtype,
        fill=(scene.nodata or 0) if fill is None else fill,
        classes=classes if any(classes) else (),
    )
