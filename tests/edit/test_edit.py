import dataclasses
import gc
import json
import shutil
import weakref

import pytest
import torch

import neuronscope as ns
from neuronscope.edit import Ablate, Amplify, RowNoise, Swap
from neuronscope.edit import columns as columns_module
from neuronscope.errors import ConceptNotNamed, InvalidOption, NeuronOutOfRange, RunMismatch, UnsupportedModel

FOREIGN = dataclasses.replace(ns.Neurons.of([(1, 3)]), model={"id": "x", "fingerprint": "0" * 16})
SWAP = Swap(source="bear", target="dog")


def test_reverting_restores_every_bit_and_every_caption(own, some, pictures, weights, changed):
    before, said, name = weights(own), own.captions(pictures), own.fingerprint
    edit = RowNoise(sigma=3.0).edit(own, some, pictures)
    assert not edit.applied
    assert not changed(before, weights(own))
    assert edit.apply() is edit
    assert edit.applied
    assert len(changed(before, weights(own))) == 3  # one W_out in each of three layers
    assert own.captions(pictures) != said
    assert [one.full for one in edit.before] == said
    edit.revert()
    assert not edit.applied
    assert not changed(before, weights(own))
    assert own.captions(pictures) == said
    assert own.fingerprint == name


def test_a_captioner_does_not_go_on_with_other_weights(own, some, pictures):
    captioner = ns.Captioner(own, pictures)
    clean = captioner.captions()
    with (
        RowNoise(sigma=3.0).edit(own, some),
        pytest.raises(InvalidOption, match="edited after this captioner read its images"),
    ):
        captioner.captions()
    assert captioner.captions() == clean


def test_only_the_columns_of_the_set_change(own, some):
    old = {layer: own.structure.ffns[layer].output.weight.detach().clone() for layer in range(own.layers)}
    with Amplify().edit(own, some) as edit:
        for layer in range(own.layers):
            weight = own.structure.ffns[layer].output.weight.detach()
            moved = (weight != old[layer]).any(0).nonzero()[:, 0].tolist()
            assert moved == sorted(some.by_layer().get(layer, []))
        assert edit.share == len(some) / (4 * 48)
        torch.testing.assert_close(edit.delta(1), old[1][:, [3, 40]])


def test_an_error_in_the_block_reverts(own, some, weights, changed):
    before = weights(own)
    seen = []

    def work():
        with Ablate().edit(own, some):
            seen.extend(changed(before, weights(own)))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert len(seen) == 3
    assert not changed(before, weights(own))


def test_a_block_may_revert_itself(own, some, weights, changed):
    before = weights(own)
    with Ablate().edit(own, some) as edit:
        edit.revert()
    assert not changed(before, weights(own))


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_edit_leaves_the_weights(own, some, weights, changed, monkeypatch, after, error):
    before, name, edit = weights(own), own.fingerprint, Ablate().edit(own, some)
    write, calls = columns_module.write_columns, []

    def interrupted(vlm, layer, units, values):
        calls.append(layer)
        write(vlm, layer, units, values)
        if len(calls) == after + 1:
            raise error

    monkeypatch.setattr(columns_module, "write_columns", interrupted)
    with pytest.raises(error):
        edit.apply()
    assert not changed(before, weights(own))
    assert not edit.applied
    assert own.fingerprint == name
    edit.apply()  # and it can still be made
    assert edit.applied


def test_disjoint_edits_are_undone_in_any_order(own, weights, changed):
    before = weights(own)
    edits = [Ablate().edit(own, ns.Neurons.of([pair])) for pair in ((1, 3), (1, 4), (2, 7))]
    names = [own.fingerprint]
    for edit in edits:
        edit.apply()
        names.append(own.fingerprint)
    assert len(set(names)) == 4
    for edit in (edits[1], edits[0], edits[2]):
        edit.revert()
    assert not changed(before, weights(own))
    assert own.fingerprint == names[0]


def test_the_fingerprint_does_not_depend_on_the_order(own):
    a, b = (Ablate().edit(own, ns.Neurons.of([pair])) for pair in ((1, 3), (2, 7)))
    with a, b:
        both = own.fingerprint
    with b, a:
        assert own.fingerprint == both


def test_edits_of_the_same_neuron_are_a_stack(own, some, weights, changed):
    before = weights(own)
    first = Amplify().edit(own, some)
    first.apply()
    between = weights(own)
    second = Amplify(factor=3.0).edit(own, ns.Neurons.of([(2, 7), (2, 8)])).apply()
    torch.testing.assert_close(second.new[2][:, 0], 6 * first.old[2][:, 0])
    with pytest.raises(InvalidOption, match=r"a later edit \(amplify, 2 neurons\) changed 1 of .*L2.U7"):
        first.revert()
    second.revert()
    assert not changed(between, weights(own))
    first.revert()
    assert not changed(before, weights(own))


def test_an_edit_made_from_other_columns_is_refused(own, some, weights, changed):
    one, other = Ablate().edit(own, some), Amplify().edit(own, some)
    with one:
        before = weights(own)
        with pytest.raises(RunMismatch, match=r"L1.U3.*not those the edit was made from"):
            other.apply()
        with pytest.raises(InvalidOption, match="in force already"):
            one.apply()
        assert not changed(before, weights(own))
    with pytest.raises(InvalidOption, match="not in force"):
        one.revert()


