"""`<!-- options: locate -->`: arguments and options of a verb of the command line, read from the parser itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import typer

from .directive import DirectiveError, DirectiveExtension


@cache
def commands() -> dict[str, Any]:
    """Verb -> its parser, with verbs of groups as "convert minigpt4"."""
    from neuronscope.cli.main import app

    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {verb}": each for verb, each in inner.items()} if inner else {name: command}
    return found


def expand(verb: str) -> list[str]:
    """What the verb does, and a table of what it takes."""
    known = commands()
    if verb not in known:
        raise DirectiveError(f"options: the command line has no verb {verb!r}; it has {', '.join(known)}")
    command = known[verb]
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    text = " ".join((command.help or "").split())
    return ["", text, "", "| | | default |", "|---|---|---|", *rows, ""]


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name, shown = f"`{parameter.metavar or parameter.name.upper()}`", "required" if parameter.required else ""
    else:
        name = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
        shown = "required" if parameter.required else _default(parameter.default)
    return f"| {name} | {_cell(getattr(parameter, 'help', '') or '')} | {_cell(shown)} |"


def _default(value: object) -> str:
    if value is None or value is False or value == () or value == []:
        return ""
    return "on" if value is True else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def makeExtension() -> DirectiveExtension:  # noqa: N802 (the library's name)
    """Called by Python-Markdown."""
    return DirectiveExtension("options", expand)
