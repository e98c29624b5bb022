"""No file, folder or archive takes more memory, time or words than a budget, which one module holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import recipes
from recipes import payload, write_tiff, zip_bytes

from coregstack import inspect_folder, run_order
from coregstack.errors import CoregError, InvalidRequest, UnreadableFile, UnsafePath
from coregstack.orders.archives import unpack
from coregstack.orders.manifest import read_manifest
from coregstack.orders.payload import PayloadError, read_payload
from coregstack.orders.scan import scan_delivery
from coregstack.orders.verification import verify_output
from coregstack.products.planet.item_metadata import ItemMetadata, read_item_metadata
from coregstack.untrusted import limits
from coregstack.untrusted.jsonfile import parse_json
from coregstack.untrusted.listing import list_files
from coregstack.untrusted.names import safe_relative

IDS = ["20240101_100000_0e3a", "20240102_100000_0e3a"]


@pytest.mark.parametrize("limit", limits.LIMITS, ids=lambda limit: limit.variable)
def test_every_limit_is_set_by_its_variable(limit: limits.Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit() == limit.default
    monkeypatch.setenv(limit.variable, "7")
    assert limit() == 7
    for wrong in ("", "0", "-1", "many", "1e9"):
        monkeypatch.setenv(limit.variable, wrong)
        with pytest.raises(InvalidRequest, match=limit.variable):
            limit()


def test_every_limit_is_in_the_documentation() -> None:
    page = Path(__file__).parents[2] / "docs" / "explain" / "robustness.md"
    if not page.exists():
        pytest.skip("the documentation is not installed with the package")
    lines = [line for line in page.read_text("utf-8").splitlines() if "`COREGSTACK_MAX_" in line]
    told = [tuple(cell.strip(" `") for cell in line.split("|")[1:4]) for line in lines]
    assert [(name, number(text), what) for name, text, what in told] == [
        (limit.variable, limit.default, limit.what) for limit in limits.LIMITS
    ]


def number(text: str) -> int:
    """A number as the table has it: 4e9, or 2^31."""
    base, power, exponent = text.partition("^")
    return int(base) ** int(exponent) if power else int(float(text))


@pytest.mark.parametrize("value", ["[]", "{}", "7", '{"a":{"b":[{}]}}', '""'])
def test_values_are_counted_before_they_are_made(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"[{','.join([value] * 2000)}]"
    parse_json(text)
    monkeypatch.setenv("COREGSTACK_MAX_JSON_VALUES", "1000")
    made = []
    with pytest.raises(ValueError, match="COREGSTACK_MAX_JSON_VALUES"):
        parse_json(text, on_duplicate=made.append)
    monkeypatch.setattr("coregstack.untrusted.jsonfile.json.loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(ValueError, match="more than 1000 values"):
        parse_json(text)


def test_a_manifest_of_nothing_but_lists_tells_some_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for value in ("[]", "7", '{"path":"../up"}'):
        path.write_text(f'{{"files":[{",".join([value] * 30_000)}]}}')
        problems = read_manifest(path).problems
        assert len(problems) == 1001
        assert "29000 more" in str(problems[-1])
        assert len(scan_delivery(tmp_path).problems) <= 1001


def test_two_entries_of_each_file_are_told_and_counted(tmp_path: Path) -> None:
    files = [{"path": f"{k // 2}.tif", "size": k} for k in range(6000)]
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    assert len(read_manifest(tmp_path / "manifest.json").problems) == 1001
    assert len(scan_delivery(tmp_path).problems) == 1001
    assert len(verify_output(tmp_path)) == 1001


def test_metadata_of_many_values_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a_metadata.json"
    path.write_text('{"properties":{"acquired":"2024-01-01T00:00:00Z","x":[' + "[]," * 600_000 + "[]]}}")
    assert read_item_metadata(path) == ItemMetadata()
    monkeypatch.setenv("COREGSTACK_MAX_SMALL_JSON_VALUES", "2000000")
    assert read_item_metadata(path).acquired is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["products"][0].update(item_ids=[*IDS, *[[]] * 5000]),
        lambda value: value.update(products=[*value["products"], *[7] * 5000]),
        lambda value: value.update(tools=[*value["tools"], *[{"x": 1}] * 5000]),
        lambda value: value["tools"][0]["coregister"].update({f"x{k}": 1 for k in range(5000)}),
    ],
    ids=["ids", "products", "tools", "parameters"],
)
def test_a_payload_with_very_much_amiss_tells_some_and_counts_the_rest(
    change: Callable[[dict[str, object]], None],
) -> None:
    document = payload(IDS, IDS[0])
    change(document)
    with pytest.raises(PayloadError) as error:
        read_payload(document)
    assert len(error.value.problems) == 1001
    assert "4000 more" in str(error.value)


def test_repeated_keys_and_notes_of_a_payload_are_counted() -> None:
    text = json.dumps(payload(IDS, IDS[0]))
    many = ",".join(f'"k{k}":1,"k{k}":2' for k in range(3000))
    with pytest.raises(PayloadError) as error:
        read_payload(f"{text[:-1]},{many}}}")
    assert len(error.value.problems) == 1000
    notes = read_payload(payload(IDS, IDS[0], **{f"k{k}": 1 for k in range(3000)})).notes
    assert len(notes) == 1001


def nest(root: Path, depth: int) -> Path:
    """Make folders within each other, and give the innermost that a path can name."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    return root


