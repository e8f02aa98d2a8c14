"""The commands of bash blocks: run in this process, or only parsed.

Shell is not interpreted: a block that is run consists of `neuronscope` commands, joined by newlines, `&&` or `;`. In
blocks that are only parsed, `neuronscope` and modules of this repository (`python -m benchmarks.X`) meet their own
parsers, and what pip is asked to install has to be an extra that exists. Other programs' lines are left alone there.
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from page_blocks import ROOT, BadPage
from typer.core import TyperCommand

from neuronscope.cli import main

#: Between commands.
_SEPARATORS = ("&&", ";", "&", "||", "|")
#: Those between commands that are run.
_IN_TURN = ("&&", ";")
_OWN = ("benchmarks", "training")
_EXTRAS = re.compile(r"^(?:neuronscope|\.)\[([\w,-]+)\]$")


def commands(code: str) -> list[tuple[list[str], str]]:
    """(words, what follows) of each command; lines that end in a backslash go on, comments are left out."""
    found: list[tuple[list[str], str]] = []
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in lexer:
            if word in _SEPARATORS:
                found.append((words, word))
                words = []
            else:
                words.append(word)
        found.append((words, ""))
    return [(words, after) for words, after in found if words]


def run(code: str) -> None:
    """Run the commands of a block, one after the other. Raises BadPage for one that is no `neuronscope` or fails."""
    listed = commands(code)
    for words, after in listed:  # before the first is run
        if Path(words[0]).name != "neuronscope" or (after and after not in _IN_TURN) or {">", "<"} & set(words):
            text = shlex.join(words)
            raise BadPage(f"only neuronscope is run here, plainly: mark the block 'parsed only' or 'not run' ({text})")
    for words, _ in listed:
        _run_verb(words[1:])


def _run_verb(arguments: list[str]) -> None:
    try:
        main(arguments)
    except SystemExit as stop:
        if stop.code:
            raise BadPage(f"neuronscope {shlex.join(arguments)} ended with exit code {stop.code}") from stop


def parse(code: str) -> None:
    """Parse what can be parsed. Raises BadPage where that is nothing; a parser's own error for bad arguments."""
    parsed = [_PARSERS[name](words[1:]) for words, _ in commands(code) if (name := _program(words)) in _PARSERS]
    if not any(parsed):
        raise BadPage("marked 'parsed only', and nothing in it can be parsed: say 'not run'")


def _program(words: Sequence[str]) -> str:
    return Path(words[0]).name


class _Parsed(BaseException):
    """The parser got through: go no further."""


def _got_through(*_: object) -> None:
    raise _Parsed


def _parse_verb(arguments: list[str]) -> bool:
    with mock.patch.object(TyperCommand, "invoke", _got_through):
        try:
            main(arguments)
        except _Parsed:
            return True
        except SystemExit as stop:
            if stop.code:
                raise BadPage(f"neuronscope {shlex.join(arguments)} is refused: exit code {stop.code}") from stop
    return True


def _parse_module(arguments: list[str]) -> bool:
    if len(arguments) < 2 or arguments[0] != "-m" or arguments[1].partition(".")[0] not in _OWN:
        return False
    parse_args = ArgumentParser.parse_args

    def parse_and_stop(self: ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        parse_args(self, args, namespace)
        raise _Parsed

    with (
        mock.patch.object(sys, "argv", arguments[1:]),
        mock.patch.object(sys, "path", [str(ROOT), *sys.path]),
        mock.patch.object(ArgumentParser, "parse_args", parse_and_stop),
    ):
        try:
            runpy.run_module(arguments[1], run_name="__main__")
        except _Parsed:
            return True
        except SystemExit as stop:
            raise BadPage(f"python {shlex.join(arguments)} is refused: exit code {stop.code}") from stop
    raise BadPage(f"python {shlex.join(arguments)} parses nothing")


def _parse_pip(arguments: list[str]) -> bool:
    wanted = [name for word in arguments if (match := _EXTRAS.match(word)) for name in match.group(1).split(",")]
    unknown = sorted(set(wanted) - extras())
    if unknown:
        raise BadPage(f"pyproject.toml has no extra {', '.join(unknown)}")
    return bool(wanted)


@cache
def extras() -> frozenset[str]:
    """The extras of the package."""
    return frozenset(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


_PARSERS: dict[str, Callable[[list[str]], bool]] = {
    "neuronscope": _parse_verb,
    "python": _parse_module,
    "python3": _parse_module,
    "pip": _parse_pip,
}
