"""Steps of writing that rows share: lower layers run once for rows of one image and text, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn
from transformers import DynamicCache

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.caption.shared import sharing
from neuronscope.caption.shortcuts import Engine

LONG = ns.Decoding(max_new_tokens=10)
#: Begins in layer 2 of 4, and changes some captions.
UPPER = ns.Noise(ns.Neurons.of([(layer, unit) for layer in (2, 3) for unit in range(0, 48, 2)]), level=8, draws=8)


@contextmanager
def rows_of_steps(vlm: ns.VLM) -> Iterator[list[list[int]]]:
    """How many rows each layer is given at each step of one position."""
    seen: list[list[int]] = [[] for _ in vlm.structure.layers]

    def note(layer: int):
        def run(_module: nn.Module, _given: object, output: object) -> None:
            hidden = output if isinstance(output, Tensor) else output[0]
            if hidden.shape[1] == 1:
                seen[layer].append(hidden.shape[0])

        return run

    handles = [layer.register_forward_hook(note(n)) for n, layer in enumerate(vlm.structure.layers)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def written(vlm: ns.VLM, pictures: list[Image.Image], engine: Engine):
    captioner = Captioner(vlm, pictures, decoding=LONG, engine=engine)
    captioner.captions(ns.Zero(ns.Neurons.of([(2, 0)])))  # proves the layer
    with rows_of_steps(vlm) as seen:
        return captioner.captions(UPPER), seen


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("compact", [False, True])
def test_lower_layers_are_given_one_row_of_each_text(vlm, pictures, draft: bool, compact: bool):
    engine = Engine(draft=draft, compact=compact, remember=0)
    captions, seen = written(vlm, pictures[:2], engine)
    apart, every = written(vlm, pictures[:2], replace(engine, share=False))
    assert captions == apart == generate_captions(vlm, pictures[:2], UPPER, decoding=LONG)
    assert seen[-1] == every[-1]  # upper layers run for every row, as before
    assert every[0] == every[-1]
    assert all(lower <= upper for lower, upper in zip(seen[0], seen[-1], strict=True))
    assert sum(seen[0]) < sum(seen[-1])
    assert seen[0] == seen[1]  # the layer of the first change is the first that runs for all, or the one behind it


def test_as_many_rows_as_there_are_texts(vlm, pictures):
    captions, seen = written(vlm, pictures[:1], Engine(draft=False, compact=False, remember=0))
    texts = [caption.ids for caption in captions[0]]
    assert len(set(texts)) > 1
    assert all(len(ids) == LONG.max_new_tokens for ids in texts)
    assert seen[0] == [len({ids[:count] for ids in texts}) for count in range(len(seen[0]))]


def test_rows_of_two_pictures_are_never_one(vlm, pictures):
    _, seen = written(vlm, [pictures[0], pictures[0]], Engine(draft=False, compact=False, remember=0))
    assert min(seen[0]) >= 2


class Adding(nn.Module):
    """A layer that keeps one number a row and position, and adds up what it has kept."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, hidden_states: Tensor, cache: DynamicCache, position_ids: Tensor, attention_mask: Tensor):
        keys, _ = cache.update(hidden_states[:, None], hidden_states[:, None], self.number)
        assert len(position_ids) == len(attention_mask) == len(hidden_states)
        return hidden_states + 0.5 * keys.sum(-2) + position_ids[..., None] * attention_mask[:, :, None]


def run(layers: list[Adding], cache: DynamicCache, tokens: Tensor) -> Tensor:
    hidden = tokens[:, None, None].double()
    rows = torch.arange(len(tokens))[:, None]
    for layer in layers:  # arguments by name and by place
        named = {"position_ids": torch.ones_like(rows), "attention_mask": torch.ones_like(rows)}
        hidden = (
            layer(hidden, cache, **named) if layer.number % 2 else layer(hidden_states=hidden, cache=cache, **named)
        )
    return hidden


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    same=st.lists(st.integers(0, 3), min_size=1, max_size=7),
    steps=st.lists(st.lists(st.integers(0, 2), min_size=7, max_size=7), min_size=1, max_size=5),
    below=st.integers(0, 3),
)
def test_whatever_is_written_the_result_is_as_without(same: list[int], steps: list[list[int]], below: int):
    layers = [Adding(number) for number in range(4)]
    caches = DynamicCache(), DynamicCache()
    begun = torch.tensor(same, dtype=torch.double)
    for cache in caches:  # what lies before is the same where `same` says so
        for number in range(4):
            upper = torch.arange(len(same)) if number >= below else torch.zeros(len(same))
            values = (begun + upper)[:, None, None, None]
            cache.update(values, values, number)
    plain = [run(layers, caches[0], torch.tensor(step[: len(same)])) for step in steps]
    with sharing(layers, below, same, caches[1]):
        shared = [run(layers, caches[1], torch.tensor(step[: len(same)])) for step in steps]
    for one, other in zip(plain, shared, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(caches[0].layers, caches[1].layers, strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_an_error_leaves_no_hook_and_every_row():
    layers, cache = [Adding(number) for number in range(2)], DynamicCache()
    for number in range(2):
        cache.update(torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1, 1), number)
    rows: list[int] = []

    def fails(*_: object) -> None:
        rows.append(len(cache.layers[0].keys))
        raise ZeroDivisionError

    layers[1].register_forward_hook(fails)
    with sharing(layers, 1, [0, 0, 1], cache), pytest.raises(ZeroDivisionError):
        run(layers, cache, torch.zeros(3))
    assert rows == [2]
    assert [len(layer.keys) for layer in cache.layers] == [3, 3]
    assert not any(layer._forward_pre_hooks for layer in layers)


def test_without_rows_that_are_alike_nothing_is_hooked():
    layers, cache = [Adding(number) for number in range(2)], DynamicCache()
    with sharing(layers, 1, ["a", "b"], cache), sharing(layers, 0, ["a", "a"], cache):
        assert not any(layer._forward_pre_hooks for layer in layers)
