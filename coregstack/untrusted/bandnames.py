"""What bands are called: which names mean one band, and which mean classes or flags instead of measurements."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

_ALIASES = {
    "coastal": ("coastal", "coastalaerosol", "coastalblue", "aerosol"),
    "blue": ("blue", "b"),
    "green": ("green", "g"),
    "red": ("red", "r"),
    "yellow": ("yellow",),
    "rededge": ("rededge", "re"),
    "rededge071": ("rededge071", "rededge1"),
    "rededge075": ("rededge075", "rededge2"),
    "rededge078": ("rededge078", "rededge3"),
    "nir": ("nir", "nearinfrared", "nearir"),
    "nir08": ("nir08", "narrownir", "nirnarrow"),
    "nir09": ("nir09", "watervapour", "watervapor"),
    "cirrus": ("cirrus",),
    "swir16": ("swir16", "swir1"),
    "swir22": ("swir22", "swir2"),
    "lwir11": ("lwir11",),
    "lwir12": ("lwir12",),
    "pan": ("pan", "panchromatic"),
}
"""STAC's common names, and what else the bands are called."""
_COMMON = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}

_SENTINEL_2 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075", "7": "rededge078",
    "8": "nir", "8a": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16", "12": "swir22",
}  # fmt: skip
_LANDSAT_8 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16", "7": "swir22", "8": "pan",
    "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
