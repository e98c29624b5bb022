"""What a run tells of heights: views against angles, and the error of the height model behind its scenes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, InvalidRequest
from coregstack.export.heights import HEIGHT_ERROR, write_height_error
from coregstack.geometry.lattice import overlaps
from coregstack.pixels.raster import read_header
from coregstack.pixels.scene import Scene
from coregstack.run.result import RunResult
from coregstack.stack.heights import check_angles, compare_views, fit_words, height_error, pixel_metres
from coregstack.stack.measured import measured_on
from coregstack.untrusted.given import given_place


def check_dem(dem: str | os.PathLike[str], model: str, scenes: Sequence[Scene], anchor: Scene) -> str:
    """The path of a height model whose error a run can tell.

    Raises
    ------
    InvalidRequest
        If the run finds no relief, angles are not known, or the model does not lie where the anchor does.
    MissingFile, UnreadableFile
        If it cannot be read.
    """
    if model != "terrain":
        raise InvalidRequest(
            f"dem=... tells the error of heights from the relief that model='terrain' finds, not {model!r}."
        )
    path = str(given_place(dem, "dem"))
    box = anchor.image.box
    pixel_metres(box)
    if anchor.id not in (ids := [scene.id for scene in scenes]):
        raise InvalidRequest("dem=... needs an anchor that is one of the items.")
    check_angles([np.nan if s.viewing is None else s.viewing.incidence for s in scenes], ids.index(anchor.id))
    header = read_header(path)
    if header.box.crs is None or not overlaps(header.box, box):
        raise InvalidRequest(f"The height model {path!r} has no CRS, or does not lie where the anchor does.")
    return path


def with_heights(result: RunResult, dem: str | None) -> RunResult:
    """Say how views follow the angles that are told, and write the error of a height model where one is given."""
    if not result.viewings:
        return result
    quality = result.to_quality()
    told = compare_views(quality)
    if told is not None:
        words = fit_words(told.fit)
        result = replace(result, notes=(*result.notes, f"{words[0].upper()}{words[1:]}."))
    if dem is None:
        return result
    try:
        found = height_error(quality)
        error, sigma = (found[name].values for name in ("height_error", "height_error_sigma"))
        write_height_error(Path(result.output, HEIGHT_ERROR), error, sigma, dem, _nodes(found))
    except InvalidRequest as reason:
        return replace(result, notes=(*result.notes, f"No {HEIGHT_ERROR} is written. {reason}"))
    except (CoregError, OSError) as reason:
        return replace(result, faults=(*result.faults, f"height error: {reason}"))
    return result


def _nodes(found: xr.Dataset) -> GeoBox:
    """Pixels that are centred on the nodes."""
    y, x = (found[f"lattice_{axis}"].values for axis in "yx")
    down, along = float(y[1] - y[0]), float(x[1] - x[0])
    affine = Affine(along, 0.0, float(x[0]) - along / 2, 0.0, down, float(y[0]) - down / 2)
    lattice = measured_on(found)
    return GeoBox((y.size, x.size), affine, None if lattice is None else lattice.crs)
