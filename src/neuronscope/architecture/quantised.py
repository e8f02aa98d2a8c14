"""Linear maps whose weights are kept in few bits: reading W through the map itself, and loading in 8 or 4 bits.

    W[:, i] = f(e_i) - f(0)         e_i: the i-th unit vector

holds for every linear map however it keeps its weights, so that no format has to be known; each e_i is exact in 8 bits.
The result is rounded as the map rounds its outputs. Nothing is kept: at 7B a dense copy of all W_out has 5.4 GB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import InvalidOption, UnsupportedModel
from ..held import Changing, Held, Undo
from .wrapped import is_wrapper, linear_shape, refresh

_PLAIN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

#: How many unit vectors are put through a map at once.
_PROBED = 1024

#: What `dtype` may be called besides torch's types.
BITS = ("8bit", "4bit")


def is_plain(weight: Tensor) -> bool:
    """Whether a weight holds floating-point numbers as torch does, which can be read and replaced column by column."""
    return weight.dtype in _PLAIN and type(weight) in (nn.Parameter, Tensor) and type(weight.data) is Tensor


@torch.no_grad()
def dense(module: nn.Module, hidden: int = 0) -> Float[Tensor, "out in"]:
    """The weight of a linear map as floating-point numbers, also of one with something around it (wrapped.py).

    Its own weight where that is plain, else a new tensor in float32. `hidden` is the number of out features, for maps
    that do not tell it.
    """
    refresh(module)
    weight: Any = getattr(module, "weight", None)
    if not is_wrapper(module) and is_plain(weight):
        return weight if isinstance(module, nn.Linear) else weight.T
    shape = linear_shape(module, hidden)
    assert shape is not None
    with _probing(module) as (run, like):
        nothing = run(like.new_zeros(1, shape[1]))
        columns: list[Tensor] = []
        for start in range(0, shape[1], _PROBED):
            units = torch.arange(start, min(start + _PROBED, shape[1]), device=like.device)
            columns.append(run(nn.functional.one_hot(units, shape[1]).to(like.dtype)) - nothing)
        return torch.cat(columns).float().T


@torch.no_grad()
def offset(module: nn.Module, hidden: int) -> Float[Tensor, "out"]:
    """What a linear map adds, in float32: what it makes of nothing."""
    shape = linear_shape(module, hidden)
    assert shape is not None
    with _probing(module) as (run, like):
        return run(like.new_zeros(1, shape[1]))[0].float()


def _probing(module: nn.Module) -> Held[tuple[Callable[[Tensor], Tensor], Tensor]]:
    """How to run a map by itself, and a tensor with the type and device of its inputs. Dropout is off meanwhile."""
    inside = list(module.modules())
    training = [one for one in inside if one.training]
    values = [value for one in inside for value in (*one.parameters(recurse=False), *one.buffers(recurse=False))]
    at = next((value.device for value in values if value.device.type != "meta"), torch.device("cpu"))
    typed = () if isinstance(module, nn.Linear) else (value.dtype for value in values if is_plain(value))

    def change(undo: Undo) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        undo.note(lambda: [setattr(one, "training", True) for one in training])
        for one in training:
            one.training = False
        # Without its hooks, which are for the model's own passes; those of the maps inside are part of them.
        return partial(type(module).forward, module), torch.empty(0, dtype=next(iter(typed), torch.float32), device=at)

    return Changing(change)


def keep_differentiable(model: nn.Module) -> None:
    """Forbid bitsandbytes to repack 4-bit weights for a CPU kernel that has no backward pass.

    Gradients through such weights are silently lost. Raises UnsupportedModel where it has been done.
    """
    for name, module in model.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            plain: Any = module
            plain.support_avx512bf16_for_cpu = False
            if getattr(getattr(plain.weight, "quant_state", None), "packing_format_for_cpu", False):
                raise UnsupportedModel(
                    f"{name} was repacked for the CPU when the model ran, in a form without gradients: load it anew"
                )


def bits_config(bits: str, *, gpu: bool) -> Any:
    """transformers' settings for bitsandbytes: LLM.int8, or NF4 that computes in bfloat16 (on a CPU in float32).

    Raises InvalidOption for another word, and where bitsandbytes is not installed.
    """
    if bits not in BITS:
        raise InvalidOption(f"dtype={bits!r} is not one of {', '.join(BITS)}")
    if find_spec("bitsandbytes") is None:
        raise InvalidOption(f"dtype={bits!r} needs bitsandbytes: pip install 'neuronscope[bits]'")
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = torch.bfloat16 if gpu else torch.float32
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)
