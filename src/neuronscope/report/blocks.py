"""What a report is made of, as data: `markdown.py` and the templates are two ways to show it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypeAlias

from ..types import Json
from .cells import Cell


class StyledText(NamedTuple):
    """Some text in one style."""

    text: str
    style: Literal["", "code", "strong"] = ""


@dataclass(frozen=True)
class Heading:
    """A heading below that of its section."""

    text: str
    kind: ClassVar = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    runs: tuple[StyledText, ...]
    kind: ClassVar = "text"


@dataclass(frozen=True)
class Listing:
    """Items, one a line."""

    items: tuple[tuple[StyledText, ...], ...]
    kind: ClassVar = "listing"


@dataclass(frozen=True)
class Notes:
    """Name -> the note that cells refer to by it."""

    texts: Mapping[str, str]
    kind: ClassVar = "notes"


@dataclass(frozen=True)
class Table:
    """A table; the first `texts` columns are words, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: int = 1
    kind: ClassVar = "table"


@dataclass(frozen=True)
class Document:
    """A JSON document as it is."""

    content: Mapping[str, Json]
    kind: ClassVar = "document"

    @property
    def text(self) -> str:
        """As it is shown."""
        return json.dumps(self.content, indent=1, ensure_ascii=False)


@dataclass(frozen=True)
class Figure:
    """A picture by its name; where it lies is for the one who shows it to know."""

    name: str
    caption: str


Block: TypeAlias = Heading | Text | Listing | Notes | Table | Document


@dataclass(frozen=True)
class Section:
    """What stands below one heading; the opening of a report has no title. Figures that were not drawn are left out."""

    name: str
    title: str
    blocks: Sequence[Block]
    figures: Sequence[Figure] = ()


def text(*parts: str | StyledText) -> Text:
    """A paragraph of plain and styled parts."""
    return Text(tuple(StyledText(part) if isinstance(part, str) else part for part in parts))


def grid(header: Sequence[str], rows: Iterable[Sequence[str | Cell]], texts: int = 1) -> Table:
    """A table of cells and words."""
    cells = (tuple(Cell(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)
    return Table(tuple(header), tuple(cells), texts)
