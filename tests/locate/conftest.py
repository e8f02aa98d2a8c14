"""What tests of methods share: a sample, captions put into the tiny model's mouth, and activations by plain hooks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.locate import validity

PROMPT = "The image shows a"


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[ns.VLM, str, str], None]:
    """Makes the tiny model 'say' given captions about the original and the edited image."""

    def say(vlm, original, edited):
        def caption(text):
            ids = vlm.tokenizer(text, add_special_tokens=False).input_ids
            return Caption(text, f"{PROMPT} {text}", tuple(ids))

        monkeypatch.setattr(validity, "generate_captions", lambda *a, **k: [[caption(original)], [caption(edited)]])

    return say


@pytest.fixture
def pair() -> ns.Counterfactual:
    """A noisy picture with a 'bear' in a box."""
    rng = np.random.default_rng(11)
    image = Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
    return ns.counterfactual(ns.Sample(image=image, concept="bear", boxes=[(4, 4, 16, 16)]))


@pytest.fixture
def token() -> Callable[[ns.VLM, str], int]:
    """The id of a word of the tiny vocabulary."""
    return lambda vlm, word: vlm.tokenizer(word, add_special_tokens=False).input_ids[0]


@pytest.fixture
def naive_activations() -> Callable[..., list[torch.Tensor]]:
    """Neurons of every layer by plain hooks, [layer][patch, unit]; all positions if asked."""

    def read(vlm, image, extra=(), everywhere=False):
        inputs = vlm.prepare([image]).extend(extra)
        taken = {}
        handles = [
            layer.mlp.down_proj.register_forward_pre_hook(lambda _, args, i=i: taken.__setitem__(i, args[0][0]))
            for i, layer in enumerate(vlm.structure.layers)
        ]
        with torch.no_grad():
            vlm.model(**inputs.tensors)
        for handle in handles:
            handle.remove()
        return [taken[i] if everywhere else taken[i][inputs.images[0].positions] for i in range(vlm.layers)]

    return read
