"""What a run has done, as a value and as a table."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.export.displacement import common_lattice
from coregstack.export.evidence import kept_evidence
from coregstack.export.files import staged
from coregstack.export.index import write_index
from coregstack.export.plan import TABLE, ItemReport, WrittenFile
from coregstack.export.sidecar import displacement_name
from coregstack.export.stac import write_stac
from coregstack.graph.displaced import displacement_files
from coregstack.matching.quality import table_fields, variables
from coregstack.model import Status, Viewing
from coregstack.run.notebook import pair_html, table_html
from coregstack.stack.heights import with_angles
from coregstack.stack.measured import with_displacement, with_lattice
from coregstack.untrusted.given import given_place

if TYPE_CHECKING:
    import pystac


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run has done."""

    output: str
    """Folder that was written."""
    anchor: str
    """Id of the anchor."""
    reports: tuple[ItemReport, ...]
    """One for each item, in the order of the request."""
    others: tuple[WrittenFile, ...] = ()
    """Files of no item, copied as they came."""
    faults: tuple[str, ...] = ()
    """Files of no item that could not be copied, and why."""
    notes: tuple[str, ...] = ()
    """What a user should know of the run as a whole."""
    times: Mapping[str, np.datetime64] = field(default_factory=dict)
    """Item id to time of acquisition (UTC), of items whose time is known."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Item id to the input image that was matched, of items that were read from files."""
    viewings: Mapping[str, Viewing] = field(default_factory=dict)
    """Item id to from where its scene was seen, of items of which that is known."""
    lattice: GeoBox | None = None
    """The anchor's box, in whose pixels shifts are counted; None where it is not known."""
    dry_run: bool = False
    """Whether items were only matched and decided upon, and nothing was written."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Inputs that could not be read or written, each named."""
        return (*(f"{r.id}: {problem}" for r in self.reports for problem in r.problems), *self.faults)

    def count(self, status: Status) -> int:
        """How many items have a status."""
        return sum(report.quality.status is status for report in self.reports)

    def to_dataframe(self) -> pd.DataFrame:
        """One row an item: time, shift and sigma in px, scores, status, details, files."""
        table = pd.DataFrame(rows(self.reports)).set_index("item")
        table.insert(0, "time", self._times())
        return table

    def to_quality(self) -> xr.Dataset:
        """The items' quality as a Dataset along time with their ids, as `coregstack.estimate` gives it."""
        table = self.to_dataframe()
        coords = {"time": self._times(), "id": ("time", table.index.to_numpy(object))}
        columns = {str(name): table[name].to_numpy(object) for name in table}
        quality = xr.Dataset(variables(columns), coords=coords, attrs={"anchor": self.anchor})
        if self.viewings:
            quality = with_angles(quality, [self.viewings.get(report.id) for report in self.reports])
        if self.lattice is None:
            return quality
        files = [self._displacement(report) for report in self.reports]
        if any(files):
            lattice = common_lattice((Path(file) for file in files if file), self.lattice)
            qualities = [report.quality for report in self.reports]
            planes = displacement_files(files, qualities, self.lattice, lattice)
            quality = with_displacement(quality, planes, self.lattice, lattice)
        return with_lattice(quality, self.lattice)

    def _displacement(self, report: ItemReport) -> str | None:
        """The file of the displacement that an item was moved by."""
        name = displacement_name(report.id)
        paths = (file.path for file in report.files if PurePosixPath(file.path).name == name)
        return next((str(Path(self.output, path)) for path in paths), None)

    def to_stac(self, collection_id: str | None = None) -> pystac.Collection:
        """Describe the output as a STAC collection in ``stac/collection.json``.

        Needs `pystac` (``pip install 'coregstack[stac]'``). Items whose time of acquisition is not known
        are left out, since STAC needs one.

        Parameters
        ----------
        collection_id : str, optional
            By default the name of the output folder.

        Returns
        -------
        pystac.Collection
            Items with proj, raster, file and processing fields; the sidecar is an asset of each.

        Raises
        ------
        InvalidRequest
            If pystac is not installed, or no item has a known time.

        Examples
        --------
        >>> import tempfile, coregstack
        >>> from coregstack.testing import sample_stack
        >>> aligned = coregstack.align(sample_stack(3, shape=(256, 256)), anchor=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     collection = coregstack.to_geotiffs(aligned, folder).to_stac("fields")
        >>> [item.properties["coreg:status"] for item in collection.get_items()]
        ['anchor', 'coregistered', 'coregistered']
        """
        return write_stac(
            given_place(self.output, "The output"),
            self.reports,
            anchor=self.anchor,
            times=self.times,
            sources=self.sources,
            collection_id=collection_id,
            tables=(TABLE,),
            lattice=self.lattice,
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.count(status)} {status}" for status in Status if self.count(status))
        return f"<RunResult: {self._heading()}: {counts}>"

    def _repr_html_(self) -> str:
        table = table_html(self.to_dataframe(), self._heading(), [*self.problems, *self.notes])
        return table + self._gain_html()

    def _gain_html(self) -> str:
        """Before and after of the item whose score gained most; empty where nothing was moved or kept of it."""
        moved = [
            (found.quality.after - found.quality.before, found.id)
            for found in self.reports
            if found.quality.status is Status.COREGISTERED
            and found.quality.before is not None
            and found.quality.after is not None
        ]
        if not moved or self.dry_run:
            return ""
        gain, item = max(moved)
        kept = kept_evidence(Path(self.output), item)
        if kept is None or kept.evidence is None or kept.evidence.chips is None:
            return ""
        return pair_html(
            kept.evidence,
            f"The anchor, and {item} before and after: its score gained {gain:.3f}, most of all.",
        )

    def _heading(self) -> str:
        end = "nothing written" if self.dry_run else f"written to {self.output}"
        return f"{len(self.reports)} items aligned to {self.anchor}, {end}"

    def time_text(self, item_id: str) -> str:
        """Time of an item as ISO 8601 in UTC, empty where it is not known."""
        time = self.times.get(item_id)
        return "" if time is None else f"{np.datetime_as_string(time, unit='ms')}Z"

    def _times(self) -> NDArray[np.datetime64]:
        """Time of each report, NaT where it is not known."""
        nat = np.datetime64("NaT", "ns")
        return np.array([self.times.get(report.id, nat) for report in self.reports], "datetime64[ns]")


