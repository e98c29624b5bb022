"""Names of Planet items and of their files: read them, and place the suffix of a result.

A file name is ``<item id>[_<level>][_<product>][_<role>][_<suffix>...]<extension>``. What is not
known by its item id is left whole: its stem is its product.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from coregstack.errors import InvalidRequest
from coregstack.untrusted.names import split_extension
from coregstack.untrusted.times import time_from_name

ANCHOR_SUFFIX, COREG_SUFFIX = "_anchor", "_coreg"
RASTER_EXTENSIONS = frozenset({".tif", ".tiff", ".jp2"})

_ITEM_IDS = {
    "PSScene": r"\d{8}_\d{6}_(?:\d{1,2}_)?[0-9a-f]{4}",
    "SkySatCollect": r"\d{8}_\d{6}_(?:ssc\d{1,2}|ss0[12])_u\d{4}",
    "SkySatScene": r"\d{8}_\d{6}_(?:ssc\d{1,2}|ss0[12])d[123]_\d{4}",
    "REOrthoTile": r"\d{8}_\d{6}_\d{6,7}_RapidEye-[1-5]|\d{6,7}_\d{4}-\d{2}-\d{2}_RE[1-5]",
    "REScene": r"\d{4}-\d{2}-\d{2}T\d{6}_RE[1-5]",
    "PSOrthoTile": r"\d+_\d{6,7}_\d{4}-\d{2}-\d{2}_[0-9a-f]{4}",
}
_FLAGS = re.IGNORECASE | re.ASCII | re.DOTALL
_ITEMS = {item_type: re.compile(pattern, _FLAGS) for item_type, pattern in _ITEM_IDS.items()}
_KNOWN = re.compile(
    rf"(?P<item>{'|'.join(_ITEM_IDS.values())})(?:_(?P<level>[13][AB]))?(?P<rest>(?:_[^.]*)?)(?P<extension>(?:\..*)?)",
    _FLAGS,
)
_SUFFIX = re.compile(r"_(harmonized|toar|coreg|anchor|clip|reproject|bandmath|file_format|cog)", _FLAGS)
_REST = re.compile(
    r"(?P<product>.*?)(?P<role>_coreg_qa_metadata|_qa_metadata|_metadata|_udm2|_udm|_rpc)?"
    rf"(?P<suffixes>(?:{_SUFFIX.pattern})*)",
    _FLAGS,
)
_RAPIDEYE = re.compile(r"(\d{4})(\d{2})(\d{2})_\d{6}_(\d{6,7})_RapidEye-([1-5])", _FLAGS)
_RAPIDEYE_STEM = re.compile(r"(\d{6,7}_\d{4}-\d{2}-\d{2}_RE[1-5])_3A", _FLAGS)
_RADIOMETRY = frozenset({"harmonized", "toar"})


class Kind(StrEnum):
    """What a file of an item holds."""

    IMAGE = "image"
    """Pixels of a product."""
    UDM = "udm"
    """A mask of one band, a bit field: 0 is usable, 1 is outside the footprint."""
    UDM2 = "udm2"
    """A mask of eight bands: clear, snow, shadow, light and heavy haze, cloud, confidence, bit field."""
    METADATA = "metadata"
    """The XML of a product."""
    ITEM_METADATA = "item_metadata"
    """The GeoJSON Feature of the item."""
    RPC = "rpc"
    """Rational polynomial coefficients as text."""
    QUALITY = "quality"
    """The quality sidecar of a coregistration."""
    OTHER = "other"
    """Anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetName:
    """A file name of a delivered order, read.

    ``head + level, product and role + suffixes + extension`` is the name again; see `output_name`.
    """

    name: str
    """The file name as it is."""
    item_id: str | None
    """Item id as written; for files of a RapidEye tile ``<tile>_<date>_RE<n>``; None if not known."""
    item_type: str | None
    """For example ``PSScene``; None if not known."""
    level: str
    """Processing level, ``3B``, ``1B``, ``3A``, or empty."""
    product: str
    """What the file belongs to, as written: ``AnalyticMS_SR_8b``, ``pansharpened``, or empty for all."""
    kind: Kind
    """What the file holds."""
    suffixes: tuple[str, ...]
    """Operations that have run, in the order written, lower case: ``("harmonized", "clip")``."""
    extension: str
    """With its dot, as written; may be double or empty."""

    @property
    def orthorectified(self) -> bool:
        """False for basic products, which no shift of a map grid can align."""
        return not (self.level.startswith("1") or self.product.lower().startswith("basic"))


def parse_name(name: str) -> AssetName:
    """Read a file name.

    Parameters
    ----------
    name : str
        File name without folders. Any name is accepted; case does not matter.

    Returns
    -------
    AssetName
        With `item_id` None where the name does not begin with an item id.

    Examples
    --------
    >>> asset = parse_name("20240812_104320_10_247a_3B_AnalyticMS_SR_8b_harmonized_clip.tif")
    >>> asset.item_id, asset.item_type, asset.product, str(asset.kind), asset.suffixes
    ('20240812_104320_10_247a', 'PSScene', 'AnalyticMS_SR_8b', 'image', ('harmonized', 'clip'))
    >>> asset = parse_name("20201122_183822_ss01_u0001_pansharpened_udm2.tif")
    >>> asset.product, str(asset.kind)
    ('pansharpened', 'udm2')
    """
    known = _KNOWN.fullmatch(name)
    if known is None:
        return _unknown(name)
    parts = _REST.fullmatch(known["rest"])
    assert parts is not None  # every part may be empty and the product takes the rest
    level, product, role = (
        known["level"] or "",
        parts["product"].removeprefix("_"),
        (parts["role"] or "").lower(),
    )
    return AssetName(
        name=name,
        item_id=known["item"],
        item_type=item_type_of(known["item"]),
        level=level,
        product=product,
        kind=_kind(role, known["extension"].lower(), bare=not (level or known["rest"])),
        suffixes=tuple(match[1].lower() for match in _SUFFIX.finditer(parts["suffixes"])),
        extension=known["extension"],
    )


