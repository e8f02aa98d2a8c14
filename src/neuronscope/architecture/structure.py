"""Where the parts of a decoder are, found by shape and config, never by a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import NeuronOutOfRange, UnsupportedModel
from ..types import Part, Site
from .devices import device_of, present
from .quantised import dense, is_plain, offset
from .wrapped import is_wrapper, linear_shape

#: Names of the linear map that ends an FFN, over all families of transformers.
_OUTPUT_NAMES = ("down_proj", "fc2", "w2", "c_proj", "dense_4h_to_h", "wo", "proj_2", "ff_out", "fc_out")
#: Those of them that mean a linear map and nothing else: one that cannot be read is refused, not passed over.
_LINEAR_ONLY = ("down_proj", "fc2", "dense_4h_to_h", "fc_out")
#: Names of an FFN's activation function where it is a module.
ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "intermediate_act_fn", "activation")
_NOT_FFN = ("attn", "attention", "conv", "mixer")
#: Parameters whose tanh what an FFN gives is multiplied with.
_GATE_NAMES = ("cross_attn_mlp_gate",)
_AFTER_NAMES = ("post_feedforward_layernorm", "post_mlp_layernorm", "post_ff_layernorm", "post_feedforward_norm")


@dataclass(frozen=True)
class FFN:
    """The feed-forward network of one decoder layer.

    Attributes:
        name: dotted name of `output` inside the model; empty where the layer has no dense FFN.
        output: the linear map whose input is the neurons (site `neuron`).
        activation: the module whose input is site `pre` and whose output is site `act`; None when it is a function.
        block: the module whose output is `output(neurons)`, for messages.
        width: number of neurons, d_f; 0 where the layer has no dense FFN.
        after: a norm between the FFN's output and the residual stream, where there is one.
        note: what a user should know, such as that these are the neurons of shared experts only.
        experts: number of routed experts whose neurons these are (hooks/routed.py); 0 for an ordinary FFN.
        hidden: width of what `output` gives, for maps that do not tell it; 0 where they do.
        gate: module and name of the number whose tanh the FFN's output is multiplied with; None where there is none.
    """

    name: str
    output: nn.Module
    activation: nn.Module | None
    block: nn.Module
    width: int
    after: nn.Module | None = None
    note: str = ""
    experts: int = 0
    hidden: int = 0
    gate: tuple[nn.Module, str] | None = None

    @property
    def opening(self) -> float:
        """What the FFN's output is multiplied with on its way into the residual stream; 1 without a gate."""
        if self.gate is None:
            return 1.0
        module, name = self.gate
        with present(module):
            return float(getattr(module, name).detach().float().tanh())

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites that can be hooked in this layer."""
        if not self.width:
            return ()
        return ("neuron", "act", "pre") if self.activation is not None else ("neuron",)

    def value_vectors(self) -> Float[Tensor, "hidden width"]:
        """W_out; column i is the value vector of neuron i. With values also where accelerate keeps them elsewhere.

        Of a quantised W_out a new tensor in float32 (quantised.py).
        """
        with present(self.output):
            if self.experts:
                stacked: Any = self.output.down_proj
                return stacked.permute(1, 0, 2).flatten(1)
            return dense(self.output, self.hidden)

    @property
    def quantised(self) -> bool:
        """Whether W_out, or the map inside of what is around it, is kept in another form than plain numbers."""
        if self.experts:
            return False
        weights: list[Any] = [one.weight for one in self.output.modules() if hasattr(one, "weight")]
        return not all(isinstance(weight, Tensor) and is_plain(weight) for weight in weights)

    def bias(self) -> Float[Tensor, "hidden"] | None:
        """What the output map adds after W_out; None where it adds nothing."""
        with present(self.output):
            if not self.experts and is_wrapper(self.output):
                return offset(self.output, self.hidden)
            bias = getattr(self.output, "bias", None)
            return bias if isinstance(bias, Tensor) else None


@dataclass(frozen=True)
class Stack:
    """FFNs one after another: the decoder's, a vision tower's or a projector's. One layer per FFN."""

    layers: tuple[nn.Module, ...] = ()
    ffns: tuple[FFN, ...] = ()


