"""Difference x gradient: the first-order estimate of what exchanging a neuron does (METHODS n3, n4).

    a[l, i] = sum_p (O'_o - O'_e)[l, p, i] * g[l, p, i]         p: image tokens; O'_e: the edited picture's activations

    g = ds/dO' at the original                                  attribution patching (Nanda 2023; Syed et al. 2023)
    g averaged over K points between the image embeddings of    (EAP-IG, Hanna et al. 2024)
        the two pictures, k / K for k = 0 .. K - 1
    g averaged also over states in which the best neurons so    (ours: `rounds`)
        far are exchanged themselves, 25, 50, 100 ... of them

Both stages of two-stage filtering as one product: what the object's removal changes, times what the word depends on.
The gradient at the original alone sees nothing of a model that is sure of its word; on the way to the edited picture it
does. Its neurons stand in for each other, too: with the best ones gone the others' effect shows, which is what `rounds`
is for. The sum of the scores says nothing about the size of the effect unless the points are many; no cut uses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..held import hooked
from ..hooks import HookSession, Tap
from ..hooks.backward import GradientSession, Place
from ..loading import VLM
from ..models.loaded import Inputs
from ..samples.inpaint import Counterfactual
from ..types import SITES, Site, whole_number
from .patching import TOKEN_TARGETS, exchanging, image_values
from .ranking import Ranked, Ranking
from .scores import Layout, Pool, Pooled, Target, backward_scale, best_first, no_neurons, reduce_patches
from .scores import target_value as value_of
from .target import CONCEPT_TOKENS, ConceptToken, Word, concept_word
from .validity import Validity

#: How many of the best neurons are exchanged in the first of the rounds; twice as many in each further one.
FIRST_ROUND = 25


@dataclass(frozen=True, kw_only=True)
class DifferenceTimesGradient(Ranking):
    """Attribution patching from the edited picture to the original, and its averaged forms.

    Attributes:
        target: s, the score of the concept's token.
        points: K; 1 is the gradient at the original alone.
        rounds: how many times the gradient is taken again with the best neurons exchanged.
        pool: over image tokens; the sum is the estimate of the effect.
        site: where activations are compared and exchanged.
        concept_token: which sub-tokens of the word s belongs to.
    """

    target: Target = "logprob"
    points: int = 1
    rounds: int = 0
    pool: Pool = "sum"
    site: Site = "neuron"
    concept_token: ConceptToken = "first"
    name: str = "difference-x-gradient"

    choices: ClassVar = {
        "target": TOKEN_TARGETS,
        "pool": ("sum", "max", "mean"),
        "site": SITES,
        "concept_token": CONCEPT_TOKENS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("points", self.points, 1)
        whole_number("rounds", self.rounds, 0)

    @classmethod
    def refined(cls) -> DifferenceTimesGradient:
        """The form that finds the planted neurons and most of a natural photograph's effect (docs/results/natural)."""
        return cls(target="logit", points=4, rounds=3, name="difference-x-gradient-refined")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "attribution" holds it for all neurons."""
        word = concept_word(validity, self.concept_token)
        states = _States(vlm, pair, word, self)
        layout = Layout(vlm.widths)
        found = [states.attribution(between=k / self.points) for k in range(self.points)]
        for done in range(self.rounds):
            best = np.zeros(layout.total, dtype=bool)
            best[best_first(_mean(found))[: FIRST_ROUND * 2**done]] = True
            found.append(states.attribution(exchanged=best))
        pooled = Pooled(_mean(found), found[0].patch)  # the image token of the original's own gradient
        inert = int(np.count_nonzero(~np.any([one.values != 0 for one in found], axis=0)))
        return Ranked(
            "attribution",
            {"attribution": pooled},
            site=self.site,
            provenance={"inert": inert},
            notes=(f"{inert} of {layout.total} neurons have no effect to first order, as those of a last layer",),
        )


def _mean(found: Sequence[Pooled]) -> Float[np.ndarray, "neurons"]:
    return np.mean([one.values for one in found], axis=0)


class _States:
    """The original picture's row where gradients are taken: as it is, on the way to the edit, or partly exchanged."""

    def __init__(self, vlm: VLM, pair: Counterfactual, word: Word, options: DifferenceTimesGradient) -> None:
        self._vlm, self._word, self._options = vlm, word, options
        self._inputs = word.inputs(vlm, pair.original, options.decoding)
        edited = word.inputs(vlm, pair.edited, options.decoding)
        self._clean = image_values(vlm, self._inputs, options.site)
        self._edited = image_values(vlm, edited, options.site)
        self._at = torch.as_tensor(self._inputs.images[0].positions, device=vlm.device)
        self._embeddings = _entering(vlm, edited, self._at) if options.points > 1 else None

    def attribution(self, *, between: float = 0.0, exchanged: Bool[np.ndarray, "neurons"] | None = None) -> Pooled:
        """a of all neurons, with the gradient of one state.

        Args:
            between: 0 for the original's image embeddings, 1 for the edited picture's.
            exchanged: the neurons that have the edited picture's activations.
        """
        vlm, layers = self._vlm, no_neurons(self._vlm)
        scale = backward_scale(vlm)

        def see(place: Place, _: Tensor, slope: Tensor) -> None:
            layer = place[0]
            difference = self._clean[layer].float() - self._edited[layer].float()
            values, patches = reduce_patches(difference * (slope.float() / scale), self._options.pool)
            layers[layer] = (values.cpu(), patches.cpu())

        places: list[Place] = [(layer, self._options.site) for layer in vlm.structure.studied]
        farthest = max(position for position, _ in self._word.entries)
        entries = self._word.entries
        with (
            torch.enable_grad(),
            self._moved(between),
            HookSession(vlm.structure, self._taps(exchanged)),
            GradientSession(vlm.structure, places, self._at) as session,
        ):
            with session.forward():
                logits = vlm.logits(self._inputs, last=farthest)[0].float()
            y = value_of(logits, entries, [entries], self._options.target, self._word.average)
            session.backward(y * scale, see)
        return Pooled.of(layers)

    def _taps(self, exchanged: Bool[np.ndarray, "neurons"] | None) -> list[Tap]:
        if exchanged is None:
            return []
        return exchanging(self._vlm, self._inputs, exchanged[None], self._edited, self._options.site)

    def _moved(self, between: float) -> AbstractContextManager[Any]:
        if self._embeddings is None or not between:
            return nullcontext()
        at, other = self._at, self._embeddings

        def mix(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
            stream = _stream(given, named)
            where = at.to(stream.device)
            own = stream.index_select(1, where)
            mixed = stream.index_copy(1, where, torch.lerp(own, other.to(own), between))
            return ((mixed, *given[1:]), named) if given else (given, {**named, "hidden_states": mixed})

        return hooked(self._vlm.structure.layers[0], "before", mix)


def _stream(given: tuple[Any, ...], named: Mapping[str, Any]) -> Float[Tensor, "batch sequence hidden"]:
    return given[0] if given else named["hidden_states"]


def _entering(vlm: VLM, inputs: Inputs, at: Tensor) -> Float[Tensor, "positions hidden"]:
    """The residual stream at the image tokens as it enters the first layer: the image embeddings."""
    found: list[Tensor] = []

    def read(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        stream = _stream(given, named)
        found.append(stream[0].index_select(0, at.to(stream.device)).clone())

    with torch.no_grad(), hooked(vlm.structure.layers[0], "before", read):
        vlm.logits(inputs)
    return found[-1]
