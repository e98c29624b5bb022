"""Loads what a run needs, and its compiled kernels, into the process that others are forked from."""

from __future__ import annotations

import dask

import coregstack.cli.commands
from coregstack.testing import sample_stack

__all__ = ["coregstack"]

# threads would be lost in a fork
with dask.config.set(scheduler="synchronous"):
    coregstack.align(sample_stack(2, (128, 128), cloud_cover=0), anchor=0).compute()
