"""Each part of MiniGPT-4 from its original names to those of modeling.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Blip2VisionConfig

from ...errors import UnsupportedModel
from ..conversion.keys import Keys

#: Widths of one attention head, which cannot be read off the weights: EVA ViT-g, and BERT in BLIP-2's Q-Former.
TOWER_HEAD = 88
QFORMER_HEAD = 64

_LORA = r"llama_model\.base_model\.model\.(model\..+)\.lora_([AB])(\.default)?\.weight"


def tower_width(keys: Keys) -> int:
    """Width of EVA ViT. Raises UnsupportedModel for a width that its heads do not fill."""
    width = keys.peek("cls_token").shape[-1]
    if width % TOWER_HEAD:
        raise UnsupportedModel(f"the tower is {width} wide, which is no multiple of EVA's head width {TOWER_HEAD}")
    return width


def convert_tower(keys: Keys, image_size: int, depth: int) -> tuple[Blip2VisionConfig, dict[str, Tensor]]:
    """EVA ViT to Blip2VisionModel.

    Args:
        keys: of eva_vit_g.pth.
        image_size: side of the processed picture; the positions are interpolated when the file's do not fit it.
        depth: number of blocks that are run; later ones are ignored.
    """
    width = tower_width(keys)
    patch = keys.peek("patch_embed.proj.weight").shape[-1]
    inner = keys.peek("blocks.0.mlp.fc1.weight").shape[0]
    side = _side(image_size, patch)
    state = {
        "embeddings.class_embedding": keys.take("cls_token", (1, 1, width)),
        "embeddings.position_embedding": resize_positions(keys.take("pos_embed"), side),
        "embeddings.patch_embedding.weight": keys.take("patch_embed.proj.weight", (width, 3, patch, patch)),
        "embeddings.patch_embedding.bias": keys.take("patch_embed.proj.bias", (width,)),
    }
    if state["embeddings.position_embedding"].shape != (1, side * side + 1, width):
        raise UnsupportedModel(f"pos_embed is not {width} wide like cls_token")
    for layer in range(depth):
        old, new = f"blocks.{layer}.", f"encoder.layers.{layer}."
        for number in (1, 2):
            for kind in ("weight", "bias"):
                state[f"{new}layer_norm{number}.{kind}"] = keys.take(f"{old}norm{number}.{kind}", (width,))
        query, value = (keys.take(f"{old}attn.{name}_bias", (width,)) for name in ("q", "v"))
        state[f"{new}self_attn.qkv.weight"] = keys.take(f"{old}attn.qkv.weight", (3 * width, width))
        state[f"{new}self_attn.qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])  # keys have no bias
        for name, source, shape in (
            ("self_attn.projection", "attn.proj", (width, width)),
            ("mlp.fc1", "mlp.fc1", (inner, width)),
            ("mlp.fc2", "mlp.fc2", (width, inner)),
        ):
            state[f"{new}{name}.weight"] = keys.take(f"{old}{source}.weight", shape)
            state[f"{new}{name}.bias"] = keys.take(f"{old}{source}.bias", shape[:1])
    for name in keys.matching(r"blocks\.\d+\..+"):
        if int(name.split(".")[1]) >= depth:
            keys.ignore(re.escape(name), f"the model runs {depth} blocks")
    keys.ignore(r"((norm|fc_norm|head|lm_head)\.(weight|bias))|mask_token", "belongs to EVA's own task")
    config = Blip2VisionConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=depth,
        num_attention_heads=width // TOWER_HEAD,
        image_size=side * patch,
        patch_size=patch,
    )
    return config, state


def _side(image_size: int, patch: int) -> int:
    if image_size <= 0 or image_size % (4 * patch):
        raise UnsupportedModel(f"image size {image_size} is not a multiple of four patches, 4 x {patch} px")
    return image_size // patch


def resize_positions(positions: Float[Tensor, "1 n width"], side: int) -> Float[Tensor, "1 m width"]:
    """Position embeddings of CLS and a square grid, for a grid of another side: bicubic, CLS as it is."""
    have = round((positions.shape[1] - 1) ** 0.5)
    if have * have + 1 != positions.shape[1]:
        raise UnsupportedModel(f"pos_embed has {positions.shape[1]} entries, which is not 1 + a square")
    if have == side:
        return positions
    grid = positions[:, 1:].float().reshape(1, have, have, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(1, side * side, -1).to(positions.dtype)
    return torch.cat([positions[:, :1], grid], 1)


def convert_norm(keys: Keys, width: int) -> tuple[dict[str, Tensor], str]:
    """The norm between tower and projector, and where it came from."""
    if keys.matching(r"ln_vision\..+"):
        return {name: keys.take(f"ln_vision.{name}", (width,)) for name in ("weight", "bias")}, "the files"
    return {"weight": torch.ones(width), "bias": torch.zeros(width)}, "weight 1, bias 0: the files have none"


def merge_lora(llama: Mapping[str, Tensor], keys: Keys, alpha: float) -> tuple[dict[str, Tensor], int]:
    """The decoder's weights with LoRA added, W + alpha / rank * B A, and the number of matrices changed."""
    merged = dict(llama)
    pairs: dict[str, dict[str, str]] = {}
    for name in keys.matching(_LORA):
        found = re.fullmatch(_LORA, name)
        assert found is not None
        pairs.setdefault(f"{found[1]}.weight", {})[found[2]] = name
    for target, pair in pairs.items():
        if len(pair) != 2:
            raise UnsupportedModel(f"LoRA of {target} has only {', '.join(pair.values())}: A and B are needed")
        if target not in merged:
            raise UnsupportedModel(f"{pair['A']} belongs to {target}, which the decoder does not have")
        weight = merged[target]
        rank = keys.peek(pair["A"]).shape[0]
        down = keys.take(pair["A"], (rank, weight.shape[1]))
        up = keys.take(pair["B"], (weight.shape[0], rank))
        precise = torch.promote_types(weight.dtype, torch.float32)
        update = up.to(precise) @ down.to(precise)
        merged[target] = (weight.to(precise) + alpha / rank * update).to(weight.dtype)
    return merged, len(pairs)


