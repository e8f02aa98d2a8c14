"""What all sessions of the explorer share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..index import NeuronIndex
from ..models.decoding import Decoding
from ..regions import Detector, Segmenter
from ..report import Origin
from .annotations import Marks
from .forms import Question
from .jobs import Desk
from .picture_list import Shelf


@dataclass(frozen=True)
class Workshop:
    """The model, the pictures, and what helps to mark them.

    Attributes:
        desk: the model and its queue.
        shelf: the pictures on offer.
        origin: how to make a result again, from the question, the picture's path, the marks, and what the model was
            asked.
        decoding: what the model is asked about a picture until somebody asks something else.
        detector: marks an object by a word; None where there is none.
        segmenter: outlines what was found, and what lies under a click; None likewise.
        index: what `neuronscope index` noted of its neurons; None where none was given.
    """

    desk: Desk
    shelf: Shelf
    origin: Callable[[Question, str, Marks, Decoding], Origin]
    decoding: Decoding = field(default_factory=Decoding)
    detector: Detector | None = None
    segmenter: Segmenter | None = None
    index: NeuronIndex | None = None
