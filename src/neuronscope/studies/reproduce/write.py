"""The page of a `reproduce` run: its tables and figures, and a gallery of every caption under every draw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ...report.blocks import Chapter, Figure, chapters
from ...report.data_uri import uri
from ...report.page import write_page
from ...version import __version__
from .gallery import Gallery

#: Tables with more rows than this are folded.
_LONG = 24


@dataclass(frozen=True)
class RunPage:
    """What the page of a run is made of.

    Attributes:
        title: of the page.
        model, data: one line each.
        text: all tables in the dialect of `neuronscope.studies.reproduce.sections`, figures by their names.
        figures: name -> SVG.
        gallery: the captions.
        again: the command that goes on with the run.
    """

    title: str
    model: str
    data: str
    text: str
    figures: Mapping[str, bytes]
    gallery: Gallery
    again: str


def write_run(page: RunPage, path: str | Path) -> Path:
    """Write the page of a run. Raises InvalidOption where it cannot be written."""
    found = chapters(page.text)
    opening = [chapter for chapter in found if not chapter.title]
    context: dict[str, Any] = {
        "page": page,
        "opening": opening[0].blocks if opening else [],
        "chapters": [_figures_first(chapter) for chapter in found if chapter.title],
        "figures": {name: uri(svg, "image/svg+xml") for name, svg in page.figures.items()},
        "long": _LONG,
        "data": embedded(page.gallery.to_dict()),
        "version": __version__,
    }
    return write_page("run.html", path, context)


def _figures_first(chapter: Chapter) -> Chapter:
    return Chapter(chapter.title, sorted(chapter.blocks, key=lambda block: not isinstance(block, Figure)))


def embedded(document: Mapping[str, Any]) -> Markup:
    """A document as JSON that can stand inside a script element: no text in it can end the element."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}.items():
        text = text.replace(character, escape)
    return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
