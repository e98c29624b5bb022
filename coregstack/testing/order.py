"""A delivered order of scenes with true Planet names, whose shifts are known exactly."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform, transform_bounds

from coregstack.errors import InvalidRequest, MissingFile, OutputConflict, UnreadableFile
from coregstack.model import Shift
from coregstack.testing.product import Product, write_manifest, write_product
from coregstack.testing.scenes import Conditions, scene_at
from coregstack.untrusted.jsonfile import read_small_json

_PIXEL = 3.0
_WEST, _NORTH, _EPSG, _NEIGHBOUR_EPSG = 278_001.0, 5_331_000.0, 32633, 32632
_ANCHOR_ITEM = "20220612_094512_27_2465"
_PAYLOAD, _MANIFEST = "payload.json", "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one item of the order shall be; offsets and growth are shares of the order's size."""

    id: str
    shift: Shift
    turn: float
    offset: tuple[float, float] = (0.0, 0.0)
    growth: tuple[float, float] = (0.0, 0.0)
    cloud_cover: float = 0.0
    epsg: int = _EPSG
    visual: bool = False

    @property
    def acquired(self) -> dt.datetime:
        return dt.datetime.strptime(self.id[:15], "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)

    @property
    def season(self) -> float:
        return self.acquired.timetuple().tm_yday / 366


_PLANS = (
    _Plan(id=_ANCHOR_ITEM, shift=Shift(0.0, 0.0), turn=11.0, visual=True),
    _Plan(
        id="20220604_094733_61_247a",
        shift=Shift(1.4, -2.2),
        turn=12.5,
        offset=(-0.03, 0.02),
        growth=(0.05, 0.02),
        cloud_cover=0.06,
        visual=True,
    ),
    _Plan(id="20220618_093957_18_24af", shift=Shift(-0.6, 0.8), turn=9.0, offset=(0.02, -0.03)),
    _Plan(
        id="20220622_095128_83_2416",
        shift=Shift(4.2, 3.6),
        turn=11.5,
        offset=(0.01, 0.04),
        growth=(-0.04, 0.01),
        cloud_cover=0.4,
    ),
    _Plan(id="20220911_094801_05_248e", shift=Shift(-2.8, 1.2), turn=-10.0, growth=(0.03, 0.06)),
    _Plan(
        id="20220610_101442_44_2427",
        shift=Shift(2.6, -1.4),
        turn=8.0,
        offset=(0.01, -0.02),
        epsg=_NEIGHBOUR_EPSG,
    ),
    _Plan(id="20220613_094246_72_24a1", shift=Shift(0.0, 0.0), turn=11.0, offset=(-0.02, -0.01)),
    _Plan(id="20220616_095015_39_2447", shift=Shift(1.8, 0.6), turn=10.0, cloud_cover=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder:
    """Where a sample order lies, and what is true of it."""

    folder: Path
    """The delivered folder, with `manifest.json` at its root."""
    payload: Path
    """The request that the order answers."""
    anchor_item: str
    """Id of the anchor."""
    truth: Mapping[str, Shift | None]
    """Shift of each item, px of the anchor's lattice; None where its ground cannot be seen at all."""


def _raster_of(plan: _Plan, size: int) -> tuple[Affine, tuple[int, int]]:
    """Geotransform and shape of an item; its origin is a multiple of the pixel size."""
    west, north = _WEST, _NORTH
    if plan.epsg != _EPSG:
        east, south = west + size * _PIXEL, north - size * _PIXEL
        west, _, _, north = transform_bounds(
            f"EPSG:{_EPSG}", f"EPSG:{plan.epsg}", west, south, east, north, densify_pts=21
        )
    west, north = _PIXEL * round(west / _PIXEL), _PIXEL * round(north / _PIXEL)
    down, right = (round(size * share) for share in plan.offset)
    height, width = (round(size * (1 + share)) for share in plan.growth)
    return from_origin(west + right * _PIXEL, north - down * _PIXEL, _PIXEL, _PIXEL), (height, width)


def _positions(
    geotransform: Affine, shape: tuple[int, int], epsg: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of the anchor's lattice at which a raster's pixel centres lie."""
    rows, cols = np.mgrid[0.5 : shape[0], 0.5 : shape[1]]
    x, y = geotransform.c + _PIXEL * cols, geotransform.f - _PIXEL * rows
    if epsg != _EPSG:
        flat = transform(f"EPSG:{epsg}", f"EPSG:{_EPSG}", x.ravel(), y.ravel())
        x, y = (np.asarray(values).reshape(shape) for values in flat)
    return (_NORTH - y) / _PIXEL - 0.5, (x - _WEST) / _PIXEL - 0.5


def _render(plan: _Plan, number: int, *, size: int, seed: int) -> Product:
    geotransform, shape = _raster_of(plan, size)
    rows, cols = _positions(geotransform, shape, plan.epsg)
    conditions = Conditions(
        seed=number, season=plan.season, cloud_cover=plan.cloud_cover, footprint=plan.turn
    )
    return Product(
        item_id=plan.id,
        acquired=plan.acquired,
        scene=scene_at(rows, cols, shift=plan.shift, conditions=conditions, seed=seed, bands=8),
        transform=geotransform,
        epsg=plan.epsg,
        visual=plan.visual,
    )


def _request() -> dict[str, object]:
    bundles = {
        "analytic_8b_sr_udm2": [plan.id for plan in _PLANS],
        "visual": [plan.id for plan in _PLANS if plan.visual],
    }
    return {
        "name": "sample_order",
        "source_type": "scenes",
        "products": [
            {"item_ids": ids, "item_type": "PSScene", "product_bundle": bundle}
            for bundle, ids in bundles.items()
        ],
        "tools": [{"coregister": {"anchor_item": _ANCHOR_ITEM}}],
    }


def write_sample_order(folder: Path | str, *, seed: int = 0, size: int = 800) -> SampleOrder:
    """Write an order as Planet delivers it, of eight scenes whose shifts are known.

    Against the anchor, four items are shifted by less than a pixel to several (one of them under
    40 % cloud, one three months later), one lies in the neighbouring UTM zone, one is aligned
    already, and one shows nothing but cloud. Two items have a visual bundle besides.

    Parameters
    ----------
    folder : path
        Where to write; it is made, and has to be empty.
    seed : int
        Which landscape.
    size : int
        About how many rows and columns an item has, at least 32.

    Returns
    -------
    SampleOrder
        Folder, payload, anchor and truth. The same arguments give the same bytes.

    Raises
    ------
    InvalidRequest
        If `size` is too small.
    OutputConflict
        If the folder holds something already.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     order = write_sample_order(folder, size=64)
    ...     len(list(order.folder.glob("PSScene/*_SR_8b_clip.tif"))), order.truth[order.anchor_item]
    (8, Shift(y=0.0, x=0.0))
    """
    if size < 32:
        raise InvalidRequest(f"size has to be at least 32, but {size!r} was given.")
    root = Path(folder)
    if root.exists() and any(root.iterdir()):
        raise OutputConflict(
            f"An empty folder is needed for the sample order, but {root} is not empty. Name another folder, or "
            "remove this one."
        )
    (root / "PSScene").mkdir(parents=True, exist_ok=True)
    files = []
    for number, plan in enumerate(_PLANS):
        files += write_product(root, _render(plan, number, size=size, seed=seed))
    write_manifest(root, files)
    (root / _PAYLOAD).write_text(json.dumps(_request(), indent=2) + "\n", encoding="utf-8")
    return _order_in(root)


def find_sample_order(folder: Path | str) -> SampleOrder | None:
    """Find a sample order that `write_sample_order` has written to a folder, of whatever size and landscape.

    Parameters
    ----------
    folder : path
        Where to look.

    Returns
    -------
    SampleOrder or None
        None if the folder does not hold exactly the files of such an order, whole and unchanged.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write_sample_order(folder, size=64)
    ...     found = find_sample_order(folder)
    ...     (found.folder / "manifest.json").unlink()
    ...     found == written, find_sample_order(folder)
    (True, None)
    """
    root = Path(folder)
    try:
        if read_small_json(root / _PAYLOAD) != _request():
            return None
        digests = {
            entry["path"]: entry["digests"]["sha256"] for entry in read_small_json(root / _MANIFEST)["files"]
        }
        found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if not path.is_dir()}
        if set(found) != {_PAYLOAD, _MANIFEST, *digests}:
            return None
        same = all(hashlib.sha256(found[name].read_bytes()).hexdigest() == digests[name] for name in digests)
    except (MissingFile, UnreadableFile, OSError, KeyError, TypeError):
        return None
    return _order_in(root) if same else None


def _order_in(root: Path) -> SampleOrder:
    return SampleOrder(
        folder=root,
        payload=root / _PAYLOAD,
        anchor_item=_ANCHOR_ITEM,
        truth={plan.id: None if plan.cloud_cover == 1 else plan.shift for plan in _PLANS},
    )
