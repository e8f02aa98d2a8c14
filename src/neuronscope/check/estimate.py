"""What each verb needs of a card and how long it takes: computed from the config, then timed with one unit.

    bytes    weights + what is kept of the pictures + the larger of one row's forward and backward pass
    seconds  prompts * 2 * parameters * positions / speed + words * bytes of the weights / bandwidth

How many prompts, gradients and captions a verb takes was counted on both bundled models, per picture; more rows in a
batch take more memory and less time. What the driver and the allocator take, 1 to 2 GiB as a rule, is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidOption
from ..held import in_turn
from ..index.bins import BINS
from ..loading import VLM
from ..locate import Wanted, attributions
from ..models.decoding import Decoding
from ..models.inputs import Inputs
from .shape import BYTES, Shape

GIB = 2**30


@dataclass(frozen=True)
class GraphicsCard:
    """A card as its maker describes it.

    Attributes:
        gib: memory.
        tflops: of dense products in 16 bits, 10^12 operations a second; 0 where it is not known.
        bandwidth: of its memory, 10^9 bytes a second; 0 likewise.
    """

    gib: float
    tflops: float = 0.0
    bandwidth: float = 0.0


#: Makers' figures. A verb reaches less: see SHARE.
CARDS: Mapping[str, GraphicsCard] = {
    "t4": GraphicsCard(16, 65, 320),
    "v100": GraphicsCard(32, 112, 900),
    "a10": GraphicsCard(24, 125, 600),
    "l4": GraphicsCard(24, 121, 300),
    "rtx3090": GraphicsCard(24, 71, 936),
    "rtx4090": GraphicsCard(24, 165, 1008),
    "a6000": GraphicsCard(48, 155, 768),
    "l40s": GraphicsCard(48, 362, 864),
    "a100-40": GraphicsCard(40, 312, 1555),
    "a100": GraphicsCard(80, 312, 2039),
    "h100": GraphicsCard(80, 989, 3350),
    "h200": GraphicsCard(141, 989, 4800),
}
#: Share of the maker's figures that rows read one at a time reach, as a rule.
SHARE = 0.3


@dataclass(frozen=True)
class VerbWork:
    """What a verb does with one picture.

    Attributes:
        prompts: forward passes of the prompt; gradients: with a backward pass; captions: written word by word.
        kept: pictures whose neurons are all kept.
        logged: captions whose words' logits are kept.
        watched: bytes that are kept of every neuron.
    """

    prompts: float
    gradients: int = 0
    captions: int = 0
    kept: int = 0
    logged: int = 0
    watched: int = 0


#: Pictures in a part of an index, and bytes that are kept of a neuron: a histogram, both ends of the part, sums, and
#: tokens that wait.
PART = 128
_WATCHED = 4 * BINS + 8 * PART + 16 + 256

#: Verb -> its work at its default settings, rounded up. An edit is learned from half of the pictures at most, in fifty
#: steps at most, and as often on random neurons; a repair tries seven counts at most, and compares 60 captions.
WORK: Mapping[str, VerbWork] = {
    "caption": VerbWork(0, captions=1),
    "heatmap": VerbWork(1),
    "decode": VerbWork(0),
    "locate --no-test": VerbWork(55, 11, 3, 2),
    "locate": VerbWork(115, 11, 12, 2),
    "concept, a photograph": VerbWork(9, 7, 8, 2),
    "truth, 1,000 neurons": VerbWork(1150, 0, 2, 2),
    "discover, a picture": VerbWork(3, captions=2),
    "pictures, a picture": VerbWork(1),
    "index, a picture": VerbWork(1, watched=_WATCHED),
    "edit, a picture": VerbWork(5, 50, 5, logged=32),
    "edit --editor swap, a picture": VerbWork(3, captions=5),
    "repair, a picture": VerbWork(0, captions=3),
    "repair, a hallucination at most": VerbWork(2, captions=320),
}


@dataclass(frozen=True)
class UnitCost:
    """Seconds of one prompt, one gradient and one caption, and the largest bytes beside the weights where known."""

    prompt: float
    gradient: float
    caption: float
    peak: int | None = None


@dataclass(frozen=True)
class VerbCost:
    """One verb.

    Attributes:
        verb: with the options that matter.
        gib: with the weights, one row at a time.
        fits: on the card; None where no card is named.
        seconds: for one picture; None where nothing says how fast the card is.
    """

    verb: str
    gib: float
    fits: bool | None
    seconds: float | None


@dataclass(frozen=True)
class CostEstimate:
    """What a model needs.

    Attributes:
        shape: the model's numbers.
        dtype: of the weights; attn: "eager" keeps its weights, others do not.
        words: new tokens of a caption.
        card: None where none is named.
        unit: measured; None where everything is computed.
    """

    shape: Shape
    dtype: str
    attn: str = "sdpa"
    words: int = 32
    card: GraphicsCard | None = None
    unit: UnitCost | None = None

    def __post_init__(self) -> None:
        if self.dtype not in BYTES:
            raise InvalidOption(f"dtype={self.dtype!r} is not one of {', '.join(BYTES)}")
        if self.shape.image_tokens is None:
            raise InvalidOption("how many image tokens a picture has is not in the config: give --image-tokens")

    @property
    def weights(self) -> int:
        """Their bytes, exactly."""
        return self.shape.weights(self.dtype)

    @property
    def itemsize(self) -> float:
        """Bytes of a number that is computed with."""
        return 2.0 if self.dtype in ("8bit", "4bit") else BYTES[self.dtype]

    def gradient(self) -> int:
        """Bytes beside the weights of one row with its backward pass."""
        own = self.shape
        eager = self.attn == "eager"
        size = self.itemsize
        return own.saved(own.positions, size, eager=eager) + own.alive(own.positions, size, eager=eager)

    def bytes_of(self, work: VerbWork) -> int:
        """Bytes beside the weights."""
        own, size = self.shape, self.itemsize
        row = own.alive(own.positions, size, eager=self.attn == "eager")
        if work.gradients:
            row = max(row, self.gradient())
        if work.captions:
            row = max(row, row + round(2 * own.cached * (own.positions + self.words) * size))
        if work.logged:  # and their probabilities, in float32, once more while they are compared
            row += round(16 * self.words * own.vocabulary)
        kept = work.kept * (own.image_tokens or 0) * own.neurons * size + work.watched * own.neurons
        kept += work.logged * (self.words * own.vocabulary * (size + 4) + own.positions * own.hidden * size)
        return round(kept) + row

    def units(self) -> UnitCost | None:
        """Seconds of each unit; measured where they were, else by the card's figures, else None."""
        if self.unit is not None:
            return self.unit
        if self.card is None or not self.card.tflops:
            return None
        own, card = self.shape, self.card
        size = self.itemsize
        decoder = own.parameters - own.tower - own.vocabulary * own.hidden
        patches = 4 * (own.image_tokens or 0)  # of a tower that merges 2 x 2
        operations = 2.0 * decoder * own.positions + 2.0 * own.tower * patches
        operations += 4.0 * own.hidden * own.layers * own.positions**2
        prompt = operations / (SHARE * card.tflops * 1e12) * (size / 2)
        word = self.weights / (SHARE * card.bandwidth * 1e9)
        prompt = max(prompt, word)
        return UnitCost(prompt, 3 * prompt, prompt + self.words * word)

    def rows(self) -> list[VerbCost]:
        """One for each verb."""
        unit, found = self.units(), list[VerbCost]()
        for verb, work in WORK.items():
            need = self.weights + self.bytes_of(work)
            seconds = None
            if unit is not None and (work.prompts or work.captions):
                seconds = work.prompts * unit.prompt + work.gradients * unit.gradient + work.captions * unit.caption
            fits = None if self.card is None else need <= self.card.gib * GIB
            found.append(VerbCost(verb, need / GIB, fits, seconds))
        return found

    def verdict(self, card: str = "") -> str:
        """How much the model needs, in a sentence; `card` is what the card is called."""
        rows, own = self.rows(), self.shape
        most = max(row.gib for row in rows)
        head = f"{own.title} with {own.parameters:,} parameters needs {most:.2f} GiB in {self.dtype} for every verb"
        if self.card is None:
            return f"{head} on this picture size."
        held = sum(bool(row.fits) for row in rows)
        return f"{head}; {held} of {len(rows)} fit {card or f'{self.card.gib:g} GiB'}."

    @property
    def notes(self) -> tuple[str, ...]:
        """What the numbers leave out."""
        found = ["one row at a time; batches take what is free and are halved where it is not enough"]
        if self.unit is None and self.shape.linear:
            found.append(f"{self.shape.linear} layers with linear attention may keep five times as much: --measure")
        if self.unit is None and (self.card is None or not self.card.tflops):
            found.append(f"no seconds: give --measure, or --card and one of {', '.join(CARDS)}")
        elif self.unit is None:
            found.append(f"seconds at {SHARE:.0%} of the card's published speed")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        rows = [asdict(row) for row in self.rows()]
        known = {"weights_bytes": self.weights, "gradient_bytes": self.gradient(), "notes": list(self.notes)}
        return {**asdict(self), **known, "verbs": rows}


