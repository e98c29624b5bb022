"""Files on one lattice as bands of one raster, without a copy: a description that GDAL reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import unescape

from rasterio.dtypes import dtype_rev, typename_fwd
from rasterio.io import DatasetReader

_SOURCE = re.compile(r"<SourceFilename[^>]*>([^<]*)<")


def joined_text(files: Sequence[DatasetReader]) -> str:
    """A VRT of all bands of some open files, which have one shape, dtype and place.

    It is never written, and names these files alone.
    """
    first = files[0]
    root = ElementTree.Element("VRTDataset", rasterXSize=str(first.width), rasterYSize=str(first.height))
    ElementTree.SubElement(root, "SRS").text = first.crs.to_wkt()
    numbers = first.transform.to_gdal()
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(map(repr, numbers))
    height, width = first.block_shapes[0]
    for file in files:
        for index in file.indexes:
            band = ElementTree.SubElement(
                root,
                "VRTRasterBand",
                dataType=typename_fwd[dtype_rev[file.dtypes[0]]],
                blockXSize=str(width),
                blockYSize=str(height),
            )
            if file.nodata is not None:
                ElementTree.SubElement(band, "NoDataValue").text = repr(file.nodata)
            source = ElementTree.SubElement(band, "SimpleSource")
            ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0", shared="0").text = file.name
            ElementTree.SubElement(source, "SourceBand").text = str(index)
    return ElementTree.tostring(root, encoding="unicode")


def first_of(name: str) -> str:
    """The first file of what `joined_text` describes; any other name as it is."""
    if not name.startswith("<VRTDataset"):
        return name
    found = _SOURCE.search(name)
    return unescape(found[1]) if found else name