@dataclass(frozen=True)
class Structure:
    """The parts of a decoder that neuronscope touches.

    Attributes:
        layers: the decoder layers.
        ffns: one per layer.
        norm: the final norm, where there is one.
        unembedding: the map from the residual stream to logits.
        hidden: width of the residual stream.
        generator: the language model inside that generates by itself, in models with a `generate` of their own.
        towers: the FFNs before the decoder (architecture/towers.py); empty where there are none of the dense form.
    """

    layers: tuple[nn.Module, ...]
    ffns: tuple[FFN, ...]
    norm: nn.Module | None
    unembedding: nn.Module
    hidden: int
    generator: nn.Module | None = None
    towers: Mapping[Part, Stack] = field(default_factory=dict[Part, Stack])

    def stack(self, part: Part) -> Stack:
        """Layers and FFNs of a part of the model. Raises NeuronOutOfRange where the part has no dense FFN."""
        found = Stack(self.layers, self.ffns) if part == "text" else self.towers.get(part, Stack())
        if not found.ffns:
            raise NeuronOutOfRange(f"this model has no {part} neurons: no dense FFN was found in its {part} part")
        return found

    @property
    def studied(self) -> tuple[int, ...]:
        """Layers that have neurons."""
        return tuple(layer for layer, ffn in enumerate(self.ffns) if ffn.width)


