"""Hashes of all bytes of a model's weights, and cheap marks of whether they are the same objects with the same content.

Weights in main memory are read each time, so that a change made by other software, through `.data` or through NumPy is
seen like any other: xxh3 reads them as fast as memory gives them, which costs about what writing one token costs.
Weights on a GPU are copied once; after that their version counters and a sum over all their words, which the GPU works
out, say whether they are still the same. Weights that accelerate keeps outside the model are read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn
from xxhash import xxh3_128_digest

from .devices import present

#: Bytes that one thread hashes at a time.
_PIECE = 2**24

#: Words of 8 bytes that are summed at a time on a GPU.
_WORDS = 2**24

#: Odd factors, as signed words, that carry a low bit to the high ones.
_SPREAD, _PLACED = 0x9E3779B97F4A7C15 - 2**64, 0xBF58476D1CE4E5B9 - 2**64

#: Kinds of positions whose buffers are worked out anew while long texts are read.
_MOVING = ("dynamic", "longrope")


@dataclass
class _Seen:
    """A tensor that is dear to read: what tells that it is another by now, and its hash."""

    mark: object
    total: int
    digest: bytes


#: model -> name of a tensor -> what is known of it. Holds no tensor, so nothing is kept alive.
_KNOWN: WeakKeyDictionary[nn.Module, dict[str, _Seen]] = WeakKeyDictionary()


def digests(model: nn.Module) -> Iterator[tuple[str, bytes]]:
    """Name and hash of every tensor of a model's `state_dict`, and of the buffers that are not in it.

    A hash is of the type, shape and bytes of a tensor; one that has two names is read once. Raises UnsupportedModel for
    weights without values that nothing brings.
    """
    known = _KNOWN.setdefault(model, {})
    shared: dict[object, bytes] = {}
    state = model.state_dict(keep_vars=True)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for name, value in state.items():
            if value.device.type == "meta":
                yield name, _outside(model, name, known, pool)
                continue
            # Tensors that only stand for others have no place of their own.
            place = (value.data_ptr() or id(value), value.dtype, tuple(value.shape), value.stride(), value.device)
            if place not in shared:
                shared[place] = _held(value.detach(), name, known, pool)
            yield name, shared[place]
    for name, value in model.named_buffers():
        if name not in state and value.device.type != "meta" and not _moving(model, name):
            yield name, _rounded(value)


class Unchanged:
    """Whether a model's weights are what they were when this was made: what can be asked all the time.

    Asks whether they are the same objects, not changed in place, which takes microseconds a tensor, whatever its size;
    only where they are not, they are read and compared. A write through `.data` or NumPy does not show.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._marks = TensorMarks(model)
        self._digest = _standing(model)

    def __bool__(self) -> bool:
        if self._marks.hold(self._model):
            return True
        marks, same = TensorMarks(self._model), _standing(self._model) == self._digest
        if same:  # changed and changed back
            self._marks = marks
        return same


class TensorMarks:
    """Which tensors a model has, where they are and how often torch has changed them in place. Holds none of them."""

    def __init__(self, model: nn.Module) -> None:
        self._held = [(value if value is None else ref(value), *mark) for value, *mark in _states(model)]

    def hold(self, model: nn.Module) -> bool:
        """Whether they are still as they were."""
        now = list(_states(model))
        return len(now) == len(self._held) and all(
            (value is None if then is None else then() is value) and mark == marked
            for (value, *mark), (then, *marked) in zip(now, self._held, strict=True)
        )


def _standing(model: nn.Module) -> bytes:
    """A hash of all weights, made anew where marks say that it has to be."""
    known = _STANDING.get(model)
    if known is None or not known[0].hold(model):
        marks = TensorMarks(model)
        whole = xxh3_128_digest(b"".join(name.encode() + value for name, value in digests(model)))
        known = _STANDING[model] = marks, whole
    return known[1]


def _states(model: nn.Module) -> Iterator[tuple[Tensor | None, int, int]]:
    """Every tensor of the state, its place and its version; nothing of those that accelerate brings for a call."""
    for module in model.modules():
        own = vars(module)
        aside = own["_non_persistent_buffers_set"]
        for name, value in chain(own["_parameters"].items(), own["_buffers"].items()):
            if value is None or name in aside:
                continue
            if value.device.type == "meta":
                yield None, 0, 0
            else:
                yield value, value.data_ptr(), _version(value)


#: model -> marks of its weights and a hash of them all.
_STANDING: WeakKeyDictionary[nn.Module, tuple[TensorMarks, bytes]] = WeakKeyDictionary()


def _version(value: Tensor) -> int:
    return -1 if value.is_inference() else value._version  # tensors of inference mode count nothing


def _outside(model: nn.Module, name: str, known: dict[str, _Seen], pool: ThreadPoolExecutor) -> bytes:
    """Of a weight that accelerate brings for a call; read once as long as it comes from the same place."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    hook: Any = getattr(module, "_hf_hook", None)
    mark = (id(hook), id(getattr(hook, "weights_map", None)))
    if name not in known or known[name].mark != mark:
        with present(module):
            known[name] = _Seen(mark, 0, _of_bytes(getattr(module, leaf).detach().cpu(), pool))
    return known[name].digest


def _held(value: Tensor, name: str, known: dict[str, _Seen], pool: ThreadPoolExecutor) -> bytes:
    if value.device.type != "cuda":
        return _of_bytes(value.cpu(), pool)
    mark, total = (value.data_ptr(), _version(value), value.dtype, tuple(value.shape)), total_of(value)
    if name not in known or (known[name].mark, known[name].total) != (mark, total):
        known[name] = _Seen(mark, total, _of_bytes(value.cpu(), pool))
    return known[name].digest


def _of_bytes(value: Tensor, pool: ThreadPoolExecutor) -> bytes:
    head = f"{value.dtype}{tuple(value.shape)}".encode()
    flat: Any = _bytes_of(value).numpy()
    pieces = [flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE)]
    hashed = map(xxh3_128_digest, pieces) if len(pieces) < 2 else pool.map(xxh3_128_digest, pieces)
    return xxh3_128_digest(b"".join([head, *hashed]))


def _bytes_of(value: Tensor) -> UInt8[Tensor, "bytes"]:
    return value.contiguous().reshape(-1).view(torch.uint8)


def total_of(value: Tensor) -> int:
    """A sum over all words of a tensor, each mixed with its place, worked out where the tensor is.

    For noticing a change within one process. Each word is spread over 64 bits by a product and a shift before it is
    weighted by its place: two changed signs do not cancel, nor do exchanged words.
    """
    flat = _bytes_of(value)
    whole = flat[: len(flat) // 8 * 8].view(torch.int64)
    total = torch.zeros((), dtype=torch.int64, device=value.device)
    for start in range(0, len(whole), _WORDS):
        total += _mixed(whole[start : start + _WORDS], start)
    rest = sum(byte << 8 * n for n, byte in enumerate(flat[len(whole) * 8 :].tolist()))
    return int(total.item()) ^ rest


def _mixed(words: Int[Tensor, "n"], start: int) -> Int[Tensor, ""]:
    spread = words * _SPREAD
    spread ^= spread >> 32
    place = torch.arange(2 * start + 1, 2 * (start + len(words)) + 1, 2, device=words.device)
    return (spread * (place * _PLACED)).sum()


def _moving(model: nn.Module, name: str) -> bool:
    module = model.get_submodule(name.rpartition(".")[0])
    return getattr(module, "rope_type", "default") in _MOVING


def _rounded(value: Tensor) -> bytes:
    """Of a buffer that is worked out from the config, to three digits: the last bits depend on where that was done."""
    if not value.is_floating_point():
        return xxh3_128_digest(_bytes_of(value.detach().cpu()).numpy().tobytes())
    wide = value.detach().cpu().double().numpy()
    size = np.abs(wide)
    steps = np.rint(500 * np.log(np.where((size > 0) & np.isfinite(size), size, 1.0)))
    return xxh3_128_digest(np.stack([steps, np.sign(wide), size == np.inf, size == 0]).tobytes())