def test_columns_that_somebody_else_changed_are_not_overwritten(own, some):
    edit = Ablate().edit(own, some).apply()
    with torch.no_grad():
        own.structure.ffns[2].output.weight[5, 7] = 1.0
    with pytest.raises(RunMismatch, match=r"L2.U7 were changed by something else"):
        edit.revert()


def test_neurons_know_whether_the_model_was_edited(own, some):
    on_plain = dataclasses.replace(some, model=own.identity())
    with Ablate().edit(own, ns.Neurons.of([(3, 30)])):
        on_edited = dataclasses.replace(some, model=own.identity())
        assert on_edited.model["fingerprint"] != on_plain.model["fingerprint"]
        for neurons in (on_plain, on_edited):  # edits compose
            assert Ablate().edit(own, neurons).model == own.identity()
    Ablate().edit(own, on_plain)
    with pytest.raises(RunMismatch, match="locate them again"):
        Ablate().edit(own, on_edited)


def test_a_model_with_an_edit_in_force_can_be_forgotten(make_vlm, some):
    vlm = make_vlm(seed=5)
    Ablate().edit(vlm, some).apply()
    model = weakref.ref(vlm.model)
    del vlm
    gc.collect()
    assert model() is None


@pytest.mark.parametrize(
    ("neurons", "error", "message"),
    [
        (ns.Neurons.of([]), InvalidOption, "empty set"),
        (ns.Neurons.of([(1, 48)]), NeuronOutOfRange, "48"),
        (ns.Neurons.of([(4, 0)]), NeuronOutOfRange, "4"),
        (ns.Neurons.at("vision.0.1"), InvalidOption, "part='vision'"),
        (FOREIGN, RunMismatch, "found in 'x' with fingerprint 0000"),
    ],
)
@pytest.mark.parametrize("editor", [Ablate(), SWAP], ids=["ablate", "swap"])
def test_refused_sets(own, weights, changed, editor, neurons, error, message):
    before = weights(own)
    with pytest.raises(error, match=message):
        editor.edit(own, neurons)
    assert not changed(before, weights(own))


def test_a_source_that_no_caption_names(own, some, pictures):
    said = " ".join(own.captions(pictures))
    absent = next(word for word in ("bus", "horse", "cat", "bear") if word not in said)
    with pytest.raises(ConceptNotNamed, match=f"none of the 3 captions names source='{absent}'"):
        Swap(source=absent, target="dog").edit(own, some, pictures)


def test_an_edit_of_a_quantised_model_is_refused(own, some, monkeypatch, weights, changed):
    class Params8(torch.nn.Parameter):
        """What bitsandbytes does: a parameter of another class."""

    ffn = own.structure.ffns[2]
    plain = ffn.output.weight
    for quantised in (
        torch.nn.Parameter(torch.zeros(32, 48, dtype=torch.int8), requires_grad=False),
        Params8(plain.data.clone()),
        torch.nn.Parameter(plain.data.to(torch.float8_e4m3fn), requires_grad=False),
    ):
        ffn.output.weight = quantised
        with pytest.raises(UnsupportedModel, match=r"layers.2.*quantised.*save_model\(\), quantise that"):
            Ablate().edit(own, some)
    ffn.output.weight = plain
    monkeypatch.setattr(own.model, "is_quantized", True, raising=False)  # says the config, of plain weights
    Ablate().edit(own, some)


@pytest.mark.parametrize("place", ["model", "text"])
def test_plain_weights_are_edited_whatever_the_config_says_of_the_file_they_came_from(checkpoint, tmp_path, place):
    folder = shutil.copytree(checkpoint, tmp_path / "from-gguf")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (config if place == "model" else config["text_config"])["quantization_config"] = {"quant_method": "gguf"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    vlm = ns.load(folder)
    assert vlm.model.is_quantized
    neurons = ns.Neurons.of([(2, 1)])
    with Ablate().edit(vlm, neurons):
        assert not vlm.structure.ffns[2].output.weight[:, 1].any()
    assert vlm.structure.ffns[2].output.weight[:, 1].any()


def test_an_edit_of_offloaded_weights_is_refused(own, some):
    from accelerate import cpu_offload

    name = own.fingerprint
    cpu_offload(own.model)
    assert own.structure.ffns[1].output.weight.device.type == "meta"
    with pytest.raises(UnsupportedModel, match=r"offloaded.*device_map"):
        Ablate().edit(own, some)
    assert own.fingerprint == name


def test_bfloat16_is_restored_to_the_bit(make_vlm, some, weights, changed):
    vlm = make_vlm()
    vlm.model.to(torch.bfloat16)
    before = weights(vlm)
    with Swap(source="bear", target="dog").edit(vlm, some) as edit:
        assert edit.new[1].dtype == torch.bfloat16
        assert len(changed(before, weights(vlm))) == 3
    assert not changed(before, weights(vlm))
