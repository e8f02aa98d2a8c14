"""The logit lens, also through an unembedding that accelerate keeps elsewhere."""

import dataclasses

import numpy as np
import pytest
import torch
from accelerate import dispatch_model

import neuronscope as ns
from neuronscope.architecture.structure import gain
from neuronscope.errors import UnsupportedModel
from neuronscope.locate import contributions
from neuronscope.locate.pan import predicted
from neuronscope.models.lens import token_directions
from two_devices import split
from zoo import ZOO


def build(name):
    model, processor = ZOO[name].build()
    return model.requires_grad_(False), processor


@pytest.mark.parametrize("norm", ["none", "gain"])
@pytest.mark.parametrize("name", ["llava", "gemma3"])  # a head of its own; tied, a norm after the FFN
def test_contributions_are_those_of_an_unembedding_that_is_here(name, norm, tmp_path):
    plain = ns.load(build(name), check=False)
    model, processor = build(name)
    dispatch_model(model, split(model, "cpu", "disk"), offload_dir=tmp_path)
    away = ns.load((model, processor), check=False)
    picture = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for position in ("image", "predict"):
        expected, found = (
            contributions(vlm, vlm.prepare([picture]), [(1, 5), (1, 7)], position=position, norm=norm).values
            for vlm in (plain, away)
        )
        np.testing.assert_array_equal(found, expected)
    expected, found = (predicted(vlm, vlm.prepare([picture]), [(1, 5)], norm=norm) for vlm in (plain, away))
    np.testing.assert_array_equal(found, expected)
    assert (model.get_output_embeddings().weight.device.type == "meta") == (name == "llava")


def test_directions_are_rows_times_gains(demo):
    table = demo.structure.unembedding.weight.detach().float()
    plain = token_directions(demo, [5, 9], "none")
    assert torch.equal(plain, table[[5, 9]])
    folded = token_directions(demo, [5, 9], "gain")
    assert torch.allclose(folded, table[[5, 9]] * gain(demo.structure.norm, demo.structure.hidden))
    assert not torch.allclose(folded, plain)


def test_no_final_norm(demo, monkeypatch):
    monkeypatch.setattr(demo, "structure", dataclasses.replace(demo.structure, norm=None))
    with pytest.raises(UnsupportedModel, match=r"norm='gain' needs a final norm.*use norm='none'"):
        token_directions(demo, [5], "gain")
    with pytest.raises(UnsupportedModel, match=r"fold='gain' needs a final norm.*use fold='none'"):
        ns.Swap(source="bear", target="dog").edit(demo, ns.Neurons.of([(2, 7)]))
