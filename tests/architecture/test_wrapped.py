"""What sits between a block and its weight is read through, or refused by name with what helps; never passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import neuronscope as ns
from neuronscope.edit import Amplify
from neuronscope.errors import UnsupportedModel
from neuronscope.testing import tiny_model

LAYER = 1


def mlp(model: Any, layer: int = LAYER) -> Any:
    return model.model.language_model.layers[layer].mlp


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 0.5 * weight


class Around(nn.Module):
    """A linear map with something around it."""

    def __init__(self, inner: nn.Module, factor: float = 1.0, shift: float = 0.0) -> None:
        super().__init__()
        self.inner, self.factor, self.shift = inner, factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.inner(x) + self.shift


class Packed(nn.Module):
    """Keeps its weight as bytes and tells its shape only."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = inner.in_features, inner.out_features
        self.register_buffer("packed", inner.weight.detach().clone().view(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.packed.view(torch.float32).T


class Sum(nn.Module):
    """A frozen map and one that was learned beside it."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.frozen, self.learned = inner, nn.Linear(inner.in_features, inner.out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.learned(x)


def replaced(make: Callable[[Any], nn.Module]) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        mlp(model).down_proj = make(mlp(model).down_proj)
        return model

    return change


def done(change: Callable[[Any], object]) -> Callable[[Any], Any]:
    def then(model: Any) -> Any:
        change(mlp(model).down_proj)
        return model

    return then


def adapted(**options: Any) -> Callable[[Any], Any]:
    def change(model: Any) -> Any:
        peft = pytest.importorskip("peft")
        kind = options.pop("kind", "LoraConfig")
        settings = {"target_modules": r".*language_model.*1\.mlp\.down_proj", **options}
        if kind == "LoraConfig":
            settings.update(r=2, init_lora_weights=False)
        return peft.get_peft_model(model, getattr(peft, kind)(**settings)).eval()

    return change


def unwrapped(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda model: change(model).base_model.model


#: What sits there -> how it is put there, and what the refusal of an edit says.
READ_THROUGH: dict[str, tuple[Callable[[Any], Any], str]] = {
    "parametrization": (
        done(lambda m: parametrize.register_parametrization(m, "weight", Halved())),
        r"is parametrized.*remove_parametrizations",
    ),
    "weight_norm": (done(nn.utils.weight_norm), "under weight_norm: torch.nn.utils.remove_weight_norm"),
    "weight_norm as a parametrization": (done(parametrizations.weight_norm), "is parametrized"),
    "spectral_norm": (done(parametrizations.spectral_norm), "is parametrized"),
    "older spectral_norm": (done(nn.utils.spectral_norm), "under spectral_norm: .*remove_spectral_norm"),
    "orthogonal": (done(parametrizations.orthogonal), "is parametrized"),
    "pruned": (done(lambda m: prune.random_unstructured(m, "weight", 0.3)), r"pruned by a mask.*prune\.remove"),
    "pruned columns": (done(lambda m: prune.ln_structured(m, "weight", 0.3, 2, 1)), "pruned by a mask"),
    "LoRA": (adapted(), r"adapter around it.*merge_and_unload"),
    "LoRA, without its wrapper": (unwrapped(adapted()), "adapter around it"),
    "LoRA with dropout": (adapted(lora_dropout=0.5), "adapter around it"),
    "DoRA": (adapted(use_dora=True), "adapter around it"),
    "rank-stabilised LoRA on everything": (adapted(target_modules="all-linear", use_rslora=True), "adapter around it"),
    "IA3": (adapted(kind="IA3Config", feedforward_modules=r".*language_model.*1\.mlp\.down_proj"), "adapter around it"),
    "OFT": (adapted(kind="OFTConfig", oft_block_size=4, init_weights=False), "adapter around it"),
    "a module around it": (replaced(Around), "inside a Around"),
    "a module with a factor": (replaced(lambda m: Around(m, 2.0)), "inside a Around"),
    "a module with a shift": (replaced(lambda m: Around(m, -1.0, 0.25)), "inside a Around"),
    "two modules around it": (replaced(lambda m: Around(Around(m, 3.0), 0.5)), "inside a Around"),
    "a sequence": (replaced(lambda m: nn.Sequential(m, nn.Identity())), "inside a Sequential"),
    "two maps": (replaced(Sum), "inside a Sum"),
    "packed": (replaced(Packed), "not there as numbers"),
}


def truth(output: nn.Module, width: int) -> Tensor:
    """What a map does to unit vectors, called as the model calls it."""
    with torch.no_grad():
        return (output(torch.eye(width)) - output(torch.zeros(1, width))).T


@pytest.mark.parametrize("case", READ_THROUGH)
def test_what_sits_there_is_read_through(vlm: ns.VLM, case: str) -> None:
    widths = vlm.widths
    change, refusal = READ_THROUGH[case]
    vlm = ns.load((change(tiny_model().eval()), vlm.processor))  # the self-check proves it as well
    ffn = vlm.structure.ffns[LAYER]
    assert vlm.widths == widths
    torch.testing.assert_close(ffn.value_vectors(), truth(ffn.output, ffn.width), atol=1e-6, rtol=1e-5)
    bias = ffn.bias()
    with torch.no_grad():
        offset = ffn.output(torch.zeros(1, ffn.width))[0]
    torch.testing.assert_close(torch.zeros(32) if bias is None else bias, offset, atol=1e-6, rtol=1e-5)
    with pytest.raises(UnsupportedModel, match=refusal) as caught:
        Amplify(factor=2.0).edit(vlm, ns.Neurons.of([(LAYER, 3)]))
    assert ffn.name in str(caught.value)
    other = ns.Neurons.of([(LAYER + 1, 3)])
    if "everything" not in case:
        with Amplify(factor=2.0).edit(vlm, other):
            pass


def test_pruning_that_changed_since_the_last_pass_is_seen(make_vlm: Callable[..., ns.VLM]) -> None:
    vlm = make_vlm()
    output = mlp(vlm.model).down_proj
    prune.random_unstructured(output, "weight", 0.3)
    with torch.no_grad():
        output.weight_orig.mul_(2.0)
    before = vlm.structure.ffns[LAYER].value_vectors().clone()
    torch.testing.assert_close(before, truth(output, 48))


def hooked(model: Any) -> Any:
    mlp(model).down_proj.register_forward_hook(lambda _m, _a, out: 2 * out)
    return model


def accelerated(model: Any) -> Any:
    from accelerate.hooks import ModelHook, add_hook_to_module

    class Doubling(ModelHook):
        def post_forward(self, module: nn.Module, output: Tensor) -> Tensor:
            return 2 * output

    add_hook_to_module(mlp(model).down_proj, Doubling())
    return model


def patched(model: Any) -> Any:
    old = mlp(model).down_proj.forward
    mlp(model).down_proj.forward = lambda x: 3 * old(x)
    return model


def patched_block(model: Any) -> Any:
    old = mlp(model).forward
    mlp(model).forward = lambda x: 3 * old(x)
    return model


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def derived(model: Any) -> Any:
    made = Doubled(48, 32, bias=False)
    made.weight = mlp(model).down_proj.weight
    mlp(model).down_proj = made
    return model


class Bent(nn.Module):
    """Not linear."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(30 * self.inner(x))


class Opaque(nn.Module):
    """Tells neither a shape nor a weight."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.values = nn.Parameter(inner.weight.detach().clone().flatten())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.values.view(32, 48).T


NAMED = r"layers\.1\.mlp\.down_proj"
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "hook": (hooked, rf"{NAMED} has hooks \(hooked"),
    "hook of accelerate": (accelerated, rf"{NAMED} has a hook of accelerate \(Doubling\)"),
    "forward of its own": (patched, rf"{NAMED} was given a forward of its own"),
    "block with a forward of its own": (patched_block, r"layers\.1\.mlp was given a forward of its own"),
    "class with another forward": (derived, rf"{NAMED} is a Doubled, whose forward is its own"),
    "not linear": (replaced(Bent), r"neuron @ W_out = FFN output"),
    "opaque": (replaced(Opaque), rf"{NAMED} is a Opaque, in which no linear map onto 32 is found"),
    "packed by torch.ao": (
        lambda model: torch.ao.quantization.quantize_dynamic(model, {nn.Linear}),
        r"is a dtype, not a tensor: weights that torch\.ao packed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_through_is_refused_by_name(vlm: ns.VLM, case: str) -> None:
    change, reason = REFUSED[case]
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        ns.load((change(tiny_model().eval()), vlm.processor))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["all-linear", "around"])
def test_towers_keep_their_layers_and_numbers(make_vlm: Callable[..., ns.VLM], case: str) -> None:
    plain = make_vlm()
    before = {part: [ffn.width for ffn in stack.ffns] for part, stack in plain.structure.towers.items()}
    if case == "around":
        for block in plain.model.model.vision_tower.encoder.layers[:1]:
            block.mlp.fc2 = Around(block.mlp.fc2, 2.0, 0.5)
        plain.model.model.multi_modal_projector.linear_2 = Around(plain.model.model.multi_modal_projector.linear_2)
        model = plain.model
    else:
        model = adapted(target_modules="all-linear")(plain.model)
    towers = ns.load((model.eval(), plain.processor)).structure.towers
    assert {part: [ffn.width for ffn in stack.ffns] for part, stack in towers.items()} == before
    for stack in towers.values():
        for ffn in stack.ffns:
            torch.testing.assert_close(ffn.value_vectors(), truth(ffn.output, ffn.width), atol=1e-6, rtol=1e-5)


def test_probing_leaves_the_model_in_training_and_without_gradients(make_vlm: Callable[..., ns.VLM]) -> None:
    plain = make_vlm()
    model = adapted(lora_dropout=0.5)(plain.model).train()
    vlm = ns.load((model, plain.processor), check=False)
    modes = [module.training for module in model.modules()]
    first, second = (vlm.structure.ffns[LAYER].value_vectors() for _ in range(2))
    assert torch.equal(first, second)  # dropout is off while it is read
    assert not first.requires_grad
    assert [module.training for module in model.modules()] == modes


def test_captions_of_an_adapted_model_follow_the_adapter(make_vlm: Callable[..., ns.VLM], picture: Any) -> None:
    plain = make_vlm()
    peft = pytest.importorskip("peft")
    model = adapted()(plain.model)
    vlm = ns.load((model, plain.processor))
    with_adapter = vlm.caption(picture)
    merged = model.merge_and_unload()
    assert isinstance(model, peft.PeftModel)
    again = ns.load((merged, plain.processor))
    assert again.caption(picture) == with_adapter
    torch.testing.assert_close(
        again.structure.ffns[LAYER].value_vectors(), vlm.structure.ffns[LAYER].value_vectors(), atol=1e-6, rtol=1e-5
    )
    with Amplify(factor=2.0).edit(again, ns.Neurons.of([(LAYER, 3)])):
        pass
