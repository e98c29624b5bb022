"""What is to be written of items, and what was written of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from odc.geo.geobox import GeoBox

from coregstack.export.contents import digests
from coregstack.export.sidecar import displacement_name, sidecar_name
from coregstack.model import ItemQuality

TABLE = "coregistration.csv"
"""Name of the table of all items in an output folder."""

REPORT = "report.html"
"""Name of the report in an output folder."""


class Content(StrEnum):
    """What a raster file holds, and so how it is resampled and filled."""

    IMAGE = "image"
    """Measurements: interpolated; empty pixels are nodata, or 0."""
    UDM = "udm"
    """Bit field: nearest neighbour; empty pixels are 1, blackfill."""
    UDM2 = "udm2"
    """Planet's eight bands: nearest neighbour; empty pixels are 0, and 1 in the last band."""
    CLASSES = "classes"
    """Classes or flags: nearest neighbour; empty pixels are nodata, or 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of an item and what it is called in the output."""

    source: str
    """Absolute path."""
    folder: str
    """Folder in the output, relative to its root, with ``/``; empty for the root."""
    name: str
    """Name where the file is left as it is."""
    coreg_name: str
    """Name where the item is aligned."""
    anchor_name: str
    """Name where the item is the anchor."""
    content: Content | None
    """What a raster holds; None for a file that is passed through under its own name."""
    annotations: tuple[tuple[str, str], ...] = ()
    """What the manifest says of the file."""
    expected: tuple[tuple[str, str], ...] = ()
    """Digests that the source has to have, by the name of the algorithm; empty if none are known."""
    nodata: float | None = None
    """Value of pixels without data that the product's layout tells, for a file that names none itself."""

    def named(self, suffix: str, *, copied: bool = False) -> str:
        """File name in the output for a suffix of `coregstack.matching.decision.Treatment`.

        What is `copied` byte for byte keeps the format of the source, and so its extension.
        """
        found = {"_coreg": self.coreg_name, "_anchor": self.anchor_name}.get(suffix, self.name)
        extension = PurePosixPath(self.name).suffix
        return str(PurePosixPath(found).with_suffix(extension)) if copied and self.content else found

    @property
    def targets(self) -> frozenset[str]:
        """Every path that the file may have in the output, relative to its root, with ``/``."""
        names = {self.name, self.coreg_name, self.anchor_name, self.named("_coreg", copied=True)}
        return frozenset(
            PurePosixPath(self.folder, name).as_posix() if self.folder else name for name in names
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPlan:
    """An item and all its files; the image that is matched comes first."""

    id: str
    assets: tuple[Asset, ...]
    read: tuple[str, ...] = ()
    """How its files are read, where a user may have them read otherwise: what is matched in, and masks."""

    @property
    def folder(self) -> str:
        """Where the sidecar lies: beside the image."""
        return self.assets[0].folder

    @property
    def sidecar(self) -> str:
        """Path of the sidecar, relative to the output's root, with ``/``."""
        return PurePosixPath(self.folder, sidecar_name(self.id)).as_posix()

    @property
    def displacement(self) -> str:
        """Path of the displacement of an item that is moved by one, relative to the output's root, with ``/``."""
        return PurePosixPath(self.folder, displacement_name(self.id)).as_posix()

    @property
    def targets(self) -> frozenset[str]:
        """Every path that a file of the item may have in the output, its sidecar's among them."""
        return frozenset({self.sidecar, self.displacement}.union(*(asset.targets for asset in self.assets)))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """What is the same for all items of a run."""

    output: str
    """Root of the output folder."""
    anchor_id: str
    """Item id of the anchor."""
    anchor: GeoBox
    """Lattice of the output, as a box that covers the anchor; the anchor's own box if it is an item."""
    resampling: str
    """How images are interpolated."""
    cog: bool
    """Whether moved rasters are written as COG."""
    fingerprint: tuple[tuple[str, str], ...]
    """What all items of the run depend on: the name of each (as "anchor") and a token that stands for it."""
    like_anchor: bool = False
    """Whether moved rasters take the pixel size of `anchor` in place of their own."""
    nearest: tuple[str | int, ...] = ()
    """Names or positions of bands of images that hold classes, beside those that tell so."""
    method: str = "direct"
    """How the shifts were found: ``direct`` or ``network``."""
    estimator: str = "coregstack"
    """Name of the estimator of pairs."""
    digests: bool = False
    """Whether reports hold the digests of written files."""
    check: bool = False
    """Whether the digests of what was read are noted too, and compared before an item is taken for done."""
    references: tuple[tuple[str, str], ...] = ()
    """With `check`: path and SHA-256 of files that every item depends on, the anchor's."""
    dry_run: bool = False
    """Whether items are only reported on, and nothing is written."""
    vrt: bool = False
    """Whether rasters are described where they lie, and neither copied nor moved."""
    claim: str = ""
    """The run's claim to the folder: its items are written for as long as it holds; empty where there is none."""

    @property
    def keeps_crs(self) -> bool:
        """Whether rasters that are moved stay in their own CRS."""
        return self.resampling == "none" and not self.vrt


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file of the output."""

    path: str
    """Relative to the output's root, with ``/``."""
    size: int
    md5: str = ""
    """Hexadecimal; empty if no digests were asked for."""
    sha256: str = ""
    """Hexadecimal; empty if no digests were asked for."""
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReport:
    """What became of one item."""

    id: str
    quality: ItemQuality
    files: tuple[WrittenFile, ...]
    problems: tuple[str, ...] = ()
    """Files that could not be read or written, each with the reason."""
    resumed: bool = False
    """Whether an earlier run had done it already."""
    again: str = ""
    """Why what an earlier run had done was done again; empty where it was not."""


def written(
    path: Path, root: str, annotations: dict[str, str] | None = None, *, digested: bool = True
) -> WrittenFile:
    """Size, and digests if they are wanted, of a file that was written below `root`.

    Raises
    ------
    UnreadableFile
        If it cannot be read.
    """
    found = digests(path) if digested else {}
    return WrittenFile(
        path=path.relative_to(root).as_posix(),
        size=path.stat().st_size,
        annotations=annotations or {},
        **found,
    )
