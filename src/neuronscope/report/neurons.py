"""Pages of single neurons, and the page that lists them: files that link to one another, and need no network.

FOLDER/index.html             the neurons that have a page
FOLDER/neurons/L12.U405.html  one neuron

A page for every neuron of a model would be gigabytes of thumbnails, so pages are made for some, and a command makes
any other; every page is whole in itself, and can be sent to somebody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..index.described import DescribedNeuron, Side, spelt, verdict
from ..index.file import NeuronIndex
from ..index.looks import indexed_picture
from ..index.profile import Profile, ProfileFigure
from ..meaning.pictures import Moved
from ..types import Neuron
from ..version import __version__
from .data_uri import heat, photo
from .histogram import histogram
from .page import write_page
from .terms import TERMS, Term

#: The page that lists the others, and their folder.
ATLAS, FOLDER = "index.html", "neurons"
#: Longer side of a picture on a neuron's page, and on the list.
_SIDE, _SMALL = 240, 96
#: Top pictures on the list.
_FIRST = 4


@dataclass(frozen=True)
class SeenPicture:
    """A picture as a neuron sees it: the name of its style, its map, and the activation."""

    picture: int
    name: str
    heat: str
    value: float


class Album:
    """The pictures of pages, each read and made small once."""

    def __init__(self, index: NeuronIndex, folder: Path | None = None) -> None:
        self._index = index
        self._folder = folder
        self._made: dict[tuple[int, int], tuple[str, str]] = {}

    def style(self, number: int, side: int) -> tuple[str, str]:
        """A picture as a data URI, and its ratio of width and height. Raises InvalidSample where it is missing."""
        if (number, side) not in self._made:
            picture = indexed_picture(self._index, number, self._folder)
            self._made[number, side] = photo(picture, side, quality=80), f"{picture.width} / {picture.height}"
        return self._made[number, side]


def page_of(neuron: Neuron) -> str:
    """Where a neuron's page is in the folder of an index."""
    return f"{FOLDER}/{neuron}.html"


def write_neuron(found: DescribedNeuron, index: NeuronIndex, album: Album, folder: Path, *, listed: bool) -> Path:
    """Write the page of one neuron into the folder of an index; `listed`: with a link to the list."""
    sides = [found.own] if found.random is None else [found.own, found.random]
    tiles = {
        "own": tiles_of(found, found.own, index),
        "random": None if found.random is None else tiles_of(found, found.random, index),
    }
    shown = sorted({moved.number for side in sides for moved in (*side.profile.top, *side.profile.bottom)})
    context: dict[str, Any] = {
        "found": found,
        "own": found.own,
        "random": found.random,
        "index": index,
        "spelt": spelt,
        "sent": json.dumps(index.sent, ensure_ascii=False),
        "verdict": verdict(found),
        "figures": list(_figures(found)),
        "plot": histogram(found.own.profile),
        "tiles": tiles,
        "styles": [(number, *album.style(number, _SIDE)) for number in shown],
        "mapped": any(one.grids for one in found.looks.values()),
        "atlas": f"../{ATLAS}" if listed else "",
        "version": __version__,
    }
    return write_page("neuron.html", folder / page_of(found.neuron), context)


@dataclass(frozen=True)
class ListedNeuron:
    """A line of the list: a neuron without the maps of its pictures, its page, and its first pictures."""

    found: DescribedNeuron
    page: str
    tiles: tuple[SeenPicture, ...]
    verdict: str

    @classmethod
    def of(cls, found: DescribedNeuron, index: NeuronIndex) -> ListedNeuron:
        """What the list needs of a neuron."""
        tiles = tuple(tiles_of(found, found.own, index)[0][:_FIRST])
        return cls(replace(found, looks={}), page_of(found.neuron), tiles, verdict(found))


def write_atlas(
    rows: Sequence[ListedNeuron], index: NeuronIndex, album: Album, folder: Path, *, hidden: int, command: str
) -> Path:
    """Write the list of the neurons that have a page.

    Args:
        rows: these neurons, in the order of the list.
        index: the index.
        album: its pictures.
        folder: of the index.
        hidden: how many members of the given sets have no page.
        command: makes the page of another neuron.
    """
    shown = sorted({tile.picture for row in rows for tile in row.tiles})
    context: dict[str, Any] = {
        "rows": rows,
        "index": index,
        "spelt": spelt,
        "sent": json.dumps(index.sent, ensure_ascii=False),
        "neurons": sum(index.widths),
        "layers": sorted({row.found.neuron.layer for row in rows}),
        "styles": [(number, *album.style(number, _SMALL)) for number in shown],
        "sets": sorted({belongs.name for row in rows for belongs in row.found.sets}),
        "hidden": hidden,
        "command": command,
        "version": __version__,
    }
    return write_page("atlas.html", folder / ATLAS, context)


def tiles_of(found: DescribedNeuron, side: Side, index: NeuronIndex) -> tuple[list[SeenPicture], list[SeenPicture]]:
    """The top and bottom pictures of a neuron. One scale for all of a row, so that a weaker picture looks weaker."""
    top, bottom = side.profile.top, side.profile.bottom
    return _row(found, side, index, top, 1), _row(found, side, index, bottom, -1)


def _row(
    found: DescribedNeuron, side: Side, index: NeuronIndex, moved: Sequence[Moved], sign: int
) -> list[SeenPicture]:
    seen = [found.looks[side.profile.neuron, one.number] for one in moved]
    maps = [None if one.map is None else sign * one.map for one in seen]
    finite = [one[np.isfinite(one)] for one in maps if one is not None]
    values = np.concatenate(finite) if finite else np.zeros(1)
    most = float(values.max())
    scale = (0.0, most) if most > 0 else (float(values.min()), most)
    return [
        SeenPicture(one.number, index.pictures[one.number].name, "" if heat_ is None else heat(heat_, scale), one.score)
        for one, heat_ in zip(moved, maps, strict=True)
    ]


def _figures(found: DescribedNeuron) -> Iterator[tuple[str | Term | None, ...]]:
    """Name, its term, the neuron's number, the layer's median, the share below, and the random neuron's."""
    own, other = found.own.profile, None if found.random is None else found.random.profile
    terms = {one.anchor: one for one in TERMS}

    def line(
        name: str, term: str, form: str, of: Callable[[Profile], float | ProfileFigure]
    ) -> tuple[str | Term | None, ...]:
        figure, beside = of(own), None if other is None else of(other)
        random = "-" if beside is None else format(_value(beside), form)
        ranked = isinstance(figure, ProfileFigure)
        median, among = (format(figure.median, form), f"{figure.among:.0%}") if ranked else ("-", "-")
        return name, terms.get(term), format(_value(figure), form), median, among, random

    yield line("top pictures stand out, sd", "standing-out", ".2f", lambda one: one.standing)
    yield line("active at image tokens", "", ".2%", lambda one: one.tokens)
    yield line("active in pictures", "", ".1%", lambda one: one.pictures)
    yield line("pictures if scattered", "", ".1%", lambda one: one.scattered)
    yield line("spread", "spread", ".2f", lambda one: one.spread)
    yield line("active from", "", ".3g", lambda one: one.threshold)
    yield line("tokens above the threshold of its layer", "", ".2%", lambda one: one.loud)
    yield line("mean activation", "", ".3g", lambda one: one.mean)
    yield line("sd of activations", "", ".3g", lambda one: one.sd)


def _value(figure: float | ProfileFigure) -> float:
    return figure.value if isinstance(figure, ProfileFigure) else figure
