"""Difference x gradient: the first-order estimate of what exchanging a neuron does (METHODS n3, n4).

    a[l, i] = sum_p (O'_o - O'_e)[l, p, i] * g[l, p, i]         p: image tokens; O'_e: the edited picture's activations

    g = ds/dO' at the original                                  attribution patching (Nanda 2023; Syed et al. 2023)
    g averaged over K points between the image embeddings of    (EAP-IG, Hanna et al. 2024)
        the two pictures, k / K for k = 0 .. K - 1
    g averaged over K points between the two pictures'          (`path="activations"`)
        activations at the image tokens, all layers held together
    g averaged also over states in which the best neurons so    (ours: `rounds`)
        far are exchanged themselves, 25, 50, 100 ... of them

    a_1 / sum a_1^+ + a_2 / sum a_2^+                           (ours: `also`) of two targets, each by its positive sum

s is a score of the concept's token; as contrast it is y_c - y_c', with c' what the model says of the edited picture
after the same words (METHODS n1). While all activations are held, what a neuron does by later FFNs at the image tokens
does not show: that path ranks far worse than the one between the embeddings, and is there for comparison.

Both stages of two-stage filtering as one product: what the object's removal changes, times what the word depends on.
The gradient at the original alone sees nothing of a model that is sure of its word; on the way to the edited picture it
does. Its neurons stand in for each other, too: with the best ones gone the others' effect shows, which is what `rounds`
is for. The logit finds such neurons, the log-probability the fewest that take a photograph's word away; together they
do both (docs/results/natural). The sum of the scores says nothing about the size of the effect unless the points are
many; no cut uses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..caption.memory import Batches
from ..errors import InvalidOption
from ..hooks import HookSession, Tap
from ..hooks.backward import GradientSession, Place
from ..loading import VLM
from ..models.origin import require_own
from ..samples.inpaint import Counterfactual
from ..types import SITES, Json, Neuron, Neurons, Site, one_of, whole_number
from .between import moved
from .patching import exchanging, rival_entries, value_of_word
from .picture_row import PictureRow, picture_rows
from .ranking import Ranked, Ranking
from .scores import (
    TARGETS,
    Flat,
    Layout,
    Pool,
    Pooled,
    Target,
    backward_scale,
    best_first,
    no_neurons,
    reduce_patches,
)
from .target import CONCEPT_TOKENS, ConceptToken, concept_word
from .validity import Validity

#: What is moved from the original to the edit between the points where gradients are taken.
Path: TypeAlias = Literal["embeddings", "activations"]
PATHS: tuple[Path, ...] = get_args(Path)

#: How many of the best neurons are exchanged in the first of the rounds; twice as many in each further one.
FIRST_ROUND = 25

#: Positions of a batch of points: a few rows of a short prompt make a matrix product that the machine is quick at, as a
#: long prompt does alone.
AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class DifferenceTimesGradient(Ranking):
    """Attribution patching from the edited picture to the original, and its averaged forms.

    Attributes:
        target: s, the score of the concept's token; "contrast" is its logit minus that of the edited picture's token.
        also: a second one, whose attribution over the same points is added, each divided by its positive sum; None for
            none.
        points: K; 1 is the gradient at the original alone.
        path: what lies between the points: image embeddings, or all layers' activations held at the image tokens.
        rounds: how many times the gradient is taken again with the best neurons exchanged.
        pool: over image tokens; the sum is the estimate of the effect.
        site: where activations are compared and exchanged.
        concept_token: which sub-tokens of the word s belongs to.
    """

    target: Target = "logprob"
    also: Target | None = None
    points: int = 1
    path: Path = "embeddings"
    rounds: int = 0
    pool: Pool = "sum"
    site: Site = "neuron"
    concept_token: ConceptToken = "first"
    name: str = "difference-x-gradient"

    choices: ClassVar = {
        "target": TARGETS,
        "path": PATHS,
        "pool": ("sum", "max", "mean"),
        "site": SITES,
        "concept_token": CONCEPT_TOKENS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("points", self.points, 1)
        whole_number("rounds", self.rounds, 0)
        if self.also is not None:
            one_of("also", self.also, TARGETS)

    @classmethod
    def refined(cls) -> DifferenceTimesGradient:
        """The form that finds the planted neurons and most of a natural photograph's effect (docs/results/natural)."""
        return cls(target="logit", also="logprob", points=4, rounds=3, name="difference-x-gradient-refined")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "attribution" holds it for all neurons.

        Beside it "activation", the largest difference (V, the first stage of two-stage filtering), and "gradient", the
        original's own grad x activation (the second).
        """
        word = concept_word(validity, self.concept_token)
        rows = picture_rows(vlm, pair, word, self.decoding, self.site)
        states = _States(vlm, rows, self)
        layout = Layout(vlm.widths)
        targets = (self.target,) if self.also is None else (self.target, self.also)
        path = [k / self.points for k in range(self.points)]
        points = Batches(states.at_once).run(path, partial(states.attributions, targets))
        found = [of[0] for of in points]
        provenance: dict[str, Json] = {}
        if self.points > 1 and self.pool == "sum":
            attributed = float(np.sum(_mean(found), dtype=np.float64))
            provenance["completeness"] = {"attributed": attributed, "change": states.change(self.target)}
        for done in range(self.rounds):
            best = np.zeros(layout.total, dtype=bool)
            best[best_first(_mean(found))[: FIRST_ROUND * 2**done]] = True
            found += states.attributions(targets[:1], (0.0,), best)[0]
        values = _mean(found)
        if self.also is not None:
            values = _shares(values) + _shares(_mean([of[1] for of in points]))
        pooled = Pooled(values, found[0].patch)  # the image token of the original's own gradient
        inert = int(np.count_nonzero(~np.any([one.values != 0 for one in found], axis=0)))
        return Ranked(
            "attribution",
            {"attribution": pooled, "activation": states.differences(), "gradient": states.gradient},
            site=self.site,
            provenance={"inert": inert, **provenance},
            notes=(f"{inert} of {layout.total} neurons have no effect to first order, as those of a last layer",),
            rows=rows,
        )


def attribution_at_tokens(
    vlm: VLM,
    pair: Counterfactual,
    validity: Validity,
    neurons: Neurons,
    options: DifferenceTimesGradient | None = None,
) -> Float[np.ndarray, "tokens neurons"]:
    """(O'_o - O'_e)[p] * g[p] of some neurons at every image token: where on the picture their effect comes from.

    Args:
        vlm: the model.
        pair: the image and its counterfactual.
        validity: what was found out about it.
        neurons: columns of the result.
        options: target, site and sub-tokens; the gradient is that at the original. The log-probability of the first
            token when not given.

    Raises InvalidOption for an empty set, RunMismatch for neurons of other weights and NeuronOutOfRange for neurons
    that the model does not have.
    """
    if not len(neurons):
        raise InvalidOption("an empty set of neurons has no attribution")
    require_own(vlm, neurons)
    options = dataclasses.replace(options or DifferenceTimesGradient(), points=1)
    word = concept_word(validity, options.concept_token)
    return _States(vlm, picture_rows(vlm, pair, word, options.decoding, options.site), options).at_tokens(neurons)


def _mean(found: Sequence[Pooled]) -> Flat:
    return np.mean([one.values for one in found], axis=0)


def _shares(values: Flat) -> Flat:
    """Each score by the sum of the positive ones, so that two targets count alike."""
    return values / max(float(values[values > 0].sum()), np.finfo(np.float32).tiny)


class _States:
    """The original picture's row where gradients are taken: as it is, on the way to the edit, or partly exchanged."""

    def __init__(self, vlm: VLM, rows: tuple[PictureRow, PictureRow], options: DifferenceTimesGradient) -> None:
        own, other = rows
        self._vlm, self._word, self._options = vlm, own.word, options
        self._inputs, self._at, self._said = own.inputs, own.at, (own.logits.float(), other.logits.float())
        self._clean, self._edited, self._embeddings = own.values, other.values, other.entered
        self._rivals = rival_entries(other.logits, own.word)
        self.gradient = Pooled(np.zeros(0))  # of the original, once its attribution has been asked for

    def change(self, target: Target) -> float:
        """How much s falls from one end of the path to the other: what attributions over enough points sum to."""
        start, end = self._said
        if self._options.path == "activations":
            start, end = self._held(0.0), self._held(1.0)
        return float(self._score(start, target) - self._score(end, target))

    def _held(self, between: float) -> Float[Tensor, "positions vocabulary"]:
        """Logits of the original's row with all neurons held between the two pictures."""
        with torch.no_grad(), HookSession(self._vlm.structure, self._taps(None, between)):
            return self._vlm.logits(self._inputs, last=self._word.farthest)[0].float()

    def _score(self, logits: Float[Tensor, "positions vocabulary"], target: Target) -> Tensor:
        return value_of_word(logits, self._word, target, self._rivals)

    def differences(self) -> Pooled:
        """The largest difference of each neuron between the two pictures' image tokens, and where it is."""
        layers = no_neurons(self._vlm)
        for layer, clean in self._clean.items():
            layers[layer] = reduce_patches(clean.float() - self._edited[layer].float(), "max")
        return Pooled.of(layers)

    @property
    def at_once(self) -> int:
        """How many points of the path one pass takes, each a row of its batch."""
        if self._options.path == "activations" or self._inputs.rows[0].alone or self._vlm.family.media is not None:
            return 1
        return max(1, AT_ONCE // self._inputs.read.tensors["input_ids"].shape[1])

    def attributions(
        self,
        targets: Sequence[Target],
        between: Sequence[float],
        exchanged: Bool[np.ndarray, "neurons"] | None = None,
    ) -> list[list[Pooled]]:
        """a of all neurons for each target, with the gradient of each of some states, at most :attr:`at_once`.

        Args:
            targets: scores of the word.
            between: of each state, 0 for the original's end of the path, 1 for the edited picture's.
            exchanged: the neurons that have the edited picture's activations.
        """
        products, found = no_neurons(self._vlm), [[no_neurons(self._vlm) for _ in targets] for _ in between]
        held = between[0] if self._options.path == "activations" and exchanged is None else None
        if held is not None and not len(self.gradient.values):
            self._original_gradient(targets)
        plain = not between[0] and exchanged is None and held is None

        def see(number: int, layer: int, slopes: Tensor) -> None:
            difference = self._clean[layer].float() - self._edited[layer].float()
            reduced = zip(*reduce_patches(difference * slopes, self._options.pool), strict=True)
            for of, (values, patches) in zip(found, reduced, strict=True):
                of[number][layer] = values, patches
            if plain and not number:
                products[layer] = reduce_patches(self._clean[layer].float() * slopes[0], self._options.pool)

        self._differentiate(targets, see, between if held is None else (0.0,), exchanged, held)
        if plain:
            self.gradient = Pooled.of(products)
        return [[Pooled.of(layers) for layers in of] for of in found]

    def _original_gradient(self, targets: Sequence[Target]) -> None:
        """What the path of activations does not pass: at its beginning all neurons are held already."""
        products = no_neurons(self._vlm)

        def see(_: int, layer: int, slopes: Tensor) -> None:
            products[layer] = reduce_patches(self._clean[layer].float() * slopes[0], self._options.pool)

        self._differentiate(targets[:1], see, (0.0,), None, None)
        self.gradient = Pooled.of(products)

    def at_tokens(self, neurons: Neurons) -> Float[np.ndarray, "tokens neurons"]:
        """a before it is pooled, for some neurons, with the gradient at the original."""
        units, found = neurons.by_layer(), dict[Neuron, Tensor]()

        def see(_: int, layer: int, slopes: Tensor) -> None:
            for unit in units.get(layer, ()):
                difference = self._clean[layer][:, unit].float() - self._edited[layer][:, unit].float()
                found[Neuron(layer, unit)] = (difference * slopes[0, :, unit]).cpu()

        self._differentiate((self._options.target,), see, (0.0,), None, None)
        return torch.stack([found[neuron] for neuron in neurons], dim=1).numpy()

    def _differentiate(
        self,
        targets: Sequence[Target],
        see: Callable[[int, int, Tensor], None],
        between: Sequence[float],
        exchanged: Bool[np.ndarray, "neurons"] | None,
        held: float | None,
    ) -> None:
        """One forward pass, and a backward pass for each target.

        `see` is given the target's number, a layer, and the slopes [states, positions, width].
        """
        vlm, scale = self._vlm, backward_scale(self._vlm)

        def unscaled(place: Place, _: Tensor, slope: Tensor, number: int = 0) -> None:
            see(number, place[0], slope.float() / scale)

        places: list[Place] = [(layer, self._options.site) for layer in vlm.structure.studied]
        with (
            torch.enable_grad(),
            moved(vlm, self._at, self._embeddings, between),
            HookSession(vlm.structure, self._taps(exchanged, held)),
            GradientSession(vlm.structure, places, self._at, row=None) as session,
        ):
            with session.forward():
                logits = vlm.logits(self._inputs.repeat(len(between)), last=self._word.farthest).float()
            # Rows know nothing of each other, so the slope of their sum is each one's own.
            values = [torch.stack([self._score(row, target) for row in logits]).sum() for target in targets]
            for number, y in enumerate(values):
                session.backward(y * scale, partial(unscaled, number=number), again=number + 1 < len(values))

    def _taps(self, exchanged: Bool[np.ndarray, "neurons"] | None, held: float | None) -> list[Tap]:
        if held is not None:
            pairs = ((layer, clean, self._edited[layer]) for layer, clean in self._clean.items())
            values = {layer: torch.lerp(clean.float(), other.float(), held).to(clean) for layer, clean, other in pairs}
            everyone = np.ones((1, Layout(self._vlm.widths).total), dtype=bool)
            return exchanging(self._vlm, self._inputs, everyone, values, self._options.site)
        if exchanged is None:
            return []
        return exchanging(self._vlm, self._inputs, exchanged[None], self._edited, self._options.site)
