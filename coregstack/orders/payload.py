"""The payload of an order: what is to be coregistered to what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from coregstack.errors import InvalidRequest, UnreadableFile, UnsafePath, one_line
from coregstack.products.planet.bundles import is_orthorectified
from coregstack.untrusted.jsonfile import parse_json, read_text
from coregstack.untrusted.limitedlist import LimitedList
from coregstack.untrusted.limits import PAYLOAD_BYTES
from coregstack.untrusted.names import check_item_id

TOOLS = (
    "bandmath",
    "clip",
    "composite",
    "coregister",
    "file_format",
    "reproject",
    "tile",
    "toar",
    "harmonize",
)

_OLD_PARAMETERS = ("method", "anchor_bundle", "strict", "first_is_master")
_NOT_USED = ("order_type", "delivery", "notifications", "metadata", "subscription_id", "hosting")
_OF_THE_API = ("_links", "id", "state", "created_on", "last_modified", "last_message", "error_hints")
_KEYS = ("name", "source_type", "products", "tools", *_NOT_USED, *_OF_THE_API)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Items that are ordered as one bundle."""

    item_ids: tuple[str, ...]
    """Ids in the order given, each once."""
    item_type: str
    """For example ``PSScene``."""
    bundles: tuple[str, ...]
    """The bundle, then its fallbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A payload that was found right."""

    name: str
    """The order's name."""
    products: tuple[Product, ...]
    """What is ordered."""
    anchor_item: str
    """Id of the item that all others are coregistered to."""
    tools: tuple[Mapping[str, Any], ...]
    """The tools as given, one key each."""
    cog: bool
    """True if images are to be written as Cloud Optimized GeoTIFF."""
    notes: tuple[str, ...]
    """What is accepted but not run or not used here, in words."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Ids of all items in the order given, each once."""
        return tuple(dict.fromkeys(item for product in self.products for item in product.item_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a payload."""

    field: str | None
    """The part of the payload as the API names it, ``Products`` for example; None for the whole."""
    message: str
    """What was expected, what came, what to do."""


class PayloadError(InvalidRequest):
    """A payload that cannot be run; it holds every problem that was found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        lines = [
            f"{problem.field}: {problem.message}" if problem.field else problem.message
            for problem in self.problems
        ]
        return "\n- ".join(["The order cannot be run; nothing was written:", *map(one_line, lines)])

    def as_api(self) -> dict[str, Any]:
        """The problems in the shape that the Orders API answers with.

        Examples
        --------
        >>> error = PayloadError((Problem(field="Products", message="Bad item type."),))
        >>> error.as_api()["field"]
        {'Products': [{'message': 'Bad item type.'}]}
        """
        fields: dict[str, list[dict[str, str]]] = {}
        general = [{"message": "Unable to accept order"}]
        for problem in self.problems:
            place = general if problem.field is None else fields.setdefault(problem.field, [])
            place.append({"message": problem.message})
        return {"field": fields, "general": general}


def read_payload(payload: Mapping[str, Any] | str | PathLike[str]) -> Order:
    """Read an order's payload, or the description of a finished order, and check all of it.

    Repeated items are taken once and noted. A list of fallback bundles is accepted if at least one of
    them can be coregistered.

    Parameters
    ----------
    payload : mapping, str or path
        A mapping, JSON text (which begins with ``{``), or the path of a JSON file.

    Returns
    -------
    Order
        The payload, with notes on what is not run here.

    Raises
    ------
    PayloadError
        If it cannot be run; it names every problem.
    MissingFile
        If there is no file at the path.

    Examples
    --------
    >>> order = read_payload({
    ...     "name": "example",
    ...     "products": [{"item_ids": ["20200720_194019_0f4c", "20200630_164149_0e3a"],
    ...                   "item_type": "PSScene", "product_bundle": "analytic_udm2"}],
    ...     "tools": [{"coregister": {"anchor_item": "20200630_164149_0e3a"}}]})
    >>> order.anchor_item, order.cog, order.notes
    ('20200630_164149_0e3a', False, ())
    """
    found = _Findings(problems=LimitedList(), notes=LimitedList())
    value = _load(payload, found)
    if not isinstance(value, Mapping):
        found.wrong(None, f"A payload has to be a JSON object, but {_show(value)} came.")
        raise PayloadError(found.all_problems())
    _check_keys(value, found)
    products = _products(value, found)
    ids = {item for product in products for item in product.item_ids}
    anchor, cog = _tools(value.get("tools"), ids, found)
    if anchor is None or found.problems:
        raise PayloadError(found.all_problems())
    return Order(
        name=value["name"],
        products=products,
        anchor_item=anchor,
        tools=tuple(dict(tool) for tool in value["tools"]),
        cog=cog,
        notes=tuple(dict.fromkeys(found.notes.closed(_more_notes))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Findings:
    problems: LimitedList[Problem]
    notes: LimitedList[str]

    def wrong(self, field: str | None, message: str) -> None:
        self.problems.append(Problem(field=field, message=message))

    def all_problems(self) -> tuple[Problem, ...]:
        """What was found wrong; what goes beyond the limit is one more."""
        return self.problems.closed(
            lambda more: Problem(field=None, message=f"{more} more problems are not listed here.")
        )


def _more_notes(more: int) -> str:
    return f"{more} more notes are not listed here."


def _load(payload: Mapping[str, Any] | str | PathLike[str], found: _Findings) -> Any:
    """Take a mapping as it is; read and parse text."""
    if not isinstance(payload, str | PathLike):
        return payload
    text = payload if isinstance(payload, str) and payload.lstrip("\ufeff \t\r\n").startswith("{") else None
    try:
        if text is None:
            text = read_text(Path(payload), limit=PAYLOAD_BYTES)
        elif len(text) > PAYLOAD_BYTES():
            raise ValueError(f"it is longer than {PAYLOAD_BYTES()} characters")
        repeated: LimitedList[str] = LimitedList()
        value = parse_json(text.lstrip("\ufeff"), on_duplicate=repeated.append)
    except UnreadableFile as error:
        raise PayloadError((Problem(field=None, message=str(error)),)) from error
    except ValueError as error:
        message = f"A payload has to be JSON, but it is not: {error}."
        raise PayloadError((Problem(field=None, message=message),)) from error
    for key in repeated:
        found.wrong(None, f"The key {_show(key)} appears twice in one object: keep the one that is meant.")
    return value


def _check_keys(value: Mapping[str, Any], found: _Findings) -> None:
    name, source = value.get("name"), value.get("source_type")
    if not (isinstance(name, str) and name.strip()):
        found.wrong("Name", f"name has to be a string that is not empty, but {_show(name)} came.")
    if source == "basemaps":
        found.wrong("SourceType", "source_type 'basemaps' cannot be coregistered: order scenes.")
    elif source not in (None, "scenes"):
        found.wrong("SourceType", f"source_type has to be 'scenes', but {_show(source)} came.")
    if value.get("order_type") not in (None, "full", "partial"):
        found.wrong(
            "OrderType", f"order_type has to be 'full' or 'partial', but {_show(value['order_type'])} came."
        )
    for key in value:
        if key in _NOT_USED:
            found.notes.append(f"{key} is not used here: files are read from and written to local folders.")
        elif key not in _KEYS:
            found.notes.append(f"{_show(key)} is not a known field of a payload: it is ignored.")


def _products(value: Mapping[str, Any], found: _Findings) -> tuple[Product, ...]:
    """Read the products; faulty ones are left out and reported."""
    products = value.get("products")
    if value.get("source_type") == "basemaps":
        return ()
    if not isinstance(products, list | tuple) or not products:
        found.wrong("Products", f"products has to be a list that is not empty, but {_show(products)} came.")
        return ()
    types: dict[str, str] = {}
    read = []
    for number, product in enumerate(products, start=1):
        if not isinstance(product, Mapping):
            found.wrong("Products", f"Product {number} has to be an object, but {_show(product)} came.")
            continue
        item_type = _item_type(product.get("item_type"), number, found)
        ids = _item_ids(product.get("item_ids"), number, found)
        bundles = _bundles(product.get("product_bundle"), number, found)
        for item in ids:
            if types.setdefault(item, item_type) != item_type:
                found.wrong(
                    "Products", f"Item {item} is listed as {types[item]} and as {item_type}: keep one."
                )
        read.append(Product(item_ids=ids, item_type=item_type, bundles=bundles))
    return tuple(read)


def _item_type(item_type: Any, number: int, found: _Findings) -> str:
    if not (isinstance(item_type, str) and item_type.strip()):
        found.wrong(
            "Products", f"item_type of product {number} has to be a string, but {_show(item_type)} came."
        )
        return ""
    if item_type.lower() == "rescene":
        found.wrong(
            "Products", f"Bad item type {item_type!r} for tool 'coregister': it is not orthorectified."
        )
    return item_type


def _item_ids(ids: Any, number: int, found: _Findings) -> tuple[str, ...]:
    if not isinstance(ids, list | tuple) or not ids:
        message = f"item_ids of product {number} has to be a list that is not empty, but {_show(ids)} came."
        found.wrong("Products", message)
        return ()
    good = []
    for item in ids:
        try:
            good.append(check_item_id(item))
        except UnsafePath as error:
            found.wrong("Products", f"In product {number}: {error}")
    for item, count in Counter(good).items():
        if count > 1:
            found.notes.append(f"Item {item} is listed {count} times in product {number}: it is taken once.")
    return tuple(dict.fromkeys(good))


def _bundles(bundle: Any, number: int, found: _Findings) -> tuple[str, ...]:
    names = tuple(name.strip() for name in bundle.split(",")) if isinstance(bundle, str) else ()
    if not names or not all(names):
        message = f"product_bundle of product {number} has to name a bundle, but {_show(bundle)} came."
        found.wrong("Products", message)
        return ()
    refused = [name for name in names if not is_orthorectified(name)]
    shown = ", ".join(_show(name) for name in refused)
    if len(refused) == len(names):
        message = (
            f"Bad bundle type {shown} for tool 'coregister': only orthorectified bundles can be coregistered."
        )
        found.wrong("Products", message)
    elif refused:
        found.notes.append(f"Fallback bundle {shown} cannot be coregistered: its files are passed through.")
    return names


def _tools(tools: Any, ids: set[str], found: _Findings) -> tuple[str | None, bool]:
    """Read the tools: the anchor's id, and whether COG is asked for."""
    if tools is None:
        tools = []
    if not isinstance(tools, list | tuple):
        found.wrong("Tools", f"tools has to be a list, but {_show(tools)} came.")
        return None, False
    anchors: list[Any] = []
    cog = False
    for tool in tools:
        if not isinstance(tool, Mapping) or len(tool) != 1:
            found.wrong(
                "Tools", f"A tool has to be an object with one key, its name, but {_show(tool)} came."
            )
            continue
        name, parameters = next(iter(tool.items()))
        if name == "coregister":
            anchors.append(_anchor(parameters, ids, found))
        elif name == "file_format":
            cog = _is_cog(parameters, found) or cog
        elif name == "composite":
            found.wrong(
                "Tools", "Tool 'composite' cannot run together with 'coregister': remove one of them."
            )
        elif name in TOOLS:
            found.notes.append(f"Tool {name!r} is not run here: in delivered files it has run already.")
        else:
            known = ", ".join(repr(known) for known in TOOLS)
            found.wrong("Tools", f"tool - {_show(name)} is not one of {known}.")
    if len(anchors) != 1:
        message = f"tools has to hold one 'coregister' with its 'anchor_item', but {len(anchors)} came."
        found.wrong("Tools", message)
    return (anchors[0] if len(anchors) == 1 else None), cog


def _anchor(parameters: Any, ids: set[str], found: _Findings) -> str | None:
    if not isinstance(parameters, Mapping):
        found.wrong("Tools", f"coregister has to be an object, but {_show(parameters)} came.")
        return None
    for key in parameters:
        if key in _OLD_PARAMETERS:
            found.notes.append(f"coregister: {key!r} is an old parameter: it is accepted and not used.")
        elif key != "anchor_item":
            found.wrong("Tools", f"coregister: unknown parameter {_show(key)}; it takes 'anchor_item'.")
    anchor = parameters.get("anchor_item")
    if not isinstance(anchor, str):
        found.wrong("Tools", f"coregister: anchor_item has to be an item id, but {_show(anchor)} came.")
        return None
    if anchor not in ids:
        message = (
            f"coregister: anchor_item {_show(anchor)} is not among the order's products: add it to item_ids."
        )
        found.wrong("Tools", message)
        return None
    return anchor


def _is_cog(parameters: Any, found: _Findings) -> bool:
    chosen = parameters.get("format") if isinstance(parameters, Mapping) else parameters
    if chosen == "COG":
        return True
    if chosen == "PL_NITF":
        found.notes.append("file_format 'PL_NITF' is not written here: images are written as GeoTIFF.")
    else:
        found.wrong("Tools", f"file_format: format has to be 'COG', but {_show(chosen)} came.")
    return False


def _show(value: Any) -> str:
    """A short, printable form of anything that a payload may hold, however large or deep."""
    if isinstance(value, str):
        shown = ascii(value[:61])
        return shown if len(value) <= 60 else f"{shown[:61]}...'"
    if value is None or isinstance(value, bool | float):
        return "nothing" if value is None else repr(value)
    if isinstance(value, Mapping):
        return f"an object with {len(value)} keys"
    return (
        f"a list of {len(value)}"
        if isinstance(value, list | tuple)
        else f"a value of type {type(value).__name__}"
    )
