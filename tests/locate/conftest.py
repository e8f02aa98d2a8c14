"""What tests of methods share: a token, and activations by plain hooks."""

from collections.abc import Callable

import pytest
import torch

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.locate.validity import valid_pair


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


@pytest.fixture(scope="session")
def natural_found(natural_vlm, real_coco):
    """A photograph in which the natural model names an object, and no longer once it is edited away; the captions."""
    source = ns.CocoFolder.open(real_coco).everything()
    return next(
        found
        for concept in sorted(source.concepts(), key=lambda name: name != "train")  # one that it knows comes first
        for sample in source.samples(concept)
        if (found := valid_or_none(natural_vlm, sample)) is not None
    )


@pytest.fixture(scope="session")
def natural_pair(natural_found):
    """The photograph of `natural_found` by itself."""
    return natural_found[0]


def valid_or_none(vlm, sample):
    try:
        return valid_pair(vlm, sample)
    except InvalidSample:
        return None
