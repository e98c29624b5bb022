"""The GeoJSON Feature that is delivered with an item, as far as coregstack uses it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from coregstack.errors import MissingFile, UnreadableFile
from coregstack.untrusted.jsonfile import read_small_json
from coregstack.untrusted.times import time_from_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMetadata:
    """Properties of an item; None where not known."""

    acquired: datetime | None = None
    """Acquisition time, UTC without a time zone."""
    item_type: str | None = None
    """For example ``PSScene``."""
    cloud_cover: float | None = None
    """Share of the scene under cloud, 0 to 1."""
    clear_percent: float | None = None
    """Percent of the scene that is clear, 0 to 100."""
    visible_percent: float | None = None
    """Percent of the scene that is visible, also through haze, 0 to 100."""
    ground_control: bool | None = None
    """True if the scene was tied to the ground when it was orthorectified."""


def read_item_metadata(path: Path) -> ItemMetadata:
    """Read ``<id>_metadata.json``, or the STAC item ``<id>.json``.

    Metadata are optional: a file that is missing or damaged, or has unknown content, counts as empty.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ItemMetadata
        Everything that could be read and is plausible.
    """
    try:
        value = read_small_json(path)
    except (MissingFile, UnreadableFile):
        return ItemMetadata()
    properties = value.get("properties") if isinstance(value, dict) else None
    if not isinstance(properties, dict):
        return ItemMetadata()
    item_type = properties.get("item_type", properties.get("pl:item_type"))
    control = properties.get("ground_control", properties.get("pl:ground_control"))
    return ItemMetadata(
        acquired=time_from_text(properties.get("acquired")) or time_from_text(properties.get("datetime")),
        item_type=item_type if isinstance(item_type, str) and item_type else None,
        cloud_cover=_between(properties.get("cloud_cover"), 1),
        clear_percent=_between(properties.get("clear_percent", properties.get("pl:clear_percent")), 100),
        visible_percent=_between(
            properties.get("visible_percent", properties.get("pl:visible_percent")), 100
        ),
        ground_control=control if isinstance(control, bool) else None,
    )


def _between(value: Any, highest: float) -> float | None:
    """A number from 0 to `highest`, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= highest else None
