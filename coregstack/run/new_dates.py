"""New scenes for a cube that is there: aligned to its anchor, written behind its last date."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from coregstack.cube.append import Grown, open_grown, write_behind
from coregstack.cube.claim import claimed
from coregstack.cube.mark import find_finished
from coregstack.cube.place import place_of
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack
from coregstack.matching.choices import (
    ANCHOR_DATUM,
    MIN_IMPROVEMENT,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Method,
    Model,
    Resampling,
)
from coregstack.matching.options import MatchSettings
from coregstack.matching.quality import FIELDS
from coregstack.model import NO_SHIFT, UNSCALED, Shift, Status, WindowEstimator
from coregstack.network.seasons import season_apart
from coregstack.pixels.scene import Scene
from coregstack.run.known_terrain import cube_terrain
from coregstack.stack.applying import apply, check_resampling
from coregstack.stack.conform import Stack, conform, item_times, scaling
from coregstack.stack.dataset import CLASSES
from coregstack.stack.estimating import estimate_beside
from coregstack.stack.finding import find_scenes
from coregstack.stack.opening import scenes_on, unreadable_files

NEAREST = 2
"""Dates of the cube that help to place a new one: so many near in date, and so many near in season."""
_PLACED = (Status.ANCHOR, Status.ALREADY_ALIGNED, Status.COREGISTERED)


def append(
    new_scenes: Sequence[str | os.PathLike[str]] | xr.DataArray,
    store: Any,
    *,
    ids: Sequence[str] | None = None,
    times: Sequence[Any] | None = None,
    band: Band | None = None,
    max_shift: float | None = None,
    threshold: float = SCORE_THRESHOLD,
    min_improvement: float = MIN_IMPROVEMENT,
    method: Method = "network",
    nearest: Sequence[str | int] = (),
    model: Model = "shift",
    decide: Decide = "score",
    datum: Datum = "anchor",
    estimator: Estimator | WindowEstimator = "coregstack",
    resampling: Resampling = "cubic",
    storage_options: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Align new scenes to the anchor of a cube, and write them behind its last date.

    Of the cube only the anchor and, by the network method, a few dates near each new one in date and in
    season are read; no date of it is written to. With ``model="terrain"`` new dates follow the patterns that
    those of the cube follow; each time these have become twice as many, all of them are read once, and the
    patterns found anew for the new ones. Dates that the cube holds already are left alone, so the
    same call may be repeated: after it was killed, it finishes what it had begun. Times may be out of order.

    Parameters
    ----------
    new_scenes : sequence of path-like, or DataArray
        Files and folders as `coregstack.open_scenes` takes them, on any grid, with the cube's bands; what lies beyond
        the cube's box is left out. Or a stack on the cube's grid.
    store : path, URL, mapping or zarr Store
        Where `to_zarr` wrote the cube, of an aligned stack whose anchor is one of its items.
    ids, times : sequence, optional
        Of files, as in `coregstack.open_scenes`.
    band, max_shift, threshold, min_improvement, nearest, model, decide, estimator
        As in `coregstack.estimate`.
    method : str
        "network" or "direct", as in `coregstack.estimate`, but by default "network". With ``model="terrain"`` new dates
        are matched with the anchor alone.
    datum : str
        "anchor", which stands for the datum that the cube has.
    resampling : str
        How pixels are interpolated, as in `coregstack.apply`, except "none".
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    Dataset
        Quality of the new items, computed; without items if the cube held all of them.

    Raises
    ------
    MissingFile
        If there is no cube.
    AnchorNotFound
        If the cube does not hold its anchor.
    UnreadableFile
        If a file cannot be read; all such files are named.
    InvalidStack, InvalidRequest, OutputConflict
        If the scenes do not fit the cube, or options cannot be honoured; nothing was written then.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import align, to_zarr
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(4, shape=(256, 256))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_zarr(align(stack[:3], anchor=0), f"{folder}/cube.zarr")
    ...     quality = append(stack[3:], f"{folder}/cube.zarr")
    >>> quality.status.values.tolist()
    ['coregistered']
    """
    settings = MatchSettings(
        band=band,
        max_shift=max_shift,
        threshold=threshold,
        min_improvement=min_improvement,
        method=method,
        nearest=nearest,
        model=model,
        decide=decide,
        datum=datum,
        estimator=estimator,
    )
    if settings.datum != ANCHOR_DATUM:
        raise InvalidRequest(
            "New dates are put where the dates of the cube lie, in whatever datum it was aligned: leave datum out."
        )
    if isinstance(new_scenes, xr.DataArray):
        if ids is not None or times is not None:
            raise InvalidRequest("ids and times are those of the stack; pass them only along with files.")
        return _append(new_scenes, store, settings, resampling, storage_options)

    def opened(bands: Sequence[str]) -> Sequence[Scene]:
        found = find_scenes(new_scenes, ids=ids, times=times, bands=bands)
        if found.unusable:
            raise unreadable_files(found.unusable)
        return found.scenes

    return _append(opened, store, settings, resampling, storage_options)


