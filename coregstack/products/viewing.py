"""From where a scene was seen, as the metadata beside its images tell it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from coregstack.errors import MissingFile, UnreadableFile
from coregstack.model import Viewing
from coregstack.untrusted.jsonfile import read_small_json, read_text

_SIDES = re.compile(r"(?:mtd_tl\.xml|.*_metadata\.(?:json|xml))", re.IGNORECASE | re.ASCII)
_RADIUS, _ORBIT = 6371.0, 475.0
"""Of the Earth, and the height of Planet's satellites, km: what is steeper at the satellite than on the ground."""
_ONE_VIEW = math.tan(math.radians(3.0))
"""By how much tilts may differ, rms: across a swath of Landsat they do by 4.3°, across a tile of HLS by 2.6°."""
_NUMBER = r"[^<>]*>\s*([-+0-9.eE]{1,32})\s*<"
_SENTINEL = re.compile(
    rf"<Mean_Viewing_Incidence_Angle\b[^<>]*>\s*<ZENITH_ANGLE\b{_NUMBER}/ZENITH_ANGLE>\s*<AZIMUTH_ANGLE\b{_NUMBER}"
)
_PLANET = re.compile(rf"<eop:incidenceAngle\b{_NUMBER}"), re.compile(rf"<ps:azimuthAngle\b{_NUMBER}")


def viewing_of(paths: Iterable[Path]) -> Viewing | None:
    """From where a scene was seen.

    Known are the mean of all bands in Sentinel-2's ``MTD_TL.xml``, and Planet's ``*_metadata.xml`` and
    ``*_metadata.json`` (`satellite_azimuth` with `view_angle`, which is counted at the satellite). Landsat tells it in
    rasters, see `coregstack.stack.viewing`; its files of angle coefficients are not read.

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


def mean_viewing(zenith: ArrayLike, azimuth: ArrayLike) -> Viewing | None:
    """The one direction that a scene was seen from, of the directions of its bands or pixels.

    Components of the tilt are averaged, ``tan(zenith) (sin azimuth, cos azimuth)``: what displaces heights is
    proportional to them, and azimuths turn about where the satellite was overhead.

    Parameters
    ----------
    zenith, azimuth : array_like
        Of each, shape (n,), degrees: from the vertical, and from north eastwards, from the ground to the satellite.

    Returns
    -------
    Viewing or None
        None where there is none, angles are none of a satellite, or they differ by more than 3° rms: a whole swath of
        Landsat has no one view.

    Examples
    --------
    >>> mean_viewing([4.0, 1.0], [100.0, 280.0])
    Viewing(incidence=1.50..., azimuth=100.0...)
    >>> mean_viewing([7.5, 7.5], [100.0, 280.0]) is None
    True
    """
    turn = np.radians(np.asarray(azimuth, float))
    tilts = np.tan(np.radians(np.asarray(zenith, float))) * np.stack([np.sin(turn), np.cos(turn)])
    if tilts.shape[1] == 0:
        return None
    spread = math.sqrt(float(tilts.var(axis=1).sum()))
    if not spread <= _ONE_VIEW:
        return None
    east, north = (float(part) for part in tilts.mean(axis=1))
    return _checked(math.degrees(math.atan(math.hypot(east, north))), math.degrees(math.atan2(east, north)))


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
        zenith, azimuth = zip(*((float(one), float(other)) for one, other in found), strict=True)
        return mean_viewing(zenith, azimuth)
    angles = [one.search(text) for one in _PLANET]
    told = [float(one[1]) for one in angles if one is not None]
    return _checked(abs(told[0]), told[1]) if len(told) == 2 else None


def _checked(incidence: float, azimuth: float) -> Viewing | None:
    """None where the numbers are no angles of a satellite above the horizon."""
    if not (0 <= incidence < 80 and -360 <= azimuth <= 360):
        return None
    return Viewing(incidence=incidence, azimuth=azimuth % 360)
