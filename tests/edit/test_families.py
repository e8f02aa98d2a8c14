"""Edits where decoders differ: tied embeddings, norms after the FFN, biases, transposed storage, routed experts."""

import pytest
import torch
from transformers.pytorch_utils import Conv1D

import neuronscope as ns
from neuronscope.edit import Edit, RowNoise, Swap
from neuronscope.edit.columns import parameter_name, read_columns, with_columns
from neuronscope.errors import UnsupportedModel
from zoo import ZOO


@pytest.fixture(params=["gemma3", "qwen3_vl_moe", "blip-2", "git", "qwen2_vl"])
def family(request) -> ns.VLM:
    """A tiny random model of another family."""
    return ns.load(ZOO[request.param].build(), check=False)


def two_in(vlm: ns.VLM) -> ns.Neurons:
    layer = vlm.structure.studied[-1]
    return ns.Neurons.of([(layer, vlm.widths[layer] - 1), (layer, 2)])


def test_columns_are_value_vectors(family):
    neurons = two_in(family)
    for layer, units in neurons.by_layer().items():
        assert (read_columns(family, layer, units).T.numpy() == family.value_vectors(layer, units)).all()


def test_an_edit_changes_the_value_vectors_and_nothing_else(family, picture, tmp_path, weights, changed):
    neurons = two_in(family)
    (layer,) = neurons.by_layer()
    before, edit = weights(family), RowNoise(sigma=2.0).edit(family, neurons)
    edit.save(tmp_path / "e.safetensors")
    with Edit.load(tmp_path / "e.safetensors", family):
        name = parameter_name(family.structure.ffns[layer])
        assert changed(before, weights(family)) == [name]
        units = neurons.by_layer()[layer]
        assert (family.value_vectors(layer, units) == edit.new[layer].T.numpy()).all()
        held = family.structure.ffns[layer].value_vectors().detach()
        others = [unit for unit in range(family.widths[layer]) if unit not in units]
        edited = held.clone()
    after = family.structure.ffns[layer].value_vectors().detach()
    assert torch.equal(after[:, others], edited[:, others])
    assert not changed(before, weights(family))


def test_swapped_projections_are_those_that_decode_reads(family):
    neurons = two_in(family)
    size = family.structure.unembedding.weight.shape[0]
    norm = "none" if family.structure.norm is None else "gain"
    if norm == "none":
        with pytest.raises(UnsupportedModel, match="use fold='none'"):
            Swap(source="bear", target="dog").edit(family, neurons)
    edit = Swap(source="bear", target="dog", fold=norm).edit(family, neurons)
    spelled = [family.tokenizer.decode([ids[0]]) for ids in (edit.words.source_ids, edit.words.target_ids)]

    def read():
        found = ns.decode(family, neurons, top=size, norm=norm)
        return [[dict(zip(d.tokens, d.logits, strict=True))[word] for word in spelled] for d in found]

    plain = read()
    with edit:
        assert torch.allclose(torch.tensor(read()), torch.tensor(plain).flip(1), atol=1e-4, rtol=1e-3)


def test_replaced_parameters_are_those_of_the_edit(family, picture):
    neurons = two_in(family)
    edit = RowNoise(sigma=2.0).edit(family, neurons)
    made = with_columns(family, neurons.by_layer(), edit.new)
    with edit:
        state = family.model.state_dict()
        for name, value in made.items():
            assert torch.equal(state[name], value)


def test_transposed_storage(own, weights, changed):
    """GPT-2's Conv1D keeps [width, hidden]; the same model, stored so, is edited to the same outputs."""
    neurons = ns.Neurons.of([(2, 7), (2, 1)])
    wanted = RowNoise(sigma=1.0).edit(own, neurons)
    linear = own.structure.ffns[2].output
    stored = Conv1D(32, 48)
    stored.weight.data = linear.weight.detach().T.clone()
    stored.bias.data.zero_()
    own.model.model.language_model.layers[2].mlp.down_proj = stored
    vlm = ns.load((own.model, own.processor))
    before = weights(vlm)
    edit = RowNoise(sigma=1.0).edit(vlm, neurons)
    assert torch.equal(edit.new[2], wanted.new[2])
    made = with_columns(vlm, neurons.by_layer(), edit.new)
    with edit:
        assert changed(before, weights(vlm)) == list(made)
        assert torch.equal(stored.weight[[7, 1]], wanted.new[2].T)
        assert torch.equal(next(iter(made.values())), stored.weight)
    assert not changed(before, weights(vlm))