def find_structure(model: nn.Module) -> Structure:
    """Locate decoder layers, FFNs, final norm and unembedding. Raises UnsupportedModel naming the part not found."""
    config: Any = model.config
    text = config.get_text_config(decoder=True)
    decoder = _decoder(model)
    hidden, depth = int(text.hidden_size), getattr(text, "num_hidden_layers", None)
    lists = [(name, m) for name, m in decoder.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    # A module list as long as the config's depth; where the config has none, the least nested one.
    fitting = [(name, m) for name, m in lists if depth is None or len(m) == depth] or lists
    if not fitting:
        raise UnsupportedModel(f"no list of decoder layers found in {type(model).__name__}")
    name, stack = min(fitting, key=lambda found: ("decoder" not in found[0], found[0].count("."), len(found[0])))
    parent = decoder.get_submodule(name.rpartition(".")[0])
    names = {id(module): dotted for dotted, module in model.named_modules()}
    ffns = tuple(_find_ffn(layer, hidden, names) for layer in stack)
    if not any(ffn.width for ffn in ffns):
        raise UnsupportedModel(
            f"none of the {len(ffns)} decoder layers ({names[id(stack)]}) has a dense FFN output or shared expert"
        )
    norms = [m for key, m in parent.named_children() if "norm" in key and not key.startswith("per_layer")]
    head = _unembedding(model, getattr(text, "vocab_size", None))
    return Structure(tuple(stack), ffns, norms[-1] if norms else None, head, hidden, _generator(model))


def gain(norm: nn.Module, hidden: int) -> Float[Tensor, "hidden"]:
    """What a norm multiplies each direction of a vector of unit variance with, however it stores its weight.

    Measured on a vector of alternating signs, which has mean 0 and variance 1: families differ in whether the gain is
    `weight` or `1 + weight`.
    """
    parameter = next(norm.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    signs = torch.ones(hidden, dtype=dtype, device=device_of(norm))
    signs[1::2] = -1
    with torch.no_grad():
        return ((norm(signs[None])[0] - norm(torch.zeros_like(signs)[None])[0]) * signs).float()


def takes_mean(norm: nn.Module, hidden: int) -> bool:
    """Whether a norm takes the mean away, as LayerNorm does and RMSNorm does not: then it maps a constant like 0."""
    parameter = next(norm.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    ones = torch.ones(1, hidden, dtype=dtype, device=device_of(norm))
    with torch.no_grad():
        nothing = norm(torch.zeros_like(ones))
        return bool((norm(ones) - nothing).abs().sum() < 0.1 * gain(norm, hidden).abs().sum())


def _decoder(model: nn.Module) -> nn.Module:
    """Where to look for decoder layers: what the model calls its decoder, else its text part, else all of it."""
    finder: Any = getattr(model, "get_decoder", None)
    found: Any = finder() if finder is not None else None
    if isinstance(found, nn.Module) and any(isinstance(m, nn.ModuleList) for m in found.modules()):
        return found
    for name in ("text_decoder", "language_model", "text_model", "decoder"):
        part: Any = getattr(model, name, None)
        if isinstance(part, nn.Module):
            return part
    return model


def _unembedding(model: nn.Module, vocabulary: int | None) -> nn.Module:
    head: nn.Module | None = model.get_output_embeddings()  # pyright: ignore[reportCallIssue]
    if head is None:  # some classes do not say; the head is the linear map onto the vocabulary
        maps = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == vocabulary]
        head = maps[-1] if maps else None
    if head is None:
        raise UnsupportedModel(f"{type(model).__name__} has no output embeddings to read logits from")
    return head


def _generator(model: nn.Module) -> nn.Module | None:
    own = getattr(type(model), "generate", None)
    if own is None or own.__module__.startswith("transformers.generation"):
        return None
    for name in ("language_model", "text_model", "text_decoder"):
        for holder in (model, getattr(model, "model", None)):
            part: Any = getattr(holder, name, None)
            if isinstance(part, nn.Module) and hasattr(part, "generate"):
                return part
    return None


def _find_ffn(layer: nn.Module, hidden: int, names: dict[int, str]) -> FFN:
    found: list[tuple[str, nn.Module]] = []
    for name, module in layer.named_modules():
        leaf = name.rpartition(".")[2]
        named = leaf in _OUTPUT_NAMES or name.endswith("output.dense")
        if not named or any(word in name.lower() for word in _NOT_FFN) or ".experts." in f".{name}":
            continue
        if any(name.startswith(f"{outer}.") for outer, _ in found):
            continue  # part of a map with something around it
        shape = linear_shape(module, hidden)
        if shape is None and leaf in _LINEAR_ONLY and next(module.parameters(), None) is not None:
            raise UnsupportedModel(
                f"{names[id(module)]} is a {type(module).__name__}, in which no linear map onto {hidden} is found: put "
                "a plain nn.Linear in its place"
            )
        if shape is not None and shape[0] == hidden:
            found.append((name, module))
    if not found:
        return _routed(layer, hidden, names)
    if len(found) != 1:
        which = ", ".join(name for name, _ in found)
        raise UnsupportedModel(
            f"decoder layer {names[id(layer)]} has {len(found)} dense FFN outputs ({which}); one is needed"
        )
    name, output = found[0]
    # BERT-like `output` modules add the residual and normalise: there the linear map itself is the FFN's output.
    block = layer if name.endswith("output.dense") else layer.get_submodule(name.rpartition(".")[0])
    before = getattr(layer, "intermediate", block) if block is layer else block  # BERT: a module beside `output`
    activation = next((m for key, m in before.named_children() if key in ACTIVATION_NAMES), None)
    after = next((m for key, m in layer.named_children() if key in _AFTER_NAMES), None)
    shape = linear_shape(output, hidden)
    assert shape is not None
    note = "shared experts" if "shared" in name else ""
    gates = [(layer, key) for key, _ in layer.named_parameters(recurse=False) if key in _GATE_NAMES]
    gate = gates[0] if gates else None
    return FFN(names[id(output)], output, activation, block, shape[1], after, note, hidden=hidden, gate=gate)


def _routed(layer: nn.Module, hidden: int, names: dict[int, str]) -> FFN:
    """The routed experts of a layer that has neither a dense FFN nor a shared expert."""
    for module in layer.modules():
        weight = getattr(module, "down_proj", None)
        known = hasattr(getattr(module, "config", None), "_experts_implementation")  # transformers' common form
        if isinstance(weight, nn.Parameter) and weight.ndim == 3 and weight.shape[1] == hidden and known:
            experts, _, channels = weight.shape
            note = f"{experts} routed experts: unit = expert * {channels} + channel"
            return FFN(names[id(module)], module, None, module, experts * channels, note=note, experts=experts)
    return FFN("", layer, None, layer, 0, note="no dense FFN, shared expert or routed experts of the common form")
