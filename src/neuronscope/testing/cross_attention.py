"""Tiny random models whose decoder reads the image through cross-attention: IDEFICS, Llama 3.2 Vision and BLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from ..errors import InvalidOption
from ..types import one_of
from .llava import WORDS, tiny_tokenizer

#: Families of which there is a tiny model, by their model type.
Kind: TypeAlias = Literal["idefics", "mllama", "blip"]
CROSS_ATTENTION: tuple[Kind, ...] = get_args(Kind)

_TOWER = {"intermediate_size": 40, "num_hidden_layers": 2}
_LOUDER = 5.0
_SQUARE = {"height": 32, "width": 32}


@dataclass(frozen=True)
class _Recipe:
    """Which classes of transformers a tiny model is made of, and their settings.

    Attributes:
        model, config, processor, pixels: names of the classes.
        text, vision, whole: settings of the parts and of the config; the decoder's sizes are in `text`, or in `whole`
            where `flat`.
        flat: the decoder's settings stand in the config itself.
        image: settings of the image processor.
        token: the image token; empty where the processor brings its own.
        more: further special tokens.
        loud: what the names of modules hold whose matrices are larger still, where the image would hardly be seen.
        closed: the tokenizer ends every text with </s>, as BERT's do with [SEP].
    """

    model: str
    config: str
    processor: str
    pixels: str
    text: Mapping[str, Any] = field(default_factory=dict[str, Any])
    vision: Mapping[str, Any] = field(default_factory=dict[str, Any])
    whole: Mapping[str, Any] = field(default_factory=dict[str, Any])
    flat: bool = False
    image: Mapping[str, Any] = field(default_factory=dict[str, Any])
    token: str = ""
    more: Sequence[str] = ()
    loud: str = ""
    closed: bool = False


_RECIPES: Mapping[Kind, _Recipe] = {
    "idefics": _Recipe(
        "IdeficsForVisionText2Text",
        "IdeficsConfig",
        "IdeficsProcessor",
        "IdeficsImageProcessorPil",
        vision={**_TOWER, "embed_dim": 24, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
        whole={
            "alpha_initializer": "ones",
            "cross_layer_interval": 2,
            "use_resampler": True,
            "perceiver_config": {
                "resampler_n_latents": 6,
                "resampler_depth": 2,
                "resampler_n_heads": 2,
                "resampler_head_dim": 12,
            },
        },
        flat=True,
        image={"size": _SQUARE, "image_size": 32},
        more=("<image>", "<fake_token_around_image>", "<end_of_utterance>"),
    ),
    "mllama": _Recipe(
        "MllamaForConditionalGeneration",
        "MllamaConfig",
        "MllamaProcessor",
        "MllamaImageProcessorPil",
        text={"num_key_value_heads": 1, "cross_attention_layers": [1, 3]},
        vision={
            **_TOWER,
            "hidden_size": 24,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_output_dim": 72,
            "intermediate_layers_indices": [0, 1],
        },
        image={"size": {"height": 16, "width": 16}, "max_image_tiles": 4},
        token="<|image|>",
        more=("<|python_tag|>",),
    ),
    "blip": _Recipe(
        "BlipForConditionalGeneration",
        "BlipConfig",
        "BlipProcessor",
        "BlipImageProcessorPil",
        text={"encoder_hidden_size": 24, "sep_token_id": 2},
        vision={
            **_TOWER,
            "hidden_size": 24,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.02,  # the class's own 1e-10 leaves a tower that shows nothing
        },
        image={"size": _SQUARE},
        loud="crossattention",
        closed=True,
    ),
}


def tiny_cross_attention(
    kind: Kind = "idefics",
    seed: int = 0,
    *,
    layers: int = 4,
    hidden: int = 32,
    d_ff: int = 48,
    words: Sequence[str] = WORDS,
    gain: float = 3.0,
) -> tuple[Any, Any]:
    """A random model, float32 on the CPU in eval mode, and its processor; both can be saved by `save_pretrained`.

    Gates, which start closed, are open. Sets torch's seed.

    Args:
        kind: the family, by its model type.
        seed: of the weights.
        layers: decoder layers, an even number.
        hidden: width of the decoder, a multiple of 4.
        d_ff: FFN neurons per decoder layer, and per gated block.
        words: the vocabulary, as in :func:`tiny_tokenizer`.
        gain: how many times as large as transformers draws them matrices are.

    Raises InvalidOption for another kind, an odd number of layers and another width.
    """
    import transformers as hf

    one_of("kind", kind, CROSS_ATTENTION)
    for name, value, step in (("layers", layers, 2), ("hidden", hidden, 4)):
        if value < step or value % step:
            raise InvalidOption(f"{name}={value} is not a multiple of {step}")
    recipe = _RECIPES[kind]
    tokenizer = _tokenizer(recipe, words)
    make: Callable[[str], Any] = lambda name: getattr(hf, name)  # noqa: E731
    processor = make(recipe.processor)(make(recipe.pixels)(**recipe.image), tokenizer)
    decoder: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": d_ff,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **recipe.text,
    }
    settings: dict[str, Any] = {"vision_config": dict(recipe.vision), **recipe.whole}
    settings |= decoder if recipe.flat else {"text_config": decoder, "pad_token_id": 0}
    if recipe.token:
        settings["image_token_index"] = tokenizer.convert_tokens_to_ids(recipe.token)
    torch.manual_seed(seed)
    model: Any = make(recipe.model)(make(recipe.config)(**settings)).float().eval()
    model.generation_config.update(pad_token_id=0, bos_token_id=1, eos_token_id=2)
    _speak_up(model, gain, recipe.loud)
    return model, processor


def _tokenizer(recipe: _Recipe, words: Sequence[str]) -> Any:
    from tokenizers import processors

    special = {"image_token": recipe.token} if recipe.token else {}
    tokenizer = tiny_tokenizer(words, special, recipe.more, padding_side="left")
    if recipe.closed:
        ends: Any = processors.TemplateProcessing
        both = [("<s>", 1), ("</s>", 2)]
        tokenizer.backend_tokenizer.post_processor = ends(single="<s> $A </s>", special_tokens=both)
    return tokenizer


def _speak_up(model: nn.Module, gain: float, loud: str) -> None:
    """Matrices larger, gates open, position tables that start at one value drawn."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(gain * (_LOUDER if loud and loud in name else 1))
                if bool((parameter == parameter.flatten()[0]).all()):
                    parameter.normal_(std=0.06)
            if name.endswith("gate"):
                parameter.fill_(1.0)
            if name.endswith(".latents"):  # drawn with deviation 1, and among their own keys
                parameter.div_(gain * 10)
