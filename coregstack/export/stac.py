"""The output of a run as a STAC collection: what was made, from what, how well, and where it lies."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox

from coregstack._version import __version__
from coregstack.errors import CoregError, InvalidRequest
from coregstack.export.accuracy import accuracy
from coregstack.export.evidence import kept_evidence
from coregstack.export.files import inside
from coregstack.export.plan import ItemReport, WrittenFile, written
from coregstack.export.sidecar import displacement_name, sidecar_name
from coregstack.export.vrt import ENDING, described_box
from coregstack.geometry.globe import bounds, on_globe
from coregstack.geometry.lattice import same_crs
from coregstack.geometry.validarea import outline
from coregstack.matching.quality import FIELDS
from coregstack.model import Status, ValidArea
from coregstack.pixels import raster
from coregstack.pixels.header import RasterHeader
from coregstack.untrusted.addresses import shown

if TYPE_CHECKING:
    import pystac
    from pystac import Asset, Collection, Item

FOLDER = "stac"
"""Folder in an output folder that holds the collection and its items."""

EXTENSIONS = {
    "proj": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "processing": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "accuracy": "https://stac-extensions.github.io/accuracy/v1.0.0-beta.1/schema.json",
    "file": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
}
"""STAC extensions that are used, and their versions."""

_MEDIA = {
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2",
    ".json": "application/json",
    ".vrt": "application/x-gdal-vrt+xml",
    ".xml": "application/xml",
    ".txt": "text/plain",
    ".csv": "text/csv",
}
_RASTERS = (".tif", ".tiff", ".jp2", ".j2k")
_DISPLACEMENT = "displacement"
_SHA256 = "1220"  # multihash: function 0x12, 0x20 bytes follow

ASSET_NAME, ASSET_ROLE = "asset", "role"
"""Annotations of a file: what it is called among those of its item, and its role in STAC."""

log = logging.getLogger(__name__)


def write_stac(
    output: str | os.PathLike[str],
    reports: Iterable[ItemReport],
    *,
    anchor: str,
    times: Mapping[str, np.datetime64],
    sources: Mapping[str, str],
    collection_id: str | None = None,
    tables: Sequence[str] = (),
    lattice: GeoBox | None = None,
) -> pystac.Collection:
    """Describe an output folder as a STAC collection with one item for each delivered item.

    The geometry of an item is where its image is valid, as the run's evidence tells it (see
    `coregstack.geometry.validarea`), else the outline of the image. What crosses the antimeridian is cut there, and the
    bounding box of an item or of the collection that crosses it has a west greater than its east (RFC 7946).

    Items that have no known time are left out, since STAC needs one; a warning is logged for each.

    Parameters
    ----------
    output : path-like
        Output folder of a run; the collection is written to ``stac/collection.json`` in it.
    reports : iterable of ItemReport
        What was written for each item.
    anchor : str
        Item id of the anchor.
    times : mapping
        Item id to time of acquisition, UTC.
    sources : mapping
        Item id to the file, or the STAC item, that it was made from.
    collection_id : str, optional
        By default the name of the folder.
    tables : sequence of str
        Files in the folder that describe the whole run.
    lattice : GeoBox, optional
        Lattice of the output, in whose pixels shifts are told; without it items do not say how accurately they lie.

    Returns
    -------
    pystac.Collection
        The collection as it was written; hrefs are relative, so that the folder may be moved as a whole.

    Raises
    ------
    InvalidRequest
        If pystac is not installed, or no item has a known time.
    UnsafePath
        If a link leads the folder of the collection out of the output.
    """
    pystac = require_pystac()
    root = Path(output)
    folder = inside(root, FOLDER, "collection.json").parent
    items = []
    for report in reports:
        if report.id not in times:
            log.warning(
                "item %s has no known time of acquisition: it is left out of the STAC collection", report.id
            )
            continue
        item = _item(pystac, report, root, folder, anchor, _utc(times[report.id]))
        if lattice is not None and (told := accuracy(report.quality, lattice)):
            item.stac_extensions.append(EXTENSIONS["accuracy"])
            item.properties |= told
        items.append(item)
    if not items:
        raise InvalidRequest(
            "No item has a known time of acquisition, which STAC needs. Pass times=... when opening or aligning."
        )
    collection = _collection(pystac, items, collection_id or root.resolve().name, anchor)
    for name in tables:
        if (root / name).is_file():
            asset = pystac.Asset(f"../{name}", media_type=_media(name), roles=["metadata"])
            collection.add_asset(Path(name).stem, asset)
    collection.add_items(items)
    collection.set_self_href(str((folder / "collection.json").absolute()))
    for item in items:
        item.set_self_href(str((folder / f"{item.id}.json").absolute()))
    _link_sources(pystac, {item.id: item for item in items}, anchor, sources)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("collection", *(item.id for item in items)):
        # pystac would write through a link
        if (path := folder / f"{name}.json").is_symlink():
            path.unlink()
    collection.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
    return collection


def require_pystac() -> ModuleType:
    """The package that STAC needs.

    Raises
    ------
    InvalidRequest
        If it is not installed.
    """
    try:
        import pystac
    except ImportError as error:
        raise InvalidRequest(
            "STAC needs pystac, which is not installed. Install it: pip install 'coregstack[stac]'"
        ) from error
    return pystac


def _item(
    pystac: Any, report: ItemReport, root: Path, folder: Path, anchor: str, time: datetime
) -> pystac.Item:
    headers = {file.path: _header(root / file.path) for file in report.files}
    boxes = {path: box for path, header in headers.items() if (box := _box(root / path, header)) is not None}
    image = next(iter(boxes.values()), None)
    kept = kept_evidence(root, report.id)
    area = None if kept is None else kept.area
    geometry, bbox = (None, None) if image is None or image.crs is None else _extent(image, area)
    item: Item = pystac.Item(
        id=report.id,
        geometry=geometry,
        bbox=bbox,
        datetime=time,
        properties=_properties(report, anchor),
        stac_extensions=[EXTENSIONS["processing"], EXTENSIONS["file"]],
    )
    if image is not None:
        item.stac_extensions += [EXTENSIONS["proj"], EXTENSIONS["raster"]]
        item.properties |= _projection(image)
        if area is not None:
            item.properties["proj:geometry"] = _geometry(area)
    for noted in report.files:
        file = noted if noted.sha256 else written(root / noted.path, str(root), noted.annotations)
        header = headers[file.path]
        key = _key(file, report, item.assets)
        asset = _asset(pystac, key, file, header, os.path.relpath(root / file.path, folder))
        box = boxes.get(file.path)
        if box is not None and image is not None and box is not image:
            asset.extra_fields |= _projection(box, than=image)
        item.add_asset(key, asset)
        if "eo:bands" in asset.extra_fields and EXTENSIONS["eo"] not in item.stac_extensions:
            item.stac_extensions.append(EXTENSIONS["eo"])
    return item


def _properties(report: ItemReport, anchor: str) -> dict[str, Any]:
    """What was done and found; shifts are ``[x, y]`` in pixels of the anchor, as in the sidecar."""
    quality = report.quality
    pair = {"coreg:shift": quality.shift, "coreg:shift_sigma": quality.sigma}
    found: dict[str, Any] = {"coreg:anchor": anchor}
    found |= {
        name: None if value is None else [float(value.x), float(value.y)] for name, value in pair.items()
    }
    found |= {field.stac: field.get(quality) for field in FIELDS if field.stac}
    known = {name: value for name, value in found.items() if value is not None}
    return {**known, "processing:software": {"coregstack": __version__}}


def _asset(pystac: Any, key: str, file: WrittenFile, header: RasterHeader | None, href: str) -> pystac.Asset:
    fields: dict[str, Any] = {"file:size": file.size}
    if file.sha256:
        fields["file:checksum"] = _SHA256 + file.sha256
    kind = file.annotations.get("planet/asset_type", "")
    role = file.annotations.get(ASSET_ROLE, "")
    if (header is None and not file.path.endswith(ENDING)) or key == _DISPLACEMENT:
        roles = ["metadata"]
    elif role or kind.endswith(("udm", "udm2")):
        roles = [role or "data-mask"]
    else:
        roles = ["visual"] if "visual" in kind else ["data"]
    if header is not None:
        fields["bands"] = _bands(header)
        if roles == ["data"] and all(header.names):
            # loaders such as odc-stac find bands of one file by these names
            fields["eo:bands"] = [{"name": name} for name in header.names]
    asset: Asset = pystac.Asset(href, media_type=_media(file.path), roles=roles, extra_fields=fields)
    return asset


def _bands(header: RasterHeader) -> list[dict[str, Any]]:
    with raster.opened(header.path) as dataset:
        scales, offsets, units = dataset.scales, dataset.offsets, dataset.units
    sampling = dict(header.tags).get("AREA_OR_POINT", "Area").lower()
    bands = []
    for k in range(header.count):
        band: dict[str, Any] = {
            "name": header.names[k] or str(k + 1),
            "data_type": header.dtype,
            "raster:sampling": sampling,
        }
        if units[k]:
            band["unit"] = units[k]
        if header.nodata is not None:
            band["nodata"] = header.nodata if math.isfinite(header.nodata) else str(header.nodata)
        if (scales[k], offsets[k]) != (1.0, 0.0):
            band |= {"raster:scale": scales[k], "raster:offset": offsets[k]}
        if header.box.crs is not None and header.box.crs.projected:
            band["raster:spatial_resolution"] = abs(header.box.resolution.x)
        bands.append(band)
    return bands


def _projection(box: GeoBox, than: GeoBox | None = None) -> dict[str, Any]:
    """Fields of the projection extension; only those that differ from another raster's."""
    if than is not None and box == than:
        return {}
    affine = box.affine
    fields: dict[str, Any] = {
        "proj:shape": list(box.shape),
        "proj:transform": [affine.a, affine.b, affine.c, affine.d, affine.e, affine.f],
        "proj:bbox": list(box.boundingbox.bbox),
    }
    if box.crs is not None and (than is None or not same_crs(box, than)):
        code = box.crs.to_epsg()
        fields["proj:code"] = None if code is None else f"EPSG:{code}"
        if code is None:
            fields["proj:wkt2"] = box.crs.to_wkt()
    return fields


