"""Pictures of a quality and of matches, by matplotlib; every function returns the axes it drew on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from coregstack.errors import CoregError, InvalidRequest
from coregstack.matching.preview import CHIP
from coregstack.model import Displacement, Evidence, ItemQuality, Shift, Status
from coregstack.run.colours import COLOURS

_SHAPES = {
    Status.COREGISTERED: "o",
    Status.ALREADY_ALIGNED: "s",
    Status.NO_IMPROVEMENT: "^",
    Status.FAILED: "X",
    Status.ANCHOR: "D",
}
_X, _Y = "#0072b2", "#d55e00"
_ARROWS = 20
"""Arrows of a field along a side, at most."""
_LEGEND_WIDTH, _LEGEND_LINE = 1.3, 12
"""Room for one entry of a legend, inches across and points down."""


class MissingMatplotlib(CoregError, ImportError):
    """matplotlib is not installed."""


def shifts(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Plot shifts along x and y over time, with bars of 1 sigma; failed items are marked at the foot.

    Parameters
    ----------
    table : DataFrame
        One row an item, as `RunResult.to_dataframe` gives it.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    MissingMatplotlib
        If matplotlib is not installed.
    """
    ax = _axes(ax, (9, 4))
    when, label = _moments(table)
    size = _mark_size(table)
    for name, colour, shape, words in (("x", _X, "o", "x, right"), ("y", _Y, "s", "y, down")):
        ax.errorbar(
            when, table[f"shift_{name}"].to_numpy(float), yerr=table[f"shift_sigma_{name}"].to_numpy(float),
            fmt=shape, color=colour, markersize=size, elinewidth=1, label=words,
        )  # fmt: skip
    ax.axhline(0, color="0.5", linewidth=0.8, linestyle=":")
    failed = (table["status"] == Status.FAILED).to_numpy()
    if failed.any():
        foot = np.full(int(failed.sum()), 0.02)
        ax.plot(
            when[failed],
            foot,
            "X",
            color="0.35",
            markersize=size + 2,
            transform=ax.get_xaxis_transform(),
            label="failed",
        )
    ax.set(xlabel=label, ylabel="shift to apply [px]")
    _spare_labels(ax, when)
    _head(ax, "Shifts, with bars of 1 sigma")
    return ax


