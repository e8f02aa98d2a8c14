"""Value vectors learned on images of the concept (METHODS f, E3; after Pan et al., FiNE, 2025).

    w_i <- w_i + Delta_i        for the neurons i of a set; Delta by Adam, from `start` on

    loss = mean_images [ max_t NLL(target_t) + repeat * -log(1 - p(target again)) + kl * KL(new || old) ]
         + others * mean_others KL(new || old) + norm * |Delta|_2

NLL at the positions that predict the target's tokens in place of the source's, in the caption that the unedited model
wrote; KL is the mean over the prompt's and the caption's other positions, and over whole captions of images that are to
stay as they are (examples.py). It stops when each image gives each token of the target a probability above `until` and,
with `settle`, greedy decoding comes to the target by the words that it came to the source by, and writes the rest of
these captions and all of those that are to stay as before; or no fewer captions are lost for `patience` steps.

From Delta = 0 the first thing that is learned is to say the source less, and a model that no longer sees the source may
go on without naming anything there: a local optimum. From the closed-form `Swap` both words have begun to change
places. From `Embed` they have done so at once; but its long vectors also speak up where a neuron is a little active.
From `Graft`, which needs neurons of the target, little is left to learn.

As published: lr 5e-3 (in Llama-2), kl 1, repeat 10, norm 0.1, start 0, no others, no `settle`; rows are text. Here they
are prompts with images, several of them, so that what is learned is the concept and not one picture, and Adam's step
is by default a quarter of the root mean square of the vectors' entries, because models differ in it by far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Literal, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..caption.memory import Batches, give_back
from ..cures import memory_cure, out_of_memory
from ..errors import InvalidOption, NotEnoughMemory, NotFinite
from ..fields import check_fields
from ..given import checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.inputs import Inputs
from ..samples.image import ImageSource
from ..types import Json, Neurons, one_of, options_of
from .closed_form import Embed, Swap
from .columns import read_columns, require_editable, with_columns
from .edit import Edit
from .editor import ColumnEditor
from .examples import Lesson, asked, batched, drift, other_lessons, strayed, word_lessons
from .observe import observe
from .partial_forward import Reader
from .words import pair_words

R = TypeVar("R")
#: What learning starts from.
Start: TypeAlias = Literal["zero", "swap", "embed"]
_STARTS: Mapping[Start, type[Swap | Embed] | None] = {"zero": None, "swap": Swap, "embed": Embed}

#: Adam's step / root mean square of the entries of the vectors that are learned.
_LR = 0.25


@dataclass(frozen=True)
class _Class:
    """Lessons that are read together; `kept` are the unedited model's log-probabilities at their kept positions."""

    lessons: Sequence[Lesson]
    reader: Reader
    kept: list[Tensor]


