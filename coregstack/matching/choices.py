"""Values of the options and their defaults; this module imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Method = Literal["direct", "network"]
"""Ways to estimate: each item with the anchor only, or with some others as well, and all pairs adjusted."""

Band: TypeAlias = str | int | tuple[str | int, str | int]
"""A band by name or position; "mean" for the mean of all; or two, of the anchor and of the items."""

Resampling = Literal["cubic", "bilinear", "lanczos", "nearest", "none"]
"""How pixels are moved; with "none" only geotransforms are."""

Model = Literal["shift", "affine", "field", "terrain", "auto"]
"""Ways in which an item may be displaced: as one, by a linear map, by a field, by patterns that all items have in
common; or the simplest that fits it alone."""

SIMPLER = "auto"
"""How items are displaced where patterns are asked for and there are none: each by the simplest model that fits it."""

Decide = Literal["score", "evidence"]
"""Ways to decide whether an item is moved: by the matching score, or by whether its shift is known."""

Estimator = Literal["coregstack", "phase"]
"""Estimators that have a name: coregstack's own, and scikit-image's phase correlation of windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known from outside of where a stack lies."""

    name: str
    """Id of an item that lies right, or path of an image that does."""
    sigma: float
    """1 sigma of its own position along each axis, px of the anchor."""


Datum: TypeAlias = str | os.PathLike[str] | Sequence[str] | Mapping[str, float] | tuple[Known, ...]
"""What holds the position of a stack: "anchor", "mean" for the weighted mean of all items, ids of trusted ones, or what
is known from outside: a reference image, or ids of items that lie right and such images, each with its sigma, px."""

ANCHOR_DATUM = "anchor"
"""The datum unless another one is asked for."""

OutputLattice = Literal["items", "anchor"]
"""Whose pixels an output has whose anchor is no item of it."""

METHODS: tuple[Method, ...] = get_args(Method)
"""All of `Method`."""

MODELS: tuple[Model, ...] = get_args(Model)
"""All of `Model`."""

DECISIONS: tuple[Decide, ...] = get_args(Decide)
"""All of `Decide`."""

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
"""All of `Estimator`."""

LATTICES: tuple[OutputLattice, ...] = get_args(OutputLattice)
"""All of `OutputLattice`."""

RESAMPLING = tuple(name for name in get_args(Resampling) if name != "none")
"""Interpolations that pixels can be moved with."""

SCORE_THRESHOLD = 0.8
"""An item whose score before is at or above this is already aligned."""

MIN_IMPROVEMENT = 0.001
"""A shift is applied only if it improves the score by at least this much."""
