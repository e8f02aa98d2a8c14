"""Where a module's weights are, for models that accelerate has split over devices or keeps outside of them.

`device_map` puts parts of a model on several devices, in main memory or on disk. A part that is kept outside lies on
the device "meta", without values, except while its own forward runs: accelerate's hook brings the weights then. Whoever
reads a weight without running the module has to ask for it here.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModel
from ..held import Changing, Undo


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and value of the parameters and buffers that a module holds itself."""
    yield from chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: where its own weights are, or where accelerate takes them when it is called.

    The default device for a module without weights. Raises UnsupportedModel for weights without values.
    """
    at = next((value.device for _, value in _own(module)), None)
    if at is None:
        return torch.get_default_device()
    if at.type != "meta":
        return at
    hook: Any = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", (hook,)):  # accelerate chains hooks in one that has them as `hooks`
        if (target := getattr(one, "execution_device", None)) is not None:
            return torch.device(target)
    raise UnsupportedModel(_lost(module))


def present(module: nn.Module) -> AbstractContextManager[None]:
    """The weights that a module holds itself, with values for the time of the block.

    Does nothing where they have values already. A tensor taken inside the block keeps its values afterwards. Raises
    UnsupportedModel for weights without values that nothing brings.
    """
    return Changing(partial(_bring, module)) if _away(module) else nullcontext()


def _bring(module: nn.Module, undo: Undo) -> None:
    hook: Any = getattr(module, "_hf_hook", None)
    if hook is None:
        raise UnsupportedModel(_lost(module))
    undo.note(lambda: hook.post_forward(module, None))
    hook.pre_forward(module)
    if _away(module):
        raise UnsupportedModel(_lost(module))


def explain(model: nn.Module, error: BaseException | None) -> None:
    """Raise UnsupportedModel where a call of a whole model failed because of how accelerate has split it.

    Some families read a weight of a part that is not running, which accelerate has not brought.
    """
    if not isinstance(error, RuntimeError):
        return
    away = any(parameter.device.type == "meta" for parameter in model.parameters())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "modeling_" in frame.filename]
    if away and frames and "meta" in str(error):
        raise UnsupportedModel(
            f"{type(model).__name__} reads a weight outside the part that holds it ({Path(frames[-1].filename).name}: "
            f"{frames[-1].line}), where accelerate does not bring it: give that part a device in device_map"
        ) from error


def weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and value of everything in a model's `state_dict`, in its order; one module at a time is brought.

    Raises UnsupportedModel for weights without values that nothing brings.
    """
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UnsupportedModel(
                f"{name} is a {type(value).__name__}, not a tensor: weights that torch.ao packed cannot be read; load "
                "the model unquantised, or with dtype='8bit'"
            )
        if value.device.type != "meta":
            yield name, value.detach()
            continue
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        with present(module):
            yield name, getattr(module, leaf).detach()


def _away(module: nn.Module) -> bool:
    return any(value.device.type == "meta" for _, value in _own(module))


def _lost(module: nn.Module) -> str:
    names = ", ".join(name for name, value in _own(module) if value.device.type == "meta")
    return (
        f"the weights of a {type(module).__name__} ({names}) are on the device 'meta' and have no values; "
        "load the model with its weights, or split it with device_map"
    )
