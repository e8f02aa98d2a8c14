"""Which words a neuron promotes: its value vector read through the unembedding (METHODS e, "Decoding neurons")."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import InvalidOption
from ..held import in_turn
from ..loading import VLM
from ..models.lens import DECODE_NORMS, DecodeNorm, through_norms, unembedding
from ..models.origin import require_own
from ..types import Neuron, Neurons, one_of


@dataclass(frozen=True)
class Decoded:
    """The tokens that one neuron promotes most.

    Attributes:
        neuron: its address.
        tokens: decoded tokens, strongest first.
        logits: their logits per unit of activation.
    """

    neuron: Neuron
    tokens: tuple[str, ...]
    logits: tuple[float, ...]


@in_turn
def decode(
    vlm: VLM, neurons: Neurons, *, top: int = 5, norm: DecodeNorm = "gain", sign: int = 1, force: bool = False
) -> list[Decoded]:
    """The `top` tokens of each neuron, W_U (gain * w_i) in float32.

    Args:
        vlm: the model.
        neurons: which neurons.
        top: how many tokens each.
        norm: see :data:`~neuronscope.models.lens.DecodeNorm`; the papers use "none", "gain" is recommended.
        force: take neurons of other weights at their addresses.
        sign: 1, or -1 for neurons whose typical activation is negative: they promote the lowest logits.

    Raises RunMismatch for neurons of other weights, InvalidOption for other values and parts, UnsupportedModel when a
    final norm is asked for and there is none.
    """
    one_of("norm", norm, DECODE_NORMS)
    if sign not in (1, -1) or top < 1:
        raise InvalidOption(f"sign must be 1 or -1 and top at least 1, got sign={sign}, top={top}")
    if neurons.part != "text":
        raise InvalidOption(f"{neurons.part} neurons write into no residual stream that the unembedding reads")
    require_own(vlm, neurons.anywhere() if force else neurons)
    table = unembedding(vlm)
    found: dict[Neuron, Decoded] = {}
    for layer, units in neurons.by_layer().items():
        vectors = torch.from_numpy(vlm.value_vectors(layer, units)).to(table.device)
        logits = sign * (through_norms(vlm, layer, vectors, norm) @ table.T)
        best = logits.topk(min(top, logits.shape[1]), dim=1)
        for unit, ids, values in zip(units, best.indices.tolist(), best.values.tolist(), strict=True):
            words = tuple(vlm.tokenizer.decode([token]) for token in ids)
            found[Neuron(layer, unit)] = Decoded(Neuron(layer, unit), words, tuple(sign * v for v in values))
    return [found[neuron] for neuron in neurons]
