"""Credentials reach the file system that they are for and nothing else; nothing that is read is run."""

from __future__ import annotations

import ast
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import zarr

import coregstack
from coregstack import align, append, open_scenes, report, run_scenes, to_zarr
from coregstack.errors import MissingFile, OutputConflict

SECRET = "hunter2-hunter2"
STORE = f"memory://me:{SECRET}@example.org/{{}}.zarr?sig={SECRET}"
RUNNING = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "lxml", "subprocess"}
CALLS = {
    "eval", "exec", "compile", "__import__", "np.load", "os.system", "ElementTree.parse", "ElementTree.XML",
    "ElementTree.fromstring", "ElementTree.iterparse",
}  # fmt: skip
"""What runs, may be made to run, or expands what it reads; samples of XML are written all the same."""


def test_urls_are_told_without_their_secrets(
    sound: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    scenes = [sound.anchor, sound.good]
    aligned = align(open_scenes(scenes, anchor="anchor"), anchor="anchor")
    zarr.open_array(STORE.format("other"), mode="w", shape=(1,), dtype="u1")
    told = []
    with caplog.at_level(logging.DEBUG, "coregstack"):
        with pytest.raises(OutputConflict, match=r"memory://example\.org/other\.zarr already") as conflict:
            to_zarr(aligned, STORE.format("other"))
        with pytest.raises(MissingFile, match=r"memory://example\.org/none\.zarr") as missing:
            append([sound.good], STORE.format("none"))
        told = [str(conflict.value), str(missing.value), caplog.text]
    assert SECRET not in " ".join(told)


def test_the_environment_is_told_to_nobody(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PL_API_KEY", "GDAL_HTTP_USERPWD"):
        monkeypatch.setenv(name, SECRET)
    (tmp_path / "junk.tif").write_bytes(b"junk")
    scenes = [sound.anchor, sound.good, tmp_path / "junk.tif"]
    with caplog.at_level(logging.DEBUG, "coregstack"):
        report(run_scenes(scenes, anchor="anchor", output=tmp_path / "out"))
    assert caplog.records
    assert SECRET not in caplog.text
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path.name for path in files if SECRET.encode() in path.read_bytes()]


def test_a_pickle_in_the_place_of_a_note_is_not_read(sound: SimpleNamespace, tmp_path: Path) -> None:
    scenes, out = [sound.anchor, sound.good], tmp_path / "out"
    run_scenes(scenes, anchor="anchor", output=out)
    pickled = b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
    for name in ("good.json", "good.evidence"):
        (out / ".coregstack" / name).write_bytes(pickled)
    report(run_scenes(scenes, anchor="anchor", output=out))
    assert not (tmp_path / "owned").exists()


def test_no_module_reads_what_could_be_run() -> None:
    for path in Path(coregstack.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
        # kernels that were compiled are kept as pickles, checked before they are loaded; `warm` starts Python itself;
        # whether workers can be sent a user's own estimator is tried by writing it, and nothing is read
        own = {"compiling.py": {"pickle"}, "warming.py": {"subprocess"}, "estimators.py": {"cloudpickle"}}
        own = own.get(path.name, set())
        assert (
            not {call for call in called if "pickle" in call and "load" in call}
            or path.name == "compiling.py"
        )
        assert not {name.split(".")[0] for name in imported} & (RUNNING - own), path
        assert not called & CALLS, path
