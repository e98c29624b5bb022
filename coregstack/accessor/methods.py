"""`da.coreg` and `quality.coreg`: the package's functions as methods of a DataArray and of a quality Dataset."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Generic

import pandas as pd
import xarray as xr

from coregstack import api
from coregstack.matching.choices import (
    MIN_IMPROVEMENT,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Method,
    Model,
    OutputLattice,
    Resampling,
)
from coregstack.matching.options import MatchSettings
from coregstack.model import ItemQuality, WindowEstimator
from coregstack.run.notebook import table_html
from coregstack.show import plot
from coregstack.show.fields import field_in_stack, shown_field
from coregstack.show.rematch import qualities, rematch
from coregstack.show.report.content import quality_table
from coregstack.show.report.page import report
from coregstack.show.tiepoints import tie_points
from coregstack.stack.applying import StackT
from coregstack.stack.masks import Mask


class QualityPlots:
    """Plots of shifts and scores.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from coregstack import estimate
    >>> from coregstack.testing import sample_stack
    >>> quality = estimate(sample_stack(3, shape=(256, 256)), anchor=0).compute()
    >>> quality.coreg.plot.shifts(ax=Figure().subplots()).get_ylabel()
    'shift to apply [px]'
    """

    def __init__(self, source: xr.DataArray | xr.Dataset) -> None:
        self._source = source

    def shifts(self, *, ax: Any = None) -> Any:
        """Plot shifts over time; see `coregstack.show.plot.shifts`."""
        return plot.shifts(quality_table(self._source), ax=ax)

    def scores(self, *, ax: Any = None) -> Any:
        """Plot matching scores over time; see `coregstack.show.plot.scores`."""
        return plot.scores(quality_table(self._source), ax=ax)

    def residuals(self, *, ax: Any = None) -> Any:
        """Plot the misalignment to be expected over time; see `coregstack.show.plot.residuals`."""
        return plot.residuals(quality_table(self._source), ax=ax)


class DatasetPlots(QualityPlots):
    """Plots of shifts and scores, and of how single items are displaced.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from coregstack import estimate
    >>> from coregstack.testing import sample_stack
    >>> quality = estimate(sample_stack(2, shape=(256, 256)), anchor=0, model="affine").compute()
    >>> axes = quality.coreg.plot.field(str(quality.id.values[1]), ax=Figure().subplots(1, 3))
    >>> axes[2].get_title()
    'sigma along an axis [px]'
    """

    _source: xr.Dataset

    def field(self, id: str, *, ax: Sequence[Any] | None = None) -> Any:
        """Show how an item is displaced: arrows, length and sigma; see `coregstack.show.plot.field`."""
        found, mean = shown_field(self._source, id)
        return plot.field(found, mean=mean, title=id, ax=ax)


class StackPlots(QualityPlots):
    """Plots of shifts and scores, and of single items against what they were matched with.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from coregstack import align
    >>> from coregstack.testing import sample_stack
    >>> aligned = align(sample_stack(2, shape=(256, 256)), anchor=0).compute()
    >>> item = str(aligned.id.values[1])
    >>> axes = aligned.coreg.plot.compare(item, ax=Figure().subplots(1, 4))
    >>> [one.get_title() for one in axes]
    ['anchor', 'before', 'after', 'anchor orange, item blue']
    """

    _source: xr.DataArray

    def matches(
        self,
        id: str,
        *,
        anchor: Hashable | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        estimator: Estimator | WindowEstimator = "coregstack",
        ax: Any = None,
    ) -> Any:
        """Match an item once more and plot its windows' shifts over the scene; see `coregstack.show.plot.matches`."""
        settings = MatchSettings(band=band, max_shift=max_shift, estimator=estimator)
        return plot.matches(self._matched(id, anchor, settings), title=id, ax=ax)

    def compare(
        self,
        id: str,
        *,
        anchor: Hashable | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        estimator: Estimator | WindowEstimator = "coregstack",
        ax: Sequence[Any] | None = None,
    ) -> Any:
        """Show anchor, item before and after, and both in one picture; see `coregstack.show.plot.compare`."""
        settings = MatchSettings(band=band, max_shift=max_shift, estimator=estimator)
        return plot.compare(self._matched(id, anchor, settings), title=id, ax=ax)

    def field(
        self,
        id: str,
        *,
        model: Model | None = None,
        anchor: Hashable | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        ax: Sequence[Any] | None = None,
    ) -> Any:
        """Show how an item is displaced; see `coregstack.show.plot.field`.

        Without `model`, the displacement that moved an item of an aligned stack is shown, as long as its pixels were
        not computed. Else the item is matched once more, by default by a field.
        """
        settings = MatchSettings(band=band, max_shift=max_shift, model=model or "shift")
        found, mean, evidence = field_in_stack(rematch(self._source, anchor, settings), id)
        return plot.field(found, mean=mean, evidence=evidence, title=id, ax=ax)

    def _matched(self, item: str, anchor: Hashable | None, settings: MatchSettings) -> ItemQuality:
        return next(quality for _, quality in qualities(rematch(self._source, anchor, settings), [item]))


