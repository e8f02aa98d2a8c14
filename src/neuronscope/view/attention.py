"""Where on the image a decoder without image tokens looks: its own cross-attention (Flamingo's kind).

    A_l[p, k]   weight of what is attended to, k, at text position p: mean over heads, and over the cross-attentions
                that run before the FFN of layer l
    m[k]        = mean_i sum_p O'[l_i, p, i] A_{l_i}[p, k]          p: the positions that attend to the image

k are the patches of the vision tower (BLIP), those of each tile (Llama 3.2 Vision), or the learned queries of a
resampler (IDEFICS), from which m goes on to the patches by the rollout of the resampler (rollout.py). Columns without a
place on the image (CLS, tiles of padding) are dropped and rows renormalised, so that the map's sum is that of O'. A
layer before the first cross-attention does not see the image: its neurons add nothing.

The gradient is taken at what is attended to, F_k . dy/dF_k with y as in trace.py, or at the tower's patches where
learned queries stand between. Both are cheap; occlusion is the causal test of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..errors import ImageTokenMismatch, NoGrid
from ..held import Changing, Held, Undo, in_turn
from ..hooks import HookSession, Tap
from ..hooks.attended import attending, reading_blocks
from ..loading import VLM
from ..models.decoding import Decoding
from ..models.inputs import Inputs
from ..models.media import CrossAttention
from ..tokens import ImageTokens, Tile, equal_cells
from ..types import Neurons, Part, Site
from .rollout import are_weights, ask_eager, paint_queries, projector_looks, roll_out, watched
from .trace import input_times_gradient, patch_places, require_along_prompt, traced


@in_turn
def attention_x_activation(
    vlm: VLM, picture: Image.Image, sets: Sequence[Neurons], *, decoding: Decoding = Decoding()
) -> tuple[list[Float[np.ndarray, "patches"]], ImageTokens]:
    """m of each of one or more sets at the tower's patches, in units of activation, and where they lie; in one pass.

    Raises NoGrid where no neuron's layer of a set lies behind a cross-attention, where attention cannot be read, or
    where what is attended to has no place on the picture.
    """
    media = _media(vlm)
    inputs = vlm.prepare([picture], decoding)
    queried = _queried(vlm, media)
    with torch.no_grad(), watched(vlm) if queried else nullcontext() as watch, _reading(vlm, media) as seen:
        found = _spread(vlm, inputs, sets, seen)
    keys = len(found[0][0][1][0])
    if watch is None:
        pictures = len(vlm.frames(picture, padding=True))
        extra, where = _places(vlm, picture, keys)
        placed = _placed(where, (pictures, keys // pictures - extra))
        totals = [sum(_cast(active, weights, pictures, extra, placed) for active, weights in own) for own in found]
    else:
        shares = roll_out(projector_looks(watch, keys, vlm.id))
        before, where = patch_places(vlm, picture, (shares.shape[0], shares.shape[2]))
        placed = _placed(where, (shares.shape[0], shares.shape[2] - before))
        each = [np.asarray(sum(active @ weights for active, weights in own)) for own in found]
        totals = [paint_queries(shares[:, :, before:], one.reshape(shares.shape[0], -1), placed) for one in each]
    return [np.asarray(total).ravel() / len(neurons) for total, neurons in zip(totals, sets, strict=True)], where


@in_turn
def attention_x_gradient(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """F_k . dy/dF_k of what the decoder attends to, and where it lies.

    Raises NoGrid where the neurons do not depend on it, or it has no place on the picture.
    """
    media = _media(vlm)
    if _queried(vlm, media):
        return input_times_gradient(vlm, picture, neurons, decoding=decoding)
    leaves: list[Tensor] = []

    def leaf(states: Tensor) -> Tensor:
        if not leaves:
            leaves.append(states.detach().requires_grad_())
        return leaves[0]

    with torch.enable_grad(), attending(reading_blocks(vlm.model, media.states), media.states, leaf):
        y = traced(vlm, vlm.prepare([picture], decoding), neurons)
        if not y.requires_grad:
            raise _unseen(vlm, neurons)
        (gradient,) = torch.autograd.grad(y, leaves)
    values = (leaves[0].detach().float() * gradient.float()).sum(-1).reshape(-1).cpu().numpy()
    extra, where = _places(vlm, picture, len(values))
    return values.reshape(len(vlm.frames(picture, padding=True)), -1)[:, extra:].ravel(), where


def _media(vlm: VLM) -> CrossAttention:
    vlm.require_image_positions()
    assert vlm.family.media is not None
    return vlm.family.media


def _queried(vlm: VLM, media: CrossAttention) -> bool:
    return bool(media.queries) and bool(getattr(vlm.model.config, media.queries, False))


def _unseen(vlm: VLM, neurons: Neurons) -> NoGrid:
    layers = ", ".join(map(str, neurons.by_layer()))
    return NoGrid(f"{vlm.id}: layers {layers} lie before the first cross-attention: their neurons do not see the image")


@dataclass
class _Seen:
    """Cross-attention weights [batch, heads, positions, keys] in the order of the call."""

    states: Tensor | None = None
    weights: list[Tensor] = field(default_factory=list[Tensor])


def _reading(vlm: VLM, media: CrossAttention) -> Held[_Seen]:
    """Keeps the weights of every attention that is handed what the decoder attends to; it is computed eagerly."""
    blocks, seen = reading_blocks(vlm.model, media.states), _Seen()

    def attended(states: Tensor) -> None:
        seen.states = states

    def change(undo: Undo) -> _Seen:
        ask_eager(undo, vlm.model)
        undo.enter(attending(blocks, media.states, attended))
        for block in blocks:
            for module in block.modules():
                if module is not block:
                    undo.hook(module, "after", _keep(seen), with_kwargs=True)
        return seen

    return Changing(change)


def _keep(seen: _Seen) -> Callable[..., None]:
    def run(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = (*args, *kwargs.values())
        if seen.states is None or not any(one is seen.states for one in given) or not isinstance(output, tuple):
            return
        rest = cast("tuple[Any, ...]", output)[1:]
        new = [one for one in rest if are_weights(one) and not any(one is kept for kept in seen.weights)]
        seen.weights += new[:1]

    return run


#: O' at the positions that attend, summed over neurons of one layer, [positions], and A there, [positions, keys].
_Layer: TypeAlias = tuple[Float[np.ndarray, "positions"], Float[np.ndarray, "positions keys"]]


def _spread(vlm: VLM, inputs: Inputs, sets: Sequence[Neurons], seen: _Seen) -> list[list[_Layer]]:
    """What the neurons of each set do in each layer; layers before the first cross-attention are left out."""
    at = torch.as_tensor(inputs.images[0].positions, device=vlm.device)
    found: list[list[_Layer]] = [[] for _ in sets]
    units: dict[tuple[int, Site, Part], dict[int, list[int]]] = {}
    for k, neurons in enumerate(sets):
        require_along_prompt(vlm, neurons)
        for layer, own in neurons.by_layer().items():
            units.setdefault((layer, neurons.site, neurons.part), {})[k] = own

    def keep(of: Mapping[int, list[int]]) -> Callable[[Tensor], None]:
        def run(z: Tensor) -> None:
            if not seen.weights:
                return
            weights, there = _numbers(_mean(seen.weights, at)), z[0].index_select(0, at.to(z.device))
            for k, own in of.items():
                found[k].append((_numbers(there[:, own].float().sum(1)), weights))

        return run

    taps = [Tap(layer, site, keep(of), part) for (layer, site, part), of in units.items()]
    with HookSession(vlm.structure, taps):
        vlm.logits(inputs)
    if seen.states is not None and not seen.weights:
        raise NoGrid(f'{vlm.id}: its cross-attention returns no weights; trace="gradient" and "occlusion" need none')
    for neurons, layers in zip(sets, found, strict=True):
        if not layers:
            raise _unseen(vlm, neurons)
    return found


def _mean(weights: Sequence[Tensor], at: Tensor) -> Tensor:
    heads = [one[0].float().mean(0) if one.ndim == 4 else one[0].float() for one in weights]
    return torch.stack([one.to(at.device)[at] for one in heads]).mean(0)


def _numbers(values: Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _cast(
    active: Float[np.ndarray, "positions"],
    weights: Float[np.ndarray, "positions keys"],
    pictures: int,
    extra: int,
    placed: np.ndarray,
) -> Float[np.ndarray, "pictures patches"]:
    """O' A with the rows of A renormalised over the keys that have a place; a row that sees none of them is 0."""
    kept = weights.reshape(len(active), pictures, -1)[:, :, extra:] * placed
    total = kept.sum((1, 2), keepdims=True)
    kept = np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)
    return np.einsum("p,pik->ik", active, kept)


def _places(vlm: VLM, picture: Image.Image, keys: int) -> tuple[int, ImageTokens]:
    """How many keys of each picture come before its patches (CLS), and where the patches lie; tiles of padding nowhere.

    Raises NoGrid where the keys do not divide the pictures into equal cells.
    """
    frames = vlm.frames(picture, padding=True)
    each, rest = divmod(keys, len(frames))
    for extra in (0, 1) if not rest else ():
        tiles: list[Tile] = []
        try:
            for number, frame in enumerate(frames):
                own = () if frame.blank else equal_cells([frame], each - extra)
                tiles += (Tile(tile.tokens + number * (each - extra), tile.frame) for tile in own)
        except ImageTokenMismatch:
            continue
        return extra, ImageTokens(np.arange(len(frames) * (each - extra)), tuple(tiles))
    raise NoGrid(f"what {vlm.id} attends to, {keys} vectors, does not divide its {len(frames)} pictures into cells")


def _placed(where: ImageTokens, shape: tuple[int, int]) -> np.ndarray:
    """[pictures, patches] which patches have a place."""
    placed = np.zeros(where.count, dtype=bool)
    for tile in where.mapped():
        placed[tile.tokens] = True
    return placed.reshape(shape)