def scores(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Plot matching scores over time: before (hollow) and after (filled).

    Parameters
    ----------
    table : DataFrame
        One row an item, as `RunResult.to_dataframe` gives it.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    MissingMatplotlib
        If matplotlib is not installed.
    """
    ax = _axes(ax, (9, 4))
    when, label = _moments(table)
    size = _mark_size(table)
    before = table["matching_score_before"].to_numpy(float)
    after = table["matching_score_after"].to_numpy(float)
    for status, colour in COLOURS.items():
        own = (table["status"] == status).to_numpy() & np.isfinite(before)
        if not own.any():
            continue
        ax.vlines(
            when[own],
            before[own],
            np.where(np.isfinite(after), after, before)[own],
            color=colour,
            linewidth=1,
        )
        shape = _SHAPES[status]
        ax.plot(when[own], before[own], shape, color=colour, markerfacecolor="white", markersize=size)
        ax.plot(
            when[own], after[own], shape, color=colour, markersize=size + 1, label=status.replace("_", " ")
        )
    ax.set(xlabel=label, ylabel="matching score [0 to 1]")
    _spare_labels(ax, when)
    _head(ax, "Matching scores: before (hollow) and after")
    return ax


def matches(quality: ItemQuality, *, title: str = "", ax: Any = None) -> Any:
    """Plot the windows' shifts as arrows over the scene; windows that were set aside are crosses.

    Parameters
    ----------
    quality : ItemQuality
        An item's quality, with evidence.
    title : str
        What the item is called.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes
        Rows and columns are those of the anchor, px. The title says with which item it was matched, where that
        is not the anchor; then the arrows hold the way on to the anchor too.

    Raises
    ------
    InvalidRequest
        If the item has no evidence.
    MissingMatplotlib
        If matplotlib is not installed.
    """
    evidence = _evidence(quality, title)
    ax = _axes(ax, (7, 6.5))
    image, (left, right, lower, upper) = _overview(evidence)
    ax.imshow(image, cmap="gray", extent=(left, right, lower, upper), interpolation="bilinear")
    ax.set_facecolor("black")
    ties = evidence.ties
    kept, away = ties.inlier, ~ties.inlier
    agree = f"{int(kept.sum())} of {len(kept)} windows agree" if len(kept) else "no window matched"
    if quality.status is Status.ANCHOR:
        agree = "the anchor: all other items are aligned to it"
    ends = [np.array([[left, upper], [right, lower]]), np.column_stack([ties.x, ties.y])]
    if kept.any():
        length = float(np.hypot(ties.shift_y[kept], ties.shift_x[kept]).max())
        scale = max(length, 1e-3) / (0.09 * max(right - left, lower - upper))
        ax.quiver(
            ties.x[kept], ties.y[kept], ties.shift_x[kept], ties.shift_y[kept], angles="xy", scale_units="xy",
            scale=scale, color="#56b4e9", edgecolor="black", linewidth=0.5, width=0.006,
        )  # fmt: skip
        ends.append(ends[1][kept] + np.column_stack([ties.shift_x, ties.shift_y])[kept] / scale)
        agree += f"; the longest arrow is {length:.2f} px"
    if away.any():
        style = {"markersize": 7, "markeredgecolor": "black", "markeredgewidth": 0.5}
        ax.plot(ties.x[away], ties.y[away], "X", color="#e69f00", label="set aside", **style)
        ax.legend(loc="lower right", framealpha=0.8)
    # windows at the edge of the scene are seen whole, and so are their arrows
    room = 0.02 * max(right - left, lower - upper) if len(kept) else 0
    (left, upper), (right, lower) = (bound(np.vstack(ends), axis=0) for bound in (np.min, np.max))
    other = f"matched with {evidence.against}, aligned" if evidence.against else ""
    ax.set(
        xlabel="column of the anchor [px]",
        ylabel="row of the anchor [px]",
        xlim=(left - room, right + room),
        ylim=(lower + room, upper - room),
    )
    ax.set_title("\n".join(filter(None, (title, other, agree))), loc="left", fontsize="medium")
    return ax


def field(
    displacement: Displacement,
    *,
    mean: Shift | None = None,
    evidence: Evidence | None = None,
    title: str = "",
    ax: Sequence[Any] | None = None,
) -> NDArray[np.object_]:
    """Show a displacement that varies over the scene: its arrows, its length and its sigma.

    Parameters
    ----------
    displacement : Displacement
        In the frame of the anchor.
    mean : Shift, optional
        What is taken off arrows and length, px; by default the mean of the nodes.
    evidence : Evidence, optional
        Of the item: its picture lies under the arrows.
    title : str
        What the item is called.
    ax : sequence of three matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    ndarray of matplotlib Axes, shape (3,)
        Arrows, length and sigma (px), each over rows and columns of the anchor, px.

    Raises
    ------
    InvalidRequest
        If `ax` does not hold three axes.
    MissingMatplotlib
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> y = np.linspace(-1, 1, 5, dtype=np.float32) * np.ones((5, 1), np.float32)
    >>> found = Displacement(origin=Shift(0.0, 0.0), step=16.0, y=y, x=0 * y, sigma=0 * y + 0.1)
    >>> [one.get_title() for one in field(found, ax=Figure().subplots(1, 3))][1:]
    ['length less the mean [px]', 'sigma along an axis [px]']
    """
    if ax is None:
        _, ax = _pyplot().subplots(1, 3, figsize=(14, 4.8), layout="constrained", sharex=True, sharey=True)
    axes = np.asarray(ax, object).ravel()
    if axes.size != 3:
        raise InvalidRequest(f"field draws on three axes, but ax holds {axes.size}.")
    rows, cols = (
        start + displacement.step * np.arange(count)
        for start, count in zip(displacement.origin, displacement.y.shape, strict=True)
    )
    centre = mean or Shift(float(displacement.y.mean()), float(displacement.x.mean()))
    dy, dx = displacement.y - centre.y, displacement.x - centre.x
    half = displacement.step / 2
    extent = (cols[0] - half, cols[-1] + half, rows[-1] + half, rows[0] - half)
    if evidence is not None:
        image, place = _overview(evidence)
        axes[0].imshow(image, cmap="gray", extent=place, interpolation="bilinear")
    every = max(1, -(-max(dy.shape) // _ARROWS))
    some = (
        slice((dy.shape[0] - 1) % every // 2, None, every),
        slice((dy.shape[1] - 1) % every // 2, None, every),
    )
    length = np.hypot(dy, dx)
    # few places lie far beyond all others
    usual = max(float(np.quantile(length, 0.9)), float(length.max()) / 4, 1e-6)
    scale = usual / (1.1 * every * displacement.step)
    axes[0].quiver(
        *np.meshgrid(cols[some[1]], rows[some[0]]), dx[some], dy[some], angles="xy", scale_units="xy", scale=scale,
        color="#56b4e9", edgecolor="black", linewidth=0.5, width=0.005,
    )  # fmt: skip
    axes[0].set_title(
        "\n".join(filter(None, (title, f"less the mean; the longest arrow is {length.max():.2f} px"))),
        fontsize="medium",
    )
    for one, values, name in (
        (axes[1], length, "length less the mean"),
        (axes[2], displacement.sigma, "sigma along an axis"),
    ):
        shown = one.imshow(values, cmap="cividis", vmin=0, extent=extent, interpolation="bilinear")
        one.figure.colorbar(shown, ax=one, shrink=0.8)
        one.set_title(f"{name} [px]", fontsize="medium")
    for one in axes:
        one.set(xlabel="column of the anchor [px]", xlim=extent[:2], ylim=extent[2:], aspect="equal")
    axes[0].set_ylabel("row of the anchor [px]")
    return axes


def residuals(table: pd.DataFrame, *, ax: Any = None) -> Any:
    """Plot the misalignment to be expected over time: if one shift is applied (hollow), and after what was done.

    Parameters
    ----------
    table : DataFrame
        One row an item, as `RunResult.to_dataframe` gives it.
    ax : matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InvalidRequest
        If the table tells no residual, as those of earlier versions.
    MissingMatplotlib
        If matplotlib is not installed.
    """
    if "residual" not in table or "spread" not in table:
        raise InvalidRequest("This quality tells no residual: estimate it again to know it.")
    ax = _axes(ax, (9, 4))
    when, label = _moments(table)
    size = _mark_size(table)
    left = table["residual"].to_numpy(float)
    parts = [table[name].to_numpy(float) for name in ("spread", "shift_sigma_y", "shift_sigma_x")]
    single = np.sqrt(np.square(parts).sum(axis=0))
    for status, colour in COLOURS.items():
        own = (table["status"] == status).to_numpy() & np.isfinite(left)
        if not own.any():
            continue
        shape = _SHAPES[status]
        ax.vlines(
            when[own], left[own], np.where(np.isfinite(single), single, left)[own], color=colour, linewidth=1
        )
        ax.plot(when[own], single[own], shape, color=colour, markerfacecolor="white", markersize=size)
        ax.plot(
            when[own], left[own], shape, color=colour, markersize=size + 1, label=status.replace("_", " ")
        )
    ax.set(xlabel=label, ylabel="misalignment to be expected [px rms]")
    ax.set_ylim(bottom=0)
    _spare_labels(ax, when)
    _head(ax, "Misalignment to be expected: with one shift (hollow) and after what was done")
    return ax


def compare(quality: ItemQuality, *, title: str = "", ax: Sequence[Any] | None = None) -> NDArray[np.object_]:
    """Show a part of the scene at full resolution: anchor, item before, item after, and both in one picture.

    An item that was reached only through others is shown beside the aligned one that it was scored against.

    Parameters
    ----------
    quality : ItemQuality
        An item's quality, with evidence.
    title : str
        What the item is called.
    ax : sequence of four matplotlib Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    ndarray of matplotlib Axes, shape (4,)
        In the last picture the anchor (or other item) is orange and the item blue: grey is what lies in the same
        place.

    Raises
    ------
    InvalidRequest
        If there is nothing to compare, or `ax` does not hold four axes.
    MissingMatplotlib
        If matplotlib is not installed.
    """
    evidence = _evidence(quality, title)
    if evidence.chips is None:
        raise InvalidRequest(f"{title or 'The item'} is the anchor: there is nothing to compare it with.")
    if ax is None:
        _, ax = _pyplot().subplots(1, 4, figsize=(14, 4.2), layout="constrained", sharex=True, sharey=True)
    axes = np.asarray(ax, object).ravel()
    if axes.size != 4:
        raise InvalidRequest(f"compare draws on four axes, but ax holds {axes.size}.")
    chips = _decoded(evidence)[:CHIP, : 3 * CHIP].reshape(CHIP, 3, CHIP).transpose(1, 0, 2)
    shown = chips[2] if quality.shift is not None else chips[1]
    # orange and blue are told apart by those too who do not see red and green as two colours
    both = np.stack([chips[0], (chips[0].astype(np.uint16) + shown) // 2, shown], axis=-1).astype(np.uint8)
    left, top = evidence.chips.x - 0.5, evidence.chips.y - 0.5
    extent = (left, left + CHIP, top + CHIP, top)
    moved = "after" if quality.status is Status.COREGISTERED else "if it were moved"
    first = f"{evidence.against}, aligned" if evidence.against else "anchor"
    names = (first, "before", moved, f"{'neighbour' if evidence.against else 'anchor'} orange, item blue")
    for one, image, name in zip(axes, (*chips, both), names, strict=True):
        one.imshow(image, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
        one.set(title=name, xlabel="column [px]")
    if quality.shift is None:
        axes[2].text(0.5, 0.5, "no shift is known", color="white", ha="center", transform=axes[2].transAxes)
    axes[0].set_ylabel("row of the anchor [px]")
    if title:
        axes[0].figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    return axes


def _evidence(quality: ItemQuality, title: str) -> Evidence:
    if quality.evidence is None:
        raise InvalidRequest(f"There is no picture of {title or 'the item'}: {quality.details}")
    return quality.evidence


def _overview(evidence: Evidence) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """The item's overview, and its left, right, lower and upper edge in the frame, px."""
    rows, cols = evidence.overview
    top = CHIP if evidence.chips is not None else 0
    left, upper = evidence.origin.x, evidence.origin.y
    place = (left, left + cols * evidence.factor, upper + rows * evidence.factor, upper)
    return _decoded(evidence)[top : top + rows, :cols], place


def _decoded(evidence: Evidence) -> NDArray[np.uint8]:
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_PAM_ENABLED="NO"),
        MemoryFile(evidence.picture, ext=".jpg") as memory,
    ):
        # a picture has no place of its own; where it lies is told beside it
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="JPEG") as dataset:
            return np.asarray(dataset.read(1))


