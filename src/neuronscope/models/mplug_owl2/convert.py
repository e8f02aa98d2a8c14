"""The published mPLUG-Owl2 files as one model of modeling.py, and as a checkpoint directory.

MAGAer13/mplug-owl2-llama2-7b and its kind hold everything in one checkpoint: `model.vision_model`,
`model.visual_abstractor`, and a Llama whose `input_layernorm`, `post_attention_layernorm`, `k_proj` and `v_proj` are
`multiway.0` (text) and `multiway.1` (image tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig

from ...errors import UnsupportedModel
from ..conversion.files import read_folder, read_settings
from ..conversion.keys import Keys
from ..conversion.llama import decoder_name, decoder_shapes, llama_config, read_tokenizer
from ..conversion.report import ConversionReport
from ..conversion.write import build_model, dtype_of, fit_tokenizer, require_writable, write_checkpoint
from .modeling import MPLUGOwl2Config, MPLUGOwl2ForConditionalGeneration
from .processing import USER, make_processor

_NAME = "mPLUG-Owl2"
_TWICE = ("k_proj", "v_proj", "input_layernorm", "post_attention_layernorm")
#: What the original takes where config.json is silent.
_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
_ABSTRACTOR = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "num_learnable_queries": 64,
    "layer_norm_eps": 1e-6,
    "encoder_hidden_size": 1024,
}


@dataclass(frozen=True)
class Converted:
    """A model in parts: config, weights under the names of modeling.py, and report."""

    config: MPLUGOwl2Config
    state: dict[str, Tensor]
    report: ConversionReport


def convert(checkpoint: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Converted:
    """Bring a checkpoint into the form of modeling.py.

    Args:
        checkpoint: its tensors.
        settings: its config.json.

    Raises UnsupportedModel naming the tensor that is missing, has another shape, or has no place in the model.
    """
    keys = Keys(_NAME)
    keys.add("checkpoint", checkpoint)
    text = llama_config(settings, _NAME)
    vision = _part(settings, "visual_model", _VISION)
    seen = _part(settings, "visual_abstractor", _ABSTRACTOR)
    if seen["encoder_hidden_size"] != vision["hidden_size"] or seen["hidden_size"] != vision["hidden_size"]:
        raise UnsupportedModel(f"{_NAME}: tower and abstractor differ in width: {vision['hidden_size']} and {seen}")
    tower = CLIPVisionConfig(**vision)
    state = {f"model.vision_tower.{name}": value for name, value in _tower(keys, vision).items()}
    abstractor = _abstractor(keys, vision, seen, int(text.hidden_size or 0))
    state |= {f"model.multi_modal_projector.{name}": value for name, value in abstractor.items()}
    state |= _decoder(keys, text)
    keys.finish()
    queries = seen["num_learnable_queries"]
    config = MPLUGOwl2Config(
        vision_config=tower,
        text_config=text,
        abstractor_config={name: seen[name] for name in (*list(_ABSTRACTOR)[:4], "layer_norm_eps")},
        num_query_tokens=queries,
    )
    report = ConversionReport(
        kind=_NAME,
        layout=f"{queries} queries and an end token, without a grid",
        template=USER.shown,
        used=tuple(keys.used),
        ignored=dict(keys.ignored),
    )
    return Converted(config, state, report)


def _part(settings: Mapping[str, Any], name: str, usual: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of tower or abstractor. Raises UnsupportedModel for what is no number, or no multiple of the heads."""
    given: Any = settings.get("visual_config") or {}
    own: Any = given.get(name) if isinstance(given, dict) else None
    found = {key: (own or {}).get(key, value) for key, value in usual.items()} if isinstance(own, dict | None) else {}
    for key, value in usual.items():
        if isinstance(found.get(key), bool) or not isinstance(found.get(key), type(value)) or found[key] <= 0:
            raise UnsupportedModel(f"{_NAME}: visual_config of config.json has no {name} with a {key}, as {value}")
    if found["hidden_size"] % found["num_attention_heads"]:
        raise UnsupportedModel(
            f"{_NAME}: {name} is {found['hidden_size']} wide, no multiple of {found['num_attention_heads']} heads"
        )
    for key, expected in (("hidden_act", "quick_gelu"), ("use_cls_token", True), ("use_post_layernorm", True)):
        if isinstance(own, dict) and cast("dict[str, Any]", own).get(key, expected) != expected:
            raise UnsupportedModel(f"{_NAME}: {name} has {key}={own[key]!r}: a later version, which is not supported")
    return found


