"""Every caption of a run under every draw, small enough to travel inside its page.

Most interventions leave most captions as they are, so every distinct text is kept once. An image o has its own short
list of captions; a cell is a place in that list:

    cells[method][condition] = base64 of little-endian uint16, [source s, image o, draw d], 65535 where not finished
    spoken[o][cell]          = [place in texts, 1 if it names o's concept, start, end of the name]
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt16

from ...samples.lexicon import Lexicon, Mode

#: A caption that is not there.
MISSING = 0xFFFF


@dataclass(frozen=True)
class Shot:
    """One sample of a run.

    Attributes:
        image: its name.
        concept: what it stands for.
        also: other concepts that are annotated in it.
        caption, edited_caption: what the model says of it, and of its edited picture, after the prompt.
        original, edited: thumbnails as data URIs; empty where there is no picture.
    """

    image: str
    concept: str
    also: tuple[str, ...]
    caption: str
    edited_caption: str
    original: str = ""
    edited: str = ""


@dataclass(frozen=True)
class CaptionVariant:
    """One of the captions that an image has anywhere in the run: the text, and whether it names the image's concept."""

    text: str
    hit: bool


@dataclass(frozen=True)
class Gallery:
    """All captions of a run.

    Attributes:
        prompt: what every caption begins with.
        match: how captions are matched with concepts.
        shots: the samples, those of a concept together.
        said: for every sample its distinct captions.
        cells: (method, condition) -> [source, image, draw], places in `said` of the image; MISSING where not finished.
        sizes: method -> number of neurons located in each sample; None where not finished.
        notes: method -> what was noted on each.
        pictures: one sentence on where the pictures are from, or why there are none.
    """

    prompt: str
    match: Mode
    shots: Sequence[Shot]
    said: Sequence[Sequence[CaptionVariant]]
    cells: Mapping[tuple[str, str], UInt16[np.ndarray, "_sources _images _draws"]]
    sizes: Mapping[str, Sequence[int | None]]
    notes: Mapping[str, Sequence[Sequence[str]]]
    pictures: str

    def to_dict(self) -> dict[str, Any]:
        """What the page's script reads."""
        texts: dict[str, int] = {}
        spoken = [
            [self._entry(texts, shot.concept, said) for said in each]
            for shot, each in zip(self.shots, self.said, strict=True)
        ]
        shots = [
            {
                "image": shot.image,
                "concept": shot.concept,
                "also": list(shot.also),
                "caption": self._entry(texts, shot.concept, CaptionVariant(shot.caption, True)),
                "edited_caption": self._entry(texts, shot.concept, CaptionVariant(shot.edited_caption, False)),
                "original": shot.original,
                "edited": shot.edited,
            }
            for shot in self.shots
        ]
        methods = list(dict.fromkeys(method for method, _ in self.cells))
        conditions = list(dict.fromkeys(condition for _, condition in self.cells))
        return {
            "prompt": self.prompt,
            "shots": shots,
            "texts": list(texts),
            "spoken": spoken,
            "methods": methods,
            "conditions": conditions,
            "cells": [[self._packed(method, condition) for condition in conditions] for method in methods],
            "sizes": [list(self.sizes[method]) for method in methods],
            "notes": [[list(notes) for notes in self.notes[method]] for method in methods],
        }

    def _entry(self, texts: dict[str, int], concept: str, said: CaptionVariant) -> list[int]:
        place = texts.setdefault(said.text, len(texts))
        match = Lexicon.default().match(said.text, concept, self.match)
        return [place, int(said.hit), *((0, 0) if match is None else _utf16(said.text, match.start, match.end))]

    def _packed(self, method: str, condition: str) -> dict[str, Any] | None:
        cells = self.cells.get((method, condition))
        if cells is None:
            return None
        data = np.ascontiguousarray(cells, dtype="<u2").tobytes()
        return {"draws": cells.shape[2], "data": base64.b64encode(data).decode("ascii")}


def _utf16(text: str, start: int, end: int) -> tuple[int, int]:
    """Places in the text as a browser counts them, which has two for some characters."""
    before = len(text[:start].encode("utf-16-le", "surrogatepass")) // 2
    return before, before + len(text[start:end].encode("utf-16-le", "surrogatepass")) // 2
