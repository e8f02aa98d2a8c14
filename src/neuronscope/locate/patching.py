"""What sets of neurons do to the concept's score when their activations at the image tokens are exchanged.

    E    = s(o) - s(e)                              the effect of the edit                         METHODS n2
    E_N  = s(o) - s(o | O'_N <- values)             the effect of the set N, patched at all image tokens
    r(N) = E_N / E                                  the share of the edit's effect that N recovers

s is the score of the concept's token where the original's caption predicts it, the caption so far teacher-forced for
both pictures alike. `values` are the edited picture's activations (patching), zeros, or means.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from ..caption import Caption, Decoding
from ..caption.memory import Batches
from ..errors import InvalidOption, InvalidSample
from ..held import in_turn
from ..hooks import HookSession, Tap
from ..loading import VLM
from ..models.finite import finite_scores
from ..models.loaded import Inputs
from ..samples.inpaint import Counterfactual
from ..types import SITES, Neurons, Site, one_of
from .exchanged import ROWS, KeptStates, by_first_layer, exchange_at
from .picture_row import Activations, PictureRow
from .saying import Saying
from .scores import TARGETS, Entry, Layout, Target, target_value
from .target import Word

#: What a neuron's activations become: those of the other picture, zero, or their own mean over the image tokens.
Change: TypeAlias = Literal["patch", "zero", "mean"]
CHANGES: tuple[Change, ...] = get_args(Change)

#: Scores of one token that stand for themselves; a contrast needs the word that the other picture is said to show.
TOKEN_TARGETS: tuple[Target, ...] = tuple(target for target in TARGETS if target != "contrast")

#: Sets per plain forward pass, which holds the picture once for every row.
_PLAIN_ROWS = 16


@dataclass(frozen=True)
class Exchange:
    """One teacher-forced row whose activations at the image tokens can be exchanged, neuron by neuron.

    Attributes:
        vlm: the model.
        inputs: one row: the prompt with the picture, and the caption up to the concept's word.
        word: whose score s is.
        values: what neurons are exchanged for.
        target: the score: logit, log-probability, log-odds, probability, or the logit minus that of the rivals.
        rivals: for "contrast", what the edited picture is said to show: entries like the word's.
        site: where activations are exchanged.
        clean: s without any exchange.
        edited: s of the other picture.
        kept: reads sets from the first exchanged layer on, where that gives what a plain pass gives.
        ahead: the caption through the concept's word, read with each set; None reads up to the word.
        batch_size: sets per forward pass; no effect on the result.
    """

    vlm: VLM
    inputs: Inputs
    word: Word
    values: Activations
    target: Target
    site: Site
    rivals: tuple[Entry, ...]
    clean: float
    edited: float
    kept: KeptStates
    ahead: Saying | None = None
    batch_size: int = ROWS
    _rows: Batches = field(default_factory=lambda: Batches(sys.maxsize), repr=False, compare=False)

    @classmethod
    @in_turn
    def of(
        cls,
        vlm: VLM,
        image: Image.Image,
        other: Image.Image,
        word: Word,
        decoding: Decoding,
        *,
        change: Change = "patch",
        target: Target = "logprob",
        site: Site = "neuron",
        batch_size: int = ROWS,
    ) -> Exchange:
        """The row of `image`, whose neurons are exchanged for those of `other` (or for zero or their means).

        Raises InvalidOption for a change, target or site that is not among the choices, and where the two pictures have
        different numbers of image tokens, so that a token of one has no partner in the other.
        """
        one_of("site", site, SITES)
        one_of("change", change, CHANGES)
        one_of("target", target, TARGETS)
        own, others = (PictureRow.of(vlm, picture, word, decoding, site) for picture in (image, other))
        return cls.between(vlm, own, others, change=change, target=target, batch_size=batch_size)

    @classmethod
    @in_turn
    def between(
        cls,
        vlm: VLM,
        own: PictureRow,
        other: PictureRow,
        *,
        change: Change = "patch",
        target: Target = "logprob",
        ahead: Saying | None = None,
        batch_size: int = ROWS,
    ) -> Exchange:
        """The same of two rows that have been read, and under the same conditions.

        With `ahead`, the caption through the word, :meth:`read` says what captions say with each set, too.
        """
        one_of("change", change, CHANGES)
        one_of("target", target, TARGETS)
        word, inputs = own.word, own.inputs
        values = other.values if change == "patch" else own.values
        if change == "patch" and len(own.at) != len(other.at):
            raise InvalidOption(
                f"the pictures have {len(own.at)} and {len(other.at)} image tokens; patching needs as many"
            )
        if change == "zero":
            values = {layer: torch.zeros_like(z) for layer, z in values.items()}
        if change == "mean":
            values = {layer: z.mean(0, keepdim=True).expand_as(z) for layer, z in values.items()}
        rivals = rival_entries(other.logits, word) if target == "contrast" else ()
        clean, edited = (word_scores(row.logits[None], word, target, rivals)[0] for row in (own, other))
        image = int(inputs.images[0].positions[-1])
        kept = KeptStates(vlm, own.prompt, word.ids, values, own.site, word.farthest, False)
        if ahead is not None:
            kept = replace(kept, fed=ahead.ids, last=ahead.predictions)
        if ahead is not None and kept.why:  # passes from the beginning read no farther than they have to
            ahead, kept = None, replace(kept, fed=word.ids, last=word.farthest)
        kept.inert = image < own.prompt.length + len(kept.fed) - kept.last
        return cls(vlm, inputs, word, values, target, own.site, rivals, clean, edited, kept, ahead, batch_size)

    @property
    def edit(self) -> float:
        """E = s(o) - s(e): how much lower s is in the other picture, in units of the target (METHODS n2)."""
        return self.clean - self.edited

    def require_edit(self, concept: str) -> float:
        """E, to take shares of. Raises InvalidSample where there is none."""
        if not self.edit > 0:
            raise InvalidSample(
                f"the edit makes the word for {concept!r} no less likely ({self.edit:.3g} in log-probability): "
                "there is no effect that neurons could recover. Try another edit, or a method with a fixed count"
            )
        return self.edit

    @in_turn
    def effects(self, sets: Sequence[Bool[np.ndarray, "neurons"]]) -> Float[np.ndarray, "sets"]:
        """E_N of each set (METHODS n2), in units of the target (logits, or natural logarithms).

        Args:
            sets: masks over the flat axis of all neurons (:class:`Layout`); each is one row of a batch.
        """
        return self.read(sets, inf)[0]

    @in_turn
    def read(
        self, sets: Sequence[Bool[np.ndarray, "neurons"]], least: float = -inf
    ) -> tuple[Float[np.ndarray, "sets"], list[Caption | None]]:
        """E_N of each set as :meth:`effects` gives them, and what the caption then says, where that is known.

        Captions are of sets with an effect of `least` or more, end where the concept has been named, and are None where
        it is left to the plain path: where nothing is read ahead, and for near ties.
        """
        effects, said = np.zeros(len(sets)), list[Caption | None]([None] * len(sets))
        waiting = by_first_layer(self.vlm, sets, inert=self.kept.inert)
        if waiting:
            most = self.kept.rows(self.batch_size)
            found = self._rows.run(waiting, lambda some: self._read(np.stack([sets[n] for n in some]), least), most)
            for number, (score, caption) in zip(waiting, found, strict=True):
                effects[number], said[number] = self.clean - score, caption
        return effects, said

    def columns(self, neurons: Neurons) -> Float[np.ndarray, "positions neurons"]:
        """What some neurons are exchanged for, as :class:`neuronscope.Patch` takes it."""
        picked = [self.values[neuron.layer][:, neuron.unit].float().cpu() for neuron in neurons]
        return torch.stack(picked, 1).numpy() if picked else np.zeros((self.inputs.images[0].count, 0), np.float32)

    @in_turn
    def plain_effects(self, sets: Sequence[Bool[np.ndarray, "neurons"]]) -> Float[np.ndarray, "sets"]:
        """The same by forward passes from the beginning: what :meth:`effects` has to give."""
        return self.clean - np.array(self._plain_scores(np.stack(sets)), dtype=np.float64)

    def _read(self, sets: Bool[np.ndarray, "rows neurons"], least: float) -> list[tuple[float, Caption | None]]:
        read = self.kept.read(sets, self._plainly_ahead)
        if read is None:
            return [(score, None) for score in self._plain_scores(sets)]
        if self.ahead is None:
            return [(score, None) for score in self._of(read[2])]
        scores = self._of(read[2][:, : len(self.word.ids) + 1])  # the positions that predict the caption up to the word
        rows = [row for row, score in enumerate(scores) if self.clean - score >= least]
        said = dict(zip(rows, self.ahead.captions(*read, rows), strict=True)) if rows else {}
        return [(score, said.get(row)) for row, score in enumerate(scores)]

    def _plain_scores(self, sets: Bool[np.ndarray, "rows neurons"]) -> list[float]:
        most = 1 if self.inputs.rows[0].alone else _PLAIN_ROWS
        return self._rows.run(list(sets), lambda some: self._of(self._plainly(np.stack(some))), most)

    def _of(self, logits: Float[Tensor, "rows predictions vocabulary"]) -> list[float]:
        return word_scores(logits, self.word, self.target, self.rivals)

    def _plainly(self, sets: Bool[np.ndarray, "rows neurons"]) -> Float[Tensor, "rows predictions vocabulary"]:
        return self._passes(sets, self.inputs, self.word.farthest)

    def _plainly_ahead(self, sets: Bool[np.ndarray, "rows neurons"]) -> Float[Tensor, "rows predictions vocabulary"]:
        """The same as far as kept states are read."""
        if self.ahead is None:
            return self._plainly(sets)
        return self._passes(sets, self.inputs.extend(self.ahead.ids[len(self.word.ids) :]), self.ahead.predictions)

    def _passes(
        self, sets: Bool[np.ndarray, "rows neurons"], inputs: Inputs, last: int
    ) -> Float[Tensor, "rows predictions vocabulary"]:
        taps = exchanging(self.vlm, inputs, sets, self.values, self.site)
        with torch.no_grad(), HookSession(self.vlm.structure, taps):
            return self.vlm.logits(inputs.repeat(len(sets)), last=last)[:, -last:]


def exchanging(
    vlm: VLM, inputs: Inputs, sets: Bool[np.ndarray, "rows neurons"], values: Activations, site: Site
) -> list[Tap]:
    """Hooks that give each row's own set of neurons the `values` at the image tokens of `inputs`."""
    layout, at = Layout(vlm.widths), torch.as_tensor(inputs.images[0].positions)
    taps: list[Tap] = []
    for layer in vlm.structure.studied:
        start = layout.starts[layer]
        chosen = sets[:, start : start + layout.widths[layer]]
        if chosen.any():
            taps.append(Tap(layer, site, exchange_at(at, torch.from_numpy(chosen.copy()), values[layer])))
    return taps


