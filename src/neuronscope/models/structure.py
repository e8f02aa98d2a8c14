"""Where the parts of a decoder are, found by shape and config, never by a model's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import UnsupportedModel
from ..types import Site

#: Names of the linear map that ends an FFN, over all families of transformers.
_OUTPUT_NAMES = ("down_proj", "fc2", "w2", "c_proj", "dense_4h_to_h", "wo", "proj_2", "ff_out", "fc_out")
_ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "intermediate_act_fn", "activation")
_NOT_FFN = ("attn", "attention", "conv", "mixer")


@dataclass(frozen=True)
class FFN:
    """The feed-forward network of one decoder layer.

    Attributes:
        name: dotted name of `output` inside the model.
        output: the linear map whose input is the neurons (site `neuron`).
        activation: the module whose input is site `pre` and whose output is site `act`; None when it is a function.
        block: the module whose output is `output(neurons)`, for messages.
        width: number of neurons, d_f.
    """

    name: str
    output: nn.Module
    activation: nn.Module | None
    block: nn.Module
    width: int

    @property
    def sites(self) -> tuple[Site, ...]:
        """Sites that can be hooked in this layer."""
        return ("neuron", "act", "pre") if self.activation is not None else ("neuron",)

    def value_vectors(self) -> Float[Tensor, "hidden width"]:
        """W_out; column i is the value vector of neuron i."""
        weight = self.output.weight
        assert isinstance(weight, Tensor)
        return weight if isinstance(self.output, nn.Linear) else weight.T


@dataclass(frozen=True)
class Structure:
    """The parts of a decoder that neuronscope touches."""

    layers: tuple[nn.Module, ...]
    ffns: tuple[FFN, ...]
    norm: nn.Module | None
    unembedding: nn.Module
    hidden: int


def find_structure(model: nn.Module) -> Structure:
    """Locate decoder layers, FFNs, final norm and unembedding. Raises UnsupportedModel naming the part not found."""
    decoder: nn.Module = model.get_decoder()  # pyright: ignore[reportCallIssue]
    config: Any = model.config
    text = config.get_text_config(decoder=True)
    hidden, depth = int(text.hidden_size), getattr(text, "num_hidden_layers", None)
    lists = [(name, m) for name, m in decoder.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    # A module list as long as the config's depth; where the config has none, the least nested one.
    fitting = [(name, m) for name, m in lists if depth is None or len(m) == depth] or lists
    if not fitting:
        raise UnsupportedModel(f"no list of decoder layers found in {type(model).__name__}")
    name, stack = min(fitting, key=lambda found: (found[0].count("."), "decoder" not in found[0], len(found[0])))
    parent = decoder.get_submodule(name.rpartition(".")[0])
    names = {id(module): dotted for dotted, module in model.named_modules()}
    ffns = tuple(_find_ffn(layer, hidden, names) for layer in stack)
    norms = [m for key, m in parent.named_children() if "norm" in key and not key.startswith("per_layer")]
    head: nn.Module | None = model.get_output_embeddings()  # pyright: ignore[reportCallIssue]
    if head is None:
        raise UnsupportedModel(f"{type(model).__name__} has no output embeddings to read logits from")
    return Structure(tuple(stack), ffns, norms[-1] if norms else None, head, hidden)


def _find_ffn(layer: nn.Module, hidden: int, names: dict[int, str]) -> FFN:
    found: list[tuple[str, nn.Module]] = []
    for name, module in layer.named_modules():
        leaf = name.rpartition(".")[2]
        if leaf not in _OUTPUT_NAMES or any(word in name.lower() for word in _NOT_FFN):
            continue
        if _shape(module) is not None and _shape(module)[0] == hidden:  # pyright: ignore[reportOptionalSubscript]
            found.append((name, module))
    if len(found) != 1:
        which = ", ".join(name for name, _ in found) or "none"
        raise UnsupportedModel(
            f"decoder layer {names[id(layer)]} has {len(found)} dense FFN outputs ({which}); one is needed"
        )
    name, output = found[0]
    block = layer.get_submodule(name.rpartition(".")[0])
    activation = next((m for key, m in block.named_children() if key in _ACTIVATION_NAMES), None)
    shape = _shape(output)
    assert shape is not None
    return FFN(names[id(output)], output, activation, block, shape[1])


def _shape(module: nn.Module) -> tuple[int, int] | None:
    """(out features, in features) of a linear map; None for other modules."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return None
    if isinstance(module, nn.Linear):
        return (module.out_features, module.in_features)
    return (weight.shape[1], weight.shape[0])  # Conv1D of GPT-2 stores the transpose
