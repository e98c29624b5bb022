"""The files of one delivered PSScene item, and the manifest of an order."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from coregstack.testing.landscape import BAND_NAMES
from coregstack.testing.scenes import NODATA, SampleScene

UDM2_NAMES = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "unusable")
"""Descriptions of the bands of a UDM2 file."""

_ANALYTIC, _VISUAL = "analytic_8b_sr_udm2", "visual"
_MEDIA_TYPES = {".tif": "image/tiff", ".xml": "text/xml", ".json": "application/json"}
# A visual product need not have the extent of the analytic one: it lacks these rows and columns.
_VISUAL_CROP = slice(5, -3), slice(2, -7)
_XML_SPACES = {
    "ps": "http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level",
    "gml": "http://www.opengis.net/gml",
    "eop": "http://earth.esa.int/eop",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Product:
    """One item and where it lies."""

    item_id: str
    """Id as Planet writes it."""
    acquired: dt.datetime
    """When it was taken, UTC."""
    scene: SampleScene
    """Its pixels, eight bands, and masks."""
    transform: Affine
    """Geotransform."""
    epsg: int
    """Code of its CRS."""
    visual: bool
    """Whether it has a visual bundle besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredFile:
    """One file of an order and what the manifest says of it."""

    path: Path
    """Where it lies."""
    item_id: str
    """The item that it belongs to."""
    asset_type: str | None
    """Asset, or None for the item's own metadata."""
    bundle_type: str | None
    """Bundle that it was ordered with, or None for the item's own metadata."""


def write_product(root: Path, product: Product) -> list[DeliveredFile]:
    """Write all files of an item into ``root / "PSScene"``.

    Parameters
    ----------
    root : Path
        Root of the order; its folder ``PSScene`` has to exist.
    product : Product
        The item.

    Returns
    -------
    list of DeliveredFile
        What was written.
    """
    stem = root / "PSScene" / product.item_id

    def delivered(ending: str, asset: str | None, bundle: str | None) -> DeliveredFile:
        path = stem.with_name(stem.name + ending)
        return DeliveredFile(path=path, item_id=product.item_id, asset_type=asset, bundle_type=bundle)

    image = delivered("_3B_AnalyticMS_SR_8b_clip.tif", "ortho_analytic_8b_sr", _ANALYTIC)
    mask = delivered("_3B_udm2_clip.tif", "ortho_udm2", _ANALYTIC)
    sheet = delivered("_3B_AnalyticMS_8b_metadata_clip.xml", "ortho_analytic_8b_xml", _ANALYTIC)
    feature = delivered("_metadata.json", None, None)
    _write_raster(
        image.path,
        product.scene.values,
        product,
        descriptions=BAND_NAMES[8],
        tags={"TIFFTAG_IMAGEDESCRIPTION": json.dumps(_radiometry(product))},
        nodata=NODATA,
        predictor=2,
    )
    _write_raster(mask.path, _udm2(product.scene), product, descriptions=UDM2_NAMES)
    sheet.path.write_bytes(_metadata_xml(product))
    feature.path.write_text(json.dumps(_feature(product)), encoding="utf-8")
    files = [image, mask, sheet, feature]
    if product.visual:
        picture = delivered("_3B_Visual_clip.tif", "ortho_visual", _VISUAL)
        values, transform = _visual(product)
        options = {"transform": transform, "photometric": "rgb", "alpha": "yes"}
        _write_raster(picture.path, values, product, **options)
        files.append(picture)
    return files


def write_manifest(root: Path, files: Iterable[DeliveredFile]) -> None:
    """Write ``manifest.json`` with size, digests and annotations of each file.

    Parameters
    ----------
    root : Path
        Root of the order.
    files : iterable of DeliveredFile
        Files below `root`.
    """
    entries = [_entry(root, file) for file in sorted(files, key=lambda file: file.path)]
    manifest = {"name": "", "files": entries}
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _entry(root: Path, file: DeliveredFile) -> dict[str, Any]:
    content = file.path.read_bytes()
    annotations = {
        "planet/asset_type": file.asset_type,
        "planet/bundle_type": file.bundle_type,
        "planet/item_id": file.item_id,
        "planet/item_type": "PSScene",
    }
    return {
        "path": file.path.relative_to(root).as_posix(),
        "media_type": _MEDIA_TYPES[file.path.suffix],
        "size": len(content),
        "digests": {
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        "annotations": {key: value for key, value in annotations.items() if value is not None},
    }


def _write_raster(
    path: Path,
    values: NDArray[np.generic],
    product: Product,
    *,
    descriptions: tuple[str, ...] = (),
    tags: Mapping[str, str] | None = None,
    **options: Any,
) -> None:
    profile = {
        "driver": "GTiff",
        "count": values.shape[0],
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": f"EPSG:{product.epsg}",
        "transform": product.transform,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "interleave": "pixel",
    }
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values)
        if descriptions:
            file.descriptions = descriptions
        file.update_tags(TIFFTAG_DATETIME=f"{product.acquired:%Y:%m:%d %H:%M:%S}", **tags or {})


