"""The command line: words on a terminal, exit codes."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        0 delivered, 2 the request is wrong and nothing was written, 3 delivered, but some inputs could
        not be read or written, or the cluster was lost.
    """
    from coregstack.cli.completion import completion_script
    from coregstack.cli.parser import build_parser

    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "completion":
        print(completion_script(parser, options.shell), end="")
        return 0
    # loads all that a run needs, which takes longer than to answer a question about the options
    from coregstack.cli.commands import run

    return run(options)


__all__ = ["main"]
