"""Value vectors as they lie in the weights: reading and replacing the columns of W_out that belong to some neurons.

    w_i = W_out[:, i]     nn.Linear: weight[:, i];  Conv1D, which stores the transpose: weight[i, :];
                          routed experts: down_proj[expert, :, channel] with i = expert * channels + channel

Values are kept in the weights' own type, so that writing back what was read restores every bit. Weights that are not
plain floating-point numbers (quantised), or not in memory (offloaded), are refused before anything is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..architecture.quantised import is_plain
from ..architecture.structure import FFN
from ..architecture.wrapped import obstacle
from ..errors import InvalidOption, UnsupportedModel
from ..loading import VLM
from ..models.origin import require_own
from ..types import Neurons


def parameter_of(ffn: FFN) -> Tensor:
    """The parameter that holds a layer's W_out. Raises UnsupportedModel for a module without one."""
    weight: Any = getattr(ffn.output, "down_proj" if ffn.experts else "weight", None)
    if not isinstance(weight, Tensor):
        raise UnsupportedModel(f"{ffn.name} ({type(ffn.output).__name__}) holds no weight whose columns can be edited")
    return weight


def parameter_name(ffn: FFN) -> str:
    """The name of that parameter in the model's `state_dict`."""
    return f"{ffn.name}.{'down_proj' if ffn.experts else 'weight'}"


def transposed(ffn: FFN) -> bool:
    """Whether W_out is stored as [width, hidden] (Conv1D)."""
    return not ffn.experts and not isinstance(ffn.output, nn.Linear)


def require_editable(vlm: VLM, neurons: Neurons) -> None:
    """Refuse a set whose value vectors cannot be edited in this model.

    Raises InvalidOption for an empty set and for neurons outside the decoder, RunMismatch for neurons of another model,
    NeuronOutOfRange for neurons that the model does not have, and UnsupportedModel for weights that are quantised or
    not in memory.
    """
    if not len(neurons):
        raise InvalidOption("neurons is an empty set: there is nothing to edit")
    if neurons.part != "text":
        raise InvalidOption(f"neurons.part={neurons.part!r}: only neurons of the decoder (part 'text') can be edited")
    require_own(vlm, neurons)
    for layer in neurons.by_layer():
        require_plain(vlm, layer)


def require_plain(vlm: VLM, layer: int) -> None:
    """Raise UnsupportedModel unless a layer's W_out holds floating-point numbers, in memory.

    The weight itself is looked at, not what the config says: that of a model made from a GGUF file may still say
    "quantised" when its weights are plain numbers.
    """
    ffn = vlm.structure.ffns[layer]
    if not ffn.experts and (why := obstacle(ffn.output)):
        raise UnsupportedModel(f"the weight of {ffn.name} {why}; an edit of its columns would be lost")
    weight = parameter_of(ffn)
    if not is_plain(weight):
        kind = type(weight).__name__ if type(weight) is not nn.Parameter else type(weight.data).__name__
        raise UnsupportedModel(
            f"{ffn.name} is quantised or split ({kind}, {weight.dtype}): its columns cannot be changed exactly. Load "
            "the model unquantised (dtype='bfloat16', no quantization_config), edit it, save_model(), quantise that"
        )
    if weight.device.type == "meta":
        raise UnsupportedModel(
            f"the weights of {ffn.name} are offloaded (device 'meta'): accelerate brings a copy for each call, and an "
            "edit would be lost. Give that layer a device in device_map, or load the model without one"
        )


def read_columns(vlm: VLM, layer: int, units: Sequence[int]) -> Float[Tensor, "hidden units"]:
    """A copy of the value vectors of some neurons, in the weights' type and on their device."""
    ffn = vlm.structure.ffns[layer]
    weight = parameter_of(ffn).detach()
    at = torch.tensor(list(units), device=weight.device)
    if ffn.experts:
        channels = weight.shape[2]
        columns = weight[at // channels, :, at % channels].T
    else:
        columns = weight[at].T if transposed(ffn) else weight[:, at]
    return columns.clone(memory_format=torch.contiguous_format)


@torch.no_grad()
def write_columns(vlm: VLM, layer: int, units: Sequence[int], values: Float[Tensor, "hidden units"]) -> None:
    """Put value vectors in place of those of some neurons."""
    ffn = vlm.structure.ffns[layer]
    weight = parameter_of(ffn).detach()  # counts as a change of the parameter, which `.data` would hide
    at, new = torch.tensor(list(units), device=weight.device), values.to(weight.device)
    if ffn.experts:
        channels = weight.shape[2]
        weight[at // channels, :, at % channels] = new.T
    elif transposed(ffn):
        weight[at] = new.T
    else:
        weight[:, at] = new


def write_all(
    vlm: VLM,
    units: Mapping[int, Sequence[int]],
    new: Mapping[int, Float[Tensor, "_hidden _units"]],
    old: Mapping[int, Float[Tensor, "_hidden _units"]],
) -> None:
    """Replace the columns of all layers, or of none: an error or an interrupt in between puts the old ones back."""
    try:
        for layer, members in units.items():
            write_columns(vlm, layer, members, new[layer])
    except BaseException:
        for layer, members in units.items():
            with suppress(KeyboardInterrupt):  # a second one; the first is on its way
                write_columns(vlm, layer, members, old[layer])
        raise


def with_columns(
    vlm: VLM, units: Mapping[int, Sequence[int]], new: Mapping[int, Float[Tensor, "_hidden _units"]]
) -> dict[str, Tensor]:
    """Parameters with some columns replaced, for `torch.func.functional_call`; the model's own stay as they are.

    Differentiable in the columns, which are rounded to the weights' type as an edit would round them.
    """
    made: dict[str, Tensor] = {}
    for layer, members in units.items():
        ffn = vlm.structure.ffns[layer]
        weight = parameter_of(ffn).detach()
        columns = new[layer].to(weight.device, weight.dtype)
        at = torch.tensor(list(members), device=weight.device)
        if ffn.experts:
            side = weight.permute(1, 0, 2)
            changed = side.flatten(1).index_copy(1, at, columns).unflatten(1, side.shape[1:]).permute(1, 0, 2)
        else:
            stored = transposed(ffn)
            changed = weight.index_copy(0 if stored else 1, at, columns.T if stored else columns)
        made[parameter_name(ffn)] = changed
    return made
