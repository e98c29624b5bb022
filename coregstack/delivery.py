"""A whole run: every item matched, decided on and written, whatever becomes of the others."""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from coregstack import graph
from coregstack.computing import Progress, Undone, compute_items
from coregstack.errors import InvalidRequest, InvalidStack, OutputConflict
from coregstack.export.files import WriteError, is_half_written, resolved, staged
from coregstack.export.geotiff import Content
from coregstack.export.items import (
    Asset,
    DeliverySettings,
    ItemPlan,
    ItemReport,
    WrittenFile,
    deliver_item,
    finished,
    log_report,
)
from coregstack.export.lock import locked
from coregstack.export.stac import write_stac
from coregstack.matching import MatchOptions
from coregstack.model import ItemQuality, Status
from coregstack.network.graph import Items, scene_network
from coregstack.opening.files import Unusable, band_indexes, common_bands, unplaceable
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.policy import ANCHOR_QUALITY, failure
from coregstack.views.notebook import table_html

if TYPE_CHECKING:
    import pystac

log = logging.getLogger(__name__)

TABLE = "coregistration.csv"
"""Name of the table of all items in an output folder."""

REPORT = "report.html"
"""Name of the report in an output folder."""


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
        table = pd.DataFrame([row(report) for report in self.reports]).set_index("item")
        table.insert(0, "time", self._times())
        return table

    def to_quality(self) -> xr.Dataset:
        """The items' quality as a Dataset along time with their ids, as `coregstack.estimate` gives it."""
        table = self.to_dataframe()
        variables = {name: ("time", table[name].to_numpy(object)) for name in ("status", "details")}
        numbers = [name for name in table if name.startswith(("shift_", "matching_score_"))]
        variables |= {name: ("time", table[name].to_numpy(float)) for name in numbers}
        coords = {"time": self._times(), "id": ("time", table.index.to_numpy(object))}
        return xr.Dataset(variables, coords=coords, attrs={"anchor": self.anchor})

    def to_stac(self, collection_id: str | None = None) -> pystac.Collection:
        """Describe the output as a STAC collection in ``stac/collection.json``.

        Needs `pystac` (``pip install pystac``). Items whose time of acquisition is not known
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
            self.output,
            self.reports,
            anchor=self.anchor,
            times=self.times,
            sources=self.sources,
            collection_id=collection_id,
            tables=(TABLE,),
        )

    def _repr_html_(self) -> str:
        heading = f"{len(self.reports)} items aligned to {self.anchor}, written to {self.output}"
        return table_html(self.to_dataframe(), heading, [*self.problems, *self.notes])

    def time_text(self, item_id: str) -> str:
        """Time of an item as ISO 8601 in UTC, empty where it is not known."""
        time = self.times.get(item_id)
        return "" if time is None else f"{np.datetime_as_string(time, unit='ms')}Z"

    def _times(self) -> NDArray[np.datetime64]:
        """Time of each report, NaT where it is not known."""
        nat = np.datetime64("NaT", "ns")
        return np.array([self.times.get(report.id, nat) for report in self.reports], "datetime64[ns]")


def row(report: ItemReport) -> dict[str, Any]:
    """One item as a row of the table."""
    quality = report.quality
    shift, sigma = quality.shift, quality.sigma
    return {
        "item": report.id,
        "status": str(quality.status),
        "shift_y": None if shift is None else shift.y,
        "shift_x": None if shift is None else shift.x,
        "shift_sigma_y": None if sigma is None else sigma.y,
        "shift_sigma_x": None if sigma is None else sigma.x,
        "matching_score_before": quality.before,
        "matching_score_after": quality.after,
        "matching_score_improvement": quality.improvement,
        "details": quality.details,
        "problems": " ".join(report.problems),
        "files": " ".join(f.path for f in report.files),
    }


def run_items(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    unusable: Sequence[Unusable],
    settings: DeliverySettings,
    options: Callable[[Sequence[str]], MatchOptions],
    *,
    network: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[ItemReport, ...]:
    """Match and deliver items to an output folder.

    Parameters
    ----------
    plans : sequence of ItemPlan
        All items, the anchor among them.
    scenes : mapping
        Item id to scene, for items whose header could be read.
    unusable : sequence of Unusable
        The other items, and why; their files are copied where they can be.
    settings : DeliverySettings
        What holds for the whole run.
    options : callable
        Makes the match options from the names of the bands that all scenes share.
    network : bool
        Whether their method is "network": then items that are done take part in it all the same.
    overwrite : bool
        Whether items that an earlier run has done are done again.
    progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    tuple of ItemReport
        In the order of `plans`.
    """
    check_targets(plans)
    anchor = scenes[settings.anchor_id]
    options(anchor.bands)
    done = {} if overwrite else {p.id: r for p in plans if (r := finished(p, settings)) is not None}
    known = {u.id: failure(u.reason, unreadable=u.unreadable) for u in unusable}
    for plan in plans:
        if plan.id in scenes and plan.id != settings.anchor_id:
            reason = unplaceable(scenes[plan.id], anchor, apart=network)
            if reason is not None:
                known[plan.id] = failure(reason)
    groups, refused = _by_bands([p for p in plans if p.id not in known], scenes, anchor, options)
    known |= refused
    parts, order = [], []
    for names, group in groups.items():
        matched = [p for p in group if p.id not in done]
        order += [p.id for p in matched]
        if matched and network:
            able = [scenes[p.id] for p in group]
            records = _network(able, anchor, names, options(names))[[group.index(p) for p in matched]]
            parts.append(graph.deliveries(matched, records, settings))
        elif matched:
            parts.append(_matched(matched, scenes, anchor, names, options(names), settings))
    if left := [p for p in plans if p.id in known and p.id not in done]:
        records = graph.object_array("coregstack-known-", [known[p.id] for p in left])
        parts.append(graph.deliveries(left, records, settings))
        order += [p.id for p in left]
    log.info(
        "%d items to anchor %s, %d of them done by an earlier run; output %s",
        len(plans), settings.anchor_id, len(done), settings.output,
    )  # fmt: skip
    for report in done.values():
        log_report(report)
    reports = dict(done)
    undone = _undone(plans, settings)
    for report in compute_items(
        parts, progress, total=len(plans), before=len(done), ids=order, undone=undone
    ):
        reports[report.id] = report
    return tuple(reports[plan.id] for plan in plans)


def deliver_records(
    plans: Sequence[ItemPlan],
    records: da.Array,
    settings: DeliverySettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[ItemReport]:
    """Deliver items whose quality is known, or lazily so; what an earlier run has done is not done again.

    Parameters
    ----------
    plans : sequence of ItemPlan
        Items.
    records : dask Array
        An `ItemQuality` for each item.
    settings, overwrite, progress
        As in `run_items`.
    """
    done = [None if overwrite else finished(plan, settings) for plan in plans]
    left = [k for k, report in enumerate(done) if report is None]
    reports = [report for report in done if report is not None]
    if left:
        tasks = graph.deliveries([plans[k] for k in left], records[left], settings)
        ids, undone = [plans[k].id for k in left], _undone(plans, settings)
        reports += compute_items(
            [tasks], progress, total=len(plans), before=len(reports), ids=ids, undone=undone
        )
    return reports


def _undone(plans: Sequence[ItemPlan], settings: DeliverySettings) -> Undone:
    """Delivers an item as it came, here and with the reason, that a cluster could not do."""
    by_id = {plan.id: plan for plan in plans}

    def deliver(item: str, reason: str) -> ItemReport:
        quality = failure(reason, unreadable=True)
        if item == settings.anchor_id:
            quality = replace(ANCHOR_QUALITY, details=reason, unreadable=True)
        return deliver_item(by_id[item], quality, settings)

    return deliver


def scene_plans(scenes: Sequence[Scene]) -> list[ItemPlan]:
    """Plans of scenes that are no order: every item has one image, named by its id."""
    return [file_plan(scene.id, scene.image.path) for scene in scenes]


def file_plan(item_id: str, path: str) -> ItemPlan:
    """Plan of an item that has one image file, named by the item's id."""
    extension = Path(path).suffix
    moved = extension if extension.lower() in (".tif", ".tiff") else ".tif"
    asset = Asset(
        source=str(Path(path).absolute()),
        folder="",
        name=f"{item_id}{extension}",
        coreg_name=f"{item_id}_coreg{moved}",
        anchor_name=f"{item_id}_anchor{extension}",
        content=Content.IMAGE,
    )
    return ItemPlan(id=item_id, assets=(asset,))


