"""Functions in processes of their own, forked from one that has loaded the package and has no threads."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

LIMIT_S = 240


def started(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """A process that calls a function of a test module."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["coregstack.cli.commands", "dask"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for a process; its exit code, negative for a signal."""
    process.join(LIMIT_S)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError("a process hangs")
    return process.exitcode
