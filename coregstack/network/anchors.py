"""Which item makes the best anchor, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coregstack.errors import InvalidRequest
from coregstack.network.seasons import season_apart

ANCHOR_WEIGHTS = {
    "similarity": 0.75,
    "sharpness": 0.05,
    "season": 0.05,
    "sensor": 0.05,
    "ground_control": 0.10,
}
"""Weights of the parts of an anchor's total; parts that are not known for any item are left out."""
_SEASON_DAYS = 60.0
_UNKNOWN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorScore:
    """How good an anchor one item would make; every number from 0 to 1."""

    item: int
    """Position of the item."""
    total: float
    """`area` times `clear` times the weighted mean of the other parts."""
    area: float
    """Share of the stack's area that the item covers."""
    clear: float
    """Share of the item that is usable."""
    parts: dict[str, float]
    """The parts of `ANCHOR_WEIGHTS`, each relative to the best item of the stack."""
    sentence: str
    """The same in words."""


def rank_anchors(
    *,
    area: ArrayLike,
    clear: ArrayLike,
    sharpness: ArrayLike | None = None,
    similarity: ArrayLike | None = None,
    times: ArrayLike | None = None,
    sensors: Sequence[str | None] | None = None,
    ground_control: Sequence[bool | None] | None = None,
    names: Sequence[str] | None = None,
) -> tuple[AnchorScore, ...]:
    """Rank items by how good an anchor each would make.

    The total is the part of the stack's area that can be matched, times a weighted mean (`ANCHOR_WEIGHTS`) of
    texture in common with the other items, sharpness, how central the season is, how common the sensor, and
    whether the item was located by ground control. Each of those is relative to the best item.

    The purpose of an anchor is that the shifts of the others are known well, and of all parts only the
    texture in common predicts that. The sharpest items of a stack, and those of its largest season, often are
    not those
    that the others look like.

    Parameters
    ----------
    area, clear : array_like
        Shape (n,), 0 to 1: share of the stack's area that the item covers, and usable share of the item.
    sharpness : array_like, optional
        Shape (n,), at least 0, in any unit.
    similarity : array_like, optional
        Shape (n, n), -1 to 1, between items, or (n,), each item's mean with the others.
    times : array_like, optional
        Shape (n,), datetime64.
    sensors : sequence of str or None, optional
        Shape (n,): instrument or satellite generation of each item.
    ground_control : sequence of bool or None, optional
        Shape (n,): whether the item was located by ground control; None where unknown, which counts half.
    names : sequence of str, optional
        Shape (n,): what to call the items; their positions by default.

    Returns
    -------
    tuple of AnchorScore
        Best first; equal totals in the order of the items.

    Raises
    ------
    InvalidRequest
        If a measure has not one entry for each item.

    Examples
    --------
    >>> best, *_ = rank_anchors(area=[1, 1, 0.4], clear=[0.5, 0.9, 1], sharpness=[2.0, 1.8, 2.0])
    >>> best.item, round(best.total, 2)
    (1, 0.81)
    >>> best.sentence
    'item 1: sees 100 % of the area, 90 % clear; relative to the best: sharpness 0.90.'
    """
    seen, usable = np.asarray(area, np.float64), np.asarray(clear, np.float64)
    count = seen.size
    measured = {
        "similarity": None if similarity is None else _mean_similarity(np.asarray(similarity, np.float64)),
        "sharpness": None if sharpness is None else np.asarray(sharpness, np.float64),
        "season": None if times is None else _centrality(np.asarray(times, "datetime64[s]")),
        "sensor": None if sensors is None else _commonness(sensors),
    }
    located = None
    if ground_control is not None and any(flag is not None for flag in ground_control):
        located = np.array([_UNKNOWN if flag is None else float(flag) for flag in ground_control])
    parts = {name: _relative(values) for name, values in measured.items() if values is not None}
    if located is not None:
        parts["ground_control"] = located
    for name, values in {"clear": usable, **parts}.items():
        if values.shape != (count,):
            raise InvalidRequest(f"{name} needs one entry for each of the {count} items, not {values.shape}.")
    weight = sum(ANCHOR_WEIGHTS[name] for name in parts)
    worth = sum(ANCHOR_WEIGHTS[name] * values for name, values in parts.items()) / weight if parts else 1.0
    total = np.nan_to_num(seen * usable * worth)
    labels = [f"item {k}" for k in range(count)] if names is None else names
    scores = []
    for k in np.argsort(-total, kind="stable").tolist():
        own = {name: float(values[k]) for name, values in parts.items()}
        flag = ground_control[k] if ground_control is not None else None
        scores.append(
            AnchorScore(
                item=k,
                total=float(total[k]),
                area=float(seen[k]),
                clear=float(usable[k]),
                parts=own,
                sentence=f"{labels[k]}: {_in_words(float(seen[k]), float(usable[k]), own, flag)}.",
            )
        )
    return tuple(scores)


def _mean_similarity(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.ndim == 1:
        return values
    if values.shape[0] != values.shape[1]:
        raise InvalidRequest(f"similarity has to be square, or one mean for each item, not {values.shape}.")
    others = np.where(np.eye(len(values), dtype=bool), 0, np.maximum(np.nan_to_num(values), 0))
    mean: NDArray[np.float64] = others.sum(axis=1) / max(len(values) - 1, 1)
    return mean


def _centrality(times: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Mean nearness in season with the other items; NaT is near to none."""
    days = np.where(np.isnat(times), np.nan, times.astype(np.int64) / 86400)
    near = np.exp(-season_apart(np.abs(days[:, None] - days)) / _SEASON_DAYS)
    np.fill_diagonal(near, 0)
    mean: NDArray[np.float64] = near.sum(axis=1) / max(len(times) - 1, 1)
    return mean


def _commonness(sensors: Sequence[str | None]) -> NDArray[np.float64]:
    """Share of the items that the same sensor took; 0 where the sensor is unknown."""
    names = list(sensors)
    return np.array([0.0 if name is None else names.count(name) / len(names) for name in names])


def _relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.maximum(np.nan_to_num(values), 0)
    best = known.max(initial=0)
    return known / best if best > 0 else np.ones(known.shape)


def _in_words(area: float, clear: float, parts: dict[str, float], located: bool | None) -> str:
    compared = ", ".join(f"{name} {value:.2f}" for name, value in parts.items() if name != "ground_control")
    words = [f"sees {area:.0%} of the area, {clear:.0%} clear".replace("%", " %")]
    if compared:
        words.append(f"relative to the best: {compared}")
    if located is not None:
        words.append("located by ground control" if located else "not located by ground control")
    return "; ".join(words)
