"""What the files of an item are called in the output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from coregstack.export.plan import Asset, Content, ItemPlan
from coregstack.products.item import ProductFile, ProductItem
from coregstack.products.planet.names import ANCHOR_SUFFIX, COREG_SUFFIX, output_name
from coregstack.untrusted.names import split_extension


def item_plan(
    item: ProductItem, places: Mapping[PurePosixPath, tuple[str, str]], first: Sequence[PurePosixPath]
) -> ItemPlan:
    """All files of an item, under the names that their product gives them.

    Parameters
    ----------
    item : ProductItem
        The item.
    places : mapping
        For each path of a file: where it lies, and its folder in the output.
    first : sequence of PurePosixPath
        Files that are matched in; the sidecar lies beside the first.
    """
    order = {path: k for k, path in enumerate(first)}
    files = sorted(item.files, key=lambda file: (order.get(file.path, len(order)), file.content is None))
    return ItemPlan(id=item.id, assets=tuple(_asset(file, *places[file.path]) for file in files))


def _asset(file: ProductFile, source: str, folder: str) -> Asset:
    name = file.path.name
    return planned(source, folder, name, file.content, nodata=file.nodata)


def planned(
    source: str, folder: str, name: str, content: Content | None, *, nodata: float | None = None
) -> Asset:
    """One file of an item, or of none, as it is called in the output.

    Parameters
    ----------
    source : str
        Where it lies.
    folder : str
        Folder in the output, relative to its root; empty for the root.
    name : str
        File name as its product gives it.
    content : Content or None
        What a raster holds; None for a file that is passed through under its own name.
    nodata : float, optional
        Value of pixels without data, for a file that names none.

    Examples
    --------
    >>> planned("/in/T33UUU_20170216T102101_B04.jp2", "", "T33UUU_20170216T102101_B04.jp2", Content.IMAGE).coreg_name
    'T33UUU_20170216T102101_B04_coreg.tif'
    """
    passed = content is None
    moved = output_name(name, COREG_SUFFIX)
    stem, extension = split_extension(moved)
    if extension.lower() not in (".tif", ".tiff"):
        moved = f"{stem}.tif"
    return Asset(
        source=source,
        folder=folder,
        name=name if passed else output_name(name, ""),
        coreg_name=name if passed else moved,
        anchor_name=name if passed else output_name(name, ANCHOR_SUFFIX),
        content=content,
        nodata=nodata,
    )
