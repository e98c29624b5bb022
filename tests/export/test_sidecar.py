"""The sidecar holds the contract's keys, in JSON that any reader takes."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coregstack import __version__
from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile, UnsafePath
from coregstack.export.sidecar import QualityRecord, quality_record, read_sidecar, sidecar_name, write_sidecar
from coregstack.matching.decision import ANCHOR_QUALITY
from coregstack.model import ItemQuality, Shift, Status

KEYS = [
    "coreg_method",
    "coreg_method_version",
    "estimator",
    "anchor_item",
    "target_item",
    "projection_epsg_before",
    "projection_epsg_after",
    "pixel_shift",
    "output_item",
    "status",
    "matching_score_before",
    "matching_score_after",
    "matching_score_improvement",
    "model",
    "pixel_shift_spread",
    "expected_residual",
    "details",
    "pixel_shift_estimated",
    "pixel_shift_sigma",
    "matching_score_version",
]


def record(**changes: Any) -> QualityRecord:
    values: dict[str, Any] = {
        "shift": Shift(1.5, -0.25),
        "sigma": Shift(0.02, 0.01),
        "before": 0.5,
        "after": 0.9,
        "improvement": 0.4,
        "status": Status.COREGISTERED,
        "details": "It is applied.",
        "model": "shift",
        "spread": 0.1,
        "residual": 0.102,
    }
    quality = ItemQuality(**values | changes)
    return quality_record(
        quality,
        anchor_item="a",
        target_item="b",
        epsg_before=32611,
        epsg_after=32610,
        output_files=["b_3B_Visual_coreg.tif", "b_3B_udm2_coreg.tif"],
    )


@pytest.fixture(scope="module")
def validate() -> Any:
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema, which checks the schema, is not installed"
    )
    schema = json.loads(files("coregstack.export").joinpath("schema/quality.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).validate


def test_a_coregistered_item(validate: Any) -> None:
    value = record().as_json()
    assert list(value) == KEYS
    assert value == {
        "coreg_method": "direct",
        "coreg_method_version": __version__,
        "estimator": "coregstack",
        "anchor_item": "a",
        "target_item": "b",
        "projection_epsg_before": 32611,
        "projection_epsg_after": 32610,
        "pixel_shift": [-0.25, 1.5],
        "matching_score_before": 0.5,
        "matching_score_after": 0.9,
        "matching_score_improvement": 0.4,
        "model": "shift",
        "pixel_shift_spread": 0.1,
        "expected_residual": 0.102,
        "details": "It is applied.",
        "output_item": ["b_3B_Visual_coreg.tif", "b_3B_udm2_coreg.tif"],
        "status": "coregistered",
        "pixel_shift_estimated": [-0.25, 1.5],
        "pixel_shift_sigma": [0.01, 0.02],
        "matching_score_version": 1,
    }
    validate(value)


@pytest.mark.parametrize(
    ("status", "applied"),
    [
        (Status.COREGISTERED, [-0.25, 1.5]),
        (Status.ALREADY_ALIGNED, [0, 0]),
        (Status.NO_IMPROVEMENT, [0, 0]),
        (Status.FAILED, None),
    ],
)
def test_the_shift_applied_is_told_apart_from_the_one_found(
    status: Status, applied: list[float] | None, validate: Any
) -> None:
    value = record(status=status).as_json()
    assert value["pixel_shift"] == applied
    assert value["pixel_shift_estimated"] == [-0.25, 1.5]
    validate(value)


def test_the_anchor_has_no_sidecar() -> None:
    with pytest.raises(InvalidRequest, match="anchor has no quality sidecar"):
        quality_record(
            ANCHOR_QUALITY, anchor_item="a", target_item="a", epsg_before=1, epsg_after=None, output_files=[]
        )


def test_numbers_of_numpy_become_plain_json() -> None:
    quality = ItemQuality(
        shift=Shift(np.float32(-0.0), np.float64(2)),
        sigma=Shift(np.float64("nan"), 0.1),
        before=np.float32(0.5),
        after=np.float64("inf"),
        improvement=None,
        status=Status.COREGISTERED,
        details="",
    )
    value = quality_record(
        quality,
        anchor_item="a",
        target_item="b",
        epsg_before=np.int64(32610),
        epsg_after=None,
        output_files=[],
    ).as_json()
    text = json.dumps(value, allow_nan=False)
    assert '"pixel_shift": [2.0, 0.0]' in text
    assert '"projection_epsg_before": 32610,' in text
    assert value["pixel_shift_sigma"] is None
    assert value["matching_score_after"] is None


numbers = st.none() | st.floats()
shifts = st.none() | st.builds(Shift, st.floats(), st.floats())


@given(
    st.sampled_from([status for status in Status if status is not Status.ANCHOR]),
    shifts,
    shifts,
    numbers,
    numbers,
)
def test_no_value_makes_invalid_json(
    status: Status, shift: Shift | None, sigma: Shift | None, before: float | None, change: float | None
) -> None:
    made = record(status=status, shift=shift, sigma=sigma, before=before, improvement=change)
    value = json.loads(json.dumps(made.as_json(), allow_nan=False))
    assert list(value) == KEYS
    if before is None or not math.isfinite(before):
        assert value["matching_score_before"] is None


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = write_sidecar(tmp_path, record())
    assert path.name == "b_coreg_qa_metadata.json"
    assert read_sidecar(path) == record()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_sidecar_of_the_hosted_tool_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x_coreg_qa_metadata.json"
    value = {
        "target_item": "x",
        "pixel_shift": "",
        "output_item": {"scene": "s.tif", "udm": "u.tif"},
        "details": None,
    }
    path.write_text(json.dumps(value))
    found = read_sidecar(path)
    assert (found.target_item, found.pixel_shift, found.output_item) == ("x", None, ("s.tif", "u.tif"))
    assert found.told == {"details": None}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"target_item": 5}', "NaN", "\0"])
def test_other_files_are_no_sidecars(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile):
        read_sidecar(path)
    with pytest.raises(MissingFile):
        read_sidecar(tmp_path / "none.json")


def test_names_stay_in_their_folder() -> None:
    with pytest.raises(UnsafePath):
        sidecar_name("../x")