def append_scenes(
    scenes: Sequence[Scene],
    store: Any,
    settings: MatchSettings,
    *,
    resampling: Resampling,
    storage_options: dict[str, Any] | None = None,
) -> xr.Dataset:
    """As `append`, of scenes whose headers were read."""
    return _append(lambda _: scenes, store, settings, resampling, storage_options)


def _append(
    new: Callable[[Sequence[str]], Sequence[Scene]] | xr.DataArray,
    store: Any,
    settings: MatchSettings,
    resampling: Resampling,
    storage_options: dict[str, Any] | None,
) -> xr.Dataset:
    check_resampling(resampling)
    if resampling == "none":
        raise InvalidRequest('A cube has one grid, so resampling="none" cannot be honoured; use "nearest".')
    if settings.model == "terrain":
        # the cube knows the relief, so that no other date has to be asked
        settings = replace(settings, method="direct")
    place = place_of(store, storage_options)
    find_finished(place)
    with claimed(place):
        return _append_to(open_grown(place), new, settings, resampling)


def _append_to(
    grown: Grown,
    new: Callable[[Sequence[str]], Sequence[Scene]] | xr.DataArray,
    settings: MatchSettings,
    resampling: Resampling,
) -> xr.Dataset:
    array, finished = grown.stack, grown.finished
    cube = conform(array)
    anchor = str(array.attrs.get("coregstack_anchor", ""))
    if not finished.get(anchor):
        raise AnchorNotFound(
            f"The cube does not hold its anchor ({anchor or 'it names none'}). New dates can be appended only to "
            "a cube of an aligned stack with the anchor among its items."
        )
    # of products those bands are taken that the cube holds
    stack = new if isinstance(new, xr.DataArray) else scenes_on(new(cube.bands), cube)
    known = conform(stack)
    _check_scaling(cube.array, known.array)
    fresh = [k for k, item in enumerate(known.ids) if not finished.get(item)]
    stack = stack.isel(time=fresh)
    if not fresh:
        return xr.Dataset(coords={"id": ("time", np.empty(0, object))}, attrs={"anchor": anchor})
    terrain = None
    if settings.model == "terrain":
        whole = [bool(finished.get(item)) for item in cube.ids]
        terrain = cube_terrain(grown.dataset, cube.box, whole, len(fresh))
    if terrain is not None and terrain.moved is not None:
        beside = _able(cube, finished)
        moved = [*(terrain.moved[k] for k in beside), *(None for _ in fresh)]
        terrain = replace(terrain, moved=tuple(moved))
    else:
        network = settings.method == "network"
        beside = _beside(cube, finished, item_times(known)[fresh], anchor, network)
    both = xr.concat(
        [_bare(conform(array.isel(time=beside))), _bare(conform(stack))], "time", join="override",
        combine_attrs="override",
    )  # fmt: skip
    told = np.array([own or other for own, other in zip(cube.classes, known.classes, strict=True)], object)
    both = both.assign_coords({CLASSES: ("band", told)}) if any(told) else both
    placed = _placed(cube, beside, anchor)
    quality = estimate_beside(both, anchor, placed, settings, terrain)
    quality = _with_datum(quality.isel(time=slice(len(beside), None)).compute(), grown.dataset)
    aligned = apply(stack, quality, resampling=resampling, nearest=settings.nearest)
    write_behind(aligned, grown)
    return quality


