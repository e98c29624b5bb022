"""Shifts and displacements that are known, applied to the pixels of a stack."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.geometry.lattice import footprint, offset, same_pixels
from coregstack.graph.moved import chunks_like, move_arrays, move_clear, move_scenes, moves
from coregstack.matching.choices import RESAMPLING, OutputLattice, Resampling
from coregstack.matching.options import checked_lattice, checked_nearest
from coregstack.matching.quality import fields_in
from coregstack.model import Status
from coregstack.stack.conform import BAND_POSITION, Stack, conform, like_given, with_classes
from coregstack.stack.coordinates import on_box, with_utc_times
from coregstack.stack.dataset import CLASSES, as_band, images_of, known_dim, with_grid
from coregstack.stack.measured import (
    FRAME,
    LATTICE,
    displacements_on,
    geotransform,
    measured_on,
    nodes_on,
    on_lattice,
)
from coregstack.stack.nodes import NODES
from coregstack.stack.provenance import pristine_scenes
from coregstack.untrusted.given import short

StackT = TypeVar("StackT", xr.DataArray, xr.Dataset)
"""A stack, or a Dataset of bands: what goes in comes out."""


def apply(
    stack: StackT,
    quality: xr.Dataset,
    *,
    resampling: Resampling = "cubic",
    nearest: Sequence[str | int] = (),
    lattice: OutputLattice = "items",
) -> StackT:
    """Shift the items that are coregistered, leave all others as they are.

    Parameters
    ----------
    stack : DataArray or Dataset
        The stack that was estimated, or another stack of the same items. Of a Dataset, as `odc.stac.load` gives it,
        variables with the dims (time, y, x) are moved, each under its own dtype, nodata value and attributes, bool ones
        by nearest neighbour; all others, and those of other dims, are passed along.
    quality : Dataset
        What `estimate` returned; it may have been computed, edited, saved and loaded. Its shifts are in pixels of
        the lattice that it was measured on, which it carries along. They are converted for a stack of another pixel
        size, or whose axes run the other way.
    resampling : str
        "cubic", "bilinear", "lanczos" or "nearest" (whole pixels, values unchanged); "none" leaves the pixels of
        the stack as they are, so that `to_geotiffs` moves only the geotransforms.
    nearest : sequence of str or int, optional
        Names or positions of bands that hold classes or flags, whose pixels are moved by nearest neighbour whatever
        the resampling. Bands that tell so themselves, by a colour table, a name such as ``scl`` or ``qa_pixel``, or the
        attributes ``flag_values``, ``flag_masks``, ``flag_meanings`` or ``flags_definition``, need not be named.
    lattice : str
        "items": the pixels of the stack stay where they are but for the shifts. "anchor": they come onto the lattice
        that the quality is told on, that of the anchor if it was estimated with this option, in the same
        interpolation. Larger pixels are means of what they see.

    Returns
    -------
    DataArray or Dataset
        Lazy, same dims as the stack, and its coordinates unless it was brought onto another lattice; quality variables
        are coords on time, and `clear` moves along.

    Raises
    ------
    InvalidStack
        If stack and quality do not hold the same items, or the quality was measured on a lattice of another CRS.
    InvalidRequest
        If the resampling is unknown, or the quality, where it was computed, lacks the shift or the displacement of an
        item that is coregistered.

    Examples
    --------
    >>> from coregstack import estimate
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(3, shape=(256, 256))
    >>> aligned = apply(stack, estimate(stack, anchor=0).compute())
    >>> aligned.dims == stack.dims
    True
    """
    if isinstance(stack, xr.Dataset):
        return _apply_to_images(
            stack, quality, resampling=resampling, nearest=checked_nearest(nearest), lattice=lattice
        )
    return _apply(stack, quality, resampling, nearest, lattice)


def _apply_to_images(
    dataset: xr.Dataset, quality: xr.Dataset, *, nearest: Sequence[str | int], **how: Any
) -> xr.Dataset:
    """As `apply`, image by image."""
    dataset = with_grid(dataset)
    names = images_of(dataset)
    # what is wrong with the whole is told before any part of it
    known = conform(with_classes(dataset, nearest))
    classes = set(known.held.nearest)
    moved = {
        name: _apply(as_band(dataset, name), quality, nearest=[0] if k in classes else [], **how)
        for k, name in enumerate(names)
    }
    first = moved[names[0]]
    images = {}
    for name, image in moved.items():
        own = dataset[name]
        images[name] = image.drop_vars(["band", CLASSES], errors="ignore").astype(own.dtype, copy=False)
        images[name].attrs, images[name].encoding = dict(own.attrs), dict(own.encoding)
    grid = [dim for dim in first.dims if known_dim(dim) in ("y", "x")]
    rest = dataset.drop_vars(names)
    if any(not np.array_equal(first[dim], dataset[dim]) for dim in grid if dim in dataset.coords):
        for image in images.values():
            image.encoding = {key: value for key, value in image.encoding.items() if "chunks" not in key}
        rest = _elsewhere(rest, grid)
    carried = {key: value for key, value in first.attrs.items() if str(key).startswith("coregstack_")}
    return rest.assign(images)[[*dataset.data_vars]].assign_attrs(dataset.attrs | carried)


def _elsewhere(rest: xr.Dataset, grid: Sequence[Hashable]) -> xr.Dataset:
    """What goes along with images that lie on another grid now."""
    fixed = [name for name, value in rest.data_vars.items() if set(grid) & set(value.dims)]
    if fixed:
        raise InvalidStack(
            f"The variables {fixed} lie on the grid of the stack and have no time, so they cannot be brought onto the "
            "lattice of the anchor. Take them out first with drop_vars, or use lattice='items'."
        )
    return rest.drop_dims([dim for dim in grid if dim in rest.dims])


def _apply(
    stack: xr.DataArray,
    quality: xr.Dataset,
    resampling: Resampling,
    nearest: Sequence[str | int],
    lattice: OutputLattice,
) -> xr.DataArray:
    """As `apply`, of a DataArray."""
    check_resampling(resampling)
    checked_lattice(lattice)
    if not isinstance(quality, xr.Dataset):
        raise InvalidRequest(
            f"The quality has to be the Dataset that estimate returned, not {short(quality)}."
        )
    if "id" not in stack.coords:
        quality = _of_times(quality, stack)
    known = conform(with_classes(stack, nearest), None if "id" in stack.coords else _ids(quality))
    measured = for_items(quality, known, stack)
    box = _output_box(known, measured, resampling) if lattice == "anchor" else known.box
    varying = displacements_on(measured, box)
    nodes = {} if varying is None else {NODES: nodes_on(measured, box)}
    quality = on_lattice(measured, box)
    _check_shifts(quality, known.ids)
    if varying is None:
        _check_models(quality, known.ids)
    if resampling == "none" and varying is not None:
        raise InvalidRequest(
            "resampling='none' changes the geotransform only, which can express one shift for the whole scene, not a "
            "displacement that varies over it. Use another resampling, or model='shift'."
        )
    status, shift_y, shift_x = (quality[name].data for name in ("status", "shift_y", "shift_x"))
    move = moves(known.ids, status, shift_y, shift_x, varying)
    aligned = known.array
    if resampling != "none":
        aligned = _moved(known, move, resampling, box)
    told = fields_in(quality.variables)
    aligned = aligned.assign_coords({field.name: quality[field.name].variable for field in told})
    aligned = aligned.assign_coords(id=("time", np.array(known.ids, object)))
    aligned.attrs.pop(NODES, None)
    aligned.attrs |= nodes | {
        "coregstack_resampling": resampling,
        "coregstack_anchor": quality.attrs.get("anchor", ""),
        "coregstack_method": quality.attrs.get("method", "direct"),
        FRAME: geotransform(box),
        LATTICE: lattice,
        "coregstack_estimator": quality.attrs.get("estimator", "coregstack"),
    }
    return like_given(known, aligned)


def _output_box(known: Stack, quality: xr.Dataset, resampling: str) -> GeoBox:
    """The box on the lattice that a quality is told on which holds a stack."""
    lattice = measured_on(quality)
    if lattice is None or known.box.crs is None:
        raise InvalidRequest(
            "lattice='anchor' needs a stack with a CRS and a quality that says on which lattice it is told, as what "
            "estimate returns does."
        )
    if resampling == "none":
        raise InvalidRequest("resampling='none' leaves pixels as they are: use lattice='items' with it.")
    on_it = same_pixels(known.box, lattice) and all(map(float.is_integer, offset(known.box, lattice)))
    return known.box if on_it else footprint(known.box, lattice)


def check_resampling(resampling: str) -> None:
    """Refuse an unknown resampling.

    Raises
    ------
    InvalidRequest
        If it is none of the known ones.
    """
    known = (*RESAMPLING, "none")
    if resampling not in known:
        raise InvalidRequest(f"resampling is one of {', '.join(known)}, not {resampling!r}.")


def _ids(quality: xr.Dataset) -> list[str] | None:
    return [str(i) for i in quality["id"].values] if "id" in quality.coords else None


def _of_times(quality: xr.Dataset, stack: xr.DataArray) -> xr.Dataset:
    """Quality in the order of the times of a stack that has no ids; as it is where either tells no times."""
    if any("time" not in one.coords or one.coords["time"].dims != ("time",) for one in (quality, stack)):
        return quality
    told = with_utc_times(quality).coords["time"].values
    wanted = with_utc_times(stack).coords["time"].values
    if told.dtype.kind != wanted.dtype.kind or np.array_equal(told, wanted, equal_nan=told.dtype.kind == "M"):
        return quality
    position = {value: k for k, value in enumerate(told.tolist())}
    lost = [str(one) for one in wanted if one.tolist() not in position]
    if lost or len(position) < told.size:
        why = f"its times lack {', '.join(lost[:3])}" if lost else "some of its times repeat"
        raise InvalidStack(
            f"The quality is not told of the times of the stack, which has no ids: {why}. Give both the coordinate "
            "'id' on time, or estimate the stack."
        )
    return quality.isel(time=[position[one] for one in wanted.tolist()])


def for_items(quality: xr.Dataset, known: Stack, stack: xr.DataArray) -> xr.Dataset:
    """Quality in the order of the stack's items."""
    missing = [name for name in ("status", "shift_y", "shift_x") if name not in quality]
    if missing:
        raise InvalidStack(f"The quality lacks {missing}; pass what estimate returned.")
    if "id" not in quality.coords or "id" not in stack.coords:
        if quality.sizes.get("time") != len(known.ids):
            raise InvalidStack(
                f"The quality has {quality.sizes.get('time')} items, the stack {len(known.ids)}."
            )
        return quality
    position = {str(i): k for k, i in enumerate(quality["id"].values)}
    unknown = [i for i in known.ids if i not in position]
    if unknown:
        raise InvalidStack(f"The quality lacks the items {unknown[:5]}; estimate them as well.")
    return quality.isel(time=[position[i] for i in known.ids])


