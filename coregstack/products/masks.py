"""The masks that are known by themselves, and what a user asks of masks in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coregstack.errors import InvalidRequest
from coregstack.pixels.masks import BandRule, MaskRule


def _set(*bits: int) -> tuple[tuple[int, int], ...]:
    """Each of some bits, where it is set."""
    return tuple((1 << bit, 1 << bit) for bit in bits)


_RULES: Mapping[str, tuple[BandRule, ...]] = {
    # clear is 1, and the bit field of the last band is 0
    "udm2": (BandRule(only=(1,)), BandRule(band=7, only=(0,))),
    "udm": (BandRule(only=(0,)),),
    # no data, saturated, cloud shadow, cloud of medium and high probability, cirrus
    "scl": (BandRule(values=(0, 1, 3, 8, 9, 10)),),
    # opaque cloud, cirrus; older products hold outlines in GML instead
    "msk_classi": (BandRule(values=(1,)), BandRule(band=1, values=(1,))),
    # fill, dilated cloud, cirrus, cloud, cloud shadow
    "qa_pixel": (BandRule(bits=_set(0, 1, 2, 3, 4)),),
    # fill, cloud; cloud shadow and cirrus of high confidence
    "bqa": (BandRule(bits=(*_set(0, 4), (0b11 << 7, 0b11 << 7), (0b11 << 11, 0b11 << 11))),),
    # fill, cloud shadow, cloud; cirrus of high confidence
    "pixel_qa": (BandRule(bits=(*_set(0, 3, 5), (0b11 << 8, 0b11 << 8))),),
    # cloud, beside cloud or shadow, cloud shadow; 255 is fill, of which all bits are set
    "fmask": (BandRule(bits=_set(1, 2, 3)),),
    "clm": (BandRule(only=(0,)),),
    "mask": (BandRule(only=(0,)),),
}
MASKS: Mapping[str, MaskRule] = {name: MaskRule(name=name, bands=bands) for name, bands in _RULES.items()}
"""How masks are read, by their names: what their values mean that may not be used."""

_GIVEN = re.compile(r"(?P<where>.+?)(?::(?P<values>(?:\s*(?:bit)?\d+\s*,?)+))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedMask:
    """One mask that a user asks for."""

    where: str
    """Name of a kind of mask, pattern of file names, or path."""
    rule: BandRule
    """Which pixels may be used by it."""

    @property
    def known(self) -> MaskRule | None:
        """The kind of mask whose values are told anew; None for a pattern or a path."""
        name = self.where.lower()
        return MaskRule(name=name, bands=(self.rule,)) if name in MASKS else None


def asked_masks(mask: object) -> tuple[AskedMask, ...] | None:
    """What a user asks of masks; None where none are to be used.

    Parameters
    ----------
    mask : str, sequence of str, bool or None
        Each text is a place and, after a colon, values that may not be used, or bits as ``bit3``. The place is the
        name of a kind of mask (``scl:3,8,9,10``), a pattern of file names that holds ``{id}`` or ``*``
        (``{id}_cloud.tif:1``), or the path of a raster that holds for all scenes (``water.tif:1``). Without values,
        those of a file that are not 0 may not be used. None and True stand for what is known by itself, False for none.

    Raises
    ------
    InvalidRequest
        If it is something else.

    Examples
    --------
    >>> asked_masks("scl:3,8")[0].known.bands[0].values
    (3, 8)
    >>> asked_masks("qa_pixel:bit3")[0].rule.bits
    ((8, 8),)
    >>> asked_masks(False) is None
    True
    """
    if mask is False:
        return None
    if mask is None or mask is True:
        return ()
    texts = [mask] if isinstance(mask, str) else mask
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(_EXPECTED.format(repr(mask)))
    return tuple(_asked(text) for text in texts)


_EXPECTED = (
    "mask has to be the name of a kind of mask with values that may not be used, as 'scl:3,8,9,10' or "
    "'qa_pixel:bit3,bit4'; a pattern of mask files, as '{{id}}_cloud.tif'; the path of a mask that holds for all "
    "scenes, as 'water.tif:1'; several of these; or False for none. This was given: {}."
)


def _asked(text: str) -> AskedMask:
    found = _GIVEN.fullmatch(text.strip())
    if found is None:
        raise InvalidRequest(_EXPECTED.format(repr(text)))
    where, values = found["where"].strip(), found["values"]
    if values is None and where.lower() in MASKS:
        raise InvalidRequest(
            f"mask names {where!r} without values: name those that may not be used, as '{where}:3,8', or leave it out "
            "for those that are usual."
        )
    if where.lower() not in MASKS and "." not in where and "*" not in where and "{id}" not in where:
        raise InvalidRequest(f"{_EXPECTED.format(repr(text))} Known kinds are {', '.join(MASKS)}.")
    return AskedMask(where=where, rule=_rule(values))


def _rule(text: str | None) -> BandRule:
    if text is None:
        return BandRule(only=(0,))
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    bits = [int(word.removeprefix("bit")) for word in words if word.startswith("bit")]
    return BandRule(values=tuple(int(word) for word in words if word.isdecimal()), bits=_set(*bits))


def rule_of(name: str, asked: Sequence[AskedMask]) -> MaskRule:
    """How a kind of mask is read: as a user asks, else as is usual."""
    told = (one.known for one in asked)
    return next((rule for rule in told if rule is not None and rule.name == name), MASKS[name])


def mask_name(band: str) -> str:
    """The kind of mask that a band or file of this name is, or nothing.

    Examples
    --------
    >>> mask_name("QA_PIXEL"), mask_name("Fmask"), mask_name("red")
    ('qa_pixel', 'fmask', '')
    """
    plain = _plain(band)
    return next((name for name in MASKS if _plain(name) == plain), "")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
