"""LLaVA v1 and mPLUG-Owl2, two of the three models of Pan et al."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig

from neuronscope.models.llava_v1 import LlavaV1Config, LlavaV1ForConditionalGeneration
from neuronscope.models.llava_v1.processing import make_processor as llava_processor
from neuronscope.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2ForConditionalGeneration
from neuronscope.models.mplug_owl2.processing import make_processor as owl_processor

from .animal import Animal
from .minigpt4 import llama_words, pad_is_end
from .parts import clip, text

ABSTRACTOR = {"hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2}


def _llama(words: Any) -> LlamaConfig:
    return LlamaConfig(**text(num_key_value_heads=2, pad_token_id=2, vocab_size=len(words)))


def _asking(model: Any) -> None:
    """Queries and places are drawn, and what they take from the image is as large; the two modalities differ."""
    pad_is_end(model)
    projector = model.model.multi_modal_projector
    with torch.no_grad():
        nn.init.normal_(projector.queries, std=0.5)
        for name, parameter in projector.named_parameters():
            if name.endswith(("value.weight", "out_proj.weight")):
                parameter.mul_(3)
        for name, parameter in model.named_parameters():
            if name.endswith("layernorm.multiway.1.weight"):
                parameter.mul_(1.5)


ANIMALS: tuple[Animal, ...] = (
    Animal(
        "llava_v1",
        "LlavaV1",
        words=llama_words,
        tower=clip(),
        config={"text_config": _llama},
        model=LlavaV1ForConditionalGeneration,
        config_class=LlavaV1Config,
        after=pad_is_end,
        processor=lambda _pixels, words, **options: llava_processor(words, **options),
        options={"image_size": 32, "patch_size": 8},
    ),
    Animal(
        "mplug_owl2",
        "MPLUGOwl2",
        words=llama_words,
        tower=clip(),
        config={"text_config": _llama, "abstractor_config": ABSTRACTOR, "num_query_tokens": 9},
        model=MPLUGOwl2ForConditionalGeneration,
        config_class=MPLUGOwl2Config,
        after=_asking,
        processor=lambda _pixels, words, **options: owl_processor(words, **options),
        options={"image_size": 32, "patch_size": 8, "queries": 9},
        template="{image}{prompt}",
        placeholder="<|image|>",
    ),
)
