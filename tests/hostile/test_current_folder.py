"""No file of the folder that somebody stands in runs code, or chooses how anything is computed."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from digests import tree

from coregstack.kernels import compiling, keeping
from coregstack.kernels.keeping import is_private, kept_in, read_kept, sealed

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from coregstack.cli import main; sys.exit(main())"
HOSTILE = {
    "cache_dir": "evil", "cache_locator_classes": "evil.Locator", "opt": "0", "debug_cache": "1", "boundscheck": "1",
    "loop_vectorize": "0", "cpu_name": "nothing", "cpu_features": "+nothing", "dump_assembly": "1",
    "developer_mode": "1", "num_threads": "1",
}  # fmt: skip
EVIL = "open({mark!r}, 'a').write(__name__ + ' ')\nraise SystemExit('code of the current folder was run')\n"
MODULES = ["evil", "numpy", "numba", "rasterio", "yaml", "dask", "distributed", "xarray", "cuda", "tbb", "odc",
           "pandas", "fsspec", "json", "sitecustomize", "usercustomize", "antimeridian"]  # fmt: skip


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Path]:
    """A folder with every file that a library may look for where one stands; none of them may be run."""
    folder, mark = tmp_path / "order", tmp_path / "run"
    folder.mkdir()
    (folder / ".numba_config.yaml").write_text(
        "".join(f"{key}: {value!r}\n" for key, value in HOSTILE.items())
    )
    for name in MODULES:
        (folder / f"{name}.py").write_text(EVIL.format(mark=str(mark)))
    (folder / "matplotlibrc").write_text("backend: module://evil\n")
    for name in ("dask.yaml", "distributed.yaml", ".dask/dask.yaml", ".config/dask/dask.yaml", "zarr.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("distributed:\n  worker:\n    preload: [evil.py]\nscheduler: nonsense\n")
    for name in (
        ".gdalrc",
        "gdalrc",
        ".gdal/gdalrc",
        "proj.ini",
        "proj.db",
        "epsg",
        ".env",
        "setup.cfg",
        "pyvenv.cfg",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("[configoptions]\nGTIFF_IGNORE_READ_ERRORS=YES\n")
    yield folder
    assert not mark.exists(), f"{mark.read_text()} were imported from the current folder"


def run(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in another process, as it is installed: the current folder is not on Python's path."""
    # a folder of kernels that a variable names is kept: to compile all anew would take a minute
    place = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {COMMAND}"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], cwd=folder, env=place | env, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def test_a_run_in_a_hostile_folder_is_as_anywhere(hostile: Path, sound: SimpleNamespace) -> None:
    for path in (sound.anchor, sound.good):
        shutil.copy(path, hostile)
    before = tree(hostile)
    done = run(
        hostile, "align", "anchor.tif", "good.tif", "--anchor", "anchor", "--output", "../out", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["problems"] == []
    assert tree(hostile.parent / "out") == tree(hostile.parent / "out") | sound.digests
    assert tree(hostile) == before
    assert not (hostile / "evil").exists()


def test_what_numba_is_told_by_variables_is_kept(hostile: Path) -> None:
    code = (
        "import coregstack.kernels.score, numba.core.config as c; "
        "print(int(c.OPT), c.CACHE_DIR, c.CPU_NAME, c.BOUNDSCHECK, c.DEBUG_CACHE)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_DEBUG_CACHE": "0", "NUMBA_CPU_NAME": "generic"}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=hostile, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["3", "generic", "None", "0"]


SOURCE = """
from coregstack.kernels.compiling import compiled

@compiled
def add(first, second):
    return first + second
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A module with a kernel that was compiled and kept."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "kernel.py").write_text(SOURCE)
    assert called(folder) == ["3", "0"]
    assert called(folder) == ["3", "1"]
    return folder


def called(folder: Path, **env: str) -> list[str]:
    """What the kernel gives, and how often it was found compiled, in a module loaded anew as in another process."""
    compiling._source_digest.cache_clear()
    spec = importlib.util.spec_from_file_location("kernel", folder / "kernel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(keeping.VARIABLE, raising=False)
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setitem(sys.modules, "kernel", module)
        for name, value in env.items():
            patch.setenv(name, value)
        spec.loader.exec_module(module)
        return [str(module.add(1, 2)), str(sum(module.add.stats.cache_hits.values()))]


def kept(folder: Path) -> Path:
    (path,) = folder.rglob("*.nbc")
    return path


class Bomb:
    """A pickle that runs code when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_was_not_written_there_is_not_loaded(kernel: Path, tmp_path: Path) -> None:
    path, mark = kept(kernel), tmp_path / "mark"
    whole = path.read_bytes()
    bomb = pickle.dumps(Bomb(mark))
    for data in (bomb, whole + bomb, whole[:52] + bomb, sealed("other.nbc", bomb)):
        path.write_bytes(data)
        assert called(kernel) == ["3", "0"]
        assert not mark.exists()
    assert called(kernel) == ["3", "1"]


@pytest.mark.skipif(os.name != "posix", reason="owners and rights of POSIX")
def test_files_that_others_may_have_written_are_not_loaded(kernel: Path, tmp_path: Path) -> None:
    path, mark = kept(kernel), tmp_path / "mark"
    path.write_bytes(sealed(path.name, pickle.dumps(Bomb(mark))))
    path.chmod(0o666)
    assert called(kernel) == ["3", "0"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(sealed(path.name, pickle.dumps(Bomb(mark))))
    path.unlink()
    path.symlink_to(elsewhere)
    assert called(kernel) == ["3", "0"]
    assert not mark.exists()
    path.unlink()
    os.mkfifo(path)
    assert called(kernel) == ["3", "0"]


@pytest.mark.skipif(os.name != "posix", reason="owners and rights of POSIX")
def test_a_folder_that_others_can_write_to_is_not_used(kernel: Path, tmp_path: Path) -> None:
    path, mark = kept(kernel), tmp_path / "mark"
    bomb = sealed(path.name, pickle.dumps(Bomb(mark)))
    path.write_bytes(bomb)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for mode in (0o777, 0o775, 0o1777):
        path.parent.chmod(mode)
        assert called(kernel, HOME=str(home), XDG_CACHE_HOME="relative")[0] == "3"
        assert not mark.exists()
    own = list(home.rglob("*.nbc"))
    assert len(own) == 1
    assert own[0].is_relative_to(home / ".cache" / "coregstack")
    assert stat.S_IMODE(own[0].parent.stat().st_mode) == 0o700
    assert path.read_bytes() == bomb


@pytest.mark.skipif(os.name != "posix", reason="owners and rights of POSIX")
def test_folders_above_count_as_well(tmp_path: Path) -> None:
    inner = tmp_path / "above" / "inner"
    inner.mkdir(parents=True, mode=0o700)
    assert is_private(inner)
    for mode, private in ((0o777, False), (0o1777, True), (0o755, True)):
        inner.parent.chmod(mode)
        assert is_private(inner) is private
    if os.geteuid() == 0:
        os.chown(inner, 12345, 12345)
        assert not is_private(inner)
        os.chown(inner, 0, 0)
        os.chown(inner.parent, 12345, 12345)
        assert not is_private(inner)
        os.chown(inner.parent, 0, 12345)
        inner.parent.chmod(0o775)
        assert not is_private(inner)
    (tmp_path / "link").symlink_to(inner)
    inner.parent.chmod(0o777)
    assert not is_private(tmp_path / "link")


def test_the_folder_that_a_variable_names_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "module" / "kernel.py"
    source.parent.mkdir()
    monkeypatch.setenv(keeping.VARIABLE, str(tmp_path / "named"))
    assert kept_in(source).parent == tmp_path / "named"
    monkeypatch.setenv(keeping.VARIABLE, "")
    assert kept_in(source) == source.parent / "__pycache__"
    monkeypatch.setattr(keeping, "is_private", lambda _: False)
    assert kept_in(source) is None


def test_what_is_kept_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "a.nbc"
    path.write_bytes(sealed("a.nbc", b"content"))
    path.chmod(0o644)
    assert read_kept(path) == b"content"
    (tmp_path / "b.nbc").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="damaged"):
        read_kept(tmp_path / "b.nbc")
    for data in (b"", path.read_bytes()[:30], path.read_bytes()[:-1], path.read_bytes() + b"x"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="damaged"):
            read_kept(path)
