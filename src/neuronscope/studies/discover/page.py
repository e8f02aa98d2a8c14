"""The page of a discovery, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...index.file import NeuronIndex
from ...report.cells import number
from ...report.kept import kept_photo
from ...report.result import Card, Group, Line, ResultPage, said, told_rest, write_again
from .concepts import generic
from .sections import sections

SCHEMA = "neuronscope.discovery/2"


def write_page(folder: str | Path, path: str | Path, *, index: NeuronIndex | None = None) -> Path:
    """Write the page of a discovery's folder and return its path; neurons link to their pages in an index.

    Raises RunMismatch as :func:`neuronscope.report.result.write_again` does.
    """
    return write_again(Path(folder) / "discovery.json", (SCHEMA,), _page, path, index=index)


def _page(folder: Path, document: Mapping[str, Any]) -> ResultPage:
    captions, settings = document["captions"], document["settings"]
    cards = [
        Card(image, kept_photo(folder, name), _lines(document, image))
        for image, name in document["thumbnails"].items()
        if image in captions
    ]
    shown = Group(
        "The first pictures and the nouns of their captions",
        cards,
        told_rest(len(cards), len(captions), "discovery.json"),
    )
    drawn = {name: folder / "figures" / f"{name}.svg" for name in document["figures"]}
    return ResultPage(
        title="Neurons for every noun",
        about="",
        groups=[shown] if cards else [],
        sections=[one for one in sections(document) if one.name != "settings"],
        recipe=document["recipe"],
        settings=settings,
        sent=str(settings["sent"]),
        figures={name: path.read_bytes() for name, path in drawn.items() if path.is_file()},
        model=settings["model"],
    )


def _lines(document: Mapping[str, Any], image: str) -> list[Line]:
    nouns = [noun for noun, images in document["nouns"].items() if image in images]
    best = [f"{noun} {_best(document, noun)}" for noun in nouns]
    return [
        said("caption", document["captions"][image], nouns),
        said(f"best neuron of each noun, in {document['unit']}", "; ".join(best) or "No noun."),
    ]


def _best(document: Mapping[str, Any], noun: str) -> str:
    neuron, value = document["best"][noun][0]
    mark = ", any noun" if generic(document["best_for"][neuron], len(document["nouns"])) else ""
    return f"{neuron} ({number(value)}{mark})"
