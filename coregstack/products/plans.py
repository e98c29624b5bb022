"""What the files of an item are called in the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from coregstack.export.plan import Asset, Content, ItemPlan
from coregstack.export.stac import ASSET_NAME, ASSET_ROLE
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
    names = _names(files)
    return ItemPlan(
        id=item.id,
        assets=tuple(_asset(file, *places[file.path], names[file.path]) for file in files),
    )


def _names(files: Sequence[ProductFile]) -> dict[PurePosixPath, str]:
    """What files are called among those of their item: by band, of several also by pixel size; else nothing."""
    found = {
        file.path: file.name
        or (file.bands[0] if isinstance(file.bands, tuple) and len(file.bands) == 1 else "")
        for file in files
    }
    counts = Counter(found.values())
    for file in files:
        if counts[found[file.path]] > 1:
            size = "" if file.pixel_size is None else f"_{file.pixel_size:g}m"
            found[file.path] = f"{found[file.path]}{size}" if size and found[file.path] else ""
    return found


def _asset(file: ProductFile, source: str, folder: str, known: str) -> Asset:
    plain = planned(source, folder, file.path.name, file.content, nodata=file.nodata)
    told = {ASSET_NAME: known, ASSET_ROLE: "data-mask" if file.mask else ""}
    return replace(plain, annotations=tuple((key, value) for key, value in told.items() if value))


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
