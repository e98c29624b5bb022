"""Run all notebooks: ``python notebooks/run.py [FOLDER]``; executed copies are written to FOLDER."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def main(target: str | None = None) -> None:
    """Execute each notebook in a kernel of its own; the first error stops the run."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # plots are kept in the copies
    for path in sorted(HERE.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        began = time.monotonic()
        client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(HERE)}})
        client.execute()
        print(f"{path.name}: {time.monotonic() - began:.0f} s", flush=True)
        if target is not None:
            Path(target).mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, Path(target) / path.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
