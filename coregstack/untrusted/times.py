"""Acquisition times that file names tell.

All times are UTC and without a time zone, as numpy's ``datetime64`` takes them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

FIRST_YEAR, LAST_YEAR = 1970, 2100

_START, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9+])"
_DAY = r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
_YEAR_DAY = r"(?P<year>\d{4})(?P<yearday>\d{3})"
_CLOCK = r"(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})"
_FRACTION = r"(?:[.,](?P<fraction>\d{1,9}))?Z?"
_DOTTED = r"(?P<hour>\d{2})[.](?P<minute>\d{2})[.](?P<second>\d{2})Z?"
_DATED = tuple(
    re.compile(_START + pattern + _END, re.ASCII)
    for pattern in (
        # PlanetScope writes hundredths of a second as a part of its own.
        rf"{_DAY}_{_CLOCK}_(?P<hundredths>\d{{1,2}})_[0-9A-Fa-f]{{4}}",
        rf"{_DAY}T{_CLOCK}{_FRACTION}",
        rf"{_DAY}T(?P<hour>\d{{2}})(?P<minute>\d{{2}})Z?",
        rf"{_DAY}[_-]{_CLOCK}{_FRACTION}",
        # SPOT writes tenths of a second behind it
        rf"{_DAY}{_CLOCK}(?:\d{{1,3}}|Z)?",
        _DAY,
        r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
        rf"(?:[T_ ](?P<hour>\d{{2}})[:-]?(?P<minute>\d{{2}})[:-]?(?P<second>\d{{2}}){_FRACTION})?",
        rf"(?P<year>\d{{4}})-(?P<month>\d{{2}})-(?P<day>\d{{2}})[T_ ]{_DOTTED}",
        r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})",
        r"(?P<year>\d{4})_(?P<month>\d{2})_(?P<day>\d{2})_"
        r"(?P<hour>\d{2})_(?P<minute>\d{2})_(?P<second>\d{2})",
        r"(?P<year>\d{4})_(?P<month>\d{2})_(?P<day>\d{2})",
        rf"(?P<year>\d{{4}})\.(?P<month>\d{{2}})\.(?P<day>\d{{2}})[T_ ]{_DOTTED}",
        r"(?P<year>\d{4})\.(?P<month>\d{2})\.(?P<day>\d{2})",
        # ASTER: the version, then the acquisition with the year last; processing follows in the usual order.
        rf"AST_[A-Za-z0-9]{{2,5}}_\d{{3}}(?P<month>\d{{2}})(?P<day>\d{{2}})(?P<year>\d{{4}}){_CLOCK}",
        # Landsat before collections, HLS, MODIS, AppEEARS: year and day of the year.
        rf"L[CEMOT]\d\d{{6}}{_YEAR_DAY}[A-Z]{{3}}\d{{2}}",
        rf"{_YEAR_DAY}T{_CLOCK}",
        rf"A{_YEAR_DAY}(?:\.(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?=\.))?",
        rf"doy{_YEAR_DAY}(?:{_CLOCK})?",
    )
)
# A year beside another number may have a month, or be one of two: no guess is made.
_YEAR = re.compile(
    r"(?<![A-Za-z0-9.])(?<!\d[_-])(?P<year>(?:19|20)\d{2})(?![A-Za-z0-9]|[._-]\d{1,4}(?![A-Za-z0-9]))",
    re.ASCII,
)
_RASTER_SIZE = 2048


def time_from_name(name: str) -> datetime | None:
    """Find the acquisition time that a file name or item id tells.

    The first whole date counts, with its time of day where one follows it: where a name holds several,
    as those of Landsat and Sentinel do, the acquisition comes first and processing later. A year that
    stands alone means its 1 January. Digits that touch other letters or digits are never read.

    Parameters
    ----------
    name : str
        File name, path or item id; folders are left out of account.

    Returns
    -------
    datetime or None
        UTC without a time zone, in the years 1970 to 2100; None where the name tells nothing.

    Examples
    --------
    >>> str(time_from_name("T33UUU_20170216T102101_B04.jp2"))
    '2017-02-16 10:21:01'
    >>> str(time_from_name("LC80030172015001LGN00_B2.tif")), str(time_from_name("landsat_1985.tif"))
    ('2015-01-01 00:00:00', '1985-01-01 00:00:00')
    >>> str(time_from_name("AST_L1T_00304132005164600_20150509121549_12345.tif"))
    '2005-04-13 16:46:00'
    >>> time_from_name("s2_ref0.tif") is None
    True
    """
    last = re.split(r"[\\/]", name)[-1]
    found = (match for pattern in _DATED for match in pattern.finditer(last))
    # Where two patterns begin at one place, the longer one is used.
    for match in sorted(found, key=lambda match: (match.start(), -match.end())):
        time = _time(match.groupdict())
        if time is not None:
            return time
    years = {int(match["year"]) for match in _YEAR.finditer(last)} - {_RASTER_SIZE}
    return _time({"year": str(years.pop())}) if len(years) == 1 else None


def time_from_text(text: object) -> datetime | None:
    """Read an ISO 8601 time as metadata write it, or return None.

    Parameters
    ----------
    text : object
        For example ``2017-08-31T17:27:54.960530Z``. A time without a zone counts as UTC.

    Returns
    -------
    datetime or None
        UTC without a time zone, in the years 1970 to 2100.

    Examples
    --------
    >>> str(time_from_text("2020-06-30T18:41:49.5+02:00"))
    '2020-06-30 16:41:49.500000'
    """
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return time if FIRST_YEAR <= time.year <= LAST_YEAR else None


def _time(parts: dict[str, str | None]) -> datetime | None:
    """Put the parts of a match together; None where they are no real date."""
    numbers = {key: int(value) for key, value in parts.items() if value is not None}
    year = numbers["year"]
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        date = datetime(year, numbers.get("month", 1), numbers.get("day", 1))
        date += timedelta(days=numbers.get("yearday", 1) - 1)
        micros = int((parts.get("fraction") or "0").ljust(6, "0")[:6])
        time = date.replace(
            hour=numbers.get("hour", 0),
            minute=numbers.get("minute", 0),
            second=numbers.get("second", 0),
            microsecond=micros + 10_000 * numbers.get("hundredths", 0),
        )
    except ValueError:
        return None
    # A day of the year of 0, or 366 in a common year, falls into another year.
    return time if time.year == year else None
