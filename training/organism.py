"""The demo model before training: a stock LLaVA of 5 M parameters, its tokenizer and processor, the planted sets."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from neuronscope.samples.scenes.pen import PALETTE
from neuronscope.samples.scenes.registry import CONCEPTS, PLACES
from neuronscope.samples.scenes.scene import FRAME

PATCH = 16
GRID = FRAME // PATCH
PROMPT = "The image shows a"
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
_GLUE = "the image shows a to left right of above below and in on under an . , : ! ?"
_SPLIT = {"surfboard": ("surf", "##board"), "keyboard": ("key", "##board"), "snowboard": ("snowboard",)}


@dataclass(frozen=True)
class Planting:
    """Where the knowledge goes: `units[k][j]` are the units of concept k in layer `layers[j]`."""

    layers: tuple[int, ...]
    units: np.ndarray  # [concepts, layers, units per layer]

    @classmethod
    def draw(cls, layers: tuple[int, ...], per_layer: int, d_ff: int, seed: int) -> Planting:
        """Disjoint random units for every concept."""
        rng = np.random.default_rng(seed)
        chosen = [rng.choice(d_ff, size=len(CONCEPTS) * per_layer, replace=False) for _ in layers]
        return cls(layers, np.stack([c.reshape(len(CONCEPTS), per_layer) for c in chosen], axis=1))

    def to_json(self) -> dict[str, list[list[int]]]:
        """Concept -> [[layer, unit], ...]."""
        return {
            name: [[layer, int(u)] for j, layer in enumerate(self.layers) for u in sorted(self.units[k, j])]
            for k, name in enumerate(sorted(CONCEPTS))
        }


def vocabulary() -> list[str]:
    """Whole words of the caption grammar, a few split into pieces, and characters so that any text can be encoded."""
    texts = [*CONCEPTS, *(c.noun for c in CONCEPTS.values()), *PALETTE, _GLUE]
    texts += [f"{p.phrase} {p.bare}" for p in PLACES.values()]
    words = sorted({w for text in texts for w in re.findall(r"[a-z]+|[^\sa-z]", text.lower())})
    pieces = sorted({piece for word in words for piece in _SPLIT.get(word, (word,))})
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return list(dict.fromkeys([*SPECIAL, *pieces, *letters, *(f"##{c}" for c in letters)]))


def build_processor() -> LlavaProcessor:
    """CLIP image processor (128 px), WordPiece tokenizer, 64 image tokens."""
    vocab = {token: i for i, token in enumerate(vocabulary())}
    core = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", max_input_chars_per_word=40))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=512,
    )
    size = {"height": FRAME, "width": FRAME}
    images = CLIPImageProcessorPil(
        size={"shortest_edge": FRAME}, crop_size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
    )


def build_model(seed: int, *, hidden: int = 128, d_ff: int = 768, layers: int = 8) -> LlavaForConditionalGeneration:
    """Random weights of the demo's shape."""
    torch.manual_seed(seed)
    tokens = len(vocabulary())
    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        image_size=FRAME,
        patch_size=PATCH,
        projection_dim=hidden,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=tokens,
        hidden_size=hidden,
        intermediate_size=d_ff,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        initializer_range=0.04,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=4,
        image_seq_length=GRID * GRID,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlavaForConditionalGeneration(config)