def card(name: str) -> GraphicsCard:
    """A card by its name, or by its GiB. Raises InvalidOption for neither."""
    if (found := CARDS.get(name.lower().replace(" ", ""))) is not None:
        return found
    try:
        gib = float(name)
    except ValueError:
        gib = 0.0
    if not 0 < gib < float("inf"):
        raise InvalidOption(f"--card {name!r} is no number of GiB and not one of {', '.join(CARDS)}")
    return GraphicsCard(gib)


@in_turn
def measured(vlm: VLM, estimate: CostEstimate, picture: tuple[int, int]) -> CostEstimate:
    """The same with one prompt, one gradient and one caption timed on a grey picture.

    The bytes are what CUDA says; on other devices those that autograd keeps for the gradient (:func:`kept_bytes`).
    """
    image, decoding = Image.new("RGB", picture, (127, 127, 127)), Decoding(max_new_tokens=estimate.words)
    inputs = vlm.prepare([image], decoding)
    cuda = vlm.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(vlm.device)
    before = torch.cuda.memory_allocated(vlm.device) if cuda else 0

    def forward() -> None:
        with torch.no_grad():
            vlm.logits(inputs)

    kept = [0]
    prompt = gradient = _seconds(vlm, forward)
    if not vlm.family.no_image:
        gradient = _seconds(vlm, lambda: kept.append(kept_bytes(vlm, inputs)))
    caption = _seconds(vlm, lambda: vlm.captions([image], decoding=decoding))
    peak = torch.cuda.max_memory_allocated(vlm.device) - before if cuda else kept[-1]
    own = replace(estimate.shape, image_tokens=inputs.images[0].count, positions=inputs.rows[0].length)
    return replace(estimate, shape=own, unit=UnitCost(prompt, gradient, caption, peak))


def kept_bytes(vlm: VLM, inputs: Inputs) -> int:
    """Bytes that autograd keeps of one row while the gradient of one logit by all neurons is taken."""
    own = {one.untyped_storage().data_ptr() for one in vlm.model.parameters()}
    found: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        found[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        attributions(vlm, inputs, [[(1, 0)]], [Wanted()])
    return sum(value.untyped_storage().nbytes() for place, value in found.items() if place not in own)


def _seconds(vlm: VLM, work: Callable[[], object]) -> float:
    """Of the second of two calls: the first one warms up."""
    work()
    _wait(vlm)
    begun = time.perf_counter()
    work()
    _wait(vlm)
    return time.perf_counter() - begun


def _wait(vlm: VLM) -> None:
    if vlm.device.type == "cuda":
        torch.cuda.synchronize(vlm.device)