def _check_shifts(quality: xr.Dataset, ids: Sequence[str]) -> None:
    """Refuse a quality, where it is known already, of unknown status or that moves items by shifts it does not have."""
    told = [quality[name] for name in ("status", "shift_y", "shift_x")]
    if any(one.chunks is not None for one in told):
        return
    status, shift_y, shift_x = (one.values for one in told)
    # a cube holds an empty text of dates that nothing is known of
    odd = sorted({str(one) for one in status} - {*Status, ""})
    if odd:
        raise InvalidRequest(
            f"The status of an item is one of {', '.join(Status)}, not {', '.join(odd[:5])}."
        )
    lost = np.asarray(status == Status.COREGISTERED, bool) & ~np.isfinite(
        shift_y.astype(float) + shift_x.astype(float)
    )
    if lost.any():
        named = [ids[k] for k in np.flatnonzero(lost)[:5]]
        raise InvalidRequest(
            f"The status of {named} is coregistered, but the quality holds no shift: enter one, or another status."
        )


def _check_models(quality: xr.Dataset, ids: Sequence[str]) -> None:
    """Refuse a quality, where it is known already, that tells only the mean of what an item is to be moved by."""
    if any(name not in quality or quality[name].chunks is not None for name in ("status", "model")):
        return
    varies = ~np.isin(quality["model"].values.astype(str), ["", "shift"])
    lost = np.asarray(quality["status"].values == Status.COREGISTERED, bool) & varies
    if lost.any():
        named = [ids[k] for k in np.flatnonzero(lost)[:5]]
        raise InvalidRequest(
            f"The quality says that {named} are displaced by what varies over the scene, but it holds only its mean: "
            "pass what estimate returned, with its displacement, or set their model to 'shift' to apply the mean."
        )


def _moved(stack: Stack, move: da.Array, resampling: str, box: GeoBox) -> xr.DataArray:
    """A stack in a box of its own lattice, or of another one, moved, its mask `clear` as well."""
    scenes, values, clear = pristine_scenes(stack), stack.array.data, stack.clear
    place = None if box == stack.box else (stack.box, box)
    if scenes is None:
        data = move_arrays(values, move, resampling, stack.empty, stack.held.nearest, place)
    else:
        chunks = chunks_like(values.chunks, (box.shape[0], box.shape[1]))
        data = move_scenes([scene.on(box) for scene in scenes], move, chunks, resampling)
    aligned = stack.array.copy(data=data) if place is None else on_box(stack.array, data, box)
    if scenes is not None:
        # what is read from here on are the bands of this stack, whatever it was selected from
        position = aligned.coords[BAND_POSITION].variable
        aligned = aligned.assign_coords(
            {BAND_POSITION: position.copy(data=np.arange(position.size).reshape(position.shape))}
        )
    if clear is None:
        return aligned
    return aligned.assign_coords(clear=(clear.dims, move_clear(clear.data, move, place), clear.attrs))