def output_name(name: str, suffix: str) -> str:
    """Name the file that a run writes for an input file.

    The suffix goes after the product part and after ``_harmonized`` and ``_toar``, before every other
    known suffix. It always gives the outcome of this run: a ``_coreg`` or ``_anchor`` that an earlier
    run has put there is replaced, or removed where there is none now. A name of no known pattern gets
    the suffix before its extension, and keeps whatever else its owner wrote.

    Parameters
    ----------
    name : str
        File name without folders.
    suffix : {"_coreg", "_anchor", ""}
        Outcome of this run; empty for a file that is left as it is.

    Raises
    ------
    InvalidRequest
        If the suffix is another one.

    Examples
    --------
    >>> output_name("20240812_104320_10_247a_3B_udm2_clip.tif", "_coreg")
    '20240812_104320_10_247a_3B_udm2_coreg_clip.tif'
    >>> output_name("20200630_164149_0e3a_3B_AnalyticMS_SR_harmonized_clip_file_format.tif", "_anchor")
    '20200630_164149_0e3a_3B_AnalyticMS_SR_harmonized_anchor_clip_file_format.tif'
    >>> output_name("naip_20160816.tif", "_coreg")
    'naip_20160816_coreg.tif'
    """
    if suffix not in (ANCHOR_SUFFIX, COREG_SUFFIX, ""):
        raise InvalidRequest(f"A suffix has to be '_coreg', '_anchor' or empty, but {suffix!r} was given.")
    known = _KNOWN.fullmatch(name)
    if known is None:
        stem, extension = split_extension(name)
        return f"{stem}{suffix}{extension}"
    parts = _REST.fullmatch(known["rest"])
    assert parts is not None  # every part may be empty and the product takes the rest
    head = name[: known.start("rest") + parts.start("suffixes")]
    earlier = [match.group() for match in _SUFFIX.finditer(parts["suffixes"])]
    kept = [text for text in earlier if text.lower() not in (ANCHOR_SUFFIX, COREG_SUFFIX)]
    at = next((k for k, text in enumerate(kept) if text[1:].lower() not in _RADIOMETRY), len(kept))
    return "".join([head, *kept[:at], suffix, *kept[at:], known["extension"]])


def item_type_of(item_id: str) -> str | None:
    """Item type that an id has the form of, or None.

    Examples
    --------
    >>> item_type_of("20190909_184952_ssc2d2_0019"), item_type_of("naip_20160816")
    ('SkySatScene', None)
    """
    return next((kind for kind, pattern in _ITEMS.items() if pattern.fullmatch(item_id)), None)


def item_time(item_id: str) -> datetime | None:
    """Acquisition time in an item id, UTC without a time zone.

    PlanetScope ids hold hundredths of a second. Ids of PSOrthoTile, and the stem of RapidEye files,
    hold the day alone.

    Returns
    -------
    datetime or None
        None where the id has the form of no item type, or holds no real date.

    Examples
    --------
    >>> str(item_time("20240812_104320_10_247a"))
    '2024-08-12 10:43:20.100000'
    """
    return time_from_name(item_id) if item_type_of(item_id) else None


def item_key(item_id: str) -> str:
    """Key by which the files of one item find each other.

    It is the id, case folded; for a RapidEye tile it is tile, date and satellite, which its id and the
    names of its files have in common.

    Examples
    --------
    >>> item_key("20180911_094536_3357121_RapidEye-3") == item_key("3357121_2018-09-11_RE3_3A")
    True
    """
    if found := _RAPIDEYE.fullmatch(item_id):
        year, month, day, tile, satellite = found.groups()
        return f"{tile}_{year}-{month}-{day}_re{satellite}"
    if found := _RAPIDEYE_STEM.fullmatch(item_id):
        return found[1].lower()
    return item_id.casefold()


def _unknown(name: str) -> AssetName:
    stem, extension = split_extension(name)
    quality = stem.lower().endswith("qa_metadata")
    return AssetName(
        name=name,
        item_id=None,
        item_type=None,
        level="",
        product=stem,
        kind=_kind("_qa_metadata" if quality else "", extension.lower(), bare=False),
        suffixes=(),
        extension=extension,
    )


def _kind(role: str, extension: str, *, bare: bool) -> Kind:
    if extension in RASTER_EXTENSIONS:
        return {"_udm": Kind.UDM, "_udm2": Kind.UDM2}.get(role, Kind.IMAGE)
    if role.endswith("qa_metadata"):
        return Kind.QUALITY if extension == ".json" else Kind.OTHER
    if extension == ".json":
        return Kind.ITEM_METADATA if role == "_metadata" or bare else Kind.OTHER
    if extension == ".xml" and role == "_metadata":
        return Kind.METADATA
    return Kind.RPC if extension == ".txt" and role == "_rpc" else Kind.OTHER
