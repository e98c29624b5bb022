"""A quality Dataset to and from CSV, Parquet and JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from coregstack.errors import InvalidRequest, InvalidStack, MissingFile, UnreadableFile
from coregstack.export.files import staged
from coregstack.matching.quality import fields_in, missing_in, variables
from coregstack.model import Status
from coregstack.untrusted.jsonfile import read_json, write_json

_KEYS = ("id", "time")
_EXTRA = ("source",)
_FORMATS = (".csv", ".parquet", ".json")


def write_quality(quality: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a quality as a table, one row an item.

    Parameters
    ----------
    quality : Dataset
        What `coregstack.estimate` or `RunResult.to_quality` returned; it is computed if it is lazy.
    path : path-like
        Ends in ``.csv``, ``.parquet`` (needs pyarrow) or ``.json``. Parquet and JSON carry the attributes (anchor,
        threshold and so on) along; CSV is the table alone.

    Returns
    -------
    Path
        The file; it appears only complete.

    Raises
    ------
    InvalidRequest
        If the ending is none of these, or pyarrow is missing.
    InvalidStack
        If the Dataset is no quality.

    Examples
    --------
    >>> import tempfile, coregstack
    >>> from coregstack.testing import sample_stack
    >>> quality = coregstack.estimate(sample_stack(3, shape=(256, 256)), anchor=0).compute()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = read_quality(write_quality(quality, f"{folder}/quality.csv"))
    >>> bool((again.shift_x.fillna(0) == quality.shift_x.fillna(0)).all())
    True
    """
    target = Path(path)
    table = _table(quality)
    attrs = {str(key): _plain(value) for key, value in quality.attrs.items()}
    match target.suffix.lower():
        case ".csv":
            with staged(target) as temporary:
                table.to_csv(temporary, index=False, date_format="%Y-%m-%dT%H:%M:%S.%fZ", lineterminator="\n")
        case ".parquet":
            _pyarrow()
            table.attrs = {"coregstack": attrs}
            with staged(target) as temporary:
                table.to_parquet(temporary, engine="pyarrow", index=False)
        case ".json":
            target.parent.mkdir(parents=True, exist_ok=True)
            write_json(
                target, {"attributes": attrs, "items": [_json_row(row) for row in table.to_dict("records")]}
            )
        case _:
            raise InvalidRequest(
                f"A quality is written as {' or '.join(_FORMATS)}, but {str(path)!r} was given."
            )
    return target


def read_quality(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a quality that `write_quality` wrote, or the ``coregistration.csv`` of an output folder.

    Parameters
    ----------
    path : path-like
        Ends in ``.csv``, ``.parquet`` (needs pyarrow) or ``.json``.

    Returns
    -------
    Dataset
        As `coregstack.apply` takes it.

    Raises
    ------
    InvalidRequest
        If the ending is none of these, or pyarrow is missing.
    UnreadableFile, MissingFile
        If the file is not such a table.

    Examples
    --------
    >>> quality = read_quality("aligned/coregistration.csv")  # doctest: +SKIP
    """
    source = Path(path)
    if source.suffix.lower() in _FORMATS and not source.exists():
        raise MissingFile(f"{str(path)!r} has to be a table of a quality, but there is nothing at this path.")
    attrs: dict[str, Any] = {}
    try:
        match source.suffix.lower():
            case ".csv":
                # numbers as text too: numpy reads them to the last bit, pandas 2 does not
                table = pd.read_csv(source, dtype=str)
            case ".parquet":
                _pyarrow()
                table = pd.read_parquet(source, engine="pyarrow")
                attrs = dict(table.attrs.get("coregstack", {}))
            case ".json":
                content = read_json(source)
                table, attrs = pd.DataFrame(content["items"]), dict(content["attributes"])
            case _:
                raise InvalidRequest(
                    f"A quality is read from {' or '.join(_FORMATS)}, but {str(path)!r} was given."
                )
        return _dataset(table.rename(columns={"item": "id"}), attrs)
    except (InvalidRequest, UnreadableFile):
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(
            f"{str(path)!r} has to be a table of a quality, with a row for each item, but it cannot be read as one "
            f"({error}). Write it with write_quality."
        ) from error


def _table(quality: xr.Dataset) -> pd.DataFrame:
    missing = missing_in(quality)
    if missing or "time" not in quality.dims:
        raise InvalidStack(f"The quality lacks {missing or ['time']}; pass what estimate returned.")
    known = quality.compute()
    fields = [field.name for field in fields_in(known.variables)]
    names = [name for name in (*_KEYS, *fields, *_EXTRA) if name in known.variables]
    return pd.DataFrame({name: known[name].values for name in names})


def _dataset(table: pd.DataFrame, attrs: dict[str, Any]) -> xr.Dataset:
    missing = missing_in(table)
    if missing:
        raise ValueError(f"it lacks the columns {missing}")
    unknown = sorted(set(table["status"]) - {str(status) for status in Status})
    if unknown:
        raise ValueError(f"it holds the status {unknown[0]!r}, which is none of {[str(s) for s in Status]}")
    coords: dict[str, Any] = {}
    if "time" in table:
        times = pd.to_datetime(table["time"], utc=True, format="ISO8601").dt.tz_localize(None)
        coords["time"] = times.to_numpy("datetime64[ns]")
    for name in ("id", *_EXTRA):
        if name in table:
            coords[name] = ("time", table[name].fillna("").astype(str).to_numpy(object))
    return xr.Dataset(variables(table), coords=coords, attrs=attrs)


def _json_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as JSON holds it: times in UTC, None for what is not known."""
    if value is pd.NaT or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return f"{value.isoformat()}Z"
    return value.item() if isinstance(value, np.generic) else value


def _pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InvalidRequest(
            "Parquet needs pyarrow, which is not installed. Install it: pip install 'coregstack[parquet]'"
        ) from error
