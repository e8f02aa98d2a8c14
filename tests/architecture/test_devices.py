"""Models that accelerate has split: over memory and disk, and over two devices that refuse each other's tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from accelerate.hooks import AlignDevicesHook, ModelHook, add_hook_to_module
from PIL import Image
from torch import nn

import neuronscope as ns
from neuronscope.architecture.devices import device_of, present, weights
from neuronscope.architecture.structure import find_structure
from neuronscope.caption import Decoding, generate_captions
from neuronscope.check import conformance
from neuronscope.errors import UnsupportedModel
from neuronscope.intervene import activations
from neuronscope.loading.checks.common import checked_span, some_neurons
from neuronscope.locate import Recovery
from neuronscope.locate.scores import activation_differences, grad_times_activation
from neuronscope.studies.demo.scenes import scenes_of
from two_devices import FIRST, SECOND, Placed, split, two_devices
from zoo import ZOO

#: One of each structure: plain, merged patches, routed experts, a `generate` of its own, encoder-decoder, tied
#: embeddings with a norm after the FFN, a separator that is a weight of the model itself.
FAMILIES = ("llava", "qwen2_vl", "qwen3_vl_moe", "blip-2", "florence2", "gemma3", "llava_next")
SHORT = Decoding(max_new_tokens=2)  # one from the prompt, one from what is kept of it
#: A family -> the fingerprint and the findings of its model in one piece.
Whole = Callable[[str], tuple[str, dict[str, Any]]]
#: Checks that take long and read no weight that others do not read; captions under noise are among the findings.
SLOW = ("coloured square", "several images", "noise repeats", "memory released")


@pytest.fixture(scope="module")
def noise() -> Image.Image:
    """Of the self-check's size, so that loading has measured what the processor makes of it."""
    return Image.fromarray(np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8))


def findings(vlm: ns.VLM, picture: Image.Image) -> dict[str, Any]:
    """What the library computes about a model, by every way in which it touches weights and activations."""
    inputs = vlm.prepare([picture])
    chosen = ns.Neurons.of((layer, unit) for layer in vlm.structure.studied for unit in (7, 19))
    with torch.no_grad():
        result: dict[str, Any] = {"logits": vlm.logits(inputs).cpu()}
    noise = ns.Noise(some_neurons(vlm), level=3.0, draws=2, span=checked_span(vlm))
    zero = ns.Zero(noise.neurons, span=noise.span)
    captions = [generate_captions(vlm, [picture], change, decoding=SHORT)[0] for change in (None, zero, noise)]
    result["captions"] = [caption.ids for row in captions for caption in row]
    result["vectors"] = np.stack([vlm.value_vectors(layer, [0, 7])[1] for layer in vlm.structure.studied])
    found = [ns.decode(vlm, chosen, norm=norm) for norm in ("none", "gain", "full")]
    result["words"] = [[decoded.tokens for decoded in decodings] for decodings in found]
    if not vlm.family.no_image:
        other = picture.rotate(180)
        result["activations"] = activations(vlm, picture, chosen)
        result["differences"] = activation_differences(vlm, picture, [other], site="neuron", decoding=Decoding("a"))[
            0
        ].values
        result["gradients"] = grad_times_activation(vlm, inputs, [[(1, 5)]])[0].values
    return result


def build(name: str) -> tuple[Any, Any]:
    model, processor = ZOO[name].build()
    return model.requires_grad_(False), processor


@pytest.fixture(scope="module")
def whole(noise: Image.Image) -> Whole:
    """Of a family's model that is not split: its fingerprint and its findings, made once."""
    known: dict[str, tuple[str, dict[str, Any]]] = {}

    def found(name: str) -> tuple[str, dict[str, Any]]:
        if name not in known:
            plain = ns.load(build(name))
            known[name] = plain.fingerprint, findings(plain, noise)
        return known[name]

    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_on_disk_change_nothing(name: str, whole: Whole, noise: Image.Image, tmp_path: Path):
    fingerprint, expected = whole(name)
    model, processor = build(name)
    dispatch_model(model, split(model, "cpu", "disk"), offload_dir=tmp_path)
    away = [parameter.device.type == "meta" for parameter in model.parameters()]
    assert 0 < sum(away) < len(away)
    vlm = ns.load((model, processor))  # with the self-check
    assert (vlm.device, vlm.dtype, vlm.fingerprint) == (torch.device("cpu"), torch.float32, fingerprint)
    found = findings(vlm, noise)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert [parameter.device.type == "meta" for parameter in model.parameters()] == away


