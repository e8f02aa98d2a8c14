"""Markdown of the tables as pieces that a template can lay out: chapters, tables, figures, notes.

It reads that dialect of Markdown and no other. Whatever it does not know stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

_FIGURE = re.compile(r"!\[(?P<caption>[^\]]*)\]\((?P<name>[^)]*)\)")
_NOTE_MARK = re.compile(r"\[\^[^\]]+\]")
_NOTE = re.compile(r"\[\^(?P<name>[^\]]+)\]: (?P<text>.*)", re.DOTALL)
_INLINE = re.compile(r"`(?P<code>[^`]*)`|\*\*(?P<strong>.+?)\*\*")
_INTERVAL = re.compile(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]$")
_NUMBER = re.compile(r"[<\s]*([+-]?\d[\d,]*(?:\.\d+)?)")


class Run(NamedTuple):
    """Some text in one style."""

    text: str
    style: Literal["", "code", "strong"] = ""


@dataclass(frozen=True)
class Text:
    """A paragraph, or one line of a list."""

    runs: tuple[Run, ...]
    kind: Literal["p", "li", "h3"] = "p"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what stands there.
        value: its first number, to sort by; None where it begins with none.
    """

    text: str
    value: float | None

    @property
    def main(self) -> str:
        """The text without the interval in brackets at its end."""
        return self.text[: len(self.text) - len(self.interval)].rstrip()

    @property
    def interval(self) -> str:
        """The interval in brackets at the end, if there is one."""
        found = _INTERVAL.search(self.text)
        return found[0] if found else ""


@dataclass(frozen=True)
class Table:
    """A table; `left` says which columns are texts."""

    header: tuple[str, ...]
    left: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A picture by its name."""

    caption: str
    name: str


Block: TypeAlias = Text | Table | Figure


@dataclass(frozen=True)
class Chapter:
    """What stands below one heading of the second level; the opening has no title."""

    title: str
    blocks: list[Block] = field(default_factory=list[Block])


def chapters(text: str) -> list[Chapter]:
    """The text cut at its headings; that of the first level is left out."""
    found = [Chapter("")]
    for part in re.split(r"\n{2,}", text.strip()):
        if part.startswith("## "):
            found.append(Chapter(part[3:].strip()))
        elif not part.startswith("# "):
            found[-1].blocks.extend(_blocks(part))
    return [chapter for chapter in found if chapter.title or chapter.blocks]


def _blocks(part: str) -> Iterator[Block]:
    figure = _FIGURE.fullmatch(part)
    lines = part.split("\n")
    if figure is not None:
        yield Figure(figure["caption"], figure["name"])
    elif part.startswith("### "):
        yield Text(_runs(part[4:]), "h3")
    elif len(lines) >= 2 and all(line.startswith("| ") and line.endswith(" |") for line in lines):
        yield _table(lines)
    elif all(line.startswith("- ") for line in lines):
        yield from (Text(_runs(line[2:]), "li") for line in lines)
    elif part.startswith("[^"):
        yield from (Text(_note(line)) for line in lines)
    else:
        yield Text(_runs(part))


def _note(line: str) -> tuple[Run, ...]:
    note = _NOTE.fullmatch(line)
    return _runs(line) if note is None else (Run(note["name"], "strong"), Run(": "), *_runs(note["text"]))


def _runs(text: str) -> tuple[Run, ...]:
    runs: list[Run] = []
    at = 0
    for found in _INLINE.finditer(text):
        runs.append(Run(text[at : found.start()]))
        runs.append(Run(found["strong"], "strong") if found["code"] is None else Run(found["code"], "code"))
        at = found.end()
    return tuple(run for run in (*runs, Run(text[at:])) if run.text)


def _table(lines: list[str]) -> Table:
    header, rule, *rows = (_cells(line) for line in lines)
    return Table(
        tuple(header),
        tuple(not mark.endswith(":") for mark in rule),
        tuple(tuple(Cell(text, _value(text)) for text in row) for row in rows),
    )


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line)[1:-1]
    return [_NOTE_MARK.sub("", cell.replace("\\|", "|")).strip() for cell in cells]


def _value(text: str) -> float | None:
    found = _NUMBER.match(text)
    return None if found is None else float(found[1].replace(",", ""))
