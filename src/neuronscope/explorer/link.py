"""What the address of the page says, so that a copied link opens the same again.

    ?picture=NAME&box=X,Y,W,H&concept=WORD&method=NAME&rule=...&question=...&prefix=...&neuron=L12.U405

Words are those of the command line. What is not said is as usual. A picture is named as on the shelf; one that was
uploaded, strokes of the brush and what models marked are in no link. Whoever follows a link did not write it, so
nothing in it is taken on trust, and nothing is located before somebody asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import urlencode

from ..errors import InvalidOption
from ..options import BOX, number, plain
from ..parsing import digits
from ..samples.boxes import Box
from ..types import one_of
from .annotations import MOST_MARKS, numbers_of
from .forms import EDITS, Question
from .state import State

#: Longest concept or word, and longest question, in characters.
LONGEST_WORD, LONGEST_QUESTION = 80, 1000
#: Between boxes.
_AND = ";"
_USUAL = Question()


@dataclass(frozen=True)
class Link:
    """Where an address leads.

    Attributes:
        picture: its name on the shelf; empty where none is chosen.
        boxes: x, y, width, height in its pixels.
        question: what is looked for, and how.
        asked: of the model; empty for a caption.
        prefix: what the answer begins with; None as usual.
        asks: whether the address says what the model is asked.
        neuron: an address in the index.
    """

    picture: str = ""
    boxes: tuple[Box, ...] = ()
    question: Question = field(default_factory=Question)
    asked: str = ""
    prefix: str | None = None
    asks: bool = False
    neuron: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str], usual: Question = _USUAL, edits: Collection[str] = EDITS) -> Link:
        """The inverse of :func:`query`; other words are left out.

        Args:
            query: names and values of the address.
            usual: what is not said.
            edits: how an object can be taken out; whoever wrote the link does not choose what is read from this disk.

        Raises InvalidOption for unfit values.
        """
        chosen: dict[str, Any] = {}
        for one in fields(Question):
            if text := query.get(one.name, ""):
                chosen[one.name] = _value(one.name, text, one.default)
        question = replace(usual, **chosen)
        one_of("edit", question.edit, tuple(edits))
        return cls(
            picture=query.get("picture", ""),
            boxes=tuple(_box(text) for text in query.get("box", "").split(_AND) if text)[:MOST_MARKS],
            question=question,
            asked=query.get("question", "")[:LONGEST_QUESTION],
            prefix=query["prefix"][:LONGEST_QUESTION] if "prefix" in query else None,
            asks="question" in query or "prefix" in query,
            neuron=query.get("neuron", "")[:LONGEST_WORD],
        )


def _value(name: str, text: str, usual: object) -> object:
    """A field of Question as its type has it."""
    if isinstance(usual, str):
        return text[:LONGEST_WORD]
    found = digits(text) if isinstance(usual, int) else _finite(text)
    if found is None:
        raise InvalidOption(f"the link's {name}={text[:LONGEST_WORD]!r} is no number that it could be")
    return found


def _finite(text: str) -> float | None:
    try:
        return number(text)
    except ValueError:
        return None


def _box(text: str) -> Box:
    try:
        x, y, w, h = numbers_of(text.split(","), 4)
    except ValueError as error:
        raise InvalidOption(f"the link's box={text[:LONGEST_WORD]!r} is not {BOX.what}") from error
    return x, y, w, h


def query(state: State, usual: State) -> str:
    """What an address says of a state, without the question mark; `usual` is a state in which nothing was done."""
    said: dict[str, str] = {}
    if state.picture is not None and state.picture.number is not None:
        said["picture"] = state.picture.name
    if "picture" in said and state.marks.boxes:
        said["box"] = _AND.join(",".join(plain(round(value, 1)) for value in box) for box in state.marks.boxes)
    for one in fields(Question):
        value = getattr(state.question, one.name)
        if value != getattr(usual.question, one.name):
            said[one.name] = plain(value)
    if state.decoding != usual.decoding:
        said["question"] = state.decoding.question
        if state.decoding.prefix is not None:
            said["prefix"] = state.decoding.prefix
    if state.page is not None:
        said["neuron"] = str(state.page.neuron)
    return urlencode(said)
