"""A bar in notebooks while a graph is computed."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_WORTH_SHOWING = 2.0
"""Seconds; a computation that takes less shows no bar."""


def notebook_bar() -> AbstractContextManager[Any]:
    """dask's own bar where this is a notebook without one; on a cluster dask's dashboard shows more.

    Returns
    -------
    context manager
        It does nothing outside notebooks, and where a bar is on already.

    Examples
    --------
    >>> with notebook_bar():
    ...     pass
    """
    from dask.callbacks import Callback

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # a terminal's IPython has no kernel, and is the user's to watch
    if not hasattr(shell, "kernel") or Callback.active:
        return nullcontext()
    from dask.diagnostics.progress import ProgressBar

    bar: AbstractContextManager[Any] = ProgressBar(minimum=_WORTH_SHOWING)
    return bar