@pytest.mark.parametrize("name", [name for name in ZOO if name not in FAMILIES])
def test_every_other_family_is_the_same_with_layers_on_disk(name: str, noise: Image.Image, tmp_path: Path):
    model, processor = build(name)
    plain = ns.load((copy.deepcopy(model), processor), check=False)
    dispatch_model(model, split(model, "cpu", "disk"), offload_dir=tmp_path)
    vlm = ns.load((model, processor))
    inputs = vlm.prepare([noise])
    with torch.no_grad():
        assert torch.equal(vlm.logits(inputs), plain.logits(inputs))


@pytest.mark.parametrize("name", ["qwen3_vl_moe"])
def test_every_check_holds_with_layers_on_disk(name: str, tmp_path: Path):
    model, processor = build(name)
    dispatch_model(model, split(model, "cpu", "disk"), offload_dir=tmp_path)
    report = conformance(ns.load((model, processor), check=False), skip=SLOW)
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


@pytest.mark.parametrize("kept", ["memory", "disk"])
@pytest.mark.parametrize("name", ["blip-2", "gemma3"])
def test_a_model_that_is_wholly_elsewhere_is_the_same(
    name: str, kept: str, whole: Whole, noise: Image.Image, tmp_path: Path
):
    _, expected = whole(name)
    model, processor = build(name)
    if kept == "memory":
        cpu_offload(model, execution_device=torch.device("cpu"))
    else:
        disk_offload(model, tmp_path, execution_device=torch.device("cpu"))
    assert all(parameter.device.type == "meta" for parameter in model.parameters())
    found = findings(ns.load((model, processor)), noise)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def test_weights_read_outside_their_part_are_refused_in_one_sentence():
    """transformers' Idefics 3 reads its position table in another module's forward."""
    model, processor = build("idefics3")
    cpu_offload(model, execution_device=torch.device("cpu"))
    with pytest.raises(UnsupportedModel, match=r"reads a weight outside the part .*\(modeling_.*device_map"):
        ns.load((model, processor))


@pytest.mark.parametrize("name", FAMILIES)
def test_two_devices_give_what_one_gives(name: str, whole: Whole, noise: Image.Image):
    """Every step that mixes tensors of two devices raises here, as it would on two GPUs."""
    model, processor = build(name)
    if find_structure(model).ffns[-1].experts:
        model.set_experts_implementation("eager")  # other kernels ask the device for its name
        plain = ns.load(build(name))
        plain.model.set_experts_implementation("eager")
        fingerprint, expected = plain.fingerprint, findings(plain, noise)
    else:
        fingerprint, expected = whole(name)
    with two_devices():
        dispatch_model(model, split(model, str(FIRST), str(SECOND)), main_device=str(FIRST))
        devices = {parameter.device for parameter in model.parameters()}
        assert {FIRST, SECOND} <= devices
        vlm = ns.load((model, processor))
        assert (vlm.device, vlm.fingerprint) == (FIRST, fingerprint)
        found = findings(vlm, noise)
    for key, value in expected.items():
        if key in ("captions", "words"):
            assert found[key] == value, key
        else:
            np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-4, err_msg=key)


def test_every_check_holds_on_two_devices():
    model, processor = build("llava")
    with two_devices():
        dispatch_model(model, split(model, str(FIRST), str(SECOND)), main_device=str(FIRST))
        report = conformance(ns.load((model, processor), check=False), skip=SLOW)
    assert [f"{row.name}: {row.value}" for row in report.rows if not row.ok] == []


def test_the_two_devices_refuse_each_other():
    with two_devices():
        a, b = torch.ones(2, device=FIRST), torch.ones(2, device=SECOND)
        with pytest.raises(RuntimeError, match="same device, but found lazy:0 and lazy:1"):
            a + b
        with pytest.raises(RuntimeError, match="same device, but found cpu and lazy:0"):
            a @ torch.ones(2)
        leaf = a.clone().requires_grad_()
        (slope,) = torch.autograd.grad(((leaf * 3).to(SECOND) * b * 2).sum(), leaf)
        assert isinstance(slope, Placed)
        assert (slope.device, slope.tolist()) == (FIRST, [6.0, 6.0])
        assert (a + 1)[torch.tensor([True, False])].tolist() == [2.0]


