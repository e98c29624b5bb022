"""From where a scene was seen, as the metadata beside its images tell it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

from coregstack.errors import MissingFile, UnreadableFile
from coregstack.model import Viewing
from coregstack.untrusted.jsonfile import read_small_json, read_text

_SIDES = re.compile(r"(?:mtd_tl\.xml|.*_metadata\.(?:json|xml))", re.IGNORECASE | re.ASCII)
_RADIUS, _ORBIT = 6371.0, 475.0
"""Of the Earth, and the height of Planet's satellites, km: what is steeper at the satellite than on the ground."""
_NUMBER = r"[^<>]*>\s*([-+0-9.eE]{1,32})\s*<"
_SENTINEL = re.compile(
    rf"<Mean_Viewing_Incidence_Angle\b[^<>]*>\s*<ZENITH_ANGLE\b{_NUMBER}/ZENITH_ANGLE>\s*<AZIMUTH_ANGLE\b{_NUMBER}"
)
_PLANET = re.compile(rf"<eop:incidenceAngle\b{_NUMBER}"), re.compile(rf"<ps:azimuthAngle\b{_NUMBER}")


def viewing_of(paths: Iterable[Path]) -> Viewing | None:
    """From where a scene was seen.

    Known are the mean of all bands in Sentinel-2's ``MTD_TL.xml``, and Planet's ``*_metadata.xml`` and
    ``*_metadata.json`` (`satellite_azimuth` with `view_angle`, which is counted at the satellite). Landsat tells no
    direction but in its files of angle coefficients, which are not read.

    Parameters
    ----------
    paths : iterable of Path
        Files of the scene that are no images.

    Returns
    -------
    Viewing or None
        None where no file tells it; files that are damaged or too large are passed over.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a_metadata.json")
    ...     _ = path.write_text('{"properties": {"view_angle": -4.0, "satellite_azimuth": 278.5}}')
    ...     viewing_of([path])
    Viewing(incidence=4.298..., azimuth=278.5)
    """
    # what is counted on the ground comes first
    known = sorted(
        (path for path in paths if _SIDES.fullmatch(path.name)), key=lambda p: p.suffix.lower() != ".xml"
    )
    for path in known:
        try:
            found = _from_json(path) if path.suffix.lower() == ".json" else _from_xml(path)
        except (MissingFile, UnreadableFile, ValueError):
            continue
        if found is not None:
            return found
    return None


def _from_json(path: Path) -> Viewing | None:
    value = read_small_json(path)
    properties = value.get("properties") if isinstance(value, dict) else None
    if not isinstance(properties, dict):
        return None
    angle, azimuth = (properties.get(name) for name in ("view_angle", "satellite_azimuth"))
    if not isinstance(angle, int | float) or not isinstance(azimuth, int | float) or isinstance(angle, bool):
        return None
    sine = math.sin(math.radians(abs(angle))) * (1 + _ORBIT / _RADIUS)
    return _checked(math.degrees(math.asin(sine)), azimuth) if sine < 1 else None


def _from_xml(path: Path) -> Viewing | None:
    """Numbers by their names alone: nothing else of a file from outside is followed."""
    text = read_text(path)
    if found := _SENTINEL.findall(text):
        pairs = [[math.radians(float(part)) for part in pair] for pair in found]
        east, north = (
            sum(math.tan(zenith) * turn(azimuth) for zenith, azimuth in pairs) / len(pairs)
            for turn in (math.sin, math.cos)
        )
        return _checked(
            math.degrees(math.atan(math.hypot(east, north))), math.degrees(math.atan2(east, north))
        )
    angles = [one.search(text) for one in _PLANET]
    told = [float(one[1]) for one in angles if one is not None]
    return _checked(abs(told[0]), told[1]) if len(told) == 2 else None


def _checked(incidence: float, azimuth: float) -> Viewing | None:
    """None where the numbers are no angles of a satellite above the horizon."""
    if not (0 <= incidence < 80 and -360 <= azimuth <= 360):
        return None
    return Viewing(incidence=incidence, azimuth=azimuth % 360)
