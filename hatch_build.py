"""Compiles the kernels while a wheel is built, so that the first run on a machine of that kind need not.

What is compiled fits one version of Python and numba and one kind of processor; elsewhere, and where nothing could be
compiled while the wheel was built, the package compiles at its first run. COREGSTACK_PACK_KERNELS=0 builds a wheel that
is the same for all machines.
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
    """Puts what was compiled into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless an editable install is made, whose sources change, or it is not wanted."""
        if version != "standard" or os.environ.get("COREGSTACK_PACK_KERNELS") == "0":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="coregstack-kernels-"))
        # what pip has put there leads to the packages that the build needs
        path = os.pathsep.join(filter(None, [self.root, os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"NUMBA_CACHE_DIR": str(self._folder), "PYTHONPATH": path}
        command = [sys.executable, "-m", "coregstack.kernels.warming"]
        done = subprocess.run(command, env=environment, cwd=self._folder, check=False)
        if done.returncode:
            self.app.display_warning("The kernels could not be compiled now; the first run will do it.")
            return
        files = sorted(self._folder.rglob("*.nbc"))
        build_data["force_include"].update({str(file): f"{_TARGET}/{file.name}" for file in files})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was only there to be packed."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
