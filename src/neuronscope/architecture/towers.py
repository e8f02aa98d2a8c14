"""Feed-forward networks before the decoder: the vision tower's and the projector's, found by shape and place.

Their neurons are addressed as the decoder's are, `vision.L.N` and `projector.L.N`, where layer L is the L-th dense FFN
in the order of the model's modules: in a plain tower the encoder layer. A single linear map has no neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from ..types import Part
from .structure import ACTIVATION_NAMES, FFN, Stack, Structure
from .wrapped import linear_shape

#: What models call their vision tower.
VISION_TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "image_encoder", "image_tower")
#: Words in a module's dotted name that place it. The first list is looked at first: a merger may sit inside a tower.
_PLACES: tuple[tuple[Part, tuple[str, ...]], ...] = (
    ("gated", ("gated_cross_attn",)),
    ("projector", ("projector", "projection", "connector", "merger", "qformer", "resampler", "aligner", "adapter")),
    ("vision", VISION_TOWERS),
)
#: Parts that a still picture never passes.
_ELSEWHERE = ("audio", "video_tower", "generation_", "vqmodel", "vqvae", "attn", "attention", ".head.")
#: Names of the linear map that ends an FFN.
_OUTPUTS = (
    *("fc2", "down_proj", "linear_2", "linear2", "linear_fc2", "lin2", "linear_out", "c_proj", "w2", "wo", "out_proj"),
    *("output.dense", "output_query.dense", "mlp.down"),
)


def with_towers(model: nn.Module, structure: Structure) -> Structure:
    """The structure with the dense FFNs of vision tower and projector, in the order of the model's modules."""
    inside = {id(module) for layer in structure.layers for module in layer.modules()}
    found: dict[Part, list[tuple[nn.Module, FFN]]] = {part: [] for part, _ in _PLACES}
    for name, module in model.named_modules():
        part = _part(name)
        if part is None or id(module) in inside or (shape := _map(name, module)) is None:
            continue
        block = _block(model, name, module, shape[1])
        if block is not None:
            activation = next((m for key, m in block.named_children() if key in ACTIVATION_NAMES), None)
            found[part].append((block, FFN(name, module, activation, block, shape[1], hidden=shape[0])))
    towers: dict[Part, Stack] = {
        part: Stack(tuple(block for block, _ in pairs), tuple(ffn for _, ffn in pairs)) for part, pairs in found.items()
    }
    return replace(structure, towers=towers)


def _part(name: str) -> Part | None:
    plain = name
    for word in (word for _, words in _PLACES for word in words):
        plain = plain.replace(word, "")  # a place may be named after the attention that is in it
    if any(word in plain for word in _ELSEWHERE):
        return None
    return next((part for part, words in _PLACES if any(word in name for word in words)), None)


def _map(name: str, module: nn.Module) -> tuple[int, int] | None:
    """(out features, in features) of a linear map, or of one with something around it that has an output's name."""
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    named = any(f".{name}".endswith(f".{end}") for end in _OUTPUTS)
    if not named or (not hasattr(module, "base_layer") and any(key == "linear" for key, _ in module.named_children())):
        return None  # some families wrap each linear map; what is inside is taken
    return linear_shape(module)


def _block(model: nn.Module, name: str, output: nn.Module, width: int) -> nn.Module | None:
    """The module whose last linear map this is, when a linear map before it makes its neurons; else None."""
    plain = name.removesuffix(".linear")  # some families wrap each linear map
    parent_name, _, leaf = plain.rpartition(".")
    if plain.endswith(".dense"):  # BERT: the maps of an FFN are children of the layer
        parent_name, _, holder = parent_name.rpartition(".")
        leaf = f"{holder}.dense"
    parent = model.get_submodule(parent_name)
    siblings = list(_linears(parent))
    in_sequence = isinstance(parent, nn.Sequential) and output is siblings[-1]
    if leaf not in _OUTPUTS and not in_sequence:
        return None
    if leaf == "output.dense" and hasattr(parent, "output_query"):
        return None  # a Q-Former's FFN for text, which the image's queries do not pass
    own = {id(one) for one in output.modules()}
    widths = (width, 2 * width)  # twice where gate and values come from one map
    feeds = any(id(other) not in own and other.out_features in widths for other in siblings)
    return parent if feeds else None


def _linears(module: nn.Module) -> Iterator[Any]:
    """The linear maps below a module; of an adapted one (PEFT) itself in the place of its parts."""
    adapted = [name for name, child in module.named_modules() if hasattr(child, "base_layer")]
    for name, child in module.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in adapted)
        if (isinstance(child, nn.Linear) or name in adapted) and not inside and not any(w in name for w in _ELSEWHERE):
            yield child