@pytest.fixture(scope="module")
def split_demo(demo: ns.VLM) -> ns.VLM:
    """The bundled model, loaded with every other layer left on disk."""
    return ns.load("demo", device_map=split(demo.model, "cpu", "disk"))


def test_the_same_neurons_are_located(demo: ns.VLM, split_demo: ns.VLM):
    assert any(parameter.device.type == "meta" for parameter in split_demo.model.parameters())
    assert split_demo.fingerprint == demo.fingerprint
    pair = ns.counterfactual(scenes_of("bear", 1)[0])
    method = ns.TwoStage(points=1, rounds=1, cut=Recovery(share=0.2, word=False, most=6, draws=1))
    plain, found = (method.locate(vlm, pair) for vlm in (demo, split_demo))
    assert len(plain.neurons) > 0
    assert found.neurons.members == plain.neurons.members
    assert found.neurons.scores == plain.neurons.scores  # shares of the cut are read another way: weights come and go
    assert ns.decode(split_demo, found.neurons) == ns.decode(demo, plain.neurons)
    change = ns.Noise(plain.neurons, level=8.0, draws=2)
    assert split_demo.captions([pair.original], change) == demo.captions([pair.original], change)
    maps = [ns.heatmap(vlm, pair.original, plain.neurons).values for vlm in (demo, split_demo)]
    np.testing.assert_array_equal(*maps)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_a_map_of_one_device_is_that_device(checkpoint: Path, vlm: ns.VLM, device_map: Any):
    loaded = ns.load(checkpoint, device_map=device_map)
    assert loaded.fingerprint == vlm.fingerprint
    assert all(parameter.device.type != "meta" for parameter in loaded.model.parameters())


@pytest.mark.parametrize("device_map", ["sideways", {"": "nowhere"}, {"": "cuda:99"}])
def test_a_map_to_nowhere_is_refused(checkpoint: Path, device_map: Any):
    with pytest.raises(UnsupportedModel, match="cannot be loaded as a vision-language model") as caught:
        ns.load(checkpoint, device_map=device_map)
    assert "\n" not in str(caught.value)


def test_gradients_wanted_by_the_user_are_wanted_afterwards(noise: Image.Image):
    """accelerate puts new objects in the place of parameters, which forget what is asked of the old ones."""
    model, processor = ZOO["llava"].build()
    cpu_offload(model, execution_device=torch.device("cpu"))
    wanted = {name: index % 2 == 0 for index, (name, _) in enumerate(model.named_parameters())}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(wanted[name])
    vlm = ns.load((model, processor))
    vlm.caption(noise)
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wanted


def offloaded(*more: ModelHook) -> tuple[nn.Linear, torch.Tensor]:
    linear = nn.Linear(3, 2)
    values = linear.weight.detach().clone()
    for number, hook in enumerate((AlignDevicesHook(torch.device("cpu"), offload=True), *more)):
        add_hook_to_module(linear, hook, append=number > 0)
    return linear, values


@pytest.mark.parametrize("more", [(), (ModelHook(),)], ids=["one hook", "a chain of hooks"])
def test_weights_are_present_inside_the_block_only(more: tuple[ModelHook, ...]):
    linear, values = offloaded(*more)
    assert (linear.weight.device.type, device_of(linear)) == ("meta", torch.device("cpu"))
    taken: list[torch.Tensor] = []

    def interrupted() -> None:
        with present(linear):
            taken.append(linear.weight)
            with present(linear):  # inside itself it is there already, and stays
                pass
            assert torch.equal(linear.weight, values)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert linear.weight.device.type == "meta"
    assert torch.equal(taken[0], values)
    assert torch.equal(dict(weights(linear))["weight"], values)


@pytest.mark.parametrize("read", [device_of, lambda m: list(weights(m)), lambda m: present(m).__enter__()])
def test_weights_that_nothing_brings_are_an_error(read: Callable[[nn.Module], object]):
    with pytest.raises(UnsupportedModel, match=r"weights of a Linear \(weight, bias\) are on the device 'meta'"):
        read(nn.Linear(3, 2, device="meta"))


def test_a_module_without_weights_computes_on_the_default_device():
    assert device_of(nn.GELU()) == torch.get_default_device()
    assert list(weights(nn.GELU())) == []
