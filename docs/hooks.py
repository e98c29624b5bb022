"""What the site takes from elsewhere when it is built: commands and their options, and the notebooks."""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
_MARK = "<!-- commands -->"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = "<!-- shown {} -->"
_outputs: dict[str, list[str]] = {}
"""HTML that each notebook's page shows, which is no Markdown and so is put in after it has been read."""
_TABLES = """
table { border: 0; border-collapse: collapse; white-space: nowrap; font-size: inherit; }
th, td { padding: 0.15rem 0.5rem; border: 0; text-align: right; vertical-align: top; }
:is(th, td):first-child { text-align: left; }
td[style*="left"] { min-width: 28rem; white-space: normal; }
tr { border-bottom: 1px solid var(--md-default-fg-color--lightest); }
a { color: var(--md-typeset-a-color); }
text { fill: currentcolor; }
"""
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_IMAGE = re.compile(r'(<img [^>]*src="([^":]+\.png)"[^>]*>)')
_BARS = re.compile(r"^(?:.*\r|\[[# ]+\] \| .*)+\n?", re.MULTILINE)
"""Bars, and what they were drawn over."""


def on_config(config: Any) -> Any:
    """Take the address of the site from where the package names it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    config["site_url"] = project["urls"]["Documentation"]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put every command of the command line where a page asks for them."""
    return markdown.replace(_MARK, commands()) if _MARK in markdown else markdown


def on_files(files: Any, config: Any) -> Any:
    """Add each notebook as a page: with its outputs where an executed copy is named (`extra.notebooks`)."""
    executed = NOTEBOOKS.parent / config["extra"]["notebooks"]
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        copy = executed / path.name
        text = (copy if copy.is_file() else path).read_text("utf-8")
        page, _outputs[f"notebooks/{path.stem}.md"], pictures = notebook_page(text, path.stem)
        added: dict[str, Any] = {f"{path.stem}.md": page, path.name: path.read_bytes(), **pictures}
        for name, content in added.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Put in what the cells of a notebook have shown; a click on a picture shows it in full size."""
    content = _IMAGE.sub(r'<a href="\2" title="Show in full size">\1</a>', content)
    for k, shown in enumerate(_outputs.get(page.file.src_uri, [])):
        content = content.replace(_SHOWN.format(k), shown)
    return content


def notebook_page(text: str, stem: str) -> tuple[str, list[str], dict[str, bytes]]:
    """A notebook as Markdown, with what its cells have shown.

    Parameters
    ----------
    text : str
        The notebook, in Jupyter's format 4.
    stem : str
        Its file's name without ending.

    Returns
    -------
    page : str
        Markdown, with a mark for each output that is no picture.
    shown : list of str
        These outputs, as HTML.
    pictures : dict
        File name, in the page's folder, to PNG.
    """
    cells = json.loads(text)["cells"]
    parts: list[str] = []
    outputs: list[str] = []
    pictures: dict[str, bytes] = {}
    ran = any(cell.get("outputs") for cell in cells)
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            # warnings of the machine, and widgets, which live only in a notebook
            if output.get("name") == "stderr" or _WIDGET in output.get("data", {}):
                continue
            known = {"image/png", "text/html", "text/plain"} & set(output.get("data", {}))
            data = {kind: "".join(output["data"][kind]) for kind in known}
            if "image/png" in data:
                name = f"{stem}_{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Picture {len(pictures)} of this notebook]({name})")
                continue
            plain = _BARS.sub("", "".join(output.get("text", data.get("text/plain", ""))))
            if "text/html" not in data and not plain.strip():
                continue
            parts.append(_SHOWN.format(len(outputs)))
            outputs.append(
                f'<div class="shown" data-search-exclude>{_apart(data["text/html"])}</div>'
                if "text/html" in data
                else f'<pre class="shown" data-search-exclude>{html.escape(_ESCAPES.sub("", plain))}</pre>'
            )
    how = "run when this page was made" if ran else "shown as it is before it is run"
    note = f"The notebook [{stem}.ipynb]({stem}.ipynb), {how}."
    return "\n\n".join([parts[0], note, *parts[1:], ""]), outputs, pictures


def _apart(content: str) -> str:
    """HTML in a tree of its own, so that its styles and those of the page leave each other alone."""
    return f'<template shadowrootmode="open"><style>{_TABLES}</style>{content}</template>'


def commands() -> str:
    """All commands with their options, as Markdown."""
    from coregstack.cli.parser import build_parser

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
    named = action.choices is not None and text.partition(":")[0] in action.choices
    text = text if named else text[:1].upper() + text[1:]
    return (text + "." * (not text.endswith(".")) + choices).replace("|", "\\|")