def rival_entries(logits: Float[Tensor, "positions vocabulary"], word: Word) -> tuple[Entry, ...]:
    """Where each token of the word is predicted, the most probable other token by a picture's logits."""
    best = {place: logits[-place].topk(2).indices.tolist() for place, _ in word.entries}
    return tuple((place, best[place][best[place][0] == token]) for place, token in word.entries)


def value_of_word(
    logits: Float[Tensor, "positions vocabulary"], word: Word, target: Target, rivals: Sequence[Entry] = ()
) -> Tensor:
    """s of one row, differentiable; a contrast is the logit less that of the rivals, sum less sum or mean less mean."""
    if target == "contrast":
        own, other = (target_value(logits, some, [some], "logit", word.average) for some in (word.entries, rivals))
        return own - other
    return target_value(logits, word.entries, [word.entries], target, word.average)


def word_scores(
    logits: Float[Tensor, "rows predictions vocabulary"], word: Word, target: Target, rivals: Sequence[Entry] = ()
) -> list[float]:
    """s of each row, from the logits of the last positions.

    Effects are small differences of scores: what follows the logits is computed in float64 where the device has it.
    """
    kind = torch.float32 if logits.device.type == "mps" else torch.float64
    found = [float(value_of_word(row.to(kind), word, target, rivals)) for row in logits]
    finite_scores({f"the {target} of the concept's word": np.array(found)})
    return found


@in_turn
def word_score(vlm: VLM, inputs: Inputs, word: Word, target: Target, rivals: Sequence[Entry] = ()) -> float:
    """s of one row."""
    with torch.no_grad():
        return word_scores(vlm.logits(inputs, last=word.farthest), word, target, rivals)[0]


@in_turn
def edit_effect(vlm: VLM, pair: Counterfactual, word: Word, decoding: Decoding, target: Target = "logprob") -> float:
    """E = s(o) - s(e): how much lower s is in the edited picture, in units of the target (METHODS n2)."""
    original, edited = (
        word_score(vlm, word.inputs(vlm, image, decoding), word, target) for image in (pair.original, pair.edited)
    )
    return original - edited