def unnest(root: Path, depth: int) -> None:
    """Remove them, which `shutil.rmtree` cannot."""
    for k in range(depth, 0, -1):
        os.rmdir(root.joinpath(*["d"] * k))


@pytest.mark.parametrize("depth", [150, 1500])
def test_folders_within_each_other_are_named_and_not_followed(depth: int, tmp_path: Path) -> None:
    folder = tmp_path / "order"
    folder.mkdir()
    write_tiff(folder / f"{IDS[0]}_3B_AnalyticMS.tif", recipes.pixels((0.0, 0.0)))
    write_tiff(folder / f"{IDS[1]}_3B_AnalyticMS.tif")
    deep = tmp_path / "deep"
    deep.mkdir()
    nest(deep, depth)
    try:
        (deep / "d").rename(folder / "d")
        files, problems = list_files(folder)
        assert len(files) == 2
        assert [problem.path.count("/") for problem in problems] == [limits.DEPTH() - 1]
        assert "100 folders deep" in str(problems[0])
        table = inspect_folder(folder)
        assert len(table) == 2
        assert any("100 folders deep" in problem for problem in table.attrs["problems"])
        result = run_order(payload(IDS, IDS[0]), input=folder, output=tmp_path / "out")
        assert not result.problems
        assert any("100 folders deep" in note for note in result.notes)
        assert len(verify_output(tmp_path / "out")) == 0
        (folder / "d").rename(tmp_path / "out" / "d")
        assert ["100 folders deep" in str(problem) for problem in verify_output(tmp_path / "out")] == [True]
        again = run_order(payload(IDS, IDS[0]), input=folder, output=tmp_path / "out")
        assert all(report.resumed for report in again.reports)
    finally:
        for where in (folder, deep, tmp_path / "out"):
            if (where / "d").exists():
                unnest(where, depth)


def test_archives_of_folders_within_each_other_are_not_unpacked(tmp_path: Path) -> None:
    for name in ("d/" * 1500 + "a.tif", "d/" * 1500):
        (tmp_path / "order.zip").write_bytes(zip_bytes({name: b"x"}))
        with pytest.raises(UnsafePath, match="more than 100 folders"):
            unpack(tmp_path / "order.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_paths_of_manifests_are_not_deeper_than_folders_may_be() -> None:
    assert len(safe_relative("a/" * 99 + "b").parts) == 100
    with pytest.raises(UnsafePath, match="more than 100 folders"):
        safe_relative("a/" * 100 + "b")


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(30):
        (tmp_path / f"{k}.txt").touch()
    monkeypatch.setenv("COREGSTACK_MAX_FILES", "20")
    for look in (list_files, inspect_folder, scan_delivery):
        with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_FILES"):
            look(tmp_path)


def test_limits_of_archives_are_set_by_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "order.zip").write_bytes(zip_bytes({"a": b"x" * 100, "b": b"x" * 100}))
    for name in ("FILES", "BYTES"):
        with monkeypatch.context() as patch:
            patch.setenv(f"COREGSTACK_MAX_ARCHIVE_{name}", "1")
            with pytest.raises(CoregError, match="unpacks to"):
                unpack(tmp_path / "order.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
