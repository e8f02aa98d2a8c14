"""Gradient times activation before the non-linearity (Schwettmann et al. 2023, eq. 2; METHODS c).

    g[l, p, i] = Z[l, p, i] * d y_c / d Z[l, p, i]      Z: pre-activation, p: image token, y_c: the concept's logit

    as compared (Sato & Takagi):  score of a neuron = (1/P) sum_p g[l, p, i], the `count` best neurons
    as published:                 the `count` best pairs (neuron, patch); a neuron may be in several of them

One forward and one backward pass serve all neurons. At site `neuron` it is stage 2 of two-stage filtering as a ranking:
in a gated FFN the two differ by the factor rho(Z) of METHODS (a), identity 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InvalidOption
from ..given import checked_methods
from ..loading import VLM
from ..samples.inpaint import Counterfactual
from .ranking import Ranked, Ranking
from .scores import (
    POOLS,
    TARGETS,
    Layout,
    Pool,
    Pooled,
    Score,
    Target,
    best_first,
    grad_products,
    grad_times_activation,
    reduce_patches,
)
from .target import CONCEPT_TOKENS, ConceptToken, concept_word
from .validity import Validity

Unit: TypeAlias = Literal["neuron", "neuron_patch"]
GradSite: TypeAlias = Literal["pre", "neuron"]
_SCORE: dict[GradSite, Score] = {"pre": "pre", "neuron": "gradcam"}


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Schwettmann(Ranking):
    """Schwettmann et al.'s attribution; the defaults are those of Sato & Takagi's comparison.

    The published target is the first noun of the caption; here the concept is known, so it is the concept's own token.
    The set found is addressed at site `neuron` unless `address` says otherwise, so that noise and maps act where those
    of other methods do.

    Attributes:
        site: activation and gradient are taken at the pre-activation (the paper), or at the neuron.
        pool: over patches.
        unit: neurons are ranked, or (neuron, patch) pairs: then `count` counts pairs, the set holds each neuron of the
            best pairs once, and its scores say at how many patches (`pairs`) and at which best one (`gradient_patch`).
        target: what y_c is; "contrast" has no rivals here and equals the logit.
        concept_token: which sub-tokens of the word y_c belongs to.
    """

    site: GradSite = "pre"
    pool: Pool = "mean"
    unit: Unit = "neuron"
    target: Target = "logit"
    concept_token: ConceptToken = "first"
    name: str = "schwettmann"

    #: where the score is taken is part of its formula, and no choice of a comparison's
    own_site: ClassVar[bool] = True
    choices: ClassVar = {
        "site": get_args(GradSite),
        "pool": POOLS,
        "unit": get_args(Unit),
        "target": tuple(t for t in TARGETS if t != "contrast"),
        "concept_token": CONCEPT_TOKENS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit == "neuron_patch" and self.pool != "max":
            raise InvalidOption(f"unit='neuron_patch' ranks single patches: pool must be 'max', not {self.pool!r}")

    @classmethod
    def as_published(cls) -> Schwettmann:
        """The method's own ranking: the 100 best (neuron, patch) pairs."""
        return cls(unit="neuron_patch", pool="max", name="schwettmann-published")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "gradient" holds it for all neurons."""
        word = concept_word(validity, self.concept_token)
        inputs = word.inputs(vlm, pair.original, self.decoding)
        score, target, average = _SCORE[self.site], self.target, word.average
        if self.unit == "neuron":
            (pooled,) = grad_times_activation(
                vlm, inputs, [word.entries], target=target, score=score, pool=self.pool, average=average
            )
            return Ranked("gradient", {"gradient": pooled})
        products = next(grad_products(vlm, inputs, [word.entries], target=target, score=score, average=average))
        neurons, _ = best_pairs(products, self.count)
        pairs = np.bincount(neurons, minlength=Layout(vlm.widths).total).astype(np.float32)
        arrays = {"gradient": Pooled.of([reduce_patches(g, self.pool) for g in products]), "pairs": Pooled(pairs)}
        # The neurons of the best pairs are a prefix of the neurons ordered by their best patch.
        return Ranked("gradient", arrays, keep=int(np.count_nonzero(pairs)))


def best_pairs(
    products: list[Float[Tensor, "patches _"]], count: int
) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """The `count` best (neuron, patch) pairs of all layers: flat neurons and patches, best first.

    Ties by (score descending, layer, unit, patch ascending). Raises InvalidOption when there are fewer pairs.
    """
    values, neurons, patches, start = np.zeros(0, np.float32), np.zeros(0, int), np.zeros(0, int), 0
    for product in products:
        height, width = product.shape
        layer = product.T.flatten().cpu().numpy()  # by unit, then by patch: ties come in the right order
        best = best_first(layer)[:count]
        values = np.concatenate([values, layer[best]])
        neurons = np.concatenate([neurons, start + best // height])
        patches = np.concatenate([patches, best % height])
        order = best_first(values)[:count]
        values, neurons, patches = values[order], neurons[order], patches[order]
        start += width
    if len(neurons) < count:
        raise InvalidOption(f"count={count} is more than the {len(neurons)} (neuron, patch) pairs of the image")
    return neurons, patches
