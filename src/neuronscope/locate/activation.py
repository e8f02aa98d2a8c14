"""The single scores that two-stage filtering is made of, each as a ranking of its own (METHODS g, G7).

    activation-difference   V = O_original - O_edited           what the object's removal switches off (stage 1)
    grad-x-activation       g = O_original * d y_c / d O        what pushes the concept's word (stage 2)
    activation              O_original                          what is active, whatever for

each pooled over the image tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..given import checked_methods
from ..loading import VLM
from ..samples.inpaint import Counterfactual
from ..types import SITES, Site
from .ranking import Ranked, Ranking
from .scores import (
    POOLS,
    SIGNS,
    TARGETS,
    Pool,
    Sign,
    Target,
    activation_differences,
    grad_times_activation,
    image_activations,
)
from .target import CONCEPT_TOKENS, ConceptToken, concept_word
from .validity import Validity


@checked_methods
@dataclass(frozen=True, kw_only=True)
class ActivationDifference(Ranking):
    """Stage 1 as a ranking.

    Attributes:
        site: where activations are compared.
        sign: signed differences, or their size.
        pool: over image tokens; the largest is what the paper's "at least one patch" compares.
    """

    site: Site = "neuron"
    sign: Sign = "signed"
    pool: Pool = "max"
    name: str = "activation-difference"

    choices: ClassVar = {"site": SITES, "sign": SIGNS, "pool": POOLS}

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """V; the array is called "activation", as in two-stage filtering."""
        (pooled,) = activation_differences(
            vlm,
            pair.original,
            [pair.edited],
            site=self.site,
            sign=self.sign,
            pool=self.pool,
            decoding=self.decoding,
        )
        return Ranked("activation", {"activation": pooled}, site=self.site)


@checked_methods
@dataclass(frozen=True, kw_only=True)
class GradTimesActivation(Ranking):
    """Stage 2 as a ranking. The score is the same at the sites `neuron` and `act` (METHODS a, identity 1).

    Attributes:
        pool: over image tokens.
        target: raw logit, log-probability or probability of the concept's token.
        concept_token: which sub-tokens of the word y_c belongs to.
    """

    pool: Pool = "sum"
    target: Target = "logit"
    concept_token: ConceptToken = "first"
    name: str = "grad-x-activation"

    choices: ClassVar = {
        "pool": POOLS,
        "target": tuple(t for t in TARGETS if t != "contrast"),
        "concept_token": CONCEPT_TOKENS,
    }

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """The sample's g; the array is called "gradient", as in two-stage filtering."""
        word = concept_word(validity, self.concept_token)
        inputs = word.inputs(vlm, pair.original, self.decoding)
        (pooled,) = grad_times_activation(
            vlm, inputs, [word.entries], target=self.target, pool=self.pool, average=word.average
        )
        return Ranked("gradient", {"gradient": pooled})


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Activation(Ranking):
    """The activation on the original image as a ranking: no counterfactual, no word.

    Attributes:
        site: where activations are read.
        pool: over image tokens.
    """

    site: Site = "neuron"
    pool: Pool = "mean"
    name: str = "activation"

    choices: ClassVar = {"site": SITES, "pool": POOLS}

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """O_original; the array is called "original", for "activation" is its difference."""
        inputs = vlm.prepare([pair.original], self.decoding)
        return Ranked(
            "original", {"original": image_activations(vlm, inputs, site=self.site, pool=self.pool)}, self.site
        )
