"""Graphs that put the qualities of all items into another datum than the anchor: one small task beside one an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from coregstack.graph.blocks import boxed
from coregstack.kernels.displacement import about
from coregstack.matching.decision import in_datum, without_datum
from coregstack.matching.options import MatchSettings
from coregstack.model import NO_SHIFT, ItemQuality, Shift, Status
from coregstack.network.datum import Datum, datum_of, datum_words

_NO_OBJECTS = np.empty(0, object)
_UNKNOWN = np.full((2, 2), np.nan)


def in_datum_records(
    records: da.Array,
    names: Sequence[str],
    anchor: int | None,
    settings: MatchSettings,
    references: Mapping[str, da.Array],
) -> da.Array:
    """Qualities in the datum that is asked for.

    Parameters
    ----------
    records : dask Array
        An `ItemQuality` for each item, relative to the anchor.
    names : sequence of str
        Ids of the items.
    anchor : int, optional
        Position of the anchor, None where it is none of them.
    settings : MatchSettings
        Its `datum`, and by what is decided.
    references : mapping
        Of each image that the datum names an `ItemQuality` for each item, matched with it.
    """
    every = da.concatenate([records, *references.values()])
    name = tokenize(every.name, anchor, settings.datum, names)
    told = da.map_blocks(
        _numbers, every, dtype=object, meta=_NO_OBJECTS, name="coregstack-placed-" + name
    ).rechunk(-1)
    datum = da.map_blocks(
        _datum, told, names=tuple(names), anchor=anchor, settings=settings, references=tuple(references),
        chunks=(1,), dtype=object, meta=_NO_OBJECTS, name="coregstack-datum-" + name,
    )  # fmt: skip
    relative: da.Array = da.blockwise(
        _relative, "t", records.rechunk(1), "t", da.arange(len(names), chunks=1), "t", datum, "d",
        settings=settings, concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip
    return relative


def _numbers(records: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shift and sigma of an item, shape (2, 2)."""
    one: ItemQuality = records[0]
    if one.status is Status.ANCHOR:
        return boxed(np.zeros((2, 2)))
    known = one.shift is not None and one.sigma is not None
    return boxed(np.array([one.shift, one.sigma]) if known else _UNKNOWN)


def _datum(
    told: NDArray[np.object_],
    names: tuple[str, ...],
    anchor: int | None,
    settings: MatchSettings,
    references: tuple[str, ...],
) -> NDArray[np.object_]:
    """The datum; `told` holds the numbers of all items, and behind them those against each reference."""
    own, *others = np.stack(list(told)).reshape(1 + len(references), len(names), 2, 2)
    return boxed(datum_of(settings, names, anchor, own, dict(zip(references, others, strict=True))))


def _relative(
    records: NDArray[np.object_],
    position: NDArray[np.int64],
    found: NDArray[np.object_],
    settings: MatchSettings,
) -> NDArray[np.object_]:
    one: ItemQuality = records[0]
    datum: Datum = found[0]
    own = NO_SHIFT if one.status is Status.ANCHOR else one.shift
    if own is None or one.unreadable:
        return boxed(one)
    if not datum.count:
        return boxed(without_datum(one, settings))
    mean, sigma = Shift(*datum.shift.tolist()), Shift(*datum.sigma[int(position[0])].tolist())
    if not np.isfinite(sigma).all():
        return boxed(one)
    shift = Shift(own.y - mean.y, own.x - mean.x)
    words = datum_words(datum, settings)
    known = None if datum.known is None else Shift(*datum.known.tolist())
    displacement = None if one.displacement is None else about(one.displacement, mean)
    return boxed(in_datum(one, shift, sigma, displacement, words, known, settings))