def check_targets(plans: Sequence[ItemPlan]) -> None:
    """Refuse items whose files may be written under one name.

    Raises
    ------
    InvalidRequest
        If there are such, for example where a run's own output is among its inputs.
    """
    owners: dict[tuple[str, str], Asset] = {}
    for plan in plans:
        for asset in plan.assets:
            for name in {asset.name, asset.coreg_name, asset.anchor_name}:
                other = owners.setdefault((asset.folder, name), asset)
                if other is not asset:
                    raise InvalidRequest(
                        f"{other.source!r} and {asset.source!r} may both be written as {name!r}. Leave one out, or "
                        "give them other ids."
                    )


def _by_bands(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    options: Callable[[Sequence[str]], MatchOptions],
) -> tuple[dict[tuple[str, ...], list[ItemPlan]], dict[str, ItemQuality]]:
    """Items by the bands that each shares with the anchor, and the failure of those that share none.

    No item is so matched in fewer bands because another has fewer; the anchor goes with most of them.
    """
    groups: dict[tuple[str, ...], list[ItemPlan]] = defaultdict(list)
    refused = {}
    for plan in plans:
        if plan.id == anchor.id:
            continue
        try:
            names = common_bands([anchor, scenes[plan.id]], anchor)
            options(names)
        except (InvalidRequest, InvalidStack) as error:
            refused[plan.id] = failure(str(error))
            continue
        groups[names].append(plan)
    largest = max(groups, key=lambda names: len(groups[names]), default=anchor.bands)
    groups[largest] += [plan for plan in plans if plan.id == anchor.id]
    return {names: group for names, group in groups.items() if group}, refused