def _extent(image: GeoBox, area: ValidArea | None) -> tuple[dict[str, Any], list[float]] | tuple[None, None]:
    """Where a raster is valid in longitude and latitude, and its bounds: its whole outline if that is not known."""
    found = on_globe(area or outline(image)) or on_globe(outline(image))
    if found is None:
        return None, None
    boxes = [[*np.min(part, axis=0), *np.max(part, axis=0)] for part in found.parts]
    return _geometry(found), list(bounds(boxes))


def _geometry(area: ValidArea) -> dict[str, Any]:
    """A valid area as GeoJSON: rings are closed, and run counterclockwise."""
    rings = []
    for part in area.parts:
        x, y = np.transpose(part)
        turn = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)
        corners = [list(corner) for corner in (part if turn > 0 else part[::-1])]
        rings.append([[*corners, corners[0]]])
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _collection(
    pystac: Any, items: Sequence[pystac.Item], collection_id: str, anchor: str
) -> pystac.Collection:
    box = list(bounds([item.bbox for item in items if item.bbox is not None] or [[-180, -90, 180, 90]]))
    times = sorted(item.datetime for item in items if item.datetime is not None)
    software = {"processing:software": {"coregstack": __version__}}
    collection: Collection = pystac.Collection(
        id=collection_id,
        title=f"{collection_id}, aligned to {anchor}",
        description=f"{len(items)} scenes, aligned to the anchor {anchor} by coregstack {__version__}.",
        extent=pystac.Extent(pystac.SpatialExtent([box]), pystac.TemporalExtent([[times[0], times[-1]]])),
        license="other",
        providers=[pystac.Provider("coregstack", roles=["processor"], extra_fields=software)],
        stac_extensions=[EXTENSIONS["processing"]],
    )
    statuses = [str(s) for s in Status if any(i.properties["coreg:status"] == str(s) for i in items)]
    collection.summaries.add("coreg:status", statuses)
    codes = sorted({code for i in items if (code := i.properties.get("proj:code"))})
    if codes:
        collection.summaries.add("proj:code", codes)
    return collection


