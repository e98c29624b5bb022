"""The command line: words on a terminal, exit codes."""

from __future__ import annotations

from collections.abc import Sequence

CUT_SHORT = 141
"""Exit code of commands that only print, where not all was printed, as a shell gives it."""

_PRINTING = frozenset({"anchors", "completion", "inspect"})
"""Commands whose result is what they print."""


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
        not be read or written, or the cluster was lost. It does not depend on whether what is printed can be
        written. 128 and the number of a signal that stopped it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """
    from coregstack.cli.completion import completion_script
    from coregstack.cli.parser import build_parser
    from coregstack.cli.streams import sure_streams
    from coregstack.cli.terminal import complain, say

    with sure_streams() as (out, _):
        parser = build_parser()
        options = parser.parse_args(arguments)
        if options.command == "completion":
            say(*completion_script(parser, options.shell).splitlines())
            code = 0
        else:
            # imports all that a run needs, which takes longer than to parse the options
            from coregstack.cli.commands import run

            code = run(options)
        out.flush()
        if out.failure is not None:
            if not isinstance(out.failure, BrokenPipeError):
                complain(f"coregstack: standard output cannot be written ({out.failure}).")
            if options.command in _PRINTING:
                return CUT_SHORT
        return code


__all__ = ["main"]
