"""The page of a measured result: its sentence, pictures with what is said of them, its tables, and both recipes.

It is made of the result's own document and of what lies beside it, so that it can be made again without the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import RunMismatch
from ..index.file import NeuronIndex
from ..parsing import read_json
from ..version import __version__
from ..words import wordless
from .blocks import Section
from .data_uri import uri
from .links import linked, links_from, require_same
from .located import flattened
from .marked import Piece, marked
from .page import telling_damage, write_page

#: Tables with more rows than this are folded.
LONG = 24
#: Pictures that one group shows.
SHOWN = 8


@dataclass(frozen=True)
class Line:
    """What is said of a picture, and under what.

    Attributes:
        label: "before", "with the edit".
        text: in pieces.
        kind: a class of the style sheet.
        begins: what the model was given as the beginning of it.
    """

    label: str
    text: Sequence[Piece]
    kind: str = ""
    begins: str = ""


@dataclass(frozen=True)
class Card:
    """One picture by its name, as an address for a page (empty where there is none), and what is said of it."""

    name: str
    picture: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Group:
    """Pictures that belong together, and in a sentence what is not shown of them."""

    title: str
    cards: Sequence[Card]
    rest: str = ""


@dataclass(frozen=True)
class ResultPage:
    """What the page of a result is made of.

    Attributes:
        title: of the page.
        about: the model, and how it was asked.
        groups: pictures.
        sections: the opening, whose first block is the verdict, and the tables.
        recipe: the command and the Python that make the result again; empty where it was made in another way.
        settings: everything else that is known, for those who look for it.
        sent: what the model was given with a picture.
        figures: name -> SVG.
        model: whose neurons it tells of: its identity.
    """

    title: str
    about: str
    groups: Sequence[Group]
    sections: Sequence[Section]
    recipe: Mapping[str, str]
    settings: Mapping[str, Any]
    sent: str = ""
    figures: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    model: Mapping[str, Any] = field(default_factory=dict[str, Any])


def write_result(page: ResultPage, path: str | Path, *, index: NeuronIndex | None = None) -> Path:
    """Write the page of a result and return its path; with an index, neurons that have a page of their own link to it.

    Raises InvalidOption where it cannot be written, and RunMismatch for an index of other weights.
    """
    context: dict[str, Any] = {
        "page": page,
        "recipe": {name: str(page.recipe.get(name, "")) for name in ("command", "python")},
        "settings": list(flattened(page.settings)),
        "figures": {name: uri(svg, "image/svg+xml") for name, svg in page.figures.items()},
        "long": LONG,
        "version": __version__,
    }
    if index is not None:
        require_same(index, page.model)
        context["linked"] = partial(linked, link=links_from(Path(path), index))
    return write_page("result.html", path, context)


def write_again(
    document: Path,
    schemas: Sequence[str],
    made: Callable[[Path, Mapping[str, Any]], ResultPage],
    path: str | Path,
    *,
    index: NeuronIndex | None = None,
) -> Path:
    """Write the page of a result from its folder alone and return its path.

    Args:
        document: the file that holds everything, in the folder.
        schemas: those that `made` knows.
        made: makes the page of the folder and its document.
        path: of the page.
        index: whose pages of neurons are linked to.

    Raises RunMismatch for a folder without such a document, with one of another schema, or damaged, and for an index of
    other weights.
    """
    held = read_document(document, schemas)
    with telling_damage(document):
        return write_result(made(document.parent, held), path, index=index)


def read_document(path: Path, schemas: Sequence[str]) -> dict[str, Any]:
    """The document of a result. Raises RunMismatch for a file that is none of these schemas."""
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("schema") not in schemas:
        raise RunMismatch(f"{path} is not of schema {' or '.join(map(repr, schemas))}: make the result again")
    return found


def said(label: str, text: str, words: Iterable[str | None] = (), kind: str = "", *, begins: str = "") -> Line:
    """A caption with every mention of some words marked."""
    pieces = [Piece(text, False)]
    for word in words:
        if word is None or wordless(word):
            continue
        pieces = [part for piece in pieces for part in ([piece] if piece.concept else marked(piece.text, word))]
    return Line(label, pieces, kind, begins)


def told_rest(shown: int, total: int, where: str) -> str:
    """A sentence about pictures of a group that have no card; empty where all have one."""
    return "" if shown == total else f"{shown} of {total} are shown; the others are in {where}."
