"""MiniGPT-4 with and without Q-Former. 112 px: 8 x 8 patches, 8 x 2 tokens; or some queries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import Blip2VisionConfig, LlamaConfig, PreTrainedTokenizerFast

from neuronscope.models.families import FAMILIES
from neuronscope.models.minigpt4 import MiniGPT4Config, MiniGPT4ForConditionalGeneration
from neuronscope.models.minigpt4.processing import make_processor

from .animal import WORDS, Animal
from .parts import text, tower

QFORMER = {
    "hidden_size": 128,  # heads of 64 are part of the architecture
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "vocab_size": 10,
}


def llama_words() -> PreTrainedTokenizerFast:
    """Like Llama's: <unk> is 0, no padding token."""
    words = ["<unk>", "<s>", "</s>", *WORDS, "The", "[", "]", "/", "<", ">", "INST", "Img"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def made(_pixels: None, tokenizer: Any, **options: Any) -> Any:
    return make_processor(tokenizer, **options)


def pad_is_end(model: Any) -> None:
    model.generation_config.pad_token_id = 2


def asking(model: Any) -> None:
    """Queries are drawn, and what they take from the image is as large."""
    pad_is_end(model)
    projector = model.model.multi_modal_projector
    nn.init.normal_(projector.queries, std=3)
    for name, parameter in projector.named_parameters():
        if "crossattention" in name and parameter.ndim > 1:
            parameter.data.mul_(5)


PLAIN = Animal(
    "minigpt4",
    "MiniGPT4",
    words=llama_words,
    config={
        # The class draws its tower with a deviation of 1e-10, for checkpoints to fill.
        "vision_config": lambda _: Blip2VisionConfig(**tower(image_size=112, patch_size=14, initializer_range=0.02)),
        "text_config": lambda words: LlamaConfig(
            **text(num_key_value_heads=2, max_position_embeddings=2048, pad_token_id=2, vocab_size=len(words))
        ),
        "qformer_config": None,
        "num_query_tokens": 0,
    },
    model=MiniGPT4ForConditionalGeneration,
    config_class=MiniGPT4Config,
    drawn=False,
    after=pad_is_end,
    processor=made,
    options={"image_size": 112, "queries": None},
    template=FAMILIES["minigpt4"].template,
    placeholder="<ImageHere>",
)
ANIMALS: tuple[Animal, ...] = (
    PLAIN,
    replace(
        PLAIN,
        config={**PLAIN.config, "qformer_config": QFORMER, "num_query_tokens": 9},
        after=asking,
        options={"image_size": 112, "queries": 9},
    ),
)
