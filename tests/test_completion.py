"""Shells complete every command and option, and read the scripts without complaint."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from coregstack.cli import main
from coregstack.cli.completion import SHELLS, completion_script
from coregstack.cli.parser import build_parser


def _complete(words: str) -> set[str]:
    """What bash offers after typing `words`."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    listed = words.split(" ")
    lines = [
        completion_script(build_parser(), "bash"),
        f"COMP_WORDS=({' '.join(repr(word) for word in listed)})",
        f"COMP_CWORD={len(listed) - 1}",
        "_coregstack",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run([bash, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_commands_are_completed() -> None:
    assert _complete("coregstack al") == {"align"}
    assert {"order", "align", "inspect", "demo"} <= _complete("coregstack ")


def test_options_are_those_of_the_command() -> None:
    assert _complete("coregstack align a.tif --anc") == {"--anchor"}
    assert _complete("coregstack demo --anc") == set()
    assert _complete("coregstack order p.json --dry") == {"--dry-run"}


def test_file_names_are_left_to_the_shell() -> None:
    assert _complete("coregstack align sce") == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_read_by_their_shells(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    script = completion_script(build_parser(), shell)
    subprocess.run([program, "-n"], input=script, text=True, check=True, capture_output=True)


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 0
    assert "-l dry-run" in capsys.readouterr().out
