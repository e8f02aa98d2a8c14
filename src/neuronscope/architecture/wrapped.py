"""Linear maps that something else sits around, or makes the weight of: adapters, parametrizations, pruning, wrappers.

Such a map is read through: its shape is that of the widest linear map inside, and its weight is what it does to unit
vectors (quantised.py). Its columns cannot be edited, since what they are made from stays; :func:`obstacle` says what
helps. The self-check proves that what was read is what the model does, and names what is in the way where it is not.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

#: Hooks of torch that put the weight together just before a module runs, so that it is stale until then.
_MAKERS = (BasePruningMethod, SpectralNorm, WeightNorm)


def refresh(module: nn.Module) -> None:
    """Put a weight together anew that torch's older hooks keep beside the parameters that it is made from."""
    for hook in _hooks(module):
        if isinstance(hook, _MAKERS):
            hook(module, None)


def linear_shape(module: nn.Module, hidden: int | None = None) -> tuple[int, int] | None:
    """(out features, in features) of a linear map, also of one with something around it; None for other modules.

    Args:
        module: what may be one.
        hidden: out features of the one that is looked for inside; None where they are not known.
    """
    if (own := _own_shape(module)) is not None:
        return own
    shapes = [shape for one in module.modules() if (shape := _own_shape(one)) is not None]
    fitting = [shape for shape in shapes if hidden is None or shape[0] == hidden]
    return max(fitting, key=lambda shape: shape[1], default=None)


def _own_shape(module: nn.Module) -> tuple[int, int] | None:
    sides: tuple[Any, Any] = (getattr(module, "out_features", None), getattr(module, "in_features", None))
    if isinstance(sides[0], int) and isinstance(sides[1], int):
        return sides
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim == 2 and next(module.children(), None) is None:
        return (weight.shape[1], weight.shape[0])  # Conv1D of GPT-2 stores the transpose
    return None


def is_wrapper(module: nn.Module) -> bool:
    """Whether the linear map is inside, or not there as numbers at all."""
    if hasattr(module, "base_layer") or not isinstance(getattr(module, "weight", None), Tensor):
        return True
    return not isinstance(module, nn.Linear) and next(module.children(), None) is not None


def obstacle(module: nn.Module) -> str:
    """Why the columns of a linear map's weight cannot be edited, and what helps; empty where they can."""
    kind = type(module).__name__
    if hasattr(module, "base_layer"):
        return f"has an adapter around it ({kind}): merge it first, with PEFT's merge_and_unload()"
    if hasattr(module, "parametrizations"):
        return (
            f"is parametrized ({kind}): torch.nn.utils.parametrize.remove_parametrizations(module, 'weight') fixes it"
        )
    for hook in _hooks(module):
        if isinstance(hook, BasePruningMethod):
            return "is pruned by a mask: torch.nn.utils.prune.remove(module, 'weight') makes it permanent"
        if isinstance(hook, WeightNorm):
            return "is under weight_norm: torch.nn.utils.remove_weight_norm(module) helps"
        if isinstance(hook, SpectralNorm):
            return "is under spectral_norm: torch.nn.utils.remove_spectral_norm(module) helps"
    if is_wrapper(module):
        return f"is inside a {kind}, or not there as numbers: put a plain nn.Linear with the same weight in its place"
    if "weight" not in dict(module.named_parameters(recurse=False)):
        return f"is made anew by a {kind} whenever it runs: put a plain nn.Linear with the same weight in its place"
    return ""


def in_the_way(name: str, module: nn.Module) -> list[str]:
    """What may change what a module gives besides its weights, one phrase each: hooks, another forward."""
    found: list[str] = []
    others = [hook for hook in _hooks(module) if not isinstance(hook, _MAKERS)]
    if others:
        found.append(f"{name} has hooks ({', '.join(sorted({_called(hook) for hook in others}))})")
    hook: Any = getattr(module, "_hf_hook", None)
    if hook is not None and type(hook).__name__ not in ("AlignDevicesHook", "SequentialHook"):
        found.append(f"{name} has a hook of accelerate ({type(hook).__name__})")
    elif hook is None and "forward" in vars(module):
        found.append(f"{name} was given a forward of its own ({_called(vars(module)['forward'])})")
    if isinstance(module, nn.Linear) and type(module).forward is not nn.Linear.forward:
        found.append(f"{name} is a {type(module).__name__}, whose forward is its own")
    elif is_wrapper(module) and isinstance(getattr(module, "in_features", 0), int) and hasattr(module, "base_layer"):
        found.append(f"{name} has an adapter around it ({type(module).__name__})")
    return found


def _hooks(module: nn.Module) -> list[Any]:
    known = vars(module)
    return [*known["_forward_hooks"].values(), *known["_forward_pre_hooks"].values()]


def _called(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__)).replace(".<locals>", "")
