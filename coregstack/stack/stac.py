"""From STAC items to a lazy stack on the anchor's lattice, read by odc-stac."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.types import XY, xy_

from coregstack.errors import InvalidRequest, UnreadableFile
from coregstack.stack.conform import conform
from coregstack.stack.lookup import find_anchor
from coregstack.stack.opening import CHUNK
from coregstack.untrusted.crstext import crs_fault
from coregstack.untrusted.given import given_list, short

if TYPE_CHECKING:
    import pystac

_OWN_GRID = ("geobox", "like", "crs", "resolution")
_CRS_FIELDS = ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")
_SET_HERE = ("groupby", "preserve_original_order", "anchor")


def open_stac(
    items: Iterable[pystac.Item] | pystac.Catalog | str | os.PathLike[str],
    *,
    anchor: Any,
    bands: Sequence[str],
    chunks: int | tuple[int, int] | None = None,
    **options: Any,
) -> xr.DataArray:
    """Open STAC items as one lazy stack on the anchor's lattice.

    Needs `odc-stac` (``pip install 'coregstack[stac]'``). Pixels that do not lie on the anchor's lattice
    already are interpolated when they are read, and once more where `align` shifts them: this is cubic, or
    nearest for assets whose role is ``data-mask``, unless `resampling` says otherwise.

    Parameters
    ----------
    items : iterable of pystac.Item, pystac.Catalog or path-like
        The items, for example of a search; or a collection; or the path of a collection or item collection.
    anchor : str, int or time
        Item whose lattice is taken: its id, position or time.
    bands : sequence of str
        Assets or band names, as `odc.stac.load` takes them.
    chunks : int or tuple of int, optional
        Rows and columns of a block; by default 2048.
    **options
        All other options of `odc.stac.load`, for example ``bbox``, ``resampling``, ``patch_url``, ``stac_cfg``; with
        ``geobox``, ``like``, or ``crs`` and ``resolution`` another lattice than the anchor's is taken.

    Returns
    -------
    DataArray
        Dims (time, band, y, x), one time for each item, in the order of `items`; coords `time`, `id` and, where the
        items say where they lie, `source`.

    Raises
    ------
    AnchorNotFound
        If no item, or more than one, is the anchor.
    InvalidRequest
        If odc-stac is not installed, there is no item, ids repeat, or the lattice of the anchor is not known.
    UnreadableFile
        If a path does not hold STAC.

    Examples
    --------
    >>> import tempfile, coregstack
    >>> from coregstack.testing import sample_stack
    >>> aligned = coregstack.align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     collection = coregstack.to_geotiffs(aligned, folder).to_stac()
    ...     stack = open_stac(collection, anchor=0, bands=["red", "nir"]).compute()
    >>> stack.dims, stack.shape
    (('time', 'band', 'y', 'x'), (3, 2, 256, 256))
    """
    try:
        import odc.stac
    except ImportError as error:
        raise InvalidRequest(
            "open_stac needs odc-stac, which is not installed. Install it: pip install 'coregstack[stac]'"
        ) from error
    for name in _SET_HERE:
        if name in options:
            raise InvalidRequest(f"{name!r} is set by open_stac itself: every item is one time of the stack.")
    bands = given_list(bands, "bands")
    if not bands or not all(isinstance(band, str) for band in bands):
        raise InvalidRequest(f"bands has to be a list of names of assets, as ['red', 'nir'], not {bands!r}.")
    found = _items(items)
    times = np.array([_time(item) for item in found], "datetime64[ns]")
    ids = np.array([item.id for item in found], object)
    reference = found[_anchor_position(ids, times, anchor)]
    options.setdefault("resampling", _resampling(reference))
    rows, cols = (CHUNK, CHUNK) if chunks is None else (chunks, chunks) if isinstance(chunks, int) else chunks
    try:
        if not any(name in options for name in _OWN_GRID):
            options |= _lattice(odc.stac.parse_item(reference), reference.id, bands)
        dataset = odc.stac.load(
            found, list(bands), groupby=lambda item, parsed, k: k, chunks={"y": rows, "x": cols}, **options
        )
    except InvalidRequest:
        raise
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"odc-stac cannot load this: {error}. The anchor's assets are: {', '.join(reference.assets)}."
        ) from error
    array = dataset[list(bands)].to_dataarray("band").transpose("time", "band", ...)
    array = array.assign_coords(time=times, id=("time", ids)).rename("pixels")
    if all(sources := [item.get_self_href() for item in found]):
        array = array.assign_coords(source=("time", np.array(sources, object)))
    nodata = {dataset[band].attrs.get("nodata") for band in bands} - {None}
    return array.rio.write_nodata(nodata.pop()) if len(nodata) == 1 else array


def _items(items: Any) -> list[pystac.Item]:
    import pystac

    if isinstance(items, str | os.PathLike):
        items = _read(items)
    if isinstance(items, pystac.Item):
        items = [items]
    elif isinstance(items, pystac.Catalog):
        items = items.get_items(recursive=True)
    try:
        found = [pystac.Item.from_dict(item) if isinstance(item, dict) else item for item in items]
    except (TypeError, KeyError, AttributeError, ValueError, pystac.STACError, pystac.STACTypeError) as error:
        raise InvalidRequest(
            f"items has to be STAC items, a catalog or a path of one, not {short(items)} ({error})."
        ) from error
    if wrong := [item for item in found if not isinstance(item, pystac.Item)]:
        raise InvalidRequest(f"items has to be STAC items, but {short(wrong[0])} is among them.")
    if not found:
        raise InvalidRequest("No STAC item was given; at least an anchor and one more are expected.")
    for item in found:
        _check_crs(item)
    ids = [item.id for item in found]
    if repeated := sorted({name for name in ids if ids.count(name) > 1}):
        raise InvalidRequest(f"Item ids have to be unique, but these repeat: {repeated[:5]}.")
    return found


def _check_crs(item: pystac.Item) -> None:
    """Refuse an item by whose fields PROJ would open a file."""
    for fields in (item.properties, *(asset.extra_fields for asset in item.assets.values())):
        for key in _CRS_FIELDS:
            value = fields.get(key)
            text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
            if fault := crs_fault(text):
                raise InvalidRequest(f"The CRS of the item {item.id!r} ({key}) {fault}.")


def _read(path: str | os.PathLike[str]) -> Any:
    import pystac

    where = os.fspath(path)
    try:
        if pystac.ItemCollection.is_item_collection(found := pystac.StacIO.default().read_json(where)):
            return pystac.ItemCollection.from_dict(found)
        return pystac.read_file(where)
    except (OSError, ValueError, KeyError, pystac.STACError, pystac.STACTypeError) as error:
        raise UnreadableFile(
            f"{where!r} has to be a STAC collection, item or item collection, but it cannot be read ({error})."
        ) from error


def _time(item: pystac.Item) -> np.datetime64:
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        return np.datetime64("NaT", "ns")
    stamp = pd.Timestamp(when)
    moment: np.datetime64 = (
        stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp
    ).to_datetime64()
    return moment


def _anchor_position(ids: np.ndarray, times: np.ndarray, anchor: Any) -> int:
    """Position of the item that an anchor's id, time or position names, found as in any stack."""
    coords = {"time": times, "id": ("time", ids)}
    outline = xr.DataArray(np.zeros((len(ids), 1, 1)), dims=("time", "y", "x"), coords=coords)
    return find_anchor(conform(outline), anchor)