@dataclass(frozen=True)
class _Best:
    """The best step so far: few images without the target, then few captions lost, then a low NLL. Step 0: none yet."""

    step: int = 0
    missed: int = 0
    lost: int = 0
    nll: float = math.inf
    deltas: Mapping[int, Tensor] = field(default_factory=dict[int, Tensor])

    def after(self, now: _Best) -> _Best:
        """The better one of this and a later step; the earlier one where both are as good, which moved less."""
        mine, its = ((one.missed, one.lost, one.nll if one.missed else 0.0) for one in (self, now))
        return now if not self.step or its < mine else self


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Learned:
    """Learn value vectors that make the model say the target where it said the source; see the formula above.

    Attributes:
        source, target: the words; all tokens of the target are taught.
        start: what Delta is at first: 0, that of Swap or Embed with their default settings, or that of an editor.
        lr: Adam's step, in the weights' own units; None for a quarter of the vectors' root mean square entry.
        steps: at most so many.
        until: stop when the target is at least as probable in every image,
        settle: and greedy decoding comes to it in every image, and writes all else as before,
        patience: or no fewer captions are lost for so many steps. The best step's vectors are kept.
        kl, repeat, norm, others: weights of the loss.
        batch_size: rows that are read together.
        decoding: how captions are written.
    """

    source: str
    target: str
    start: Start | ColumnEditor = "swap"
    lr: float | None = None
    steps: int = 50
    until: float = 0.9
    settle: bool = True
    patience: int = 8
    kl: float = 1.0
    repeat: float = 10.0
    norm: float = 0.1
    others: float = 5.0
    batch_size: int = 8
    decoding: Decoding = field(default_factory=Decoding)
    name: ClassVar[str] = "learned"

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.start, ColumnEditor):
            one_of("start", self.start, get_args(Start))
        weights = (self.kl, self.repeat, self.norm, self.others)
        if not all(0 <= weight < math.inf for weight in weights):
            raise InvalidOption(f"kl, repeat, norm and others must be finite and at least 0, got {weights}")
        if (
            (self.lr is not None and not 0 < self.lr < math.inf)
            or min(self.steps, self.patience, self.batch_size) < 1
            or not 0 < self.until <= 1
        ):
            raise InvalidOption(
                "Learned needs lr > 0, steps, patience and batch_size >= 1 and 0 < until <= 1, got "
                f"lr={self.lr}, steps={self.steps}, patience={self.patience}, batch_size={self.batch_size}, "
                f"until={self.until}"
            )

    @classmethod
    def as_published(cls, source: str, target: str) -> Learned:
        """FiNE's settings for Llama-2."""
        return cls(source=source, target=target, start="zero", lr=5e-3, settle=False, others=0.0)

    @in_turn
    def edit(
        self,
        vlm: VLM,
        neurons: Neurons,
        images: Sequence[ImageSource] = (),
        *,
        keep: Sequence[ImageSource] = (),
        force: bool = False,
    ) -> Edit:
        """An edit of these neurons, not yet in force.

        Args:
            vlm: the model.
            neurons: whose value vectors are learned.
            images: of the concept. Those whose caption does not name it are observed, but teach nothing;
                `report["images"]` says how many do.
            keep: images whose captions are to stay as they are; should not show the concept.
            force: take neurons of other weights at their addresses.

        Raises InvalidOption without images and for words that cannot be edited, ConceptNotNamed where no caption names
        the source, and what columns.require_editable raises; no weight is changed in any case.
        """
        neurons = neurons.anywhere() if force else neurons
        require_editable(vlm, neurons)
        words = pair_words(vlm, self.source, self.target, "each", self.decoding)
        if not len(images):
            raise InvalidOption("images is empty: Learned needs images whose captions name the source")
        before = observe(vlm, images, words, self.decoding)
        old = {layer: read_columns(vlm, layer, units) for layer, units in neurons.by_layer().items()}
        taught = word_lessons(vlm, images, before, words, self.decoding)
        spared = other_lessons(vlm, keep, self.decoding) if self.others else []
        first = min(old)
        again, batches = partial(self._class, vlm, first), Batches(self.batch_size)
        classes, spared_classes = (
            [
                one
                for group in batched(vlm, some, self.batch_size)
                for one in batches.run(group, lambda few: [again(few)])
            ]
            for some in (taught, spared)
        )
        start = {layer: self._start(vlm, layer, units, old[layer]) for layer, units in neurons.by_layer().items()}
        new, report = self._learn(vlm, neurons, old, start, classes, spared_classes, again)
        settings = options_of(self)
        return Edit(vlm, neurons, old, new, self.name, settings, words, before, vlm.identity(), report)

    def _start(
        self, vlm: VLM, layer: int, units: Sequence[int], old: Float[Tensor, "hidden units"]
    ) -> Float[Tensor, "hidden units"]:
        """The value vectors that learning starts from."""
        editor = self.start
        if not isinstance(editor, ColumnEditor):
            made = _STARTS[editor]
            if made is None:
                return _wide(old)
            editor = made(source=self.source, target=self.target, decoding=self.decoding)
        return editor.rewrite(vlm, layer, units, _wide(old), editor.words(vlm))

    @torch.no_grad()
    def _class(self, vlm: VLM, first: int, lessons: Sequence[Lesson]) -> _Class:
        reader = Reader(
            vlm, Inputs(tuple(lesson.row for lesson in lessons)), max(lesson.reach for lesson in lessons), first
        )
        reach = max(lesson.kept_reach for lesson in lessons)
        own = vlm.logits(Inputs(tuple(lesson.kept_row for lesson in lessons)), last=reach)
        kept = [
            row[[-position for position in lesson.kept_from]].float().log_softmax(-1)
            for row, lesson in zip(own, lessons, strict=True)
        ]
        return _Class(lessons, reader, kept)

    def _learn(
        self,
        vlm: VLM,
        neurons: Neurons,
        old: Mapping[int, Float[Tensor, "_hidden _units"]],
        start: Mapping[int, Float[Tensor, "_hidden _units"]],
        taught: list[_Class],
        spared: list[_Class],
        again: Callable[[Sequence[Lesson]], _Class],
    ) -> tuple[dict[int, Tensor], dict[str, Json]]:
        """The new value vectors, and how learning went."""
        units = neurons.by_layer()
        wide = {layer: _wide(columns) for layer, columns in old.items()}
        deltas = {layer: (start[layer] - wide[layer]).requires_grad_() for layer in units}
        lr = self.lr or _LR * max(
            float(torch.cat([w.flatten().cpu() for w in wide.values()]).square().mean().sqrt()), 1e-6
        )
        adam = torch.optim.Adam(list(deltas.values()), lr=lr)
        images, others = (sum(len(one.lessons) for one in classes) for classes in (taught, spared))
        worst: list[float] = []
        missing: list[int] = []
        losing: list[int] = []
        bound = -math.log(self.until)
        best = _Best()
        columns = list(deltas.values())

        def add(loss: Tensor) -> None:
            """All at once, so that a pass for which memory fails leaves nothing behind."""
            for delta, slope in zip(columns, torch.autograd.grad(loss, columns, materialize_grads=True), strict=True):
                delta.grad = slope if delta.grad is None else delta.grad + slope

        def teach(one: _Class) -> tuple[list[float], int, int]:
            logits = one.reader.logits(self._changed(vlm, units, wide, deltas))
            each, repeated = asked(logits, one.lessons)
            loss = each + self.repeat * repeated + self.kl * drift(logits, one.lessons, one.kept)
            add(loss.sum() / images)
            astray = strayed(logits, one.lessons, up_to_target=True) if self.settle else [False] * len(each)
            off = sum(loss > bound or gone for loss, gone in zip(each.tolist(), astray, strict=True))
            return each.tolist(), off, sum(strayed(logits, one.lessons)) if self.settle else 0

        def spare(one: _Class) -> int:
            logits = one.reader.logits(self._changed(vlm, units, wide, deltas))
            add(self.others * drift(logits, one.lessons, one.kept).sum() / others)
            return sum(strayed(logits, one.lessons)) if self.settle else 0

        for _ in range(self.steps):
            adam.zero_grad()
            told = _of_each(taught, teach, again)
            nll = [value for values, _, _ in told for value in values]
            missed = sum(off for _, off, _ in told)
            lost = sum(gone for _, _, gone in told) + sum(_of_each(spared, spare, again))
            if not all(map(math.isfinite, nll)):
                raise NotFinite(f"the loss is not finite after {len(worst)} steps of lr={lr:.2g}: use a smaller lr")
            worst.append(max(nll))
            missing.append(missed)
            losing.append(lost)
            best = best.after(_Best(len(worst), missed, lost, max(nll), _copied(deltas)))
            if not missed and (not best.lost or len(worst) - best.step >= self.patience):
                break
            if self.norm and any(bool(delta.any()) for delta in deltas.values()):  # |0| has no gradient
                (self.norm * torch.stack([d.norm().cpu() for d in deltas.values()]).norm()).backward()
            adam.step()
        new = {layer: (wide[layer] + best.deltas[layer]).to(old[layer].dtype) for layer in units}
        report: dict[str, Json] = {
            "images": images,
            "others": others,
            "steps": len(worst),
            "lr": lr,
            "kept_step": best.step,
            "converged": not best.missed,
            "worst_nll": [*worst],
            "missed": [*missing],
            "lost": [*losing],
            "plain": [*sorted({one.reader.plain for one in (*taught, *spared) if one.reader.plain})],
        }
        return new, report

    def _changed(
        self, vlm: VLM, units: Mapping[int, Sequence[int]], wide: Mapping[int, Tensor], deltas: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        return with_columns(vlm, units, {layer: wide[layer] + deltas[layer] for layer in units})


def _of_each(
    classes: list[_Class], work: Callable[[_Class], R], again: Callable[[Sequence[Lesson]], _Class]
) -> list[R]:
    """What `work` gives of every class; one for which memory fails is replaced with its halves from then on."""
    found: list[R] = []
    while len(found) < len(classes):
        one = classes[len(found)]
        try:
            found.append(work(one))
            continue
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if len(one.lessons) == 1:
                raise NotEnoughMemory(f"there is not enough memory for a single row: {memory_cure(error)}") from error
        give_back()
        half = (len(one.lessons) + 1) // 2
        classes[len(found) : len(found) + 1] = [again(one.lessons[:half]), again(one.lessons[half:])]
    return found


def _wide(columns: Float[Tensor, "hidden units"]) -> Float[Tensor, "hidden units"]:
    """In float32 at least, in which small steps are not lost."""
    return columns.to(torch.promote_types(columns.dtype, torch.float32))


def _copied(deltas: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {layer: delta.detach().clone() for layer, delta in deltas.items()}
