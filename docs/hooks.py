"""What the site takes from the code when it is built: the commands and their options."""

from __future__ import annotations

import argparse
from typing import Any

_MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put every command of the command line where a page asks for them."""
    return markdown.replace(_MARK, commands()) if _MARK in markdown else markdown


def commands() -> str:
    """All commands with their options, as Markdown."""
    from coregstack.cli.commands import build_parser

    parser = build_parser()
    (subparsers,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return "\n".join(_command(name, command) for name, command in subparsers.choices.items())


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## {name}", "", parser.description or "", ""]
    if parser.epilog and parser.epilog.startswith("Example: "):
        lines += ["```bash", parser.epilog.removeprefix("Example: "), "```", ""]
    lines += ["| option | |", "|---|---|"]
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            lines.append(f"| {_usage(action)} | {_help(parser, action)} |")
    return "\n".join([*lines, ""])


def _usage(action: argparse.Action) -> str:
    value = (
        ""
        if action.nargs == 0
        else action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    )
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option} {value}`".replace(" `", "`") for option in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    choices = f" One of {', '.join(f'`{c}`' for c in action.choices)}." if action.choices else ""
    return (text[:1].upper() + text[1:] + "." * (not text.endswith((".", ")"))) + choices).replace("|", "\\|")
