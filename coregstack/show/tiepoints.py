"""Tie points of a run, a folder or a stack, as one table."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, MissingFile
from coregstack.export.evidence import kept_evidence
from coregstack.export.plan import TABLE
from coregstack.export.ties import tie_table
from coregstack.matching.choices import Band, Estimator
from coregstack.matching.options import MatchSettings
from coregstack.model import Status, WindowEstimator
from coregstack.run.result import RunResult
from coregstack.show.rematch import qualities, rematch
from coregstack.untrusted.given import given_place


def tie_points(
    source: Any,
    *,
    anchor: Hashable | None = None,
    band: Band | None = None,
    max_shift: float | None = None,
    estimator: Estimator | WindowEstimator = "coregstack",
) -> pd.DataFrame:
    """List the windows that were matched: where each lies, its own shift, and whether it agrees.

    Parameters
    ----------
    source : RunResult, path-like or DataArray
        What a run returned, its output folder, or a stack, aligned or not, whose items are matched once more.
    anchor : str, time or int, optional
        For a stack: the anchor; by default the one that it was aligned to.
    band, max_shift, estimator
        For a stack: as in `coregstack.estimate`. Where "phase" has aligned it, that is taken; a callable has to be
        passed again.

    Returns
    -------
    DataFrame
        One row a window: `item`; `x`, `y` of its middle in the anchor's CRS (``attrs["crs"]``); `row`, `col`
        of its middle in the anchor, px; its own `shift_x` (right) and `shift_y` (down), px; `residual_x` and
        `residual_y`, what it shows beyond the shift, affine map or field that was found, px; `weight`, 0 to 1;
        `inlier`; `band`, counted among the match bands; `against`, the item it was matched with: the anchor, or,
        where ``method="network"`` reached the item only through others, the one of them that it was scored
        against. Then `shift_x` and `shift_y` hold the way on to the anchor too.
        `coregstack.write_ties` writes it.

    Raises
    ------
    MissingFile
        If the folder keeps nothing of a run.
    InvalidRequest, InvalidStack, AnchorNotFound
        If the source does not fit.

    Examples
    --------
    >>> from coregstack.testing import sample_stack
    >>> ties = tie_points(sample_stack(2, shape=(256, 256)), anchor=0)
    >>> bool(ties.inlier.any())
    True
    """
    settings = MatchSettings(band=band, max_shift=max_shift, estimator=estimator)
    if isinstance(source, xr.DataArray):
        again = rematch(source, anchor, settings)
        found = ((item, quality.evidence) for item, quality in qualities(again))
        items = {item: kept for item, kept in found if kept is not None}
        return tie_table(items, again.box, again.stack.ids[again.anchor])
    if anchor is not None or settings != MatchSettings():
        raise InvalidRequest("anchor and match options are for stacks; the output of a run holds its own.")
    if isinstance(source, RunResult):
        return _kept(given_place(source.output, "source"), source.anchor, source.lattice)
    return _kept(given_place(source, "source"))


def _kept(folder: Path, anchor: str = "", box: GeoBox | None = None) -> pd.DataFrame:
    items = {}
    for item, status in _items(folder):
        kept = kept_evidence(folder, item)
        if kept is None or kept.evidence is None:
            continue
        if status == Status.ANCHOR:
            anchor, box = item, kept.box
        else:
            items[item] = kept.evidence
    if box is None:
        raise MissingFile(
            f"{str(folder)!r} keeps no tie points. Name the output folder of a finished order or alignment of "
            "files; of a stack, pass the stack itself."
        )
    return tie_table(items, box, anchor)


def _items(folder: Path) -> list[tuple[str, str]]:
    """Id and status of items in a run's table; a folder may still hold evidence of items that have left it since."""
    try:
        table = pd.read_csv(folder / TABLE, usecols=["item", "status"], dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        return []
    return list(zip(table["item"], table["status"], strict=True))
