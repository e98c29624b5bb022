"""Texts that define a CRS, checked before PROJ reads them: they can make PROJ open files."""

from __future__ import annotations

import html
import json
import re

from coregstack.untrusted.limits import CRS_BYTES

_NO_GRID = r"@?null(?=[\s\"'|<>\]),\0]|$)(?!\s*,\s*[^\s\"'|<>\])])"
"""The grid that shifts nothing and is no file; WKT of web maps holds it."""
_NAMES_FILE = re.compile(
    # of PROJ strings: nadgrids, geoidgrids, grids, xy_grids and so on; those of transformations and old catalogues
    rf"grids\s*=\s*[\"']*(?!{_NO_GRID})[^\s\"'|]*"
    r"|(?<![a-z])(?:file|model|catalog)\s*=\s*\S*"
    r"|(?<![a-z])init\s*=\s*[\"']*(?![a-z][a-z0-9_]*:[a-z0-9.]+(?:[\s\"'|<>\]),\0]|$))\S*"
    # of WKT: GDAL's extension for grids, files of transformations, parameters that are no numbers
    rf"|proj4_grids(?!\"+\s*,\s*\"+{_NO_GRID})"
    r"|parameterfile|\bparameter\s*[\[(]\s*\"(?:[^\"]|\"\")*\"\s*,\s*\"[^\"]*"
    # of PROJJSON: the same
    r"|\"value\"\s*:\s*\"[^\"]*"
    # any key whose value is a path or an address; addresses of XML namespaces are never opened
    r"|=\s*[\"'@]*(?:\.{0,2}/|~|\\|[a-z]:\\|(?!https?://(?:www\.)?(?:opengis\.net|w3\.org)/)[a-z0-9+]+://)\S*",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\s*(?:[/\\~.]|[a-z]:[\\/]|(?!https?://(?:www\.)?opengis\.net/)[a-z0-9+.-]+://)", re.IGNORECASE
)
_LONGEST = 60


def file_named(text: str) -> str:
    r"""What in a text that defines a CRS would make PROJ open a file; empty if there is nothing.

    Parameters
    ----------
    text : str
        WKT, a PROJ string, PROJJSON, a code, or any text that holds such, XML for example.

    Examples
    --------
    >>> file_named("+proj=utm +zone=33 +ellps=intl +nadgrids=/dev/stdin")
    'nadgrids=/dev/stdin'
    >>> file_named("EPSG:32633"), file_named("+proj=merc +a=6378137 +nadgrids=@null +no_defs")
    ('', '')
    """
    for form in {text, html.unescape(text)}:
        found = _NAMES_FILE.search(form)
        if found is not None:
            start = re.search(r"[A-Za-z0-9_]*$", form[: found.start()])
            word = (start.group() if start else "") + found.group()
            return word if len(word) <= _LONGEST else f"{word[:_LONGEST]}..."
    return ""


def crs_fault(text: str) -> str:
    """Why a text is not given to PROJ as the definition of a CRS, in words that follow "the CRS"; empty if it is.

    Parameters
    ----------
    text : str
        WKT, a PROJ string, PROJJSON, a code or a name.

    Examples
    --------
    >>> crs_fault("WGS 84 / UTM zone 33N"), crs_fault("/dev/stdin")
    ('', "is the name of a file, '/dev/stdin'")
    """
    if len(text) > CRS_BYTES():
        return f"is longer than {CRS_BYTES()} characters (raise {CRS_BYTES.variable} if you trust it)"
    if _PLACE.match(text):
        return f"is the name of a file, {text[:_LONGEST]!a}"
    if text.lstrip().startswith("{"):
        try:
            # escapes may hide what is looked for
            text = json.dumps(json.loads(text), ensure_ascii=False)
        except (ValueError, RecursionError) as error:
            return f"is no JSON: {error}"
    found = file_named(text)
    return f"names a file, {found!a}: only definitions that need no file are used" if found else ""
