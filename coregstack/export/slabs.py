"""Items of a stack that has no files behind it, written as GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.export import claim
from coregstack.export.displacement import write_displacement
from coregstack.export.evidence import keep_evidence
from coregstack.export.files import WriteError, check_held, staged
from coregstack.export.geotiff import make_cloud_optimised
from coregstack.export.plan import ItemReport, WrittenFile, written
from coregstack.export.sidecar import displacement_name, quality_record, write_sidecar
from coregstack.geometry.lattice import crs_of, epsg_code
from coregstack.geometry.validarea import looked_at, valid_area
from coregstack.matching.decision import treat
from coregstack.model import UNSCALED, Displacement, ItemQuality, Status
from coregstack.pixels import newraster, raster


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabWriter:
    """Writes one time of an aligned array; its pixels have been moved already."""

    output: str
    """Folder."""
    claim: str = ""
    """The run's claim to the folder; empty where there is none."""
    anchor_id: str
    """Item id of the anchor, or what names an anchor from outside."""
    box: GeoBox
    """Lattice and extent of the array."""
    frame: GeoBox
    """Lattice in whose pixels displacements are told; its first pixel is where they are counted from."""
    nodata: float | None
    """Value of pixels without data."""
    bands: tuple[str, ...]
    """Band names, written as descriptions."""
    scaling: tuple[float, float]
    """Scale and offset of the numbers."""
    classes: tuple[str, ...]
    """For each band what tells that it holds classes, or nothing."""
    cog: bool
    """Whether shifted items are written as cloud-optimised GeoTIFF."""
    method: str
    """How the shifts were found: ``direct`` or ``network``."""
    estimator: str = "coregstack"
    """Name of the estimator of pairs."""

    def __call__(self, item_id: str, quality: ItemQuality, values: NDArray[Any]) -> ItemReport:
        """Write one item, values of shape (band, y, x), and its sidecar; problems are named in the report."""
        files: list[WrittenFile] = []
        problems = []
        try:
            with claim.under(Path(self.output), self.claim):
                files += self._files(item_id, quality, values)
        except CoregError as error:
            problems.append(str(error))
        quality = replace(quality, evidence=None, displacement=None)
        return ItemReport(id=item_id, quality=quality, files=tuple(files), problems=tuple(problems))

    def _files(self, item_id: str, quality: ItemQuality, values: NDArray[Any]) -> Iterator[WrittenFile]:
        """Write one file after the other."""
        folder = Path(self.output)
        treatment = treat(quality, same_crs=True)
        path = folder / f"{item_id}{treatment.suffix}.tif"
        with staged(path) as temporary:
            self._write(temporary, values)
            if self.cog and treatment.placed:
                make_cloud_optimised(temporary, averaged=not any(self.classes))
        yield written(path, self.output)
        displacement = None
        if isinstance(treatment.move, Displacement):
            displacement = displacement_name(item_id)
            write_displacement(folder / displacement, treatment.move, self.frame)
            yield written(folder / displacement, self.output)
        if quality.status is not Status.ANCHOR:
            yield written(self._sidecar(folder, item_id, quality, path.name, displacement), self.output)
        valid = np.any([raster.valid_values(looked_at(band), self.nodata) for band in values], axis=0)
        keep_evidence(folder, item_id, quality.evidence, self.box, valid_area(valid, self.box))

    def _write(self, path: Path, values: NDArray[Any]) -> None:
        profile = {
            "driver": "GTiff",
            "count": len(values),
            "height": self.box.shape[0],
            "width": self.box.shape[1],
            "dtype": values.dtype.name,
            "crs": crs_of(self.box).to_wkt(),
            "transform": self.box.affine,
            "nodata": self.nodata,
            "compress": "DEFLATE",
            "predictor": 3 if values.dtype.kind == "f" else 2,
            "bigtiff": "IF_SAFER",
            "num_threads": 1,
        } | newraster.tiling((self.box.shape[0], self.box.shape[1]))
        try:
            with raster.gdal(), rasterio.open(path, "w", **profile) as out:
                out.write(values)
                out.descriptions = self.bands
                if self.scaling != UNSCALED:
                    out.scales, out.offsets = ([number] * len(values) for number in self.scaling)
        except raster.GDAL_ERRORS as error:
            raise WriteError(f"{str(path)!r} cannot be written ({error}).") from error

    def _sidecar(
        self, folder: Path, item_id: str, quality: ItemQuality, name: str, displacement: str | None
    ) -> Path:
        record = quality_record(
            quality,
            anchor_item=self.anchor_id,
            target_item=item_id,
            epsg_before=epsg_code(self.box),
            epsg_after=None,
            output_files=[name],
            method=self.method,
            displacement=displacement,
            estimator=self.estimator,
        )
        check_held()
        return write_sidecar(folder, record)
