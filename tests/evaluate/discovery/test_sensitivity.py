"""The texts of neurons, and how they are compared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.errors import InvalidOption
from neuronscope.evaluate.captions import metric
from neuronscope.evaluate.discovery import describe, similarity
from neuronscope.locate.discovery import Discovery, discover_in


@pytest.fixture
def found(vlm: ns.VLM, picture):
    ids = tuple(vlm.tokenizer("brown dog on grass", add_special_tokens=False).input_ids)
    return discover_in(
        vlm, picture, Caption("brown dog on grass", "The image shows a brown dog on grass", ids), Discovery(top=6)
    )


def test_texts_are_the_tokens_of_the_best_neurons(vlm: ns.VLM, found):
    described = describe(vlm, found, neurons=2, tokens=3)
    assert [(one.noun, one.of) for one in described] == [
        (noun, of) for noun in ("dog", "grass") for of in ("found", "random", "layer-matched")
    ]
    table = vlm.structure.unembedding.weight.detach()
    for one in described:
        words = []
        for neuron in one.neurons:
            logits = table @ torch.from_numpy(vlm.value_vectors(neuron.layer, [neuron.unit])[0])
            words += [vlm.tokenizer.decode([token]) for token in logits.argsort(descending=True)[:3].tolist()]
        assert one.text == ", ".join(words)
        assert one.named == (one.noun in words)
    assert described[0].neurons.members == found["dog"].neurons.members[:2]
    assert [n.layer for n in described[2].neurons] == [n.layer for n in described[0].neurons]


def test_controls_are_seeded(vlm: ns.VLM, found):
    texts = [[one.neurons.members for one in describe(vlm, found, neurons=4, seed=seed)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_similarity_to_the_caption_and_to_the_image(picture):
    """ROUGE-1 F1 of "dog, red" and "brown dog on grass": one word of 2 and of 4 agrees, F1 = 1/3."""
    scored = similarity(metric("rouge-1"), ["dog, red", "", "cat"], "brown dog on grass", picture)
    np.testing.assert_allclose(scored.values, [1 / 3, 0, 0])
    assert scored.provenance["metric"] == "rouge-1"

    @dataclasses.dataclass
    class Against:
        seen: object = None
        name: str = "toy"
        against: str = "image"

        def score(self, hypotheses, references):
            self.seen = references
            return np.arange(len(hypotheses), dtype=np.float64)

        def provenance(self):
            return {"metric": "toy"}

    toy = Against()
    np.testing.assert_array_equal(similarity(toy, ["a", "b"], "c", picture).values, [0, 1])
    assert toy.seen == [picture, picture]


def test_bad_input(vlm: ns.VLM, found):
    with pytest.raises(InvalidOption, match="top at least 1"):
        describe(vlm, found, tokens=0)
