"""Completion of commands and options in the shells, as scripts that need nothing else."""

from __future__ import annotations

import argparse

SHELLS = ("bash", "zsh", "fish")
"""Shells that scripts are written for."""

_BASH = """\
_coregstack() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words
    case "${{COMP_WORDS[1]}}" in
{cases}
        *) words="{commands} {options}" ;;
    esac
    [[ $COMP_CWORD -eq 1 ]] && words="{commands} {options}"
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 || "$current" == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -o default -o bashdefault -F _coregstack coregstack
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Write the script that completes a parser's commands and options; file names complete as ever.

    Parameters
    ----------
    parser : ArgumentParser
        With one level of commands.
    shell : {"bash", "zsh", "fish"}
        Which shell reads it.

    Returns
    -------
    str
        To be evaluated when the shell starts.

    Examples
    --------
    >>> from coregstack.cli.parser import build_parser
    >>> "--anchor" in completion_script(build_parser(), "bash")
    True
    """
    # argparse lists the options of a parser by no public name
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    if shell == "fish":
        return _fish(commands)
    cases = "\n".join(
        f'        {name}) words="{" ".join(_options(command))}" ;;'
        for name, command in commands.choices.items()
    )
    script = _BASH.format(
        cases=cases, commands=" ".join(commands.choices), options=" ".join(_options(parser))
    )
    return _ZSH + script if shell == "zsh" else script


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for action in parser._actions for option in action.option_strings]


def _fish(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> str:
    lines = []
    for name, command in commands.choices.items():
        lines.append(
            f"complete -c coregstack -n __fish_use_subcommand -f -a {name} -d '{_quoted(command.description)}'"
        )
        for action in command._actions:
            flags = "".join(
                f" -l {option[2:]}" if option.startswith("--") else f" -s {option[1:]}"
                for option in action.option_strings
            )
            if flags:
                value = "" if action.nargs == 0 else " -r"
                lines.append(
                    f"complete -c coregstack -n '__fish_seen_subcommand_from {name}'{flags}{value}"
                    f" -d '{_quoted(command._get_formatter()._expand_help(action))}'"
                )
    return "\n".join(lines) + "\n"


def _quoted(text: str | None) -> str:
    return (text or "").replace("\\", "\\\\").replace("'", "\\'")
