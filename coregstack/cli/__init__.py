"""The command line: words on a terminal, exit codes."""

from coregstack.cli.commands import main

__all__ = ["main"]
