"""Two devices on a machine that has one: a map that splits a model, and tensors that say that they are elsewhere.

A `Placed` tensor carries a device, "lazy:0" or "lazy:1" (a device type of torch that no build here has a backend for,
and whose gradients torch computes on the CPU). While `two_devices()` is open every operation is computed on the data,
its result is placed where its inputs were, and inputs on different devices raise what a GPU would raise. So
accelerate's `dispatch_model` splits a model over the two as it would over two GPUs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map_only

from neuronscope.architecture.structure import find_structure

FIRST, SECOND = torch.device("lazy", 0), torch.device("lazy", 1)


def split(model: nn.Module, first: str, second: str) -> dict[str, str]:
    """A device map: every other decoder layer, the final norm and the head on `second`, the rest on `first`.

    A head that is the embedding table stays with it, as accelerate's own maps have it.
    """
    structure = find_structure(model)
    table: Any = model.get_input_embeddings()
    head: Any = structure.unembedding
    away = [*structure.layers[1::2], structure.norm, *([head] if head.weight is not table.weight else [])]
    parts = [*structure.layers, *away]
    result: dict[str, str] = {}

    def visit(name: str, module: nn.Module) -> None:
        inside = set(map(id, module.modules()))
        if id(module) in map(id, parts):
            result[name] = second if id(module) in map(id, away) else first
        elif not inside & set(map(id, parts)):
            result[name] = first
        else:
            own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            result.update({f"{name}.{key}".strip("."): first for key, _ in own})
            for key, child in module.named_children():
                visit(f"{name}.{key}".strip("."), child)

    visit("", model)
    return result


CPU = torch.device("cpu")
_aten: Any = torch.ops.aten
#: A GPU's tensors may be indexed by indices in main memory, and copied to and from anywhere.
_MIXED = {_aten.copy_.default, _aten._to_copy.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}


class Placed(Tensor):
    """Data in main memory that says it is on another device."""

    @staticmethod
    def __new__(cls, data: Tensor, device: torch.device | None = None, requires_grad: bool = False):
        if isinstance(data, Placed):  # as torch.nn.Parameter is called
            return data.detach().requires_grad_(requires_grad)
        return Tensor._make_wrapper_subclass(
            cls,
            data.size(),
            strides=data.stride(),
            storage_offset=data.storage_offset(),
            dtype=data.dtype,
            layout=data.layout,
            device=device,
            requires_grad=requires_grad,
        )

    def __init__(self, data: Tensor, device: torch.device | None = None, requires_grad: bool = False) -> None:
        if not isinstance(data, Placed):
            self.data_here = data

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Placed({self.data_here!r}, device={self.device})"

    def tolist(self) -> Any:  # torch refuses subclasses
        return self.cpu().tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl  # what is below sees every operation

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def two_devices() -> Generator[None]:
    """Open while tensors are moved between the devices, made on them or computed with."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) makes its tensor on the CPU, then moves it
    try:
        with patch("torch.tensor", _numbers), _Computing():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


class _Computing(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


_made = torch.tensor


def _numbers(*args: Any, **kwargs: Any) -> Tensor:
    """torch.tensor() reads numbers out of a list of tensors behind the back of everything else."""
    return _made(*tree_map_only(Placed, lambda t: t.tolist(), args), **kwargs)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    asked = kwargs.get("device")
    tensors: list[Tensor] = []
    plain, inner = _each(args, tensors), _each(kwargs, tensors)
    target = _common(func, tensors) if asked is None else torch.device(asked)
    elsewhere = target.type == "lazy"
    if elsewhere and asked is not None:
        inner["device"] = CPU
    found = func(*plain, **inner)
    if elsewhere:
        found = _placed(found, target)
    if asked is not None or not any(isinstance(t, Placed) for t in tensors):
        return found
    return return_and_correct_aliasing(func, args, kwargs, found)


def _each(value: Any, tensors: list[Tensor]) -> Any:
    """The value with the data of each Placed tensor in its place; all tensors in it are added to the list."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.data_here if isinstance(value, Placed) else value
    if isinstance(value, (list, tuple)):
        return type(value)(_each(part, tensors) for part in value)
    return {key: _each(part, tensors) for key, part in value.items()} if isinstance(value, dict) else value


def _placed(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value if isinstance(value, Placed) else Placed(value, device)
    return type(value)(_placed(part, device) for part in value) if isinstance(value, (list, tuple)) else value


def _common(func: Any, tensors: list[Tensor]) -> torch.device:
    """The device of all inputs; single numbers, and indices, may also be in main memory."""
    first = tensors[0].device if tensors else CPU
    if func in _MIXED:
        return first
    devices = {t.device for t in tensors if t.ndim or t.device != CPU}
    if func in _INDEXED and first != CPU:
        devices.discard(CPU)
    if len(devices) > 1:
        names = " and ".join(sorted(map(str, devices)))
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {names}")
    return devices.pop() if devices else CPU