def _link_sources(
    pystac: Any, items: Mapping[str, pystac.Item], anchor: str, sources: Mapping[str, str]
) -> None:
    """Say what each item was made from: its source, and the anchor that it was aligned to."""
    for item_id, item in items.items():
        source = sources.get(item_id)
        if source is not None:
            is_item = Path(source).suffix.lower() not in _RASTERS
            rel, media = ("derived_from", "application/geo+json") if is_item else ("via", _media(source))
            href = _href(source, Path(item.self_href).parent)
            item.add_link(pystac.Link(rel, href, media_type=media, title="what it was made from"))
        if item_id != anchor and anchor in items:
            item.add_link(pystac.Link("derived_from", items[anchor], title="the anchor"))


def _href(source: str, folder: Path) -> str:
    """An address as it is, without secrets, and a path as it is seen from a folder."""
    if "://" in source:
        return shown(source)
    try:
        return Path(os.path.relpath(source, folder)).as_posix()
    except ValueError:
        # on another drive
        return source


def _header(path: Path) -> RasterHeader | None:
    """Header of a raster; None for other files and for rasters that were delivered damaged as they came."""
    if path.suffix.lower() not in _RASTERS:
        return None
    try:
        return raster.read_header(path)
    except CoregError:
        return None


def _box(path: Path, header: RasterHeader | None) -> GeoBox | None:
    """Where a file lies, as its header says, or a description of our own."""
    if header is not None or path.suffix != ENDING:
        return None if header is None else header.box
    try:
        return described_box(path)
    except CoregError:
        return None


def _key(file: WrittenFile, report: ItemReport, taken: Mapping[str, Any]) -> str:
    """Name of an asset, the same for all items of a collection."""
    name = Path(file.path).name
    if name == sidecar_name(report.id):
        return "coregistration"
    if name == displacement_name(report.id):
        return _DISPLACEMENT
    own = Path(name).stem.removeprefix(report.id).strip("_-.")
    told = file.annotations.get(ASSET_NAME) or file.annotations.get("planet/asset_type")
    key = told or (own if taken and own else "image")
    return name if key in taken else key


def _media(path: str) -> str:
    return _MEDIA.get(Path(path).suffix.lower(), "application/octet-stream")


def _utc(time: np.datetime64) -> datetime:
    return datetime.fromtimestamp(int(time.astype("datetime64[us]").astype(int)) / 1e6, UTC)