def _lattice(parsed: Any, item_id: str, bands: Sequence[str]) -> dict[str, Any]:
    """CRS, pixel size and phase of an item's finest band, as odc-stac takes them."""
    boxes: tuple[GeoBox, ...] = parsed.geoboxes(tuple(bands))
    if not boxes or boxes[0].crs is None:
        raise InvalidRequest(
            f"The lattice of the anchor {item_id!r} is not known: it lacks fields of STAC's projection extension. Pass "
            "crs=... and resolution=..., or geobox=..."
        )
    box = boxes[0]
    return {"crs": box.crs, "resolution": box.resolution, "anchor": _phase(box)}


def _phase(box: GeoBox) -> XY[float]:
    """Where pixel edges lie between multiples of the pixel size, as shares of it."""
    affine = box.affine
    shares = [(affine.c / abs(affine.a)) % 1, (affine.f / abs(affine.e)) % 1]
    # what rounding leaves just below a whole pixel is a whole pixel
    return xy_(*(0.0 if min(share, 1 - share) < 1e-9 else share for share in shares))


def _resampling(item: pystac.Item) -> dict[str, str]:
    masks = [key for key, asset in item.assets.items() if "data-mask" in (asset.roles or ())]
    return {"*": "cubic"} | dict.fromkeys(masks, "nearest")
