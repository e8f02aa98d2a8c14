"""The decoder of a published model, where it is a Llama in the original's own checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from ...errors import UnsupportedModel, first_line
from .keys import Keys

#: What a config.json says of the decoder, among settings of the rest.
_FIELDS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("num_key_value_heads", "max_position_embeddings", "initializer_range", "rms_norm_eps", "rope_theta"),
    *("rope_scaling", "attention_bias", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
)
#: Files that hold a tokenizer's words.
_WORDS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def llama_config(settings: Mapping[str, Any], what: str) -> LlamaConfig:
    """The decoder's config. Raises UnsupportedModel, naming it, for settings that are missing or make no Llama."""
    for name in _FIELDS[:5]:
        if not isinstance(settings.get(name), int):
            raise UnsupportedModel(f"{what}: config.json has no whole number {name}, as a Llama has")
    given = {name: settings[name] for name in _FIELDS if settings.get(name) is not None}
    if given.get("pad_token_id") not in range(given["vocab_size"]):  # -1 and the like: no padding
        given["pad_token_id"] = None
    try:
        return LlamaConfig.from_dict(given)
    except (ValueError, TypeError, KeyError) as error:
        raise UnsupportedModel(f"{what}: config.json makes no Llama: {first_line(error)}") from error


def decoder_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Name in LlamaForCausalLM -> shape of each of its tensors."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def take_decoder(keys: Keys, config: LlamaConfig) -> dict[str, Tensor]:
    """The decoder's tensors under the names of a model whose part `language_model` it is."""
    return {decoder_name(name): keys.take(name, shape) for name, shape in decoder_shapes(config).items()}


def decoder_name(name: str) -> str:
    """A name of LlamaForCausalLM inside a vision-language model."""
    return name if name.startswith("lm_head.") else f"model.language_model.{name.removeprefix('model.')}"


def read_tokenizer(place: Path) -> Any:
    """Llama's tokenizer, or one with a few words more. Raises UnsupportedModel where there is none."""
    from transformers import AutoTokenizer

    if not any((place / name).is_file() for name in _WORDS):  # transformers would make one without words
        raise UnsupportedModel(f"{place} holds no tokenizer: none of {', '.join(_WORDS)}")
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        raise UnsupportedModel(
            f"{place} holds no tokenizer that can be loaded ({first_line(error)}); one in another folder can be named, "
            "such as that of Llama-2-7b-chat-hf"
        ) from error