def _moments(table: pd.DataFrame) -> tuple[NDArray[Any], str]:
    """Where items lie along time, or their numbers where no time is known."""
    if (
        "time" in table
        and pd.api.types.is_datetime64_any_dtype(table["time"])
        and table["time"].notna().any()
    ):
        undated = int(table["time"].isna().sum())
        label = f"time (UTC); {undated} without a time: not shown" if undated else "time (UTC)"
        return table["time"].to_numpy("datetime64[ns]"), label
    return np.arange(1, len(table) + 1), "item"


def _spare_labels(ax: Any, when: NDArray[Any]) -> None:
    """Labels of dates that do not run into each other, however narrow the axes; of items, whole numbers."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if when.dtype.kind == "M":
        locator = AutoDateLocator(minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def _mark_size(table: pd.DataFrame) -> float:
    return 5 if len(table) <= 100 else 3


def _head(ax: Any, title: str) -> None:
    """Title and, between it and the axes, the legend: inside it would lie on some of many items."""
    ax.grid(alpha=0.25)
    handles, _ = ax.get_legend_handles_labels()
    pad = 4.0
    if handles:
        columns = max(1, int(ax.get_window_extent().width / ax.figure.dpi / _LEGEND_WIDTH))
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize="small", frameon=False,
            borderpad=0, borderaxespad=0.3, columnspacing=1.2, labelspacing=0.3,
        )  # fmt: skip
        pad += _LEGEND_LINE * -(-len(handles) // columns)
    ax.set_title(title, loc="left", pad=pad, fontsize="medium")


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    return _pyplot().subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingMatplotlib(
            "Plots need matplotlib, which is not installed. Install it: pip install 'coregstack[plot]'"
        ) from error
    return pyplot
