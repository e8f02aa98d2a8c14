"""What a scene can contain: the registries of concepts and places, filled by their modules' decorators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from .pen import PALETTE, RGB, Pen

DrawConcept: TypeAlias = Callable[[Pen, np.random.Generator, RGB], None]
DrawPlace: TypeAlias = Callable[[Pen, np.random.Generator], None]


@dataclass(frozen=True)
class Concept:
    """One nameable object.

    Attributes:
        name: the canonical word(s), as in the concept lexicon.
        draw: draws it in the unit box of a pen, filling the box from edge to edge; gets the body colour.
        colours: the colour words a caption may use for it.
        aspect: width / height of its box.
        size: smallest and largest length of the box's longer side, as a share of the frame's side.
        stands: on the ground, or anywhere in the upper part of the frame ("air").
        tilt: largest rotation either way, degrees.
        mirrors: whether its mirror image is as real as itself; not so for what carries letters.
        noun: how a caption names it after the colour, where that is not the name ("pair of scissors").
    """

    name: str
    draw: DrawConcept
    colours: tuple[str, ...]
    aspect: float
    size: tuple[float, float]
    stands: Literal["ground", "air"]
    tilt: float
    mirrors: bool
    noun: str


@dataclass(frozen=True)
class Background:
    """One background: `phrase` ends a caption ("on a beach"), `bare` names the place after "a" when it is empty."""

    name: str
    draw: DrawPlace
    phrase: str
    bare: str
    horizon: float


CONCEPTS: dict[str, Concept] = {}
PLACES: dict[str, Background] = {}


def concept(
    name: str,
    *,
    colours: tuple[str, ...],
    aspect: float,
    size: tuple[float, float] = (0.36, 0.58),
    stands: Literal["ground", "air"] = "ground",
    tilt: float = 6.0,
    mirrors: bool = True,
    noun: str | None = None,
) -> Callable[[DrawConcept], DrawConcept]:
    """Register the decorated drawing function as a concept. Raises ValueError for a duplicate or unknown colour."""
    unknown = set(colours) - set(PALETTE)
    if name in CONCEPTS or unknown:
        raise ValueError(f"concept {name!r}: registered twice, or unknown colours {sorted(unknown)}")

    def register(draw: DrawConcept) -> DrawConcept:
        CONCEPTS[name] = Concept(name, draw, colours, aspect, size, stands, tilt, mirrors, noun or name)
        return draw

    return register


def place(name: str, *, phrase: str, bare: str, horizon: float) -> Callable[[DrawPlace], DrawPlace]:
    """Register the decorated drawing function as a place. Raises ValueError for a duplicate name.

    `horizon` is where the ground begins, as a share of the frame's height from the top.
    """
    if name in PLACES:
        raise ValueError(f"place {name!r} is registered twice")

    def register(draw: DrawPlace) -> DrawPlace:
        PLACES[name] = Background(name, draw, phrase, bare, horizon)
        return draw

    return register
