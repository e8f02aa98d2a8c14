"""The demo model before training: a stock LLaVA of 5 M parameters, its tokenizer and processor, the planted sets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import normalizers

from neuronscope.samples.scenes.pen import PALETTE
from neuronscope.samples.scenes.registry import CONCEPTS, PLACES
from neuronscope.samples.scenes.scene import FRAME
from neuronscope.testing import SPECIAL, tiny_model, tiny_processor, tiny_tokenizer

PATCH = 16
GRID = FRAME // PATCH
PROMPT = "The image shows a"
_GLUE = "the image shows a to left right of above below and in on under an . , : ! ?"
_SPLIT = {"surfboard": ("surf", "##board"), "keyboard": ("key", "##board"), "snowboard": ("snowboard",)}


@dataclass(frozen=True)
class Layout:
    """Where the image tokens stand in a row, and which cells of the grid each is to name the objects of.

    Attributes:
        first: position of the first image token: 1 after <s>, 0 where <s> follows the image.
        joined: how many neighbours in a row of the grid belong to one token.
    """

    first: int = 1
    joined: int = 1

    @property
    def count(self) -> int:
        """Number of image tokens."""
        return GRID * GRID // self.joined

    @property
    def image(self) -> slice:
        """Their positions."""
        return slice(self.first, self.first + self.count)

    def cover(self, cells: np.ndarray) -> np.ndarray:
        """[..., 64] of the cells to [..., count] of the tokens: the largest of a token's cells."""
        return cells.reshape(*cells.shape[:-1], self.count, self.joined).max(-1)

    def prompt(self, tokenizer: Any, image_token: int) -> list[int]:
        """<s>, the image tokens and the prompt, in their order."""
        text: list[int] = tokenizer(PROMPT).input_ids
        return [*text[: self.first], *[image_token] * self.count, *text[self.first :]]


#: Of the demo: a token for each patch.
PATCHES = Layout()


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


def decoder_of(model: Any) -> Any:
    """The Llama without its head, of a LLaVA or a BLIP-2."""
    return model.model.language_model if hasattr(model, "model") else model.language_model.model


def build_processor() -> Any:
    """CLIP image processor (128 px), WordPiece tokenizer, 64 image tokens."""
    tokenizer = tiny_tokenizer(
        vocabulary()[len(SPECIAL) :],
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        longest=40,
        padding_side="left",
        model_max_length=512,
    )
    half = [0.5] * 3
    return tiny_processor(patch=PATCH, side=FRAME, tokenizer=tokenizer, pixels={"image_mean": half, "image_std": half})


def build_model(seed: int, *, hidden: int = 128, d_ff: int = 768, layers: int = 8) -> Any:
    """Random weights of the demo's shape, in training mode."""
    return tiny_model(
        seed,
        layers=layers,
        hidden=hidden,
        d_ff=d_ff,
        patch=PATCH,
        side=FRAME,
        words=vocabulary()[len(SPECIAL) :],
        gain=1,
        text={
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 512,
            "tie_word_embeddings": False,
            "initializer_range": 0.04,
        },
        vision={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "projection_dim": hidden,
            "hidden_act": "gelu",
        },
    ).train()
