"""Difference x gradient: the first-order estimate of what exchanging a neuron does (METHODS n3, n4).

    a[l, i] = sum_p (O'_o - O'_e)[l, p, i] * g[l, p, i]         p: image tokens; O'_e: the edited picture's activations

    g = ds/dO' at the original                                  attribution patching (Nanda 2023; Syed et al. 2023)
    g averaged over K points between the image embeddings of    (EAP-IG, Hanna et al. 2024)
        the two pictures, k / K for k = 0 .. K - 1, or
        u k / (K - 1) up to `until` u
    g averaged over K points between the two pictures'          (`path="activations"`)
        activations at the image tokens, all layers held together
    g averaged also over states in which the best neurons so    (ours: `rounds`)
        far are exchanged themselves, 25, 50, 100 ... of them

    s = s_1 + w s_2,  w = sum a_1^+ / sum a_2^+                 (ours: `also`) two targets that count alike

s is a score of the concept's token; as contrast it is y_c - y_c', with c' what the model says of the edited picture
after the same words (METHODS n1). Of two targets the positive sums are those at the point next to the edited picture,
where a model that is sure of its word has a gradient of its log-probability, too; from there on s is one score, and
each point costs one backward pass. While all activations are held, what a neuron does by later FFNs at the image tokens
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
from collections.abc import Callable, Mapping, Sequence
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

#: s: of each target of the word how much it counts.
Weights: TypeAlias = Mapping[Target, float]

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
        also: a second one, added with the weight that lets both count alike; None for none.
        points: K; 1 is the gradient at the original alone.
        until: where the last of several points lies, 1 for the edited picture; (K - 1) / K when not given.
        path: what lies between the points: image embeddings, or all layers' activations held at the image tokens.
        rounds: how many times the gradient is taken again with the best neurons exchanged.
        pool: over image tokens; the sum is the estimate of the effect.
        site: where activations are compared and exchanged.
        concept_token: which sub-tokens of the word s belongs to.
    """

    target: Target = "logprob"
    also: Target | None = None
    points: int = 1
    until: float | None = None
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
        if self.until is not None and not 0 < self.until <= 1:
            raise InvalidOption(f"until={self.until} must be above 0 and at most 1, a share of the way to the edit")

    @classmethod
    def refined(cls) -> DifferenceTimesGradient:
        """The form that finds the planted neurons and most of a natural photograph's effect (docs/results/natural)."""
        name = "difference-x-gradient-refined"
        return cls(target="logit", also="logprob", points=2, until=0.75, rounds=3, name=name)

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "attribution" holds it for all neurons.

        Beside it "activation", the largest difference (V, the first stage of two-stage filtering), and "gradient", the
        original's own grad x activation (the second).
        """
        word = concept_word(validity, self.concept_token)
        rows = picture_rows(vlm, pair, word, self.decoding, self.site)
        states = _States(vlm, rows, self)
        layout = Layout(vlm.widths)
        last = (self.points - 1) / self.points if self.until is None else self.until
        path = [last * k / max(1, self.points - 1) for k in range(self.points)]
        weights: Weights = {self.target: 1.0}
        ends: list[Pooled] = []
        if self.also is not None:
            weights, end = states.balanced(self.target, self.also, path.pop())
            ends.append(end)
        found = [*Batches(states.at_once).run(path, partial(states.attributions, weights)), *ends]
        provenance: dict[str, Json] = {"weights": {str(name): weight for name, weight in weights.items()}}
        if self.points > 1 and self.pool == "sum" and self.until is None:  # evenly spread: a sum for an integral
            attributed = float(np.sum(_mean(found), dtype=np.float64))
            provenance["completeness"] = {"attributed": attributed, "change": states.change(weights)}
        for done in range(self.rounds):
            best = np.zeros(layout.total, dtype=bool)
            best[best_first(_mean(found))[: FIRST_ROUND * 2**done]] = True
            found += states.attributions(weights, (0.0,), best)
        pooled = Pooled(_mean(found), found[0].patch)  # the image token of the original's own gradient
        inert = int(np.count_nonzero(~np.any([one.values != 0 for one in found], axis=0)))
        return Ranked(
            "attribution",
            {"attribution": pooled, "activation": states.differences(), "gradient": states.gradient(weights)},
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


def _positive(values: Flat) -> float:
    return float(values[values > 0].sum(dtype=np.float64))


class _States:
    """The original picture's row where gradients are taken: as it is, on the way to the edit, or partly exchanged."""

    def __init__(self, vlm: VLM, rows: tuple[PictureRow, PictureRow], options: DifferenceTimesGradient) -> None:
        own, other = rows
        self._vlm, self._word, self._options = vlm, own.word, options
        self._inputs, self._at, self._said = own.inputs, own.at, (own.logits.float(), other.logits.float())
        self._clean, self._edited, self._embeddings = own.values, other.values, other.entered
        self._rivals = rival_entries(other.logits, own.word)
        self._gradient: Pooled | None = None  # of the original, once its attribution has been asked for

    def change(self, weights: Weights) -> float:
        """How much s falls from one end of the path to the other: what attributions over enough points sum to."""
        start, end = self._said
        if self._options.path == "activations":
            start, end = self._held(0.0), self._held(1.0)
        return float(self._score(start, weights) - self._score(end, weights))

    def _held(self, between: float) -> Float[Tensor, "positions vocabulary"]:
        """Logits of the original's row with all neurons held between the two pictures."""
        with torch.no_grad(), HookSession(self._vlm.structure, self._taps(None, between)):
            return self._vlm.logits(self._inputs, last=self._word.farthest)[0].float()

    def _score(self, logits: Float[Tensor, "positions vocabulary"], weights: Weights) -> Tensor:
        values = (value_of_word(logits, self._word, target, self._rivals) * w for target, w in weights.items())
        return torch.stack(list(values)).sum()

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

    def balanced(self, target: Target, also: Target, between: float) -> tuple[Weights, Pooled]:
        """s of two targets whose positive attributions at a state sum to the same, and its attribution there."""
        alone: tuple[Weights, Weights] = {target: 1.0}, {also: 1.0}
        own, other = (of[0] for of in self._attributed(alone, (between,)))
        whole = _positive(other.values)
        weight = _positive(own.values) / whole if whole else 0.0
        weights: dict[Target, float] = {target: 1.0}
        weights[also] = weights.get(also, 0.0) + weight
        self._gradient = None  # where it was of the original, then of one target
        return weights, Pooled(own.values + weight * other.values, own.patch)

    def attributions(
        self, weights: Weights, between: Sequence[float], exchanged: Bool[np.ndarray, "neurons"] | None = None
    ) -> list[Pooled]:
        """a of all neurons, with the gradient of each of some states, at most :attr:`at_once`.

        Args:
            weights: s.
            between: of each state, 0 for the original's end of the path, 1 for the edited picture's.
            exchanged: the neurons that have the edited picture's activations.
        """
        return self._attributed((weights,), between, exchanged)[0]

    def _attributed(
        self,
        scores: Sequence[Weights],
        between: Sequence[float],
        exchanged: Bool[np.ndarray, "neurons"] | None = None,
    ) -> list[list[Pooled]]:
        """The same of several s, each of one backward pass behind the same forward pass."""
        products, found = no_neurons(self._vlm), [[no_neurons(self._vlm) for _ in scores] for _ in between]
        held = between[0] if self._options.path == "activations" and exchanged is None else None
        plain = not between[0] and exchanged is None and held is None

        def see(number: int, layer: int, slopes: Tensor) -> None:
            difference = self._clean[layer].float() - self._edited[layer].float()
            reduced = zip(*reduce_patches(difference * slopes, self._options.pool), strict=True)
            for of, (values, patches) in zip(found, reduced, strict=True):
                of[number][layer] = values, patches
            if plain and not number:
                products[layer] = reduce_patches(self._clean[layer].float() * slopes[0], self._options.pool)

        self._differentiate(scores, see, between if held is None else (0.0,), exchanged, held)
        if plain:
            self._gradient = Pooled.of(products)
        return [[Pooled.of(state[number]) for state in found] for number in range(len(scores))]

    def gradient(self, weights: Weights) -> Pooled:
        """The original's own grad x activation, pooled; of a state that is free of what the path holds."""
        if self._gradient is None:
            products = no_neurons(self._vlm)

            def see(_: int, layer: int, slopes: Tensor) -> None:
                products[layer] = reduce_patches(self._clean[layer].float() * slopes[0], self._options.pool)

            self._differentiate((weights,), see, (0.0,), None, None)
            self._gradient = Pooled.of(products)
        return self._gradient

    def at_tokens(self, neurons: Neurons) -> Float[np.ndarray, "tokens neurons"]:
        """a before it is pooled, for some neurons, with the gradient at the original."""
        units, found = neurons.by_layer(), dict[Neuron, Tensor]()

        def see(_: int, layer: int, slopes: Tensor) -> None:
            for unit in units.get(layer, ()):
                difference = self._clean[layer][:, unit].float() - self._edited[layer][:, unit].float()
                found[Neuron(layer, unit)] = (difference * slopes[0, :, unit]).cpu()

        weights: Weights = {self._options.target: 1.0}
        self._differentiate((weights,), see, (0.0,), None, None)
        return torch.stack([found[neuron] for neuron in neurons], dim=1).numpy()

    def _differentiate(
        self,
        scores: Sequence[Weights],
        see: Callable[[int, int, Tensor], None],
        between: Sequence[float],
        exchanged: Bool[np.ndarray, "neurons"] | None,
        held: float | None,
    ) -> None:
        """One forward pass, and a backward pass for each s.

        `see` is given the number of s, a layer, and the slopes [states, positions, width].
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
            values = [torch.stack([self._score(row, weights) for row in logits]).sum() for weights in scores]
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