def _check_scaling(cube: xr.DataArray, new: xr.DataArray) -> None:
    told, own = scaling(cube), scaling(new)
    # a cube without these attributes may hold dates of different scales
    if told not in (UNSCALED, own):
        raise InvalidStack(
            f"The cube has the scale_factor {told[0]:g} and the add_offset {told[1]:g}, the new dates have "
            f"{own[0]:g} and {own[1]:g}. Convert the new dates to the cube's scale first, with both attributes."
        )


def _bare(stack: Stack) -> xr.DataArray:
    """Pixels, mask, ids and times alone, so that dates of a cube and new ones can be joined."""
    clear = stack.array.isel(band=0, drop=True).notnull() if stack.clear is None else stack.clear
    kept: dict[Any, Any] = {
        "id": ("time", np.array(stack.ids, object)),
        "clear": (("time", "y", "x"), clear.data),
    }
    array = stack.array.reset_coords(drop=True).assign_coords(kept | {"time": item_times(stack)})
    bare: xr.DataArray = array.rio.write_crs(str(stack.box.crs)).rio.write_nodata(stack.nodata)
    return bare


def _beside(
    cube: Stack, finished: dict[str, bool], times: np.ndarray, anchor: str, network: bool
) -> list[int]:
    """Positions in the cube of the anchor, and of aligned dates near the new ones."""
    chosen = {cube.ids.index(anchor)}
    if network:
        able = _able(cube, finished)
        old = item_times(cube)[able]
        for time in times:
            days = np.abs((old - time) / np.timedelta64(1, "D"))
            days = np.where(np.isnan(days), np.inf, days)
            for apart in (days, season_apart(days)):
                chosen |= {able[k] for k in np.argsort(apart, kind="stable")[:NEAREST]}
    return sorted(chosen)


def _able(cube: Stack, finished: dict[str, bool]) -> list[int]:
    """Positions in the cube of dates that lie where they belong."""
    if "status" not in cube.array.coords:
        return []
    status = cube.array.coords["status"].values
    return [k for k, item in enumerate(cube.ids) if finished.get(item) and str(status[k]) in _PLACED]


def _with_datum(quality: xr.Dataset, cube: xr.Dataset) -> xr.Dataset:
    """New dates share how well the datum of the dates that are there is known."""
    told = {}
    for field in (field for field in FIELDS if field.only == "datum" and field.name in cube):
        known = cube[field.name].dropna("time").values
        found = np.isfinite(quality.shift_y.values) & bool(known.size)
        told[field.name] = ("time", np.where(found, known.max(initial=0.0), np.nan), field.attrs)
    return quality.assign(told)


def _placed(cube: Stack, chosen: Sequence[int], anchor: str) -> dict[str, tuple[Shift, Shift]]:
    """Remaining shifts of dates of a cube, and their sigmas, as the cube records them.

    They rest on all dates that the cube was made of; what is read of it here may not lead back to the anchor.
    """
    told, names = cube.array.coords, ("shift_y", "shift_x", "shift_sigma_y", "shift_sigma_x")
    if any(name not in told for name in ("status", *names)):
        return {}
    status = told["status"].values[chosen]
    numbers = np.stack([told[name].values[chosen] for name in names], axis=1).astype(float)
    # those near one new date may have a common error: together they count no more than one of them
    numbers[:, 2:] *= np.sqrt(min(2 * NEAREST, max(len(chosen) - 1, 1)))
    return {
        cube.ids[k]: (NO_SHIFT if str(state) == Status.COREGISTERED else Shift(y, x), Shift(*sigma))
        for k, state, (y, x, *sigma) in zip(chosen, status, numbers.tolist(), strict=True)
        if cube.ids[k] != anchor and np.isfinite([y, x, *sigma]).all()
    }