_LANDSAT_7 = {"1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "7": "swir22"}
"""Of Landsat 4 to 7; the sixth is thermal."""
_AGREED = {
    "01": "coastal",
    "02": "blue",
    "03": "green",
    "04": "red",
    "08": "nir",
    "8a": "nir08",
    "12": "swir22",
}
"""Codes that mean one band wherever they are written so, whatever else there is."""

_CODE = re.compile(r"b(?P<number>\d{1,2}[an]?)")
_NUMBER = re.compile(r"\d+(?:nm)?|nm")
_BESIDE = frozenset({"band", "sr", "toa", "boa", "nbar", "nbart", "reflectance"})
"""Words beside a band's name that do not say which band it is."""

_CLASSES = frozenset(
    {"scl", "fmask", "cfmask", "udm", "udm2", "bqa", "qc", "clm", "datamask", "bitmask", "classification",
     "class", "classes", "landcover", "landuse", "lulc", "worldcover", "dynamicworld", "croptype", "label", "labels",
     "flag", "flags", "quality", "state1km", "segmentation", "sraerosol", "detectorfootprint", "mskclassi", "mskqualit",
     "mskdetfoo", "esacci", "esaccilc", "lccs", "cloudmask", "cloudshadow", "cloudflag"}
)  # fmt: skip
"""Names, without what parts their words, of bands of classes or flags."""
_CLASSES_ALONE = frozenset({"sm", "cloud", "clouds"})
"""Names of such bands only where nothing else is in the name; in a file's name they may mean the scene."""
_YEAR = re.compile(r"(?:19|20)\d\d")
_PROCESSING = re.compile(r"\d+m|clip|cog|reproject|coreg|anchor|file|format|v\d+|tif|tiff")
"""Words at the end of a file name that tell how a file was made."""
_MEASURED = frozenset({("st", "qa")})
"""Names that look like flags, of bands that were measured: the uncertainty of Landsat's surface temperature."""


def same_bands(first: Sequence[str], second: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Which bands of two rasters are the same, by their names.

    Case and order do not count, nor what a band is usually called beside its common name. Bands that are only
    counted (1, 2, 3) are compared by position with as many bands of any names. Names that differ are never
    compared by position, but for a single band beside a single one, of which not both names are known.

    Parameters
    ----------
    first, second : sequence of str
        Names of bands.

    Returns
    -------
    tuple of (int, int)
        Positions in `first` and `second`, in the order of `first`; empty where no two are known to be the same.

    Examples
    --------
    >>> same_bands(["red", "nir"], ["B02", "B03", "B04", "B08"])
    ((0, 2), (1, 3))
    >>> same_bands(["pan"], ["blue", "red"])
    ()
    """
    if tuple(first) == tuple(second):
        return tuple((k, k) for k in range(len(first)))
    readers = (_plain, common_names) if _sensors_agree(first, second) else (common_names,)
    found: dict[int, int] = {}
    for read in (*readers, _loosely):
        found |= _pairs(read, first, second, found)
    if not found and len(first) == len(second) and _by_position(first, second):
        return tuple((k, k) for k in range(len(first)))
    return tuple(sorted(found.items()))


def find_band(names: Sequence[str], wanted: str) -> int | None:
    """Position of the band that a name means: as it is written, in another case, or by a synonym; None without one.

    Examples
    --------
    >>> find_band(["B02", "B04"], "red"), find_band(["1", "2"], "red")
    (1, None)
    """
    for read in (_plain, common_names, _loosely):
        found = [k for k, name in enumerate(read(names)) if name == read([wanted])[0]]
        if found:
            return found[0]
    return None


def common_names(names: Sequence[str]) -> tuple[str, ...]:
    """The common name of each band of a raster where that is known, else its own in lower case.

    What a code such as ``B4`` means depends on the sensor, which the other bands of the raster may tell.

    Parameters
    ----------
    names : sequence of str
        Names of all bands of a raster.

    Examples
    --------
    >>> common_names(["B04", "B8A"]), common_names(["SR_B4", "SR_B5"]), common_names(["Band 4 - Red"])
    (('red', 'nir08'), ('b4', 'b5'), ('red',))
    """
    keys = [_key(name) for name in names]
    codes = _codes_of(keys)
    sensor = _landsat_surface(names) or _sensor(codes)
    third = "swir3" in keys
    return tuple(_common(key, sensor, codes, third=third) for key in keys)


def spectral_order(names: Sequence[str]) -> tuple[int, ...]:
    """Positions of bands from short wavelengths to long ones; those that are not known come last, as they were.

    Examples
    --------
    >>> spectral_order(["B11", "B04", "aot", "B8A"])
    (1, 3, 0, 2)
    """
    known = list(_ALIASES)
    places = [known.index(name) if name in _ALIASES else len(known) for name in common_names(names)]
    return tuple(sorted(range(len(names)), key=places.__getitem__))


def names_nothing(names: Sequence[str]) -> bool:
    """Whether bands are only counted, as ``1``, ``2`` or ``Band 3``."""
    return all(_key(name).isdecimal() for name in names)


@lru_cache(4096)
def names_classes(name: str) -> bool:
    """Whether a name is one of classes, flags or a mask, whose values must not be averaged; of any year, as maps have.

    Parameters
    ----------
    name : str
        Of a band.

    Examples
    --------
    >>> [names_classes(name) for name in ("SCL", "qa_pixel", "cloud mask", "landcover_2020", "nir", "st_qa")]
    [True, True, True, True, False, False]
    """
    return name.lower() in _CLASSES_ALONE or _tell_classes(_words(name))


def _tell_classes(words: list[str]) -> bool:
    if words and _YEAR.fullmatch(words[-1]):
        words = words[:-1]
    joined = "".join(words)
    if not words or tuple(words) in _MEASURED:
        return False
    flagged = re.fullmatch(r"qa\d*", words[0]) or re.fullmatch(r"qa\d*", words[-1]) or "qa" in words[:2]
    flagged = flagged or words[0] == "mask" or joined.endswith(("mask", "masks", "qa"))
    return bool(flagged) or joined in _CLASSES or words[-1] in _CLASSES


def file_names_classes(stem: str) -> bool:
    """Whether the end of a file name is a name of classes; what tells resolution and processing is passed over.

    Examples
    --------
    >>> file_names_classes("T33UUU_20200101T100000_SCL_20m"), file_names_classes("20200101_B04")
    (True, False)
    """
    words = _words(stem)
    while words and _PROCESSING.fullmatch(words[-1]):
        words.pop()
    return any(_tell_classes(words[-count:]) for count in (1, 2) if len(words) >= count)


def scene_of_band(stem: str) -> tuple[str, str] | None:
    """What a file name says of the scene that it holds one band of, and of that band; None where it names no band.

    Examples
    --------
    >>> scene_of_band("T33UUU_20170216T102101_B04"), scene_of_band("20200101_a")
    (('t33uuu 20170216t102101', 'b04'), None)
    """
    words = _words(stem)
    for count, k in ((count, k) for k in range(len(words) - 1, 0, -1) for count in (1, 2)):
        part = words[k - count + 1 : k + 1] if k >= count else []
        told = "".join(part)
        code = count == 1 and _CODE.fullmatch(told)
        if part and (code or (len(told) > 2 and told in _COMMON) or _tell_classes(part)):
            left = [*words[: k - count + 1], *words[k + 1 :]]
            return " ".join(word for word in left if word not in _BESIDE), told
    return None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _key(name: str) -> str:
    """A name without words that do not tell which band it is."""
    words = [word for word in _words(name) if word not in _BESIDE]
    told = [word for word in words if not _NUMBER.fullmatch(word) and not _CODE.fullmatch(word)]
    for joined in ("".join(words), "".join(told)):
        if joined in _COMMON:
            return joined
    codes = [word for word in words if _CODE.fullmatch(word)]
    if not told and len(codes) == 1:
        return codes[0]
    return "".join(words) or name.lower()


def _codes_of(keys: Sequence[str]) -> frozenset[str]:
    return frozenset(found["number"] for key in keys if (found := _CODE.fullmatch(key)))


def _sensor(codes: frozenset[str]) -> dict[str, str] | None:
    """What codes mean, where those of all bands tell the sensor."""
    if "3n" in codes:
        return {}
    if codes & {"8a", "12", "08"} or codes >= {"2", "3", "4", "8"}:
        return _SENTINEL_2
    return _LANDSAT_8 if "10" in codes else None


def _landsat_surface(names: Sequence[str]) -> dict[str, str] | None:
    """What codes of Landsat's surface products mean, where the others tell which of its sensors they are of.

    ``SR_B4`` is red of Landsat 8 and 9 and near infrared of 4 to 7. Only the former have ``SR_B6`` and ``ST_B10``; of
    the latter ``ST_B6`` is the thermal band, and all others but the sixth are surface reflectance.
    """
    found = {"".join(word for word in _words(name)) for name in names}
    if not any(name.startswith(("srb", "stb")) for name in found):
        return None
    if found & {"srb6", "stb10"}:
        return _LANDSAT_8
    older = {f"srb{number}" for number in _LANDSAT_7}
    return _LANDSAT_7 if "stb6" in found or found >= older else None


def _sensors_agree(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether equal codes may be taken for equal bands."""
    a, b = (
        _landsat_surface(names) or _sensor(_codes_of([_key(name) for name in names]))
        for names in (first, second)
    )
    return a is None or b is None or a == b


def _common(key: str, sensor: dict[str, str] | None, codes: frozenset[str], *, third: bool) -> str:
    if third and key in ("swir2", "swir3"):
        # where a third one is named, bands are counted as those of Sentinel-2 and the first is missing
        return "swir16" if key == "swir2" else "swir22"
    found = _CODE.fullmatch(key)
    if found is None:
        return _COMMON.get(key, key)
    number = found["number"]
    if sensor is not None:
        return sensor.get(number.lstrip("0"), key)
    agreed = _AGREED | ({} if "10" in codes else {"11": "swir16"})
    return agreed.get(number, key)


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in names)


def _loosely(names: Sequence[str]) -> tuple[str, ...]:
    """Near infrared is one band to a sensor that has but one."""
    return tuple("nir" if name == "nir08" else name for name in common_names(names))


def _pairs(
    read: Callable[[Sequence[str]], tuple[str, ...]],
    first: Sequence[str],
    second: Sequence[str],
    known: dict[int, int],
) -> Iterator[tuple[int, int]]:
    """Bands whose names are read as the same, each the only one of its name that is not paired yet."""
    left = [None if k in known else name for k, name in enumerate(read(first))]
    right = [None if k in known.values() else name for k, name in enumerate(read(second))]
    here, there = Counter(left), Counter(right)
    for k, name in enumerate(left):
        if name is not None and here[name] == 1 and there[name] == 1:
            yield k, right.index(name)


def _by_position(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether as many bands that share no name may be compared by position."""
    if names_nothing(first) or names_nothing(second):
        return True
    known = [name in _ALIASES or bool(_CODE.fullmatch(name)) for name in common_names([*first, *second])]
    return len(first) == 1 and not all(known)
