"""A payload is run as it is meant, or refused with every reason; nothing else happens."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack.errors import InvalidRequest, MissingFile
from coregstack.orders.payload import Order, PayloadError, read_payload

ANCHOR = "20200630_164149_0e3a"
EXAMPLE = (
    '{"name":"coreg_example","products":[{"item_ids":["20200720_194019_0f4c","20200714_165944_0f4e",'
    '"20200630_164149_0e3a"],"item_type":"PSScene","product_bundle":"analytic_udm2"}],'
    '"tools":[{"coregister":{"anchor_item":"20200630_164149_0e3a"}}]}'
)


def example() -> dict[str, Any]:
    return json.loads(EXAMPLE)


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The example with one value replaced."""
    payload = example()
    place = payload
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return payload


def with_tools(*tools: Any) -> dict[str, Any]:
    return changed("tools", to=[*example()["tools"], *tools])


def problems(payload: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        read_payload(payload)
    return str(caught.value)


def test_the_published_example_is_read_in_every_form(tmp_path: Path) -> None:
    file = tmp_path / "payload.json"
    file.write_text("\ufeff" + EXAMPLE, encoding="utf-8")
    order = read_payload(EXAMPLE)
    assert order == read_payload(example()) == read_payload(file) == read_payload(str(file))
    assert order.name == "coreg_example"
    assert order.item_ids == ("20200720_194019_0f4c", "20200714_165944_0f4e", ANCHOR)
    assert (order.products[0].item_type, order.products[0].bundles) == ("PSScene", ("analytic_udm2",))
    assert (order.anchor_item, order.cog, order.notes) == (ANCHOR, False, ())


def test_the_description_of_a_finished_order_is_a_payload() -> None:
    extra = {
        "_links": {"_self": "https://example.org", "results": []},
        "id": "a",
        "state": "success",
        "created_on": "2020-08-01T00:00:00Z",
        "last_modified": "2020-08-01T00:00:00Z",
        "last_message": "Manifest delivery completed",
        "error_hints": [],
    }
    assert read_payload(example() | extra) == read_payload(example())


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (changed("name", to=""), "Name: name has to be a string"),
        (changed("name", to=5), "Name: name has to be a string"),
        (changed("source_type", to="basemaps"), "'basemaps' cannot be coregistered"),
        (changed("source_type", to=["scenes"]), "source_type has to be 'scenes', but a list of 1 came"),
        (changed("order_type", to="some"), "order_type has to be 'full' or 'partial'"),
        (changed("products", to=[]), "products has to be a list that is not empty"),
        (changed("products", to={}), "products has to be a list that is not empty"),
        (changed("products", 0, to="x"), "Product 1 has to be an object"),
        (changed("products", 0, "item_type", to="REScene"), "Bad item type 'REScene'"),
        (changed("products", 0, "item_type", to=None), "item_type of product 1 has to be a string"),
        (changed("products", 0, "item_ids", to=ANCHOR), "item_ids of product 1 has to be a list"),
        (changed("products", 0, "item_ids", 0, to="../x"), "'../x' holds a path separator"),
        (changed("products", 0, "item_ids", 0, to=7), "has to be a string, but int was given"),
        (
            changed("products", 0, "product_bundle", to="basic_analytic_udm2"),
            "Bad bundle type 'basic_analytic_udm2'",
        ),
        (
            changed("products", 0, "product_bundle", to="basic_x,y_nitf"),
            "Bad bundle type 'basic_x', 'y_nitf'",
        ),
        (changed("products", 0, "product_bundle", to="a,,b"), "has to name a bundle"),
        (
            changed("products", 0, "product_bundle", to=["visual"]),
            "has to name a bundle, but a list of 1 came",
        ),
        (changed("tools", to=None), "one 'coregister' with its 'anchor_item', but 0 came"),
        (changed("tools", to={}), "tools has to be a list"),
        (changed("tools", 0, to={"coregister": {}}), "anchor_item has to be an item id, but nothing came"),
        (changed("tools", 0, to={"coregister": ANCHOR}), "coregister has to be an object"),
        (
            changed("tools", 0, "coregister", "anchor_item", to="20200630_164149_0e3b"),
            "not among the order's products",
        ),
        (changed("tools", 0, "coregister", "anchor", to=1), "unknown parameter 'anchor'"),
        (
            with_tools({"coregister": {"anchor_item": ANCHOR}}),
            "one 'coregister' with its 'anchor_item', but 2 came",
        ),
        (with_tools({"composite": {}}), "'composite' cannot run together with 'coregister'"),
        (
            with_tools({"sharpen": {}}),
            "tool - 'sharpen' is not one of 'bandmath', 'clip', 'composite', 'coregister'",
        ),
        (with_tools({"clip": {}, "toar": {}}), "A tool has to be an object with one key"),
        (with_tools("clip"), "A tool has to be an object with one key"),
        (with_tools({"file_format": {"format": "PNG"}}), "format has to be 'COG', but 'PNG' came"),
        ({}, "products has to be a list"),
        ([example()], "A payload has to be a JSON object, but a list of 1 came"),
        ("{", "A payload has to be JSON"),
        ('{"name": NaN}', "NaN is not a JSON number"),
        (EXAMPLE.replace('"name":', '"name":"other","name":'), "'name' appears twice"),
        ('{"a":' * 200_000, "nest too deeply"),
        ('{"a":' + "9" * 5000 + "}", "A payload has to be JSON"),
    ],
)
def test_what_cannot_be_run_is_refused(payload: Any, words: str) -> None:
    assert words in problems(payload)


