"""What the site takes from elsewhere when it is built: commands and their options, and the notebooks."""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
_MARK = "<!-- commands -->"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put every command of the command line where a page asks for them."""
    return markdown.replace(_MARK, commands()) if _MARK in markdown else markdown


def on_files(files: Any, config: Any) -> Any:
    """Add each notebook as a page: with its outputs where an executed copy is named (`extra.notebooks`)."""
    executed = NOTEBOOKS.parent / config["extra"]["notebooks"]
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        copy = executed / path.name
        page, pictures = notebook_page((copy if copy.is_file() else path).read_text("utf-8"), path.stem)
        added: dict[str, Any] = {f"{path.stem}.md": page, path.name: path.read_bytes(), **pictures}
        for name, content in added.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def notebook_page(text: str, stem: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures.

    Parameters
    ----------
    text : str
        The notebook, in Jupyter's format 4.
    stem : str
        Its file's name without ending.

    Returns
    -------
    page : str
        Markdown with HTML of what the cells have shown.
    pictures : dict
        File name, in the page's folder, to PNG.
    """
    cells = json.loads(text)["cells"]
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    ran = any(cell.get("outputs") for cell in cells)
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = {
                kind: "".join(shown) for kind, shown in output.get("data", {}).items() if kind[:4] != "appl"
            }
            if "image/png" in data:
                name = f"{stem}_{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Picture {len(pictures)} of this notebook]({name})")
            elif "text/html" in data:
                parts.append(_shown("div", data["text/html"]))
            elif shown := "".join(output.get("text", data.get("text/plain", ""))):
                parts.append(_shown("pre", html.escape(_ESCAPES.sub("", shown))))
    how = "run when this page was made" if ran else "shown as it is before it is run"
    note = f"The notebook [{stem}.ipynb]({stem}.ipynb), {how}."
    return "\n\n".join([parts[0], note, *parts[1:], ""]), pictures


def _shown(tag: str, content: str) -> str:
    return f'<{tag} class="shown" data-search-exclude>\n{content.strip()}\n</{tag}>'


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
