"""MiniGPT-4 with and without Q-Former."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import Blip2VisionConfig, LlamaConfig, PreTrainedTokenizerFast

from neuronscope.models.minigpt4 import TRAINING_TEMPLATE, MiniGPT4Config, MiniGPT4ForConditionalGeneration
from neuronscope.models.minigpt4.processing import make_processor

from .animal import WORDS, Animal, louder

QFORMER = {
    "hidden_size": 128,  # heads of 64 are part of the architecture
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 10,
}


def _tokenizer() -> PreTrainedTokenizerFast:
    """Like Llama's: <unk> is 0, no padding token."""
    words = ["<unk>", "<s>", "</s>", *WORDS, "The", "[", "]", "/", "<", ">", "INST", "Img"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def minigpt4(queries: int | None = None) -> tuple[nn.Module, Any]:
    """112 px: 8 x 8 patches, 8 x 2 tokens; or some queries."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    config = MiniGPT4Config(
        vision_config=Blip2VisionConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=112,
            patch_size=14,
            initializer_range=0.02,  # 1e-10 by default, for checkpoints to fill
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=2,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        ),
        qformer_config=None if queries is None else QFORMER,
        num_query_tokens=queries or 0,
    )
    model = MiniGPT4ForConditionalGeneration(config)
    if queries is not None:
        projector = model.model.multi_modal_projector
        nn.init.normal_(projector.queries)
        for name, parameter in projector.named_parameters():
            if "crossattention" in name and parameter.ndim > 1:
                parameter.data.mul_(5)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    return louder(model), make_processor(tokenizer, image_size=112, queries=queries)


ANIMALS: tuple[Animal, ...] = (
    Animal("minigpt4", minigpt4, template=TRAINING_TEMPLATE, placeholder="<ImageHere>"),
    Animal("minigpt4", partial(minigpt4, 9), template=TRAINING_TEMPLATE, placeholder="<ImageHere>"),
)
