"""What the explorer knows at one moment. A state never changes; every action makes the next one, so undo goes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from ..index import DescribedNeuron
from ..locate import Located
from ..models.decoding import Decoding
from ..report import Evidence
from ..samples.inpaint import Counterfactual
from ..types import Neuron
from .annotations import Marks
from .forms import Change, Question

#: The place of a picture at hand that is not on the shelf, among those that a neuron sees.
HERE = -1
#: What a picture without a file of its own is called in commands.
UPLOADED = "image.png"


@dataclass(frozen=True, eq=False)
class PictureAtHand:
    """The picture that is looked at.

    Attributes:
        name: what people see.
        image: upright RGB.
        path: how a command names it: its file, or the name it has among the downloads.
        number: its place on the shelf; None for an upload.
    """

    name: str
    image: Image.Image
    path: str
    number: int | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """A located set.

    Attributes:
        question: what was looked for.
        marks: where.
        pair: the picture with and without the concept.
        located: what the method gave.
        evidence: captions, neurons, their tokens and maps.
        level: the noise level that suits the set, in activation units.
        files: what can be downloaded, by kind.
    """

    question: Question
    marks: Marks
    pair: Counterfactual
    located: Located
    evidence: Evidence
    level: float
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])


@dataclass(frozen=True)
class Said:
    """Captions under a change, without the prompt, one per draw.

    Attributes:
        change: what was done.
        after: to the located neurons.
        control: to as many random neurons of the same layers; empty where a layer has too few.
        note: why there is no control.
    """

    change: Change
    after: tuple[str, ...]
    control: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Seen:
    """A picture as a neuron sees it: its place on the shelf or HERE, and the neuron's largest activation in it."""

    number: int
    activation: float


@dataclass(frozen=True, eq=False)
class State:
    """Everything that is on the page.

    Attributes:
        decoding: what the model is asked about every picture.
        sent: how that is written, with the picture's placeholder.
        picture: None before one is chosen.
        notice: that the model was not made for such pictures, by its own measure; empty where nothing is to be said.
        caption: what the model says of it, without the prompt; it may be nothing. None before it is known.
        nouns: of the caption.
        marks: what is marked on it.
        edited: the picture without the object.
        question: the last question.
        found: its answer.
        change: what is done to the neurons.
        said: the captions under it.
        chosen: the neuron that is looked at.
        tops: neuron -> the pictures that move it most, of the shelf and the one at hand.
        beside: neuron -> those that move the random neuron of its layer most whose words stand beside its own.
        note: what a reader should know of these, such as files that cannot be read.
        page: a neuron of the index that was asked for by its address.
    """

    decoding: Decoding = field(default_factory=Decoding)
    sent: str = ""
    picture: PictureAtHand | None = None
    notice: str = ""
    caption: str | None = None
    nouns: tuple[str, ...] = ()
    marks: Marks = field(default_factory=Marks)
    edited: PictureAtHand | None = None
    question: Question = field(default_factory=Question)
    found: Found | None = None
    change: Change = field(default_factory=Change)
    said: Said | None = None
    chosen: Neuron | None = None
    tops: Mapping[Neuron, tuple[Seen, ...]] = field(default_factory=dict[Neuron, tuple[Seen, ...]])
    beside: Mapping[Neuron, tuple[Seen, ...]] = field(default_factory=dict[Neuron, tuple[Seen, ...]])
    note: str = ""
    page: DescribedNeuron | None = None


def best_seen(rows: Mapping[int, Float[np.ndarray, "_"]], column: int, count: int) -> tuple[Seen, ...]:
    """The pictures that move a neuron most: of rows of activations by picture, the `count` largest of a column."""
    seen = [Seen(number, float(values[column])) for number, values in rows.items()]
    return tuple(sorted(seen, key=lambda one: (-one.activation, one.number))[:count])
