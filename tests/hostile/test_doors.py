"""Nothing that comes from outside reaches beyond its folder, or makes anything run."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import rasterio
import recipes
from digests import tree
from recipes import as_text, payload, write_tiff, zip_bytes

from coregstack import open_order, report, run_order, run_scenes
from coregstack.errors import CoregError, InvalidRequest, MissingFile, OutputConflict, UnreadableFile
from coregstack.export.evidence import kept_evidence
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.pixels.raster import opened, read_header, read_window

IDS = ["20240101_100000_0e3a", "20240102_100000_0e3a"]
HOSTILE_IDS = [
    "../up", "/etc/passwd", "a/b", "a\\b", "..", ".", "", " ", "a\0b", "a\nb", "C:x", "x" * 300, "\u202eabc", 7, None,
    [],
]  # fmt: skip
ODD_NAMES = ["with space", "-leading-dash", "quo'te\"s", "ünïcode-日本", "a;rm -rf ~", "$(touch owned)", "a#b?c=d&e",
             "100%", "x" * 180, "ends with dot.", "http:", "zip+file"]  # fmt: skip


@pytest.fixture
def order(tmp_path: Path) -> Path:
    folder = tmp_path / "order"
    folder.mkdir()
    write_tiff(folder / f"{IDS[0]}_3B_AnalyticMS.tif", recipes.pixels((0.0, 0.0)))
    write_tiff(folder / f"{IDS[1]}_3B_AnalyticMS.tif")
    return folder


@pytest.mark.parametrize("item", HOSTILE_IDS, ids=repr)
def test_ids_that_are_paths_are_refused_before_any_work(item: object, order: Path, tmp_path: Path) -> None:
    with pytest.raises(CoregError):
        run_order(payload([IDS[0], item], IDS[0]), input=order, output=tmp_path / "out")
    with pytest.raises(CoregError):
        run_scenes(sorted(order.iterdir()), ids=[IDS[0], item], anchor=IDS[0], output=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names_and_nothing_else(name: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    odd = tmp_path / f"{name}.tif"
    odd.write_bytes(sound.good.read_bytes())
    result = run_scenes([sound.anchor, odd], anchor="anchor", output=tmp_path / "out")
    assert not result.problems
    assert result.reports[1].id == name
    assert (tmp_path / "out" / f"{name}_coreg.tif").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([odd.name, "out"])


@pytest.mark.parametrize(
    "name", ["/vsicurl/http://127.0.0.1:9/a.tif", "/vsimem/a.tif", "/vsizip/a.zip/a.tif", "http://127.0.0.1:9/a.tif",
             "zip://a.zip!a.tif", "GTIFF_DIR:1:a.tif", "MEM:::DATAPOINTER=1", "/dev/stdin", "/proc/self/environ"]
)  # fmt: skip
def test_connection_strings_are_no_files(name: str) -> None:
    with pytest.raises((MissingFile, UnreadableFile)):
        read_header(name)


@pytest.mark.parametrize("driver", ["PNG", "HFA", "ENVI", "netCDF", "GPKG", "XYZ", "AAIGrid"])
def test_no_driver_is_tried_beyond_the_listed_ones(driver: str, tmp_path: Path) -> None:
    starts = {
        "PNG": b"\x89PNG\r\n\x1a\n", "HFA": b"EHFA_HEADER_TAG", "ENVI": b"ENVI\n", "netCDF": b"CDF\x01",
        "GPKG": b"SQLite format 3\0", "XYZ": b"0 0 1\n1 0 2\n", "AAIGrid": b"ncols 2\nnrows 2\n",
    }  # fmt: skip
    path = tmp_path / "a.tif"
    path.write_bytes(starts[driver] + bytes(1000))
    with pytest.raises(UnreadableFile, match="neither GeoTIFF nor JPEG 2000"):
        read_header(path)


def test_files_beside_a_raster_change_nothing(sound: SimpleNamespace, tmp_path: Path) -> None:
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    for folder in (alone, beside):
        folder.mkdir()
        (folder / "a.tif").write_bytes(sound.good.read_bytes())
    other = sound.anchor.read_bytes()
    for name in ("a.tif.ovr", "a.tif.msk", "a.ovr", "a.tif.msk.ovr"):
        (beside / name).write_bytes(other)
    (beside / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    (beside / "a.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:3857</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>"
        '<Metadata><MDI key="acquired">1999-01-01</MDI></Metadata>'
        '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/passwd</MDI></Metadata>'
        '<PAMRasterBand band="1"><NoDataValue>1234</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    (beside / "a.imd").write_text("junk")
    headers = [read_header(folder / "a.tif") for folder in (alone, beside)]
    facts = [(h.box, h.nodata, h.tags, h.names, h.internal_mask) for h in headers]
    assert facts[0] == facts[1]
    with opened(str(alone / "a.tif")) as a, opened(str(beside / "a.tif")) as b:
        assert a.overviews(1) == b.overviews(1) == []
        whole = [0, 1, 2, 3], 0, 0, (192, 192)
        assert (read_window(a, *whole) == read_window(b, *whole)).all()
    assert sorted(path.name for path in alone.iterdir()) == ["a.tif"]


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """A port that listens; called, it tells how often somebody has come since the last time.

    Connections wait in the system's queue, so that a caller who holds the GIL is counted too.
    """
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def count() -> int:
            came = 0
            with suppress(BlockingIOError):
                while True:
                    server.accept()[0].close()
                    came += 1
            return came

        count.port = server.getsockname()[1]  # type: ignore[attr-defined]
        yield count


URL_USES: dict[str, Callable[[Path, str], object]] = {
    "connection string": lambda path, url: path.write_text(f"/vsicurl/{url}"),
    "VRT": lambda path, url: path.write_text(
        f"<VRTDataset><SourceFilename>{url}</SourceFilename></VRTDataset>"
    ),
    "WMS": lambda path, url: path.write_text(
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>{url}</ServerUrl></Service></GDAL_WMS>"
    ),
    "overviews": lambda path, url: recipes.write_redirected(
        path, "OVERVIEWS", "OVERVIEW_FILE", f"/vsicurl/{url}a.tif"
    ),
    "JPEG 2000 overviews": lambda path, url: recipes.write_redirected(
        path, "OVERVIEWS", "OVERVIEW_FILE", f"/vsicurl/{url}a.tif"
    ),
    "places of pixels": lambda path, url: recipes.write_redirected(
        path, "GEOLOCATION", "Y_DATASET", f"/vsicurl/{url}a.tif"
    ),
    "JPEG 2000 GML": recipes.write_gml,
}


@pytest.mark.parametrize("use", URL_USES)
def test_the_network_is_never_asked(
    use: str, callers: Callable[[], int], sound: SimpleNamespace, tmp_path: Path
) -> None:
    bad = tmp_path / ("bad.jp2" if "JPEG 2000" in use else "bad.tif")
    URL_USES[use](bad, f"http://127.0.0.1:{callers.port}/")  # type: ignore[attr-defined]
    result = run_scenes([sound.anchor, bad], anchor="anchor", output=tmp_path / "out")
    assert result.problems
    assert callers() == 0


def test_a_caller_would_be_heard(callers: Callable[[], int], tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{callers.port}/"  # type: ignore[attr-defined]
    path = tmp_path / "a.tif"
    URL_USES["overviews"](path, url)
    with rasterio.open(path) as dataset:
        dataset.overviews(1)
    assert callers() > 0


def test_links_out_of_the_input_are_not_followed(order: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("mine")
    (order / f"{IDS[1]}_notes.txt").symlink_to(secret)
    (order / "elsewhere").symlink_to(tmp_path)
    (order / "dangling.tif").symlink_to(tmp_path / "nothing")
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert not any(
        "mine" in path.read_text("latin1") for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert sum("link" in note for note in result.notes) == 3


def test_a_link_in_the_output_is_replaced_and_not_written_through(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.tif"
    mine.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "good_coreg.tif").symlink_to(mine)
    result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out")
    assert not result.problems
    assert mine.read_text() == "mine"
    assert not (tmp_path / "out" / "good_coreg.tif").is_symlink()


def test_manifests_do_not_reach_out(order: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.tif").write_bytes(b"mine")
    entries = [
        {"path": path, "digests": {}, "annotations": {"planet/item_id": item}}
        for path, item in (
            ("../secret.tif", IDS[1]), ("/etc/passwd", IDS[1]), (f"{IDS[1]}_3B_AnalyticMS.tif", "../../up"),
            ("a\u0000b", "x"), (7, IDS[1]), ("x" * 5000, IDS[1]),
        )
    ]  # fmt: skip
    (order / "manifest.json").write_bytes(as_text({"files": entries}))
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert [report.quality.status for report in result.reports] == [Status.ANCHOR, Status.COREGISTERED]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order", "out", "secret.tif"]
    assert len(result.notes) >= 5


def test_wrong_digests_are_found_and_can_be_overruled(order: Path, tmp_path: Path) -> None:
    names = [f"{item}_3B_AnalyticMS.tif" for item in IDS]
    files = [{"path": names[0], "digests": {}}, {"path": names[1], "digests": {"md5": "0" * 32}}]
    (order / "manifest.json").write_bytes(as_text({"files": files}))
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert result.reports[1].quality.status is Status.FAILED
    assert "md5" in result.problems[0]
    assert (tmp_path / "out" / names[1]).read_bytes() == (order / names[1]).read_bytes()
    again = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out", verify=False)
    assert again.reports[1].quality.status is Status.COREGISTERED
    assert not (tmp_path / "out" / names[1]).exists()
    files[0]["digests"] = {"sha256": "0" * 64}
    (order / "manifest.json").write_bytes(as_text({"files": files}))
    with pytest.raises(UnreadableFile, match="not the file that the manifest describes"):
        run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", recipes.JSON_TEXTS)
def test_texts_that_are_no_payload(name: str, order: Path, tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_bytes(recipes.JSON_TEXTS[name])
    with pytest.raises(InvalidRequest):
        run_order(path, input=order, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", recipes.JSON_TEXTS)
def test_texts_that_are_no_manifest_or_metadata_do_no_harm(name: str, order: Path, tmp_path: Path) -> None:
    for file in (
        "manifest.json",
        f"{IDS[1]}_metadata.json",
        f"{IDS[1]}_coreg_qa_metadata.json",
        f"{IDS[1]}.json",
    ):
        (order / file).write_bytes(recipes.JSON_TEXTS[name])
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert result.reports[1].quality.status is Status.COREGISTERED
    assert not result.problems


def test_xml_is_passed_on_and_never_expanded(order: Path, tmp_path: Path) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    (order / f"{IDS[1]}_3B_AnalyticMS_metadata.xml").write_bytes(bomb)
    run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert (tmp_path / "out" / f"{IDS[1]}_3B_AnalyticMS_metadata.xml").read_bytes() == bomb


@pytest.mark.parametrize("member", ["../up.tif", "/up.tif", "a/../../up.tif", "a\\..\\..\\up.tif"])
def test_archives_that_lead_out(member: str, order: Path, tmp_path: Path) -> None:
    (order / "more.zip").write_bytes(zip_bytes({"a.txt": b"x", member: b"x"}))
    with pytest.raises(CoregError, match="not unpacked"):
        run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["order"]


def test_an_order_in_an_archive(order: Path, tmp_path: Path) -> None:
    archive = tmp_path / "order.zip"
    archive.write_bytes(zip_bytes({path.name: path.read_bytes() for path in order.iterdir()}))
    result = run_order(payload(IDS, IDS[0]), input=archive, output=tmp_path / "out")
    assert result.reports[1].quality.status is Status.COREGISTERED


def test_an_earlier_output_as_input(order: Path, tmp_path: Path) -> None:
    first = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "first")
    (tmp_path / "first" / "report.html").write_text("<script>")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "notes.txt").write_text("of the folder's owner")
    second = run_order(payload(IDS, IDS[0]), input=tmp_path / "first", output=tmp_path / "second")
    assert not first.problems
    assert not second.problems
    assert [report.quality.status for report in second.reports] == [Status.ANCHOR, Status.ALREADY_ALIGNED]
    assert (tmp_path / "second" / "coregistration.csv").read_text().startswith("item,")


def test_scenes_that_would_be_written_under_one_name(sound: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("a.tif", "a_coreg.tif"):
        (tmp_path / name).write_bytes(sound.good.read_bytes())
    paths = [sound.anchor, tmp_path / "a.tif", tmp_path / "a_coreg.tif"]
    with pytest.raises(InvalidRequest, match="a_coreg"):
        run_scenes(paths, anchor="anchor", output=tmp_path / "out")
    with pytest.raises(InvalidRequest, match="unique"):
        run_scenes([*paths[:2], paths[1]], anchor="anchor", output=tmp_path / "out")


@pytest.mark.parametrize("place", ["", "out", "deeper/out", "..", "../order"])
def test_output_and_input_do_not_overlap(place: str, order: Path) -> None:
    before = tree(order)
    with pytest.raises(OutputConflict, match="overlap"):
        run_order(payload(IDS, IDS[0]), input=order, output=order / place)
    with pytest.raises(OutputConflict, match="overlap"):
        run_order(
            payload(IDS, IDS[0]), input=order, output=order.parent / "o", zarr=order / place, overwrite=True
        )
    assert tree(order) == before
    assert sorted(path.name for path in order.parent.iterdir()) == ["order"]


def test_outputs_that_cannot_be_written(order: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/deeper", "/proc/coregstack", "/dev/null/x"):
        with pytest.raises((OutputConflict, UnreadableFile)):
            run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_paths_that_no_file_can_have(order: Path, sound: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    scenes = [sound.anchor, sound.good]
    for name in ("x" * 300, "a\0b", "loop", "loop/deeper", "a/" * 3000):
        path = f"{tmp_path}/{name}"
        for attempt in (
            lambda: run_scenes(scenes, anchor="anchor", output=path),  # noqa: B023 (called at once)
            lambda: run_scenes(scenes, anchor="anchor", output=tmp_path / "out", zarr=path),  # noqa: B023
            lambda: run_scenes([*scenes, path], anchor="anchor", output=tmp_path / "out"),  # noqa: B023
            lambda: run_order(payload(IDS, IDS[0]), input=path, output=tmp_path / "out"),  # noqa: B023
            lambda: run_order(path, input=order, output=tmp_path / "out"),  # noqa: B023
            lambda: open_order(path, anchor=IDS[0]),  # noqa: B023
            lambda: verify_output(Path(path)),  # noqa: B023
        ):
            with pytest.raises(CoregError):
                attempt()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "order"]


def test_links_that_go_round_and_pipes_are_left_out(order: Path, tmp_path: Path) -> None:
    for name, target in (("self", "self"), ("a.tif", "b.tif"), ("b.tif", "a.tif")):
        (order / name).symlink_to(order / target)
    for name in ("pipe.tif", "manifest.json"):
        os.mkfifo(order / name)
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    assert not result.problems
    assert {note.split(":")[0] for note in result.notes} == {
        "self", "a.tif", "b.tif", "pipe.tif", "manifest.json"
    }  # fmt: skip


def test_folders_where_notes_and_evidence_have_to_be_are_named(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    for name in ("good.json", "good.evidence", "bad.evidence"):
        (tmp_path / "out" / ".coregstack" / name / "deeper").mkdir(parents=True)
    (tmp_path / "bad.tif").write_bytes(b"junk")
    scenes = [sound.anchor, sound.good, tmp_path / "bad.tif"]
    result = run_scenes(scenes, anchor="anchor", output=tmp_path / "out")
    assert {problem.split(":")[0] for problem in result.problems} == {"good", "bad"}
    assert "unexpected" not in " ".join(result.problems)
    assert tree(tmp_path / "out") == tree(tmp_path / "out") | sound.digests


def test_an_output_that_holds_a_folder_named_as_a_half_written_file(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "out" / ".x.part").mkdir(parents=True)
    result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out")
    assert not result.problems


def test_notes_of_another_hand_are_not_believed(sound: SimpleNamespace, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    mine.write_text("mine")
    paths = [sound.anchor, sound.good]
    run_scenes(paths, anchor="anchor", output=out)
    note = out / ".coregstack" / "good.json"
    value = json.loads(note.read_text())
    value["files"] = [{"path": "../mine", "size": 4, "md5": "", "sha256": ""}]
    texts = [json.dumps(value), "[" * 100_000, "", "{}", "\0" * 100, json.dumps({**value, "quality": 7})]
    for text in texts:
        note.write_text(text)
        result = run_scenes(paths, anchor="anchor", output=out)
        assert [report.resumed for report in result.reports] == [True, False]
        assert mine.read_text() == "mine"
        assert tree(out)["good_coreg.tif"] == sound.digests["good_coreg.tif"]


SIGNED = {
    "files without paths": ("files", [{}]),
    "files that are numbers": ("files", [7]),
    "no list of files": ("files", 1e308),
    "a path that leads out": ("files", [{"path": "../mine", "size": 4, "md5": "", "sha256": "", "annotations": {}}]),
    "annotations that are no text": (
        "files", [{"path": "good.tif", "size": 4, "md5": "", "sha256": "", "annotations": {"a": []}}]
    ),
    "a shift of three numbers": ("shift", [1, 2, 3]),
    "a shift of text": ("shift", ["1", "2"]),
    "a score that is a list": ("before", [1, 2]),
    "a score that no float can hold": ("after", 10**400),
    "a status that there is not": ("status", "perfect"),
    "details that no UTF-8 can hold": ("details", "\ud800"),
    "an item matched against that no UTF-8 can hold": ("against", "\ud800"),
    "a fingerprint that is none": ("fingerprint", {}),
}  # fmt: skip
"""Notes by somebody who knows how they are signed: a key, and what it is changed to."""


@pytest.mark.parametrize("name", SIGNED)
def test_signed_notes_that_no_run_writes_are_not_believed(
    name: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    key, value = SIGNED[name]
    paths, out = [sound.anchor, sound.good], tmp_path / "out"
    (tmp_path / "mine").write_text("mine")
    run_scenes(paths, anchor="anchor", output=out)
    note = out / ".coregstack" / "good.json"
    state = {k: v for k, v in json.loads(note.read_text()).items() if k != "check"}
    (state if key in state else state["quality"])[key] = value
    signature = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    note.write_text(json.dumps(state | {"check": signature}))
    result = run_scenes(paths, anchor="anchor", output=out)
    assert not result.problems
    assert [report.resumed for report in result.reports] == [True, False]
    assert tree(out) == tree(out) | sound.digests
    assert (tmp_path / "mine").read_text() == "mine"


EVIDENCE = {
    "a number that no float can hold": lambda value: value["ties"].update(weight=[10**400]),
    "an infinite size": lambda value: value.update(factor=float("inf")),
    "columns of columns": lambda value: value["ties"].update({k: [[0], [0]] for k in value["ties"]}),
    "a box without a CRS": lambda value: value["box"].update(crs="no CRS"),
    "a box of more pixels than there are": lambda value: value["box"].update(shape=[10**400, 1]),
    "a picture that is none": lambda value: value.update(picture="<script>"),
}


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_of_another_hand_costs_only_its_picture(
    name: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_scenes([sound.anchor, sound.good], anchor="anchor", output=out)
    path = out / ".coregstack" / "good.evidence"
    value = json.loads(path.read_text())
    EVIDENCE[name](value)
    path.write_text(json.dumps(value).replace("Infinity", "1e999"))
    assert kept_evidence(out, "good") is None
    assert "good" in report(out).read_text("utf-8")


def test_names_that_are_no_text(sound: SimpleNamespace, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/bad\xff.tif"
    with open(raw, "wb") as file:
        file.write(sound.good.read_bytes())
    with pytest.raises(CoregError):
        run_scenes([sound.anchor, os.fsdecode(raw)], anchor="anchor", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_report_shows_names_and_runs_none(sound: SimpleNamespace, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
    for item, data in ((name, sound.good.read_bytes()), (f"{name}2", b"junk")):
        (tmp_path / f"{item}.tif").write_bytes(data)
    scenes = [sound.anchor, *sorted(tmp_path.iterdir())]
    result = run_scenes(scenes, anchor="anchor", output=tmp_path / "out")
    page = report(result).read_text("utf-8")
    assert len(result.reports) == 3
    assert "<img src=x" not in page
    assert "onerror" in page
