"""What all sessions of the explorer share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..index import NeuronIndex
from ..models.decoding import Decoding
from ..regions import Detector, Segmenter
from ..report import Origin
from ..samples.inpainters import recorded
from ..types import one_of
from .annotations import Marks
from .forms import Question, offered_edits
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
        edit: the inpainter that takes the object out unless another is chosen.
    """

    desk: Desk
    shelf: Shelf
    origin: Callable[[Question, str, Marks, Decoding], Origin]
    decoding: Decoding = field(default_factory=Decoding)
    detector: Detector | None = None
    segmenter: Segmenter | None = None
    index: NeuronIndex | None = None
    edit: str = Question.edit

    @property
    def usual(self) -> Question:
        """What is looked for, and how, before anybody asks."""
        return Question(edit=recorded(self.edit))

    @property
    def edits(self) -> Mapping[str, str]:
        """How an object can be taken out here: what the page calls it -> the inpainter's name."""
        return offered_edits(self.edit)

    def inpainter(self, question: Question) -> str:
        """The inpainter that a question names. Raises InvalidOption for one that is not offered here."""
        one_of("edit", question.edit, tuple(self.edits))
        return self.edits[question.edit]