def test_all_problems_are_told_at_once_in_the_shape_of_the_api() -> None:
    payload = changed("products", 0, "item_type", to="REScene")
    payload["tools"] = [{"coregister": {"anchor_item": "x"}}, {"sharpen": {}}]
    payload["name"] = ""
    with pytest.raises(PayloadError) as caught:
        read_payload(payload)
    answer = caught.value.as_api()
    assert {field: len(found) for field, found in answer["field"].items()} == {
        "Name": 1,
        "Products": 1,
        "Tools": 2,
    }
    assert answer["general"] == [{"message": "Unable to accept order"}]
    assert json.loads(json.dumps(answer)) == answer
    assert all(problem.message in str(caught.value) for problem in caught.value.problems)
    assert isinstance(caught.value, InvalidRequest)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_item_of_two_types_is_refused() -> None:
    payload = example()
    payload["products"].append({"item_ids": [ANCHOR], "item_type": "SkySatScene", "product_bundle": "visual"})
    assert f"Item {ANCHOR} is listed as PSScene and as SkySatScene" in problems(payload)


def test_another_bundle_of_the_same_items_is_fine() -> None:
    payload = example()
    payload["products"].append({**payload["products"][0], "product_bundle": "visual"})
    order = read_payload(payload)
    assert len(order.products) == 2
    assert len(order.item_ids) == 3
    assert order.notes == ()


def test_repeated_items_are_taken_once_and_noted() -> None:
    order = read_payload(changed("products", 0, "item_ids", to=[ANCHOR, "b", "b", "b"]))
    assert order.item_ids == (ANCHOR, "b")
    assert order.notes == ("Item b is listed 3 times in product 1: it is taken once.",)


def test_fallback_bundles_are_kept_and_one_good_one_is_enough() -> None:
    order = read_payload(changed("products", 0, "product_bundle", to="analytic_udm2, basic_analytic_udm2"))
    assert order.products[0].bundles == ("analytic_udm2", "basic_analytic_udm2")
    assert "basic_analytic_udm2" in order.notes[0]


def test_other_tools_and_old_parameters_are_noted() -> None:
    tools = (
        {"clip": {"aoi": {}}},
        {"reproject": {}},
        {"bandmath": {}},
        {"toar": {}},
        {"harmonize": {}},
        {"tile": {}},
    )
    payload = with_tools(*tools)
    payload["tools"][0]["coregister"] |= {
        "method": "x",
        "anchor_bundle": "y",
        "strict": True,
        "first_is_master": 1,
    }
    payload |= {"delivery": {"archive_type": "zip", "secret": "s3cret"}, "novelty": 1}
    order = read_payload(payload)
    notes = "\n".join(order.notes)
    for name in ("clip", "reproject", "bandmath", "toar", "harmonize", "tile"):
        assert f"Tool {name!r} is not run here: in delivered files it has run already." in notes
    for name in ("method", "anchor_bundle", "strict", "first_is_master"):
        assert f"{name!r} is an old parameter" in notes
    assert "delivery is not used here" in notes
    assert "'novelty' is not a known field" in notes
    assert "s3cret" not in notes
    assert order.tools == tuple(payload["tools"])


@pytest.mark.parametrize("parameters", [{"format": "COG"}, "COG"])
def test_cog_is_honoured(parameters: Any) -> None:
    assert read_payload(with_tools({"file_format": parameters})).cog


def test_nitf_is_noted() -> None:
    order = read_payload(with_tools({"file_format": {"format": "PL_NITF"}}))
    assert not order.cog
    assert "'PL_NITF' is not written here" in order.notes[0]


def test_files_that_cannot_be_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFile, match="nothing at this path"):
        read_payload(tmp_path / "none.json")
    assert "not a regular one" in problems(tmp_path)
    (tmp_path / "latin.json").write_bytes('{"name": "é"}'.encode("latin-1"))
    assert "UTF-8" in problems(tmp_path / "latin.json")
    (tmp_path / "text.json").write_text("hello")
    assert "has to be JSON" in problems(tmp_path / "text.json")
    monkeypatch.setenv("COREGSTACK_MAX_PAYLOAD_BYTES", "20")
    (tmp_path / "large.json").write_text(EXAMPLE)
    assert "larger than the 20 bytes" in problems(tmp_path / "large.json")
    assert "longer than 20" in problems(EXAMPLE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
places = st.sampled_from(
    [
        ("name",),
        ("source_type",),
        ("order_type",),
        ("products",),
        ("products", 0),
        ("products", 0, "item_ids"),
        ("products", 0, "item_ids", 0),
        ("products", 0, "item_type"),
        ("products", 0, "product_bundle"),
        ("tools",),
        ("tools", 0),
        ("tools", 0, "coregister"),
        ("tools", 0, "coregister", "anchor_item"),
        ("tools", 1),
        ("tools", 1, "file_format"),
    ]
)


@given(places, json_values)
def test_any_value_anywhere_is_read_or_refused(path: tuple[str | int, ...], value: Any) -> None:
    payload = with_tools({"file_format": "COG"})
    place: Any = payload
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    given_payload = deepcopy(payload)
    try:
        assert isinstance(read_payload(payload), Order)
    except PayloadError as error:
        str(error).encode()
        json.dumps(error.as_api()).encode("ascii")
    assert repr(payload) == repr(given_payload)


@given(json_values)
def test_any_json_text_is_read_or_refused(value: Any) -> None:
    text = '{"x": ' + json.dumps(value) + "}"
    with pytest.raises(PayloadError):
        read_payload(text)
    with pytest.raises(PayloadError):
        read_payload(value if not isinstance(value, str) else {"x": value})
