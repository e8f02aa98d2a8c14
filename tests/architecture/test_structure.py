"""The parts of a decoder, found by shape and config."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import neuronscope as ns
from neuronscope.architecture.structure import find_structure, gain
from neuronscope.errors import NeuronOutOfRange, UnsupportedModel
from neuronscope.models.families import FAMILIES, family_of, lacking


class Decoder(nn.Module):
    """Just enough of a language model to be looked through."""

    def __init__(self, layers: list[nn.Module], head: nn.Module | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(8)
        self.head = head
        text = SimpleNamespace(hidden_size=8, num_hidden_layers=len(layers) or None)
        self.config = SimpleNamespace(get_text_config=lambda decoder: text)

    def get_decoder(self) -> nn.Module:
        return self

    def get_output_embeddings(self) -> nn.Module | None:
        return self.head


def block(**parts: nn.Module) -> nn.Module:
    return nn.ModuleDict({"mlp": nn.ModuleDict(parts)})


def test_a_gated_decoder_is_found_with_all_its_sites(vlm: ns.VLM):
    structure = vlm.structure
    assert (vlm.layers, vlm.widths, structure.hidden) == (4, (48,) * 4, 32)
    model: Any = vlm.model
    assert structure.norm is model.model.language_model.norm
    assert structure.unembedding is model.lm_head
    for index, ffn in enumerate(structure.ffns):
        mlp = model.model.language_model.layers[index].mlp
        assert (ffn.output, ffn.activation, ffn.block) == (mlp.down_proj, mlp.act_fn, mlp)
        assert ffn.sites == ("neuron", "act", "pre")
        assert model.get_submodule(ffn.name) is mlp.down_proj


def test_value_vectors_are_columns_of_the_output_weight(vlm: ns.VLM):
    weight = vlm.structure.ffns[2].output.weight.detach().numpy()
    np.testing.assert_array_equal(vlm.value_vectors(2, [47, 0]), weight[:, [47, 0]].T)
    # What the model itself does with one active neuron.
    with torch.no_grad():
        one = vlm.structure.ffns[2].output(nn.functional.one_hot(torch.tensor(7), 48).float())
    np.testing.assert_allclose(vlm.value_vectors(2, [7])[0], one.numpy(), atol=1e-7)
    with pytest.raises(NeuronOutOfRange, match="unit 48 does not exist in layer 2"):
        vlm.value_vectors(2, [0, 48])


def test_a_transposed_output_map_has_the_same_value_vectors():
    from transformers.pytorch_utils import Conv1D

    conv = Conv1D(8, 20)  # 20 neurons, 8 wide: stored [in, out]
    ffn = find_structure(Decoder([block(c_proj=conv, act=nn.GELU())], nn.Linear(8, 5))).ffns[0]
    assert (ffn.width, tuple(ffn.value_vectors().shape), ffn.sites) == (20, (8, 20), ("neuron", "act", "pre"))
    unit = nn.functional.one_hot(torch.tensor(3), 20).float()
    torch.testing.assert_close(ffn.value_vectors()[:, 3] + conv.bias, conv(unit))


def test_a_functional_activation_leaves_only_the_neuron_site():
    ffn = find_structure(Decoder([block(down_proj=nn.Linear(20, 8))], nn.Linear(8, 5))).ffns[0]
    assert (ffn.activation, ffn.sites) == (None, ("neuron",))


OUT, HEAD = nn.Linear(20, 8), nn.Linear(8, 5)


@pytest.mark.parametrize(
    ("layers", "head", "reason"),
    [
        ([], HEAD, "no list of decoder layers found in Decoder"),
        ([block(down_proj=OUT)], None, "Decoder has no output embeddings"),
        ([block(down_proj=nn.Linear(8, 20))], HEAD, r"none of the 1 decoder layers \(layers\) has a dense FFN output"),
        (
            [block(a=nn.ModuleDict({"w2": OUT}), b=nn.ModuleDict({"w2": nn.Linear(20, 8)}))],
            HEAD,
            r"layers\.0 has 2 dense FFN outputs",
        ),
        ([nn.ModuleDict({"attn": nn.ModuleDict({"c_proj": OUT})})], HEAD, r"none of the 1 decoder layers"),
    ],
    ids=["no layers", "no head", "another width", "two FFNs", "attention only"],
)
def test_a_missing_part_is_named(layers: list[nn.Module], head: nn.Module | None, reason: str):
    with pytest.raises(UnsupportedModel, match=reason):
        find_structure(Decoder(layers, head))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SimpleNamespace(model_type="llama"), "model type 'llama' has no vision tower"),
        (SimpleNamespace(), "model type '?None'? has no vision tower"),
    ],
)
def test_a_model_without_vision_is_refused(config: Any, reason: str):
    with pytest.raises(UnsupportedModel, match=reason):
        family_of(config)


def test_every_row_of_the_family_table_can_be_looked_up_and_filled_in():
    for name, row in FAMILIES.items():
        if not row.refused and not lacking(row):
            assert family_of(SimpleNamespace(model_type=name)).title == row.title
        assert row.template.format(image="<i>", prompt="p").count("<i>") == 1


def test_a_layer_without_ffn_has_no_neurons():
    structure = find_structure(Decoder([block(down_proj=OUT), block(other=OUT)], HEAD))
    assert [ffn.width for ffn in structure.ffns] == [20, 0]
    assert structure.studied == (0,)
    assert structure.ffns[1].sites == ()


def test_of_experts_the_shared_one_is_studied():
    experts = nn.ModuleList([nn.ModuleDict({"down_proj": nn.Linear(6, 8)}) for _ in range(3)])
    layer = block(experts=experts, shared_expert=nn.ModuleDict({"down_proj": OUT}))
    (ffn,) = find_structure(Decoder([layer], HEAD)).ffns
    assert (ffn.output, ffn.width, ffn.note) == (OUT, 20, "shared experts")


def test_a_head_that_the_class_does_not_name_is_the_map_onto_the_vocabulary():
    decoder = Decoder([block(down_proj=OUT)], None)
    decoder.predictions = nn.Linear(8, 5)
    decoder.config.get_text_config(True).vocab_size = 5
    assert find_structure(decoder).unembedding is decoder.predictions


class OnePlus(nn.Module):
    """An RMS norm whose gain is 1 + weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(8.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-9) * (1 + self.weight)


def test_the_gain_of_a_norm_is_measured_not_read():
    torch.testing.assert_close(gain(OnePlus(), 8), 1 + torch.arange(8.0))
    norm = nn.LayerNorm(8)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(8.0))
        norm.bias.fill_(3.0)
    torch.testing.assert_close(gain(norm, 8), torch.arange(8.0), rtol=1e-4, atol=1e-4)