def rows(reports: Sequence[ItemReport]) -> list[dict[str, Any]]:
    """Each item as a row of the table."""
    fields = table_fields(report.quality for report in reports)
    return [
        {"item": report.id}
        | {field.name: field.get(report.quality) for field in fields}
        | {"problems": " ".join(report.problems), "files": " ".join(f.path for f in report.files)}
        for report in reports
    ]


def with_index(result: RunResult) -> RunResult:
    """Write the tile index of a run of descriptions; where that fails, the result with the reason."""
    if result.lattice is None:
        return result
    try:
        write_index(Path(result.output), result.reports, result.lattice, result.time_text)
    except (CoregError, OSError, sqlite3.Error) as error:
        return replace(result, faults=(*result.faults, f"tile index: {error}"))
    return result


def with_table(result: RunResult) -> RunResult:
    """Write the table of all items; where that fails, the result with the reason: the items are delivered."""
    try:
        _write_table(result)
    except (CoregError, OSError, UnicodeError) as error:
        return replace(result, faults=(*result.faults, f"table: {error}"))
    return result


def _write_table(result: RunResult) -> None:
    """Write the table; numbers as they are, empty where there are none."""
    table = [
        {"item": row["item"], "time": result.time_text(row["item"])} | row for row in rows(result.reports)
    ]
    with (
        staged(Path(result.output, TABLE)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
