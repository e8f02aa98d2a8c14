"""The logit lens: what a value vector adds to the logit of a token, with the layers in between left out.

    u_t . w           w: value vector, a column of W_out          u_t = W_U[t]            norm "none" (the papers)
                                                                  u_t = gamma * W_U[t]    norm "gain"

    (u_t . w) / scale                                       u_t = gamma * W_U[t]    norm "scale"

gamma: the gain of the final norm, and of the norm after the FFN in families that have one. With it u_t . w is right up
to the positive factor 1/scale (METHODS c, e, f), what the norms divide by at the position: with "scale" the number is
in logits, the direct share of the token's logit with the norms held fixed. Shares of everything that is written into
the residual stream add up to the logit, before a family's own multiplier or cap of logits. A norm that takes the mean
away takes it from the directions too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..architecture.devices import device_of, present
from ..architecture.quantised import dense
from ..architecture.structure import gain, takes_mean
from ..errors import UnsupportedModel
from ..held import in_turn
from .loaded import LoadedModel

#: What stands between a value vector and the logit: nothing (the papers), or the gain of the final norm and of the norm
#: after the FFN, where there is one.
LensNorm: TypeAlias = Literal["none", "gain"]
#: The same, or divided also by what the norms divide by at the position.
ShareNorm: TypeAlias = Literal["none", "gain", "scale"]
#: Like LensNorm, or the whole final norm applied to the vector.
DecodeNorm: TypeAlias = Literal["none", "gain", "full"]
LENS_NORMS: tuple[LensNorm, ...] = get_args(LensNorm)
SHARE_NORMS: tuple[ShareNorm, ...] = get_args(ShareNorm)
DECODE_NORMS: tuple[DecodeNorm, ...] = get_args(DecodeNorm)


@in_turn
def unembedding(model: LoadedModel, tokens: Sequence[int] | None = None) -> Float[Tensor, "tokens hidden"]:
    """Rows of W_U in float32: those of some tokens, or all. With values also where accelerate keeps them elsewhere."""
    head = model.structure.unembedding
    with present(head):
        table = dense(head)
    return (table if tokens is None else table[list(tokens)]).detach().float()


def token_directions(
    model: LoadedModel, tokens: Sequence[int], norm: ShareNorm, *, option: str = "norm"
) -> Float[Tensor, "tokens hidden"]:
    """u_t of each token in float32, times the final norm's gain if asked for; :func:`in_layer` adds the layer's own.

    With "scale" what is missing is the division, see :class:`~neuronscope.models.scales.Scales`.

    Raises UnsupportedModel, which calls `norm` by the name of the caller's `option`, for the gain of a model without a
    final norm.
    """
    directions = unembedding(model, tokens)
    if norm == "none":
        return directions
    final = _final(model, norm, option)
    return _through(directions, final, model.structure.hidden, norm)


def in_layer(
    model: LoadedModel, layer: int, directions: Float[Tensor, "rows hidden"], norm: ShareNorm
) -> Float[Tensor, "rows hidden"]:
    """Directions times what stands between a layer's FFN and the residual stream: a gate, and the gain of a norm."""
    ffn = model.structure.ffns[layer]
    after, directions = ffn.after, directions * ffn.opening if ffn.gate is not None else directions
    if norm == "none" or after is None:
        return directions
    return _through(directions, after, model.structure.hidden, norm)


def _through(
    directions: Float[Tensor, "rows hidden"], norm: nn.Module, hidden: int, how: ShareNorm
) -> Float[Tensor, "rows hidden"]:
    """Directions before a norm that say the same as those behind it, but for its scale."""
    found = directions * gain(norm, hidden).to(directions.device)
    return found - found.mean(dim=-1, keepdim=True) if how == "scale" and takes_mean(norm, hidden) else found


def lens(
    model: LoadedModel, layer: int, directions: Float[Tensor, "tokens hidden"], norm: ShareNorm
) -> Float[Tensor, "tokens width"]:
    """u . w_i for all neurons of a layer; directions as from :func:`token_directions`."""
    vectors = model.structure.ffns[layer].value_vectors().detach()
    return in_layer(model, layer, directions.to(vectors.device), norm) @ vectors.float()


def usual_norm(model: LoadedModel) -> DecodeNorm:
    """How value vectors are read unless one says otherwise: with the final norm's gain, plainly where there is none."""
    return "none" if model.structure.norm is None else "gain"


@torch.no_grad()
def through_norms(
    model: LoadedModel, layer: int, vectors: Float[Tensor, "units hidden"], norm: DecodeNorm
) -> Float[Tensor, "units hidden"]:
    """Value vectors of a layer as the unembedding reads them.

    Raises UnsupportedModel when a final norm is asked for and there is none.
    """
    if norm == "none":
        return in_layer(model, layer, vectors, "none")
    final = _final(model, norm, "norm")
    vectors = in_layer(model, layer, vectors, "gain")
    if norm == "full":
        weight = next(final.parameters(), vectors)
        return final(vectors.to(device_of(final), weight.dtype)).float().to(vectors.device)
    return vectors * gain(final, model.structure.hidden).to(vectors.device)


def _final(model: LoadedModel, norm: str, option: str) -> nn.Module:
    if model.structure.norm is None:
        raise UnsupportedModel(f"{option}={norm!r} needs a final norm, and {model.id} has none; use {option}='none'")
    return model.structure.norm
