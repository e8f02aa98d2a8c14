"""Which words a neuron promotes: its value vector read through the unembedding (METHODS e, "Decoding neurons")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ..architecture.devices import device_of, present
from ..architecture.quantised import dense
from ..architecture.structure import gain
from ..errors import InvalidOption, UnsupportedModel
from ..loading import VLM
from ..types import Neuron, Neurons, one_of

#: What stands between a value vector and the logits: nothing (the papers), the final norm's gain (right up to a
#: positive factor), or the whole norm applied to the vector.
Norm: TypeAlias = Literal["none", "gain", "full"]


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


def decode(vlm: VLM, neurons: Neurons, *, top: int = 5, norm: Norm = "gain", sign: int = 1) -> list[Decoded]:
    """The `top` tokens of each neuron, W_U (gain * w_i) in float32.

    Args:
        vlm: the model.
        neurons: which neurons.
        top: how many tokens each.
        norm: see :data:`Norm`; the papers use "none", "gain" is recommended.
        sign: 1, or -1 for neurons whose typical activation is negative: they promote the lowest logits.

    Raises InvalidOption for other values, UnsupportedModel when a final norm is asked for and there is none.
    """
    one_of("norm", norm, ("none", "gain", "full"))
    if sign not in (1, -1) or top < 1:
        raise InvalidOption(f"sign must be 1 or -1 and top at least 1, got sign={sign}, top={top}")
    if neurons.part != "text":
        raise InvalidOption(f"{neurons.part} neurons write into no residual stream that the unembedding reads")
    with present(vlm.structure.unembedding):
        table = dense(vlm.structure.unembedding)
    found: dict[Neuron, Decoded] = {}
    for layer, units in neurons.by_layer().items():
        vectors = torch.from_numpy(vlm.value_vectors(layer, units)).to(table.device)
        logits = sign * (_normed(vlm, layer, vectors, norm) @ table.detach().float().T)
        best = logits.topk(min(top, logits.shape[1]), dim=1)
        for unit, ids, values in zip(units, best.indices.tolist(), best.values.tolist(), strict=True):
            words = tuple(vlm.tokenizer.decode([token]) for token in ids)
            found[Neuron(layer, unit)] = Decoded(Neuron(layer, unit), words, tuple(sign * v for v in values))
    return [found[neuron] for neuron in neurons]


@torch.no_grad()
def _normed(vlm: VLM, layer: int, vectors: Float[Tensor, "units hidden"], norm: Norm) -> Float[Tensor, "units hidden"]:
    if norm == "none":
        return vectors
    final, after = vlm.structure.norm, vlm.structure.ffns[layer].after
    if final is None:
        raise UnsupportedModel(f"norm={norm!r} needs a final norm, and {vlm.id} has none; use norm='none'")
    if after is not None:  # families that normalise the FFN's output before adding it
        vectors = vectors * gain(after, vlm.structure.hidden).to(vectors.device)
    if norm == "full":
        weight = next(final.parameters(), vectors)
        return final(vectors.to(device_of(final), weight.dtype)).float().to(vectors.device)
    return vectors * gain(final, vlm.structure.hidden).to(vectors.device)
