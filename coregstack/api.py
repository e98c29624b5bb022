"""The story in short functions: open scenes, estimate shifts, apply them, write the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import xarray as xr

from coregstack.geometry.unlike import output_lattice
from coregstack.matching.choices import (
    MIN_IMPROVEMENT,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Method,
    Model,
    OutputLattice,
    Resampling,
)
from coregstack.matching.options import MatchSettings, checked_lattice
from coregstack.model import WindowEstimator
from coregstack.stack.anchor import best_scene
from coregstack.stack.applying import StackT, apply, check_resampling
from coregstack.stack.conform import conform, with_classes
from coregstack.stack.estimating import estimate_stack, is_auto
from coregstack.stack.finding import find_scenes
from coregstack.stack.lookup import find_scene
from coregstack.stack.masks import Mask
from coregstack.stack.opening import stack_scenes, unreadable_files
from coregstack.stack.outside import outside_of

__all__ = ["align", "apply", "estimate", "open_scenes"]


def open_scenes(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    anchor: Any,
    ids: Sequence[str] | None = None,
    times: Sequence[Any] | None = None,
    bands: Sequence[str | int] | None = None,
    assets: str | None = None,
    mask: str | Sequence[str] | bool | None = None,
    chunks: int | tuple[int, int] | None = None,
    lattice: OutputLattice = "items",
) -> xr.DataArray:
    """Open scenes as one lazy stack on the anchor's lattice.

    Only headers are read. Scenes may differ in extent, CRS, pixel size, lattice phase, number of bands
    and dtype; the stack holds the bands that all have, in a box that holds all footprints. Where a scene
    does not lie on the anchor's lattice, its pixels are interpolated when they are read (cubic), and
    only once also when the stack is aligned.

    An item is one acquisition, whatever the number of its files. Recognised are Planet's items, Sentinel-2 L1C and
    L2A (SAFE folders, and band files taken out of them), Landsat Collection 1 and 2 of Level 1 and 2, HLS L30 and S30,
    and files alike but for the band (``{id}_{band}.tif``, ``{id}/{band}.tif``). The stack then holds the finest bands
    of each item, or those of the pixel size that `bands` asks for.

    Parameters
    ----------
    paths : path-like, or sequence of path-like
        GeoTIFF or JPEG 2000 files, or folders of them with all their subfolders; a pattern (``scenes/*.tif``) stands
        for what matches; and ``https://``, ``s3://``, ``gs://`` and ``az://`` addresses are read where the extra
        ``cloud`` is installed, only the bytes that are needed.
    anchor : str, int, time, path, DataArray or Dataset
        Item whose lattice is taken: its id, file name, time or position; or a scene from outside, as in `estimate`,
        which does not become part of the stack. "auto" chooses one as
        `rank_anchors` ranks them, among the largest group of scenes that overlap; for that, reduced images are
        read at once. The choice is then also what "auto" means for `estimate` and `align`.
    ids : sequence of str, optional
        Ids of the items, in the order of their first files; by default those of the products, or file names without
        extension.
    times : sequence, optional
        Times of acquisition in UTC; by default from a tag or from the file name, NaT where neither has one.
    bands : sequence of str or int, optional
        Bands to open, by name or position.
    assets : str, optional
        How files are named, with ``{id}`` and ``{band}``, where that is not recognised: ``"{id}-{band}.tif"``;
        ``"{id}.tif"`` makes every file an item of its own.
    mask : str, sequence of str or bool, optional
        What may not be used for matching, beside what products tell by themselves: values of a kind of mask
        (``"scl:3,8,9,10"``, ``"qa_pixel:bit3,bit4"``), a pattern of mask files (``"{id}_cloud.tif:1"``), or a raster on
        any lattice that holds for all items (``"water.tif:1"``). False uses all valid pixels.
    chunks : int or tuple of int, optional
        Rows and columns of a block; by default 2048. A block holds one time and all bands.
    lattice : str
        Of an anchor from outside: "items" for the pixel size of the finest scene, counted from the anchor's corner
        where the CRS is the same, else on the lattice of that scene; "anchor" for the anchor's own lattice.

    Returns
    -------
    DataArray
        Dims (time, band, y, x), in the order of the items' first files, with coords `time`, `id`, `source`, `band`,
        `source_band`, `x`, `y`, `spatial_ref` and `clear` (True where a pixel is valid and usable for matching).

    Raises
    ------
    UnreadableFile
        If a file cannot be read; all such files are named.
    MissingFile
        If a folder or pattern stands for no file.
    AnchorNotFound
        If no scene, or more than one, is the anchor.
    InvalidRequest, InvalidStack
        If options or scenes do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from coregstack.testing import sample_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for scene in sample_stack(2, shape=(64, 64)):
    ...         scene.drop_vars("clear").rio.to_raster(f"{folder}/{scene.id.item()}.tif")
    ...     open_scenes(sorted(Path(folder).iterdir()), anchor=0).dims
    ('time', 'band', 'y', 'x')
    """
    found = find_scenes(
        paths,
        ids=ids,
        times=times,
        assets=assets,
        mask=mask,
        anchor=None if is_auto(anchor) else anchor,
        bands=[bands] if isinstance(bands, str) else bands or (),
    )
    if found.unusable:
        raise unreadable_files(found.unusable)
    scenes = found.scenes
    outside = outside_of(anchor, scenes)
    if outside is not None:
        boxes = [scene.image.box for scene in scenes]
        box = output_lattice(outside.box, boxes, like_anchor=checked_lattice(lattice) == "anchor")
        return stack_scenes(scenes, scenes[0], bands=bands, chunks=chunks, lattice=box)
    if not is_auto(anchor):
        return stack_scenes(scenes, find_scene(scenes, anchor), bands=bands, chunks=chunks)
    best, why, _ = best_scene(scenes)
    stack = stack_scenes(scenes, best, bands=bands, chunks=chunks)
    return stack.assign_attrs(coregstack_anchor_chosen=best.id, coregstack_anchor_why=why)


def estimate(
    stack: xr.DataArray | xr.Dataset,
    anchor: Hashable | xr.DataArray | xr.Dataset,
    *,
    ids: Sequence[str] | None = None,
    mask: Mask | None = None,
    band: Band | None = None,
    max_shift: float | None = None,
    threshold: float = SCORE_THRESHOLD,
    min_improvement: float = MIN_IMPROVEMENT,
    method: Method = "direct",
    nearest: Sequence[str | int] = (),
    model: Model = "shift",
    decide: Decide = "score",
    datum: Datum = "anchor",
    estimator: Estimator | WindowEstimator = "coregstack",
    stable: xr.DataArray | None = None,
    lattice: OutputLattice = "items",
) -> xr.Dataset:
    """Estimate the shift of every item against the anchor, score it and decide what is done.

    Parameters
    ----------
    stack : DataArray or Dataset
        Dims (time, band, y, x) or (time, y, x), numpy or dask, from any loader; or a Dataset of bands, as
        `odc.stac.load` gives it: its variables with the dims (time, y, x), whose names are those of the bands.
    anchor : str, time, int, path, DataArray or Dataset
        Item id, timestamp or position of the anchor; or a scene from outside the stack, of any CRS, pixel size, bands
        and extent: the path of a GeoTIFF or JPEG 2000 file, or a DataArray with dims (band, y, x) or (y, x). Such a
        scene and the items are matched in the larger of their pixels. "auto" chooses the item that
        `rank_anchors` puts first, for which reduced images of all items are computed at once, and says why in the
        attribute `anchor_why`.
    ids : sequence of str, optional
        Item ids, where the stack has no coordinate `id`; by default made from the times.
    mask : DataArray, bool, str, mapping or callable, optional
        Dims (time, y, x), or (y, x) for what holds at all times: True where a pixel may be used for matching. Or a
        band of classes and those that may not be used: ``"scl:3,8,9,10"`` or ``{"scl": [3, 8, 9, 10]}``. Or a function
        that makes such a DataArray of the stack. By default the coordinate `clear` where there is one; False uses all
        valid pixels.
    band : str, int or pair of these, optional
        Band that is scored, by name or position; "mean" for the mean of all bands. By default red where the
        bands have names, else the middle band. The estimator uses up to three more bands. A pair names the one band of
        the anchor and the one of the items that are matched, as ``("pan", "red")``. Bands of an anchor from outside
        are those of the same name, in any case and order and by usual synonyms (``B04`` is ``red``); where there are
        none, the anchor's scored band is matched with each of up to four bands of the items.
    max_shift : float, optional
        Largest shift that is looked for, px; by default a quarter of the overlap.
    threshold : float
        An item whose score before is at or above this is already aligned.
    min_improvement : float
        A shift is applied only if it improves the score by at least this much.
    method : str
        "direct" matches every item with the anchor. "network" matches it with a few others too, near in
        date, in season and alike in content, and adjusts all pairs together: items that share too little with
        the anchor are reached through others, as `details` says, and are scored against the aligned item
        before them on that way. The quality then holds `redundancy`, `closure` (px) and `against` of every item
        as well: pairs beyond the one that is needed, the rms length of the closures of loops, and the id of the
        item that it was matched and scored against, empty for the anchor. It takes some three times as long.
    nearest : sequence of str or int, optional
        Names or positions of bands that hold classes or flags, as in `apply`: they are never matched or scored.
    model : str
        How an item may be displaced. "shift": as one. "affine": by a linear map, for what is turned, scaled or
        sheared. "field": by a displacement that varies over the scene, as relief, mosaics and sensors bring it. "auto":
        the simplest of these that regions left out of the estimate do not contradict. "terrain": by patterns that all
        items have in common, each times a view of the item, as height errors bring it: much finer than a field, from
        four items on; where there are no such patterns it is "auto". A field follows what most of a
        scene agrees on; what moves by itself in a small part (ice, a landslide) does not bend it, but what moves
        smoothly over most of the scene is taken for misalignment and is taken away.
    decide : str
        By what an item is moved. "score": by the matching score, the rule of Planet's hosted tool. "evidence": if its
        displacement is known and significant (more than 2 sigma along either axis, and more than 0.02 px), whatever the
        score says, and never otherwise.
    datum : str, path, list of str or mapping
        What holds the position of the stack. "anchor": the anchor, whose own error all items then share. "mean": the
        weighted mean of all items, which moves the anchor too; lattice and extent are still the anchor's. Or ids of
        items that are trusted, whose mean stays. Or what is known from outside: the path of a reference image, with
        which all items are matched as well; or a mapping of ids of items that lie right, and of such paths, to the
        1 sigma of their own position, px, as ``{"a": 0.2, "map.tif": 0.5}``, whose weighted mean holds the position,
        without those that contradict most of the others. Shifts and sigmas are then relative to the datum, as `details`
        says. Other than with "anchor", ``decide="evidence"`` is needed.
    estimator : str or callable
        What tells the shift of a pair of scenes. "coregstack": its own. "phase": scikit-image's
        `phase_cross_correlation` of windows, masked where masks hide something; it knows no haze, season or reversed
        contrast, and repeating texture deceives it. A callable, for pairs that nothing else joins: it gets windows of
        anchor and item with their masks and returns shift, sigma and reason, as `coregstack.model.WindowEstimator`
        says. Windows, their agreement, the score and the decision stay. Only with ``model="shift"``.
    stable : DataArray, optional
        Dims (y, x), bool, on the grid of the stack: True on ground that may drive an affine map or a field. By default
        all ground.
    lattice : str
        Of an anchor from outside: in whose pixels the shifts are told. "items": those of the stack; "anchor": those
        of the anchor, onto which `apply` with the same `lattice` brings the stack.

    Returns
    -------
    Dataset
        Lazy, all variables along time: `shift_y`, `shift_x`, `shift_sigma_y`, `shift_sigma_x` (px of the output's
        lattice: the anchor's, if it is an item), `matching_score_before`, `matching_score_after`,
        `matching_score_improvement`, `status`, `details`, `model`, `spread` (px, rms of the displacement about its
        mean), `residual` (px, rms misalignment to be expected after what is done); of a datum that is known from
        outside `datum_sigma_y` and `datum_sigma_x` (px, 1 sigma of its own, which all items share). The shift is what
        must be applied to the item to match the anchor, the mean where it varies. With another `model` than "shift"
        also `displacement_y`, `displacement_x` and `displacement_sigma` (px) on a control lattice with the dims (time,
        lattice_y, lattice_x), whose coordinates are those of the map.

    Raises
    ------
    InvalidStack
        If the DataArray is no stack.
    AnchorNotFound
        If no item, or more than one, is the anchor.
    InvalidRequest
        If an option cannot be honoured.

    Examples
    --------
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(3, shape=(256, 256))
    >>> quality = estimate(stack, anchor=0).compute()
    >>> quality.status.values.tolist()
    ['anchor', 'coregistered', 'coregistered']
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
    if isinstance(stack, xr.Dataset) and callable(mask) and not isinstance(mask, xr.DataArray):
        mask = partial(_made_of, stack, mask)
    known = conform(with_classes(stack, settings.nearest), ids)
    return estimate_stack(known, anchor, mask, settings, stable=stable, lattice=checked_lattice(lattice))


def align(
    stack: StackT,
    anchor: Hashable | xr.DataArray | xr.Dataset,
    *,
    ids: Sequence[str] | None = None,
    mask: Mask | None = None,
    band: Band | None = None,
    max_shift: float | None = None,
    threshold: float = SCORE_THRESHOLD,
    min_improvement: float = MIN_IMPROVEMENT,
    method: Method = "direct",
    nearest: Sequence[str | int] = (),
    model: Model = "shift",
    decide: Decide = "score",
    datum: Datum = "anchor",
    estimator: Estimator | WindowEstimator = "coregstack",
    stable: xr.DataArray | None = None,
    resampling: Resampling = "cubic",
    lattice: OutputLattice = "items",
) -> StackT:
    """Align a stack to an anchor: ``apply(stack, estimate(stack, anchor))``.

    Parameters
    ----------
    stack : DataArray or Dataset
        As `estimate` takes it.
    anchor : str, time, int, path, DataArray or Dataset
        The anchor, as in `estimate`.
    ids, mask, band, max_shift, threshold, min_improvement, method, nearest, model, decide, datum, estimator, stable
        As in `estimate`.
    resampling : str
        How pixels are interpolated, as in `apply`.
    lattice : str
        Of an anchor from outside: "items" leaves the pixels of the stack where they are but for the shifts, "anchor"
        brings them onto the anchor's lattice, in the same interpolation.

    Returns
    -------
    DataArray or Dataset
        Lazy, same dims as the stack; quality variables are coords on time. Of a Dataset all variables come back, as
        `apply` says.

    Raises
    ------
    InvalidStack, AnchorNotFound, InvalidRequest
        As `estimate` and `apply`.

    Examples
    --------
    >>> from coregstack.testing import sample_stack
    >>> aligned = align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> aligned.status.compute().values.tolist()
    ['anchor', 'coregistered', 'coregistered']
    """
    check_resampling(resampling)
    quality = estimate(
        stack, anchor, ids=ids, mask=mask, band=band, max_shift=max_shift, threshold=threshold,
        min_improvement=min_improvement, method=method, nearest=nearest, model=model, decide=decide, datum=datum,
        estimator=estimator, stable=stable, lattice=lattice,
    )  # fmt: skip
    return apply(stack, quality, resampling=resampling, nearest=nearest, lattice=lattice)


def _made_of(dataset: xr.Dataset, make: Callable[[Any], xr.DataArray], _: xr.DataArray) -> xr.DataArray:
    """A mask that is made of the Dataset that was given, not of the stack that it became."""
    return make(dataset)
