"""Activation times what the value vector adds to the concept's logit (Pan et al. 2024; METHODS c).

    s[l, p, i] = O'[l, p, i] * (w_i . u_c)              w_i: value vector, column i of W_out; u_c: row c of W_U

    as compared (Sato & Takagi):  score of a neuron = mean of s over the image tokens p
    as published:                 s at the last position of the pass that emits the word's token, no final norm

No gradient: the logit lens' direct contribution, which knows nothing of the layers in between. u_c W_out costs
2 L h d_f multiplications for a token; W_out^T W_U^T (V columns for each neuron) is never built.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..given import checked_methods
from ..held import in_turn
from ..loading import VLM
from ..models.lens import LENS_NORMS, LensNorm, ShareNorm, lens, token_directions
from ..models.loaded import Inputs
from ..models.scales import Scales
from ..samples.inpaint import Counterfactual
from ..types import Site
from .ranking import Ranked, Ranking
from .scores import POOLS, Entry, Pool, Pooled, no_neurons, read_layers, reduce_patches
from .target import CONCEPT_TOKENS, POSITIONS, ConceptToken, Position, concept_word
from .validity import Validity

#: True coefficient of the value vector, or what the published code reads (not the coefficient where there is a gate).
LensSite: TypeAlias = Literal["neuron", "act"]
LENS_SITES: tuple[LensSite, ...] = get_args(LensSite)


@checked_methods
@dataclass(frozen=True, kw_only=True)
class Pan(Ranking):
    """Pan et al.'s contribution score; the defaults are those of Sato & Takagi's comparison.

    Attributes:
        position: at the image tokens, or at the position that predicts the concept's token.
        pool: over image tokens; at the predicting position there is nothing to pool.
        norm: see :data:`~neuronscope.models.lens.LensNorm`.
        site: see :data:`LensSite`.
        concept_token: which sub-tokens of the word are summed (each at its own predicting position).
    """

    position: Position = "image"
    pool: Pool = "mean"
    norm: LensNorm = "none"
    site: LensSite = "neuron"
    concept_token: ConceptToken = "first"
    name: str = "pan"

    choices: ClassVar = {
        "position": POSITIONS,
        "pool": POOLS,
        "norm": LENS_NORMS,
        "site": LENS_SITES,
        "concept_token": CONCEPT_TOKENS,
    }

    @classmethod
    def as_published(cls) -> Pan:
        """The method's own score: at the position that predicts the word, of activations at `act` as its code reads."""
        return cls(position="predict", site="act", name="pan-predict")

    def score(self, vlm: VLM, pair: Counterfactual, validity: Validity) -> Ranked:
        """See the formula above; the array "contribution" holds it for all neurons."""
        word = concept_word(validity, self.concept_token)
        pooled = contributions(
            vlm,
            word.inputs(vlm, pair.original, self.decoding),
            word.entries,
            position=self.position,
            pool=self.pool,
            norm=self.norm,
            site=self.site,
            average=word.average,
        )
        return Ranked("contribution", {"contribution": pooled}, site=self.site)


@in_turn
def contributions(
    vlm: VLM,
    inputs: Inputs,
    entries: Sequence[Entry],
    *,
    position: Position = "image",
    pool: Pool = "mean",
    norm: LensNorm = "none",
    site: Site = "neuron",
    average: bool = False,
) -> Pooled:
    """s of all neurons for any tokens; no logits before they are divided by the final norm's scale at the position.

    Args:
        vlm: the model.
        inputs: one row, prompt and teacher-forced ids.
        entries: (position counted from the end, token id) of each token; their scores are summed.
        position: at the image tokens, or at the position that predicts each entry.
        pool: over image tokens.
        norm: see :data:`~neuronscope.models.lens.LensNorm`.
        site: where activations are read.
        average: the mean over entries instead of their sum.

    Raises UnsupportedModel when the gain is asked for and the model has no final norm.
    """
    if position == "predict":
        each = predicted(vlm, inputs, entries, norm=norm, site=site)
        return Pooled(each.mean(0) if average else each.sum(0))
    shares = token_directions(vlm, [token for _, token in entries], norm)
    shares = shares / len(entries) if average else shares
    found = no_neurons(vlm)

    def use(layer: int, z: Tensor) -> None:
        weights = lens(vlm, layer, shares, norm).to(z.device)
        at = torch.as_tensor(inputs.images[0].positions, device=z.device)
        values, patches = reduce_patches(z[0, at].float() * weights.sum(0), pool)
        found[layer] = (values.cpu(), patches.cpu())

    read_layers(vlm, inputs, site, use)
    return Pooled.of(found)


def predicted(
    vlm: VLM, inputs: Inputs, entries: Sequence[Entry], *, norm: ShareNorm = "none", site: Site = "neuron"
) -> Float[np.ndarray, "entries neurons"]:
    """s of all neurons for each token by itself, at the position that predicts it.

    With norm="scale" in logits: the first-order share of the token's logit, the norms held fixed; with the others not.
    One forward pass serves all tokens; arguments and errors as in :func:`contributions`.
    """
    directions = token_directions(vlm, [token for _, token in entries], norm)
    found = [torch.zeros(len(entries), 0)] * vlm.layers  # layers without neurons stay empty
    # Before the pass: what is measured of a norm here must not be taken for what the norm does in it.
    weights = {layer: lens(vlm, layer, directions, norm) for layer in vlm.structure.studied}

    def use(layer: int, z: Tensor) -> None:
        at = torch.tensor([z.shape[1] - back for back, _ in entries], device=z.device)
        found[layer] = (z[0, at].float() * weights[layer].to(z.device)).cpu()

    scales = Scales(vlm, [back for back, _ in entries]) if norm == "scale" else None
    with scales or nullcontext():
        read_layers(vlm, inputs, site, use)
    if scales is not None:
        found = [scales.divide(layer, each) if each.shape[1] else each for layer, each in enumerate(found)]
    return torch.cat(found, dim=1).numpy()
