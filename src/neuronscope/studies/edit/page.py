"""The page of an edit, of one word or of several, from its folder alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...evaluate.editing import MEASURES
from ...report.blocks import Listing, Section, StyledText
from ...report.kept import kept_photo
from ...report.result import SHOWN, Card, Group, Line, ResultPage, said, told_rest, write_again
from .tables import sections
from .words_report import named, words_sections

SCHEMA, WORDS_SCHEMA = "neuronscope.rewrite/1", "neuronscope.words/1"
#: Groups of pictures with captions, in the order of a page -> what they are for.
MEASURED: Mapping[str, str] = {
    "held_out": "Held out: the edit was not made with these",
    "edited": "The edit was made with these",
    "others": "Other pictures, which are to stay as they are",
}
#: What a page tells apart, and has in its tables.
_SHOWN_ELSEWHERE = {"schema", "verdict", "captions", "recipe", "words", "edited", "random", "together"}


def write_page(folder: str | Path, path: str | Path) -> Path:
    """Write the page of an edit's folder and return its path.

    Raises RunMismatch as :func:`neuronscope.report.result.write_again` does.
    """
    return write_again(Path(folder) / "tables.json", (SCHEMA, WORDS_SCHEMA), _page, path)


def _page(folder: Path, document: Mapping[str, Any]) -> ResultPage:
    several = document["schema"] == WORDS_SCHEMA
    words = document["words"] if several else [document]
    first, asked = words[0], document["asked"]
    names = [named(one["source"], one["target"]) for one in words]
    title = f"Words taken out: {', '.join(names)}" if several else _title(first)
    return ResultPage(
        title=title,
        about=f"Model {first['model'].get('id')}, weights {first['model'].get('fingerprint')}.",
        groups=[
            group
            for one, name in zip(words, names, strict=True)
            for group in _groups(folder, one, f"{name}. " if several else "", asked["beginning"])
        ],
        sections=[*(words_sections(document) if several else sections(document)), _meanings(words)],
        recipe=document["recipe"],
        settings={name: value for name, value in document.items() if name not in _SHOWN_ELSEWHERE},
        sent=str(asked["sent"]),
    )


def _title(one: Mapping[str, Any]) -> str:
    source, target = one["source"], one["target"]
    return f"“{source}” taken out" if target is None else f"“{target}” in the place of “{source}”"


def _meanings(words: Sequence[Mapping[str, Any]]) -> Section:
    """What the measures are that some word has a number for."""
    measured = [one for name, one in MEASURES.items() if any(word["edited"][name] is not None for word in words)]
    items = tuple((StyledText(one.title, "strong"), StyledText(f": {one.meaning}.")) for one in measured)
    return Section("meanings", "What the measures are", [Listing(items)])


def _groups(folder: Path, one: Mapping[str, Any], before: str, begins: str) -> Iterator[Group]:
    for name, title in MEASURED.items():
        rows = one["captions"][name]
        cards = [
            Card(row["image"], kept_photo(folder, row["thumbnail"]), _lines(row, one["source"], one["target"], begins))
            for row in rows[:SHOWN]
        ]
        if cards:
            yield Group(f"{before}{title}", cards, told_rest(len(cards), len(rows), "tables.json"))


def _lines(row: Mapping[str, Any], source: str, target: str | None, begins: str) -> list[Line]:
    if row["before"] == row["after"]:
        return [said("before and with the edit", row["before"], (source,), begins=begins)]
    return [
        said("before", row["before"], (source,), begins=begins),
        said("with the edit", row["after"], (target, source), "changed", begins=begins),
    ]