def _tower(keys: Keys, vision: Mapping[str, Any]) -> dict[str, Tensor]:
    """The vision model as CLIP's: its queries, keys and values are one map, whose rows lie head by head."""
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    places = (vision["image_size"] // patch) ** 2 + 1
    heads, old = vision["num_attention_heads"], "model.vision_model."
    state = {
        "embeddings.class_embedding": keys.take(f"{old}embeddings.cls_token", (1, 1, width)).flatten(),
        "embeddings.patch_embedding.weight": keys.take(f"{old}embeddings.patch_embed.weight", (width, 3, patch, patch)),
        "embeddings.position_embedding.weight": keys.take(
            f"{old}embeddings.position_embedding", (1, places, width)
        ).squeeze(0),
    }

    def pair(new: str, name: str, *shape: int) -> None:
        state[f"{new}.weight"] = keys.take(f"{old}{name}.weight", shape)
        state[f"{new}.bias"] = keys.take(f"{old}{name}.bias", shape[:1])

    pair("pre_layrnorm", "embeddings.pre_layernorm", width)
    for layer in range(vision["num_hidden_layers"]):
        new, stem = f"encoder.layers.{layer}.", f"encoder.layers.{layer}."
        for kind, shape in (("weight", (3 * width, width)), ("bias", (3 * width,))):
            whole = keys.take(f"{old}{stem}self_attn.query_key_value.{kind}", shape)
            for name, part in zip("qkv", whole.unflatten(0, (heads, 3, -1)).unbind(1), strict=True):
                state[f"{new}self_attn.{name}_proj.{kind}"] = part.flatten(0, 1).contiguous()
        pair(f"{new}self_attn.out_proj", f"{stem}self_attn.dense", width, width)
        pair(f"{new}layer_norm1", f"{stem}input_layernorm", width)
        pair(f"{new}layer_norm2", f"{stem}post_attention_layernorm", width)
        pair(f"{new}mlp.fc1", f"{stem}mlp.fc1", inner, width)
        pair(f"{new}mlp.fc2", f"{stem}mlp.fc2", width, inner)
    return state


def _abstractor(keys: Keys, vision: Mapping[str, Any], seen: Mapping[str, Any], out: int) -> dict[str, Tensor]:
    """The tower's last norm, and the abstractor."""
    width, inner, queries = seen["hidden_size"], seen["intermediate_size"], seen["num_learnable_queries"]
    places, old = (vision["image_size"] // vision["patch_size"]) ** 2 + 1, "model.visual_abstractor."
    state = {
        "queries": keys.take(f"{old}query_embeds", (1, queries, width)),
        "end": keys.take(f"{old}vit_eos", (1, 1, out)),
    }

    def pair(new: str, name: str, *shape: int) -> None:
        state[f"{new}.weight"] = keys.take(f"{name}.weight", shape)
        state[f"{new}.bias"] = keys.take(f"{name}.bias", shape[:1])

    pair("norm", "model.vision_model.post_layernorm", width)
    pair("linear", f"{old}visual_fc", out, width)
    for layer in range(seen["num_hidden_layers"]):
        new, stem = f"layers.{layer}.", f"{old}encoder.layers.{layer}.crossattention."
        state[f"{new}attention.query_positions"] = keys.take(f"{stem}attention.q_pos_embed", (queries, width))
        state[f"{new}attention.patch_positions"] = keys.take(f"{stem}attention.k_pos_embed", (places, width))
        for name in ("query", "key", "value"):
            pair(f"{new}attention.{name}", f"{stem}attention.{name}", width, width)
        for name in ("norm1", "normk"):
            pair(f"{new}{name}", f"{stem}{name}", width)
        pair(f"{new}norm2", f"{stem}output.norm2", width)
        pair(f"{new}attention.out_proj", f"{stem}output.out_proj", width, width)
        pair(f"{new}mlp.w1", f"{stem}output.mlp.w1", inner, width)
        pair(f"{new}mlp.w3", f"{stem}output.mlp.w3", inner, width)
        pair(f"{new}mlp.w2", f"{stem}output.mlp.w2", width, inner)
        pair(f"{new}mlp.ffn_ln", f"{stem}output.mlp.ffn_ln", inner)
    return state


def _decoder(keys: Keys, config: LlamaConfig) -> dict[str, Tensor]:
    """Llama's tensors, some of them twice."""
    state: dict[str, Tensor] = {}
    for name, shape in decoder_shapes(config).items():
        stem, _, kind = name.rpartition(".")
        if stem.rpartition(".")[2] in _TWICE:
            for way in (0, 1):
                state[decoder_name(f"{stem}.multiway.{way}.{kind}")] = keys.take(f"{stem}.multiway.{way}.{kind}", shape)
        else:
            state[decoder_name(name)] = keys.take(name, shape)
    return state


def convert_files(
    checkpoint: str | Path, out: str | Path, *, tokenizer: str | Path | None = None, dtype: str = "auto"
) -> ConversionReport:
    """Convert and write a checkpoint directory; `conversion.json` in it is the report.

    Args:
        checkpoint: directory with mPLUG-Owl2, .bin or .safetensors.
        out: directory to make. It appears when it is whole, or not at all.
        tokenizer: directory with Llama's tokenizer; the checkpoint's when not given.
        dtype: of all weights: float32, bfloat16, float16, or auto for the decoder's.

    Raises UnsupportedModel for files that do not make an mPLUG-Owl2, InvalidOption for an output that is there already.
    """
    target, place = require_writable(out, dtype), Path(checkpoint)
    settings, tensors = read_settings(place), read_folder(place)
    words = read_tokenizer(place if tokenizer is None else Path(tokenizer))
    done = convert(tensors, settings)
    model, processor = assemble(done, words, dtype_of(dtype, done.state["lm_head.weight"]))
    write_checkpoint(target, model, processor, done.report)
    return done.report


def assemble(done: Converted, tokenizer: Any, dtype: torch.dtype) -> tuple[MPLUGOwl2ForConditionalGeneration, Any]:
    """Model and processor of a conversion. Raises UnsupportedModel for a tokenizer that does not fit the decoder."""
    config: Any = done.config
    fit_tokenizer(tokenizer, int(config.text_config.vocab_size))
    vision = config.vision_config
    processor = make_processor(
        tokenizer,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        queries=config.num_query_tokens,
        conversation=USER,
    )
    return build_model(MPLUGOwl2ForConditionalGeneration, config, done.state, processor, dtype), processor
