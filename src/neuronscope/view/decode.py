"""Which words a neuron promotes: its value vector read through the unembedding (METHODS e, "Decoding neurons").

    logits      W_U (gain * w_i)
    strength    (logit - mean) / sd of the neuron's own logits over the vocabulary
    rank        place of the best of some words among all tokens, from 1

Any vector has a largest logit, so words say nothing by themselves: :func:`neuronscope.decode` puts those of random
neurons beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..caption.memory import Batches
from ..errors import InvalidOption
from ..held import in_turn
from ..loading import VLM
from ..models.lens import DECODE_NORMS, DecodeNorm, through_norms, unembedding
from ..models.origin import require_own
from ..types import Neuron, Neurons, one_of

#: Neurons whose logits over the whole vocabulary are held at once.
_CHUNK = 128


@dataclass(frozen=True)
class Decoded:
    """The tokens that one neuron promotes most.

    Attributes:
        neuron: its address.
        tokens: decoded tokens, strongest first.
        logits: their logits per unit of activation.
        strengths: the same in standard deviations over the vocabulary, from its mean.
        rank: place of the best of the words that were asked for, from 1; None where none were.
    """

    neuron: Neuron
    tokens: tuple[str, ...]
    logits: tuple[float, ...]
    strengths: tuple[float, ...]
    rank: int | None = None

    def __str__(self) -> str:
        said = "  ".join(f"{token} {z:.1f}" for token, z in zip(self.tokens, self.strengths, strict=True))
        return f"{self.neuron}  {said}"


@in_turn
@torch.no_grad()
def promoted(
    vlm: VLM,
    neurons: Neurons,
    *,
    top: int = 5,
    norm: DecodeNorm = "gain",
    sign: int = 1,
    words: Sequence[int] = (),
    force: bool = False,
) -> list[Decoded]:
    """The `top` tokens of each neuron in float32, without a control.

    Args:
        vlm: the model.
        neurons: which neurons.
        top: how many tokens each.
        norm: see :data:`~neuronscope.models.lens.DecodeNorm`; the papers use "none", "gain" is recommended.
        sign: 1, or -1 for neurons whose typical activation is negative: they promote the lowest logits.
        words: token ids whose best rank is wanted.
        force: take neurons of other weights at their addresses.

    Raises RunMismatch for neurons of other weights, InvalidOption for other values and parts, UnsupportedModel when a
    final norm is asked for and there is none.
    """
    one_of("norm", norm, DECODE_NORMS)
    if sign not in (1, -1) or top < 1:
        raise InvalidOption(f"sign must be 1 or -1 and top at least 1, got sign={sign}, top={top}")
    if neurons.part != "text":
        raise InvalidOption(f"{neurons.part} neurons write into no residual stream that the unembedding reads")
    require_own(vlm, neurons)
    table = unembedding(vlm)
    found: dict[Neuron, Decoded] = {}
    batches = Batches(_CHUNK)
    for layer, members in neurons.by_layer().items():

        def read(units: Sequence[int], layer: int = layer) -> Iterator[Decoded]:
            vectors = torch.from_numpy(vlm.value_vectors(layer, units)).to(table.device)
            logits = sign * (through_norms(vlm, layer, vectors, norm) @ table.T)
            best = logits.topk(min(top, logits.shape[1]), dim=1)
            # A neuron that writes nothing has no spread; its words have no strength.
            spread = logits.std(dim=1, keepdim=True, correction=0).clamp(min=torch.finfo(logits.dtype).tiny)
            strengths = (best.values - logits.mean(dim=1, keepdim=True)) / spread
            ranks: list[int | None] = [None] * len(units)
            if len(words):
                own = logits[:, list(words)].amax(dim=1, keepdim=True)
                ranks = [int(n) for n in 1 + (logits > own).sum(dim=1)]
            rows = zip(units, best.indices.tolist(), best.values.tolist(), strengths.tolist(), ranks, strict=True)
            for unit, ids, values, sds, rank in rows:
                tokens = tuple(vlm.tokenizer.decode([token]) for token in ids)
                yield Decoded(Neuron(layer, unit), tokens, tuple(sign * v for v in values), tuple(sds), rank)

        found |= {one.neuron: one for one in batches.run(members, read)}
    return [found[neuron] for neuron in neurons]
