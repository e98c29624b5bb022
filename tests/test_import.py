"""What is loaded when: the command line answers at once, and names are there before their modules are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coregstack

HEAVY = ("xarray", "dask", "rasterio", "numpy", "numba", "pandas", "zarr", "distributed")


def python(*arguments: str) -> str:
    """What a new process prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


QUESTIONS = [["--version"], ["--help"], ["order", "--help"], ["align", "--help"], ["completion", "bash"]]


def test_the_package_and_questions_about_the_command_line_load_nothing_heavy() -> None:
    code = (
        "import sys, coregstack\n"
        f"def told(name): print('loaded', name, sorted(set(sys.modules) & set({HEAVY!r})))\n"
        "told('package')\n"
        "from coregstack.cli import main\n"
        f"for arguments in {QUESTIONS!r}:\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "    told(' '.join(arguments))"
    )
    lines = [line for line in python("-c", code).splitlines() if line.startswith("loaded ")]
    names = ["package", *(" ".join(arguments) for arguments in QUESTIONS)]
    assert lines == [f"loaded {name} []" for name in names]


@pytest.mark.parametrize("first", ["coregstack", "xarray"])
def test_accessors_are_there_whichever_is_imported_first(first: str) -> None:
    second = "xarray" if first == "coregstack" else "coregstack"
    code = (
        f"import importlib.util; import {first}; importlib.util.find_spec('xarray'); import {second}\n"
        "import xarray as xr\n"
        "print(type(xr.DataArray(0).coreg).__name__, type(xr.Dataset().coreg).__name__)\n"
        "print(type(xr.__loader__).__name__, type(xr.__spec__.loader).__name__)"
    )
    first_line, second_line = python("-W", "error", "-c", code).splitlines()
    assert first_line == "CoregAccessor QualityAccessor"
    assert second_line == "SourceFileLoader SourceFileLoader"


def test_accessors_are_registered_when_a_function_loads_xarray() -> None:
    code = (
        "import coregstack; coregstack.align; import xarray as xr; print(xr.DataArray(0).coreg is not None)"
    )
    # and the modules that documents name are given
    code += "; coregstack.errors.CoregError, coregstack.testing.sample_stack, coregstack.model.Shift"
    assert python("-c", code).strip() == "True"


def test_every_public_name_is_listed_and_given() -> None:
    assert set(coregstack.__all__) <= set(dir(coregstack))
    for name in coregstack.__all__:
        assert getattr(coregstack, name) is not None
    homes = coregstack._HOME
    assert set(homes) == set(coregstack.__all__) - {"CoregError", "__version__"}
    for name, module in homes.items():
        assert getattr(coregstack, name) is getattr(sys.modules[module], name)


def test_what_type_checkers_see_is_what_is_given() -> None:
    lines = (
        Path(coregstack.__file__).read_text(encoding="utf-8").split("if TYPE_CHECKING:\n")[1].split("\n\n")[0]
    )
    seen = {
        name: line.split()[1] for line in lines.splitlines() for name in line.split(" import ")[1].split(", ")
    }
    assert seen == coregstack._HOME


def test_an_unknown_name_is_told_as_any_module_would() -> None:
    with pytest.raises(AttributeError, match="module 'coregstack' has no attribute 'aling'"):
        coregstack.aling  # noqa: B018
