"""Threads on one model take turns, or are told of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.errors import ModelInUse
from neuronscope.held import turns
from neuronscope.intervene import activations
from neuronscope.testing import tiny_vlm

NEURONS = ns.Neurons.of([(layer, unit) for layer in (0, 1, 2) for unit in range(0, 48, 3)])
SHORT = ns.Decoding(max_new_tokens=5)


@pytest.fixture(scope="module")
def own() -> ns.VLM:
    return tiny_vlm()


def elsewhere(run: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What a function gives, or raises, in another thread."""
    result: list[Any] = []

    def act() -> None:
        try:
            result.append(run())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(seconds)
    return result[0] if result else None


def test_results_are_those_of_one_thread_while_another_changes_the_model(own: ns.VLM, picture):
    edit = ns.Ablate().edit(own, NEURONS)
    inputs = own.prepare([picture])
    asked: dict[str, Callable[[], Any]] = {
        "caption": lambda: own.captions([picture], decoding=SHORT),
        "changed": lambda: own.captions([picture], ns.Zero(NEURONS), decoding=SHORT),
        "activations": lambda: activations(own, picture, NEURONS).tolist(),
        "logits": lambda: own.logits(inputs).tolist(),
        "decode": lambda: str(ns.decode(own, NEURONS, top=2)),
        "vectors": lambda: own.value_vectors(0, [0, 3]).tolist(),
    }
    alone = {name: run() for name, run in asked.items()}
    over = threading.Event()

    def other() -> None:
        while not over.is_set():
            with edit:
                own.captions([picture], ns.Zero(NEURONS), decoding=SHORT)
            with own.intervene(ns.Zero(NEURONS)):
                own.logits(inputs)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        for _ in range(3):
            assert {name: run() for name, run in asked.items()} == alone
    finally:
        over.set()
        thread.join()


def test_a_call_of_the_model_itself_is_refused_while_another_thread_intervenes(own: ns.VLM, picture):
    inputs = own.prepare([picture])
    with own.intervene(ns.Zero(NEURONS)), torch.no_grad():
        own.model(**inputs.tensors)
        for call in (own.model, own.model.generate):
            assert isinstance(elsewhere(lambda call=call: call(**inputs.tensors)), ModelInUse)
    with torch.no_grad():
        assert not isinstance(elsewhere(lambda: own.model(**inputs.tensors)), Exception)


def test_waiting_for_a_block_that_waits_for_us_ends(own: ns.VLM, picture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.3)
    with own.frozen():
        error = elsewhere(lambda: own.caption(picture))
    assert isinstance(error, ModelInUse)
    assert "thread 'MainThread' has been inside `with vlm.frozen()`" in str(error)


def test_a_generator_that_is_let_go_gives_its_turn_back(own: ns.VLM, picture):
    def captions() -> Iterator[str]:
        with own.intervene(ns.Zero(NEURONS)):
            yield own.caption(picture)
            yield own.caption(picture)

    generator = captions()
    next(generator)
    del generator
    assert isinstance(elsewhere(lambda: own.caption(picture)), str)


def test_a_thread_that_ended_inside_a_block_is_named(own: ns.VLM, picture):
    block = own.intervene(ns.Zero(NEURONS))
    elsewhere(block.__enter__)
    with pytest.raises(ModelInUse, match="has ended inside"):
        own.caption(picture)
    del block
    assert isinstance(own.caption(picture), str)


def test_two_vlms_of_one_model_share_turns_edits_and_fingerprint(own: ns.VLM, picture):
    other = ns.load((own.model, own.processor), check=False)
    before = own.fingerprint
    with ns.Ablate().edit(own, NEURONS) as edit:
        assert other.fingerprint == own.fingerprint != before
        assert elsewhere(lambda: other.caption(picture), 0.5) is None  # it waits
        assert ns.Edit(other, NEURONS, edit.old, edit.new, edit.editor).applied
    assert other.fingerprint == own.fingerprint == before


def test_operations_within_operations_and_blocks_within_blocks(own: ns.VLM, picture):
    inputs = own.prepare([picture])
    with own.frozen(), own.intervene(ns.Zero(NEURONS)), own.intervene(ns.Scale(NEURONS, factor=2.0)):
        np.testing.assert_array_equal(own.logits(inputs).detach(), own.logits(inputs).detach())
        own.caption(picture)