def _matched(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    names: tuple[str, ...],
    match: MatchOptions,
    settings: DeliverySettings,
) -> da.Array:
    items = [scenes[plan.id] for plan in plans]
    placed = [_on_anchor(scene, anchor, names) for scene in items]
    reference = graph.scene_reference(_on_anchor(anchor, anchor, names), match)
    position = next((k for k, scene in enumerate(items) if scene.id == anchor.id), None)
    return graph.scene_deliveries(plans, placed, position, reference, match, settings)


def _network(scenes: Sequence[Scene], anchor: Scene, names: tuple[str, ...], match: MatchOptions) -> da.Array:
    scenes = [*scenes, *(() if anchor in scenes else (anchor,))]
    items = Items(
        names=tuple(scene.id for scene in scenes),
        times=np.array([scene.time for scene in scenes], "datetime64[ns]"),
        anchor=scenes.index(anchor),
    )
    return scene_network([_on_anchor(scene, anchor, names) for scene in scenes], items, match)


def run_fingerprint(anchor: Scene, scenes: Sequence[Scene], options: Mapping[str, Any]) -> str:
    """What all items of a run depend on, as one text; in a network each depends on all others."""
    others = list(scenes) if options.get("method") == "network" else []
    return str(tokenize(anchor, sorted(options.items()), *others))


def _on_anchor(scene: Scene, anchor: Scene, names: tuple[str, ...]) -> PlacedScene:
    return PlacedScene(
        scene=scene,
        lattice=anchor.image.box,
        bands=names,
        indexes=band_indexes(scene, names),
        dtype=scene.image.dtype,
        fill=scene.nodata or 0,
    )


def write_table(result: RunResult) -> None:
    """Write the table of all items; numbers as they are, empty where there are none."""
    rows = [
        {"item": report.id, "time": result.time_text(report.id)} | row(report) for report in result.reports
    ]
    with (
        staged(Path(result.output, TABLE)) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def check_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is or holds an input, or lies in an input folder.

    Raises
    ------
    OutputConflict
    """
    output = resolved(output)
    for path in inputs:
        where = resolved(path)
        folder = where if where.is_dir() else where.parent
        if (
            output == folder
            or where.is_relative_to(output)
            or (where.is_dir() and output.is_relative_to(where))
        ):
            raise OutputConflict(
                f"The output {str(output)!r} and the input {str(where)!r} overlap; inputs are never written to. "
                "Choose an output folder beside the input."
            )


@contextmanager
def output_folder(output: Path, inputs: Iterable[Path]) -> Iterator[None]:
    """An output folder for one run alone: made, and cleared of what a killed run left half-written.

    Raises
    ------
    OutputConflict
        If the output is or holds an input, lies in an input folder, is a file, or is written by another run.
    WriteError
        If it cannot be made or locked.
    """
    check_apart(output, inputs)
    output = resolved(output)
    if output.exists() and not output.is_dir():
        raise OutputConflict(f"The output {str(output)!r} is a file; a folder was expected.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"{str(output)!r} cannot be made ({error.strerror}). Choose another folder."
        ) from error
    with locked(output):
        _clear(output)
        try:
            yield
        finally:
            # a lost worker leaves what it was writing
            _clear(output)


def _clear(output: Path) -> None:
    # what cannot be removed harms no file of the run; the check of the output tells of it
    with suppress(OSError):
        for left in output.rglob(".*"):
            if is_half_written(left):
                with suppress(OSError):
                    left.unlink()