class _Aligning(Generic[StackT]):
    """The functions of `coregstack` as methods of a stack."""

    def __init__(self, stack: StackT) -> None:
        self._stack: StackT = stack

    def estimate(
        self,
        anchor: Hashable | xr.DataArray | xr.Dataset,
        *,
        ids: Sequence[str] | None = None,
        mask: Mask | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        threshold: float = SCORE_THRESHOLD,
        min_improvement: float = MIN_IMPROVEMENT,
        method: Method = "direct",
        nearest: Sequence[str | int] = (),
        model: Model = "shift",
        decide: Decide = "score",
        datum: Datum = "anchor",
        estimator: Estimator | WindowEstimator = "coregstack",
        stable: xr.DataArray | None = None,
        lattice: OutputLattice = "items",
    ) -> xr.Dataset:
        """Estimate shifts and scores of this stack; see `coregstack.estimate`."""
        return api.estimate(
            self._stack, anchor, ids=ids, mask=mask, band=band, max_shift=max_shift, threshold=threshold,
            min_improvement=min_improvement, method=method, nearest=nearest, model=model, decide=decide, datum=datum,
            estimator=estimator, stable=stable, lattice=lattice,
        )  # fmt: skip

    def apply(
        self,
        quality: xr.Dataset,
        *,
        resampling: Resampling = "cubic",
        nearest: Sequence[str | int] = (),
        lattice: OutputLattice = "items",
    ) -> StackT:
        """Shift the items of this stack; see `coregstack.apply`."""
        return api.apply(self._stack, quality, resampling=resampling, nearest=nearest, lattice=lattice)

    def align(
        self,
        anchor: Hashable | xr.DataArray | xr.Dataset,
        *,
        ids: Sequence[str] | None = None,
        mask: Mask | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        threshold: float = SCORE_THRESHOLD,
        min_improvement: float = MIN_IMPROVEMENT,
        method: Method = "direct",
        nearest: Sequence[str | int] = (),
        model: Model = "shift",
        decide: Decide = "score",
        datum: Datum = "anchor",
        estimator: Estimator | WindowEstimator = "coregstack",
        stable: xr.DataArray | None = None,
        resampling: Resampling = "cubic",
        lattice: OutputLattice = "items",
    ) -> StackT:
        """Align this stack; see `coregstack.align`."""
        return api.align(
            self._stack, anchor, ids=ids, mask=mask, band=band, max_shift=max_shift, threshold=threshold,
            min_improvement=min_improvement, method=method, nearest=nearest, model=model, decide=decide, datum=datum,
            estimator=estimator, stable=stable,
            resampling=resampling, lattice=lattice,
        )  # fmt: skip


class CoregAccessor(_Aligning[xr.DataArray]):
    """Align a stack in place of calling the functions of `coregstack` with it.

    Examples
    --------
    >>> import coregstack
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(3, shape=(256, 256))
    >>> stack.coreg.align(anchor=0).dims == stack.dims
    True
    """

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self._stack.sizes.items())
        carried = "status" in self._stack.coords
        lines = [
            f"<coregstack on a stack of {sizes}>",
            "  align(anchor), estimate(anchor), apply(quality)",
            f"  the quality that align gives {'is carried' if carried else 'is not there yet'}",
        ]
        if carried:
            lines += [
                "  plot.shifts(), plot.scores(), plot.residuals(), plot.compare(id)",
                "  tie_points(), report(path)",
            ]
        return "\n".join(lines)

    @property
    def plot(self) -> StackPlots:
        """Plots of this stack: shifts and scores if it is aligned, and of single items."""
        return StackPlots(self._stack)

    def tie_points(
        self,
        *,
        anchor: Hashable | None = None,
        band: Band | None = None,
        max_shift: float | None = None,
        estimator: Estimator | WindowEstimator = "coregstack",
    ) -> pd.DataFrame:
        """The windows that match, as a table; see `coregstack.tie_points`."""
        return tie_points(self._stack, anchor=anchor, band=band, max_shift=max_shift, estimator=estimator)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a report of this aligned stack; see `coregstack.report`."""
        return report(self._stack, path)


class QualityAccessor(_Aligning[xr.Dataset]):
    """A quality as a table, as plots and as a report; and a Dataset of bands aligned, as a stack is.

    Examples
    --------
    >>> from coregstack import estimate
    >>> from coregstack.testing import sample_stack
    >>> quality = estimate(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> quality.coreg.to_dataframe().status.tolist()
    ['anchor', 'coregistered', 'coregistered']
    """

    @property
    def plot(self) -> DatasetPlots:
        """Plots of shifts, scores and displacements."""
        return DatasetPlots(self._stack)

    def to_dataframe(self) -> pd.DataFrame:
        """One row an item; what is lazy is computed."""
        return quality_table(self._stack)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a report of this quality; see `coregstack.report`."""
        return report(self._stack, path)

    def __repr__(self) -> str:
        if "status" not in self._stack:
            return "<coregstack on a Dataset of bands>\n  align(anchor), estimate(anchor), apply(quality)"
        return (
            f"<coregstack on the quality of {self._stack.sizes['time']} items>\n  to_dataframe(), report(path)\n"
            "  plot.shifts(), plot.scores(), plot.residuals(), plot.field(id)"
        )

    def _repr_html_(self) -> str | None:
        if "status" not in self._stack:
            return None
        anchor = self._stack.attrs.get("anchor", "")
        return table_html(self.to_dataframe(), f"{self._stack.sizes['time']} items aligned to {anchor}")
