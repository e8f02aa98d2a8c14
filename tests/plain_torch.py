"""The papers' numbers by plain PyTorch: hooks on transformers' modules, autograd, and a loop that writes greedily.

Nothing here uses the library's own hooks, scores or captions: its results are compared with these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import neuronscope as ns

#: Layer -> what is added to the activations at the image tokens: [tokens, units] and the units.
Added = dict[int, tuple[Tensor, list[int]]]


def inputs_of(vlm: ns.VLM, picture: Image.Image, text: str, ids: Sequence[int] = ()) -> dict[str, Tensor]:
    """What the model is called with: the processor's output for the text, and ids behind it."""
    made = dict(vlm.processor(text=[text], images=[picture], return_tensors="pt"))
    more = torch.tensor([list(ids)], dtype=torch.long)
    made["input_ids"] = torch.cat([made["input_ids"], more], 1)
    made["attention_mask"] = torch.ones_like(made["input_ids"])
    return made


def ffns(vlm: ns.VLM) -> list[Any]:
    model: Any = vlm.model
    return [layer.mlp for layer in model.model.language_model.layers]


def at_image(vlm: ns.VLM, tensors: dict[str, Tensor]) -> Tensor:
    config: Any = vlm.model.config
    return torch.nonzero(tensors["input_ids"][0] == config.image_token_id)[:, 0]


def logits(vlm: ns.VLM, tensors: dict[str, Tensor], added: Added | None = None) -> Tensor:
    """[positions, vocabulary]; with noise at the image tokens, at the output of the activation function."""
    where = at_image(vlm, tensors)

    def adding(layer: int) -> Callable[..., Tensor]:
        def run(_module: Any, _args: Any, output: Tensor) -> Tensor:
            values, units = (added or {})[layer]
            changed = output.clone()
            changed[0, where[:, None], torch.tensor(units)[None, :]] += values
            return changed

        return run

    model: Any = vlm.model
    with torch.no_grad(), ExitStack() as hooks:
        for layer in added or {}:
            hooks.callback(ffns(vlm)[layer].act_fn.register_forward_hook(adding(layer)).remove)
        return model(**tensors, use_cache=False).logits[0].float()


def write(vlm: ns.VLM, picture: Image.Image, text: str, new: int, added: Added | None = None) -> list[int]:
    """The most probable token, `new` times or until the end of the text, every step reading all of it again."""
    model: Any = vlm.model
    ids: list[int] = []
    while len(ids) < new:
        row = logits(vlm, inputs_of(vlm, picture, text, ids), added)[-1]
        row[model.config.image_token_id] = -torch.inf  # which is no word
        token = int(row.argmax())
        if token == model.generation_config.eos_token_id:
            break
        ids.append(token)
    return ids


def read(vlm: ns.VLM, tensors: dict[str, Tensor], part: str, token: int | None = None) -> tuple[list[Any], list[Any]]:
    """Of each layer the outputs of a module of the FFN, [positions, units], and the gradient of a logit.

    The logit is that of `token` at the last position.
    """
    kept: list[Tensor] = []
    with ExitStack() as hooks:
        for mlp in ffns(vlm):
            hooks.callback(
                getattr(mlp, part).register_forward_hook(lambda _module, _args, output: kept.append(output)).remove
            )
        pixels = {**tensors, "pixel_values": tensors["pixel_values"].clone().requires_grad_()}
        model: Any = vlm.model
        with torch.enable_grad():
            last = model(**pixels, use_cache=False).logits[0, -1]
            slopes = torch.autograd.grad(last[token], kept, allow_unused=True) if token is not None else ()
    values = [one.detach()[0].float().numpy() for one in kept]
    found = [np.zeros_like(v) if s is None else s[0].float().numpy() for v, s in zip(values, slopes, strict=False)]
    return values, found


def image_rows(vlm: ns.VLM, tensors: dict[str, Tensor], layers: Sequence[np.ndarray]) -> np.ndarray:
    """[layers, image tokens, units]."""
    where = at_image(vlm, tensors).numpy()
    return np.stack([layer[where] for layer in layers])


def value_vectors(vlm: ns.VLM) -> np.ndarray:
    """[layers, units, hidden]: the columns of the FFNs' last maps."""
    return np.stack([mlp.down_proj.weight.detach().float().T.numpy() for mlp in ffns(vlm)])


def direction(vlm: ns.VLM, token: int) -> np.ndarray:
    """The token's row of the unembedding."""
    model: Any = vlm.model
    return model.lm_head.weight.detach()[token].float().numpy()


def best(scores: np.ndarray, count: int) -> list[tuple[int, int]]:
    """The (layer, unit) with the largest scores [layers, units]; equal ones in order."""
    order = np.argsort(-scores.ravel(), kind="stable")[:count]
    return [(int(k // scores.shape[1]), int(k % scores.shape[1])) for k in order]
