"""Models that the speed benchmarks run: the bundled one, and a Llama decoder of SmolLM2-135M's shape in a LLaVA."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.testing import SPECIAL, tiny_model, tiny_processor, tiny_tokenizer

VOCABULARY = 49152
SIDE, PATCH = 64, 8  # 64 image tokens


def smol(layers: int = 30, dtype: torch.dtype = torch.float32) -> ns.VLM:
    """LLaVA with a decoder of SmolLM2-135M's shape, random weights that do not die out, and 64 image tokens."""
    words = ["the", "image", "shows", "a", *(f"w{n}" for n in range(VOCABULARY))][: VOCABULARY - len(SPECIAL)]
    model = tiny_model(
        layers=layers,
        hidden=576,
        d_ff=1536,
        patch=PATCH,
        side=SIDE,
        words=words,
        gain=1,
        text={
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
        },
        vision={"hidden_size": 64, "intermediate_size": 128},
        tie_word_embeddings=True,
    ).to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers" in name and parameter.ndim == 2:  # variance is kept: neurons of every layer are felt
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    model.generation_config.eos_token_id = None  # a random model ends at random: every caption has its full length
    return ns.load((model, tiny_processor(patch=PATCH, side=SIDE, tokenizer=tiny_tokenizer(words, bos=False))))


def pictures(count: int, side: int = SIDE) -> list[Image.Image]:
    """Noisy pictures."""
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(count)]