def _udm2(scene: SampleScene) -> NDArray[np.uint8]:
    bands = np.zeros((8, *scene.valid.shape), np.uint8)
    bands[0], bands[2], bands[3], bands[5] = scene.clear, scene.shadow, scene.haze, scene.cloud
    bands[6] = np.select([scene.cloud, scene.clear, scene.valid], [93, 88, 71], 0)
    bands[7] = np.where(scene.valid, 0, 1)
    return bands


def _visual(product: Product) -> tuple[NDArray[np.uint8], Affine]:
    """Colours with alpha, and their geotransform."""
    rows, cols = _VISUAL_CROP
    colours = [BAND_NAMES[8].index(name) for name in ("red", "green", "blue")]
    bright = np.clip(product.scene.values[colours, rows, cols] / 3000, 0, 1) ** 0.7
    alpha = np.where(product.scene.valid[rows, cols], 255, 0)[None]
    picture = np.concatenate([np.rint(255 * bright), alpha]).astype(np.uint8)
    return picture, product.transform * Affine.translation(cols.start, rows.start)


def _radiometry(product: Product) -> dict[str, Any]:
    return {
        "atmospheric_correction": {
            "aerosol_model": "continental",
            "aot_used": 0.12,
            "product_version": "2.1.5",
            "reflectance_scale": 10000,
            "sun_elevation": 61.3,
        },
        "harmonization": None,
        "item_id": product.item_id,
    }


def _feature(product: Product) -> dict[str, Any]:
    scene = product.scene
    inside = scene.valid.sum()
    height, width = scene.valid.shape
    percent = {
        "clear_percent": scene.clear,
        "cloud_percent": scene.cloud,
        "light_haze_percent": scene.haze,
        "shadow_percent": scene.shadow,
    }
    return {
        "type": "Feature",
        "id": product.item_id,
        "geometry": _outline(product),
        "properties": {
            "acquired": f"{product.acquired:%Y-%m-%dT%H:%M:%S.000000Z}",
            "cloud_cover": round(float((scene.cloud | scene.haze).sum() / inside), 2),
            **{name: round(100 * int(mask.sum()) / int(inside)) for name, mask in percent.items()},
            "columns": width,
            "epsg_code": product.epsg,
            "ground_control": True,
            "instrument": "PSB.SD",
            "item_type": "PSScene",
            "origin_x": product.transform.c,
            "origin_y": product.transform.f,
            "pixel_resolution": product.transform.a,
            "quality_category": "standard",
            "rows": height,
            "satellite_id": product.item_id[-4:],
            "visible_percent": round(100 * int((scene.clear | scene.shadow).sum()) / int(inside)),
        },
    }


def _outline(product: Product) -> dict[str, Any]:
    """The footprint's corners as GeoJSON: the outermost valid pixels on each side of the raster."""
    rows, cols = np.nonzero(product.scene.valid)
    sides = [np.argmin(rows), np.argmax(cols), np.argmax(rows), np.argmin(cols)]
    ring = [product.transform * (cols[k] + 0.5, rows[k] + 0.5) for k in (*sides, sides[0])]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    outline: dict[str, Any] = transform_geom(f"EPSG:{product.epsg}", "EPSG:4326", polygon, precision=7)
    return outline


def _metadata_xml(product: Product) -> bytes:
    for prefix, uri in _XML_SPACES.items():
        ElementTree.register_namespace(prefix, uri)
    name = f"{product.item_id}_3B_AnalyticMS_8b"
    when = f"{product.acquired:%Y-%m-%dT%H:%M:%S+00:00}"
    count, height, width = product.scene.values.shape
    root = ElementTree.Element(_qualified("ps:EarthObservation"), {"version": "1.2.1"})
    _add(root, "gml:metaDataProperty/ps:EarthObservationMetaData/eop:identifier", name)
    _add(
        root, "gml:using/eop:EarthObservationEquipment/eop:platform/eop:Platform/eop:shortName", "PlanetScope"
    )
    equipment = _add(root, "gml:using/eop:EarthObservationEquipment")
    _add(equipment, "eop:platform/eop:Platform/eop:shortName", "PlanetScope")
    _add(equipment, "eop:acquisitionParameters/ps:Acquisition/ps:acquisitionDateTime", when)
    result = _add(root, "gml:resultOf/ps:EarthObservationResult")
    information = _add(result, "eop:product/ps:ProductInformation")
    _add(information, "eop:fileName", f"{name}_clip.tif")
    _add(information, "ps:spatialReferenceSystem/ps:epsgCode", str(product.epsg))
    for key, value in {"numRows": height, "numColumns": width, "numBands": count}.items():
        _add(information, f"ps:{key}", str(value))
    for number in range(1, count + 1):
        band = _add(result, "ps:bandSpecificMetadata")
        _add(band, "ps:bandNumber", str(number))
        _add(band, "ps:radiometricScaleFactor", "0.01")
        _add(band, "ps:reflectanceCoefficient", f"{1.6e-5 + 2.1e-6 * number:.6e}")
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def _qualified(name: str) -> str:
    prefix, local = name.split(":")
    return f"{{{_XML_SPACES[prefix]}}}{local}"


def _add(parent: ElementTree.Element, path: str, text: str | None = None) -> ElementTree.Element:
    """Add the elements of a path below one another; the last one holds the text."""
    for name in path.split("/"):
        parent = ElementTree.SubElement(parent, _qualified(name))
    parent.text = text
    return parent
