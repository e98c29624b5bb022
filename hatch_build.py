"""Compiles the kernels while the package is installed, so that the first run on a machine of that kind need not.

A wheel brings along what was compiled while it was built; for an editable install it is kept where a run of these
sources looks for it. It fits one version of Python and numba and one kind of processor; elsewhere, and where nothing
could be compiled, the package compiles at its first run. COREGSTACK_PACK_KERNELS=0 compiles nothing: the wheel is then
the same for all machines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_TARGET = "coregstack/kernels/packaged"


class KernelBuildHook(BuildHookInterface):
    """Compiles, and puts what was compiled into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless it is not wanted."""
        if os.environ.get("COREGSTACK_PACK_KERNELS") == "0":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="coregstack-kernels-"))
        if version == "editable":
            # sources that change later are compiled again by whoever runs them
            self._compile({})
        elif self._compile({"NUMBA_CACHE_DIR": str(self._folder)}):
            self._pack(build_data)

    def _compile(self, variables: dict[str, str]) -> bool:
        """Compile what a run needs, as far as it is not there; returns whether all was."""
        # what pip has put there leads to the packages that the build needs
        path = os.pathsep.join(filter(None, [self.root, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "coregstack.kernels.warming"]
        environment = os.environ | {"PYTHONPATH": path} | variables
        done = subprocess.run(command, env=environment, cwd=self._folder, check=False)
        if done.returncode:
            self.app.display_warning("The kernels could not be compiled now; the first run will do it.")
        return done.returncode == 0

    def _pack(self, build_data: dict[str, Any]) -> None:
        files = sorted(self._folder.rglob("*.nbc"))
        build_data["force_include"].update({str(file): f"{_TARGET}/{file.name}" for file in files})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only there to be packed."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
