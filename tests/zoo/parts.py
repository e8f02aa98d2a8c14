"""Settings of tiny towers, decoders and image processors, and what is done to a model after it was drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from .animal import louder

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
#: Where the processor puts the image before any text.
BEFORE: dict[str, Any] = {"template": "{image}{prompt}", "placeholder": ""}
#: An image processor: the name of its class in transformers, or the class, and its settings.
Pixels = tuple[str | type, Mapping[str, Any]]


def text(model_type: str = "", **more: Any) -> dict[str, Any]:
    """Settings of a tiny decoder: 4 layers, width 32, FFN width 48."""
    settings = {
        "vocab_size": len,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        **IDS,
    }
    return {**settings, **more, **({"model_type": model_type} if model_type else {})}


def without(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings for a class that does not know one of them."""
    return {key: value for key, value in settings.items() if key != name}


def one_head_each(**more: Any) -> dict[str, Any]:
    """A decoder whose heads do not share keys and values."""
    return without("num_key_value_heads", text(**more))


def tower(**more: Any) -> dict[str, Any]:
    """Settings of a tiny vision tower: 2 layers, width 24, FFN width 40."""
    settings = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    return {**settings, **more}


def deep_tower(**more: Any) -> dict[str, Any]:
    """As tower(), in the names of Qwen's configs."""
    return {"depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 4, **more}


def clip(**more: Any) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", **tower(projection_dim=24, **more)}


def blip_tower() -> dict[str, Any]:
    """The class draws its weights with a deviation of 1e-10, which no factor makes loud."""
    return tower(initializer_range=0.02)


def siglip(**more: Any) -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", **tower(vision_use_head=False, **more)}


def experts(**more: Any) -> dict[str, Any]:
    """Settings of 4 routed experts of width 24, 2 of them per token: rows of 16 bytes in bfloat16, as kernels want."""
    return {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, **more}


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def clip_pixels(side: int = 32) -> Pixels:
    return "CLIPImageProcessorPil", {"size": {"shortest_edge": side}, "crop_size": square(side)}


def qwen_pixels(kind: str = "Qwen2VLImageProcessorPil", **more: Any) -> Pixels:
    """Pictures keep their size up to rounding: 48x40 gives 12x10 patches of 4 pixels, 6x5 tokens after merging."""
    return kind, {"patch_size": 4, "merge_size": 2, "size": {"shortest_edge": 256, "longest_edge": 4096}, **more}


def cropped(kind: str) -> Pixels:
    """Up to 6 tiles of 16 pixels, and the whole picture."""
    return kind, {"size": square(16), "crop_to_patches": True, "min_patches": 1, "max_patches": 6}


def token(word: Any) -> Callable[[Any], Any]:
    """The id of a token, or of several, once there is a tokenizer."""
    return lambda tokenizer: tokenizer.convert_tokens_to_ids(word)


def vocabulary(tokenizer: Any) -> dict[str, int]:
    return tokenizer.get_vocab()


def softer(queries: nn.Parameter) -> None:
    """Queries drawn with a deviation of 1 and made louder would look at themselves, not at the image."""
    with torch.no_grad():
        queries.mul_(0.05)


def soft_latents(model: Any) -> None:
    softer(model.model.perceiver_resampler.latents)


def open_gates(model: nn.Module) -> None:
    """Cross-attention starts behind gates at zero; here the image has to be seen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate"):
                parameter.fill_(1.0)


def look(model: Any) -> None:
    """The queries are normalised to deviation 1: what they take from the image has to be as large."""
    louder(model.qformer.encoder.layer[0].crossattention)


def heard(model: Any) -> None:
    """What comes in has length 1, and its queries are among their own keys."""
    projection = model.image_to_text_projection
    softer(projection.latent_query)
    louder(projection.dense, 12.0)
    louder(projection.x_attn, 4.0)


def loud_projector(model: Any) -> None:
    """Four matrices without a norm between them: at the usual loudness the image would not be heard."""
    louder(model.model.multi_modal_projector, 6.0)
