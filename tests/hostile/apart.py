"""Functions in processes of their own, forked from one that has loaded the package and has no threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

LIMIT_S = 240
NO_READER = "no reader"
"""As the place of a stream: a pipe that nobody reads."""


def started(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """A process that calls a function of a test module."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["loaded"])
    process = context.Process(target=function, args=arguments)
    with pytest.MonkeyPatch.context() as patch:
        # the process that is forked knows no other way to this folder
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for a process; its exit code, negative for a signal."""
    process.join(LIMIT_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError("a process hangs")
    return process.exitcode


def commanded(arguments: Sequence[str], streams: Mapping[int, str | None], encoding: str = "utf-8") -> None:
    """End this process as the command does, with other standard streams.

    By their numbers: a file, `NO_READER`, or None for one that is closed. They are made as Python makes them when it
    starts.
    """
    for number, place in streams.items():
        with suppress(OSError):
            os.close(number)
        if place is not None:
            opened = _unread() if place == NO_READER else os.open(place, os.O_WRONLY | os.O_CREAT)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = None
        with suppress(OSError):
            mode = "r" if number == 0 else "w"
            stream = open(number, mode, encoding=encoding, errors="strict", closefd=False)  # noqa: SIM115 - it stays open
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)

    from coregstack.cli import main

    sys.exit(main(arguments))


def _unread() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing
