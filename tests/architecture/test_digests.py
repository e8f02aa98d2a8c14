"""Hashes of weights: every byte counts, and marks that say cheaply whether anything was changed."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from torch import nn

from neuronscope.architecture import digests as module
from neuronscope.architecture.digests import Unchanged, digests, total_of


def plain(**tensors: torch.Tensor) -> nn.Module:
    """A module that holds some tensors."""
    made = nn.Module()
    for name, value in tensors.items():
        made.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return made


def hashed(value: torch.Tensor) -> bytes:
    return dict(digests(plain(w=value)))["w"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.uint8])
@pytest.mark.parametrize("shape", [(), (1,), (5, 7), (3, 5, 2)])
def test_every_bit_of_every_value_counts(dtype: torch.dtype, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_PIECE", 16)  # several pieces also here
    monkeypatch.setattr(module, "_WORDS", 2)
    value = torch.from_numpy(np.random.default_rng(0).integers(1, 100, shape)).to(dtype)
    seen, totals = {hashed(value)}, {total_of(value)}
    flat = value.clone().reshape(-1).view(torch.uint8)
    for at in range(len(flat)):
        for bit in (0, 7):
            flat[at] ^= 1 << bit
            other = flat.view(dtype).reshape(shape)
            seen.add(hashed(other))
            totals.add(total_of(other))
            flat[at] ^= 1 << bit
    assert len(seen) == len(totals) == 1 + 2 * len(flat)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: -w,
        lambda w: w.roll(1, 0),
        lambda w: w.roll(1, 1),
        lambda w: torch.cat([w[:, 1:2], w[:, :1], w[:, 2:]], 1),
        lambda w: torch.cat([-w[:, :2], w[:, 2:]], 1),
        lambda w: torch.where(w == w.max(), torch.nan, w),
        lambda w: torch.where(w == w.min(), -0.0, torch.where(w == w.max(), 0.0, w)),
    ],
)
def test_signs_places_and_what_is_no_number_count(change):
    value = torch.from_numpy(np.random.default_rng(1).normal(size=(64, 32)).astype(np.float32))
    assert hashed(value) != hashed(change(value))
    assert total_of(value) != total_of(change(value))


def test_type_shape_and_layout():
    value = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    assert hashed(value) != hashed(value.reshape(4, 3))
    assert hashed(value) != hashed(value.view(torch.int32))
    assert hashed(value.T) == hashed(value.T.contiguous())  # how it lies in memory says nothing
    assert hashed(value.T) != hashed(value)


def test_pieces_and_threads_do_not_count(monkeypatch: pytest.MonkeyPatch):
    value = torch.zeros(3 * module._PIECE // 4 + 5)
    one = hashed(value)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)
    assert hashed(value) == one


def test_buffers_that_the_config_decides_count_to_three_digits():
    made = nn.Module()
    made.register_buffer("inv_freq", torch.tensor([1.0, 0.1, 0.01, 0.0]), persistent=False)
    before = dict(digests(made))
    made.inv_freq *= 1 + 1e-7  # another device
    assert dict(digests(made)) == before
    made.inv_freq[1] *= 1.05
    changed = dict(digests(made))
    assert changed != before
    made.rope_type = "dynamic"  # worked out anew while long texts are read
    assert "inv_freq" not in dict(digests(made))


CHANGES = {
    "in place": lambda m: m.w.mul_(2),
    "a column": lambda m: m.w.__setitem__((slice(None), 3), 0),
    "through detach": lambda m: m.w.detach().add_(1),
    "copied over": lambda m: m.load_state_dict({"w": torch.ones(4, 6)}),
    "assigned": lambda m: m.load_state_dict({"w": torch.ones(4, 6)}, assign=True),
    "another parameter": lambda m: setattr(m, "w", nn.Parameter(torch.ones(4, 6))),
    "other data": lambda m: setattr(m.w, "data", torch.ones(4, 6)),
    "one more": lambda m: m.register_parameter("v", nn.Parameter(torch.ones(1))),
    "one less": lambda m: m.__delattr__("w"),
    "another type": lambda m: m.half(),
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_marks_notice(name: str):
    made = plain(w=torch.arange(24.0).reshape(4, 6))
    same = Unchanged(made)
    assert same
    CHANGES[name](made)
    assert not same


@torch.no_grad()
def test_what_was_changed_back_is_unchanged():
    made = plain(w=torch.arange(24.0).reshape(4, 6))
    same = Unchanged(made)
    made.w[0, 0] = 5
    assert not same
    made.w[0, 0] = 0
    assert same
    assert same


@pytest.mark.parametrize("write", [lambda w: w.data.mul_(2), lambda w: w.numpy().__setitem__((1, 1), 9.0)])
def test_hashes_also_see_what_torch_does_not_count(write):
    made = plain(w=torch.arange(24.0).reshape(4, 6))
    before = dict(digests(made))
    write(made.w)
    assert dict(digests(made)) != before


def test_marks_keep_nothing_in_memory():
    made = plain(w=torch.zeros(1000))
    same = Unchanged(made)
    gone = []
    torch.utils.weak.WeakTensorKeyDictionary()  # torch's own bookkeeping is loaded
    module.ref(made.w, lambda _: gone.append(1))
    watched = module.ref(made.w)
    made.w = nn.Parameter(torch.ones(1000))
    gc.collect()
    assert watched() is None
    assert not same


def test_weights_of_inference_mode():
    with torch.inference_mode():
        made = plain(w=torch.ones(3))
    assert Unchanged(made)
    assert len(dict(digests(made))) == 1