def convert_qformer(keys: Keys, vision_width: int, depth: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """BLIP-2's Q-Former without its text side: settings of Blip2QFormerConfig, and queries and weights."""
    queries = keys.take("query_tokens")
    width = queries.shape[-1]
    if queries.ndim != 3 or width % QFORMER_HEAD:
        raise UnsupportedModel(f"query_tokens has shape {tuple(queries.shape)}: [1, n, k x {QFORMER_HEAD}] is needed")
    inner = keys.peek("Qformer.bert.encoder.layer.0.intermediate_query.dense.weight").shape[0]
    state = {"queries": queries}

    def linear(new: str, old: str, rows: int, columns: int) -> None:
        state[f"{new}.weight"] = keys.take(f"{old}.weight", (rows, columns))
        state[f"{new}.bias"] = keys.take(f"{old}.bias", (rows,))

    def norm(new: str, old: str) -> None:
        for kind in ("weight", "bias"):
            state[f"{new}.{kind}"] = keys.take(f"{old}.{kind}", (width,))

    norm("qformer.layernorm", "Qformer.bert.embeddings.LayerNorm")
    for layer in range(depth):
        old, new = f"Qformer.bert.encoder.layer.{layer}.", f"qformer.encoder.layer.{layer}."
        for block, read in (("attention", width), *([("crossattention", vision_width)] if layer % 2 == 0 else [])):
            for name, columns in (("query", width), ("key", read), ("value", read)):
                linear(f"{new}{block}.attention.{name}", f"{old}{block}.self.{name}", width, columns)
            linear(f"{new}{block}.output.dense", f"{old}{block}.output.dense", width, width)
            norm(f"{new}{block}.output.LayerNorm", f"{old}{block}.output.LayerNorm")
        linear(f"{new}intermediate_query.dense", f"{old}intermediate_query.dense", inner, width)
        linear(f"{new}output_query.dense", f"{old}output_query.dense", width, inner)
        norm(f"{new}output_query.LayerNorm", f"{old}output_query.LayerNorm")
    settings = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": depth,
        "num_attention_heads": width // QFORMER_HEAD,
    }
    return settings, state
