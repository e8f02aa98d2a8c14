"""`python -m benchmarks.editing --located`: whose neurons are edited, and on which scene they were found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks.truth import SEEDS, valid_pair

import neuronscope as ns
from benchmarks import editing
from neuronscope.locate import Located
from neuronscope.samples import Counterfactual


@pytest.fixture(scope="module")
def scene(demo: ns.VLM) -> Counterfactual:
    return valid_pair(demo, "cake", SEEDS[0])[0]


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same method on the same pair and captions finds what it has found."""
    found: dict[object, Located] = {}
    real = ns.TwoStage.locate

    def locate(self: ns.TwoStage, vlm: ns.VLM, pair: Counterfactual, **options: Any) -> Located:
        key = (repr(self), pair.original.tobytes(), pair.edited.tobytes(), pair.sample.concept)
        if key not in found:
            found[key] = real(self, vlm, pair, **options)
        return found[key]

    monkeypatch.setattr(ns.TwoStage, "locate", locate)


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(("form", "method"), [("default", ns.TwoStage()), ("paper", ns.TwoStage.paper("cake"))])
def test_located_neurons_are_those_of_the_form(demo: ns.VLM, scene: Counterfactual, form: str, method: ns.TwoStage):
    found = editing.located(demo, "cake", form)
    wanted = method.locate(demo, scene).neurons
    assert found.members == wanted.members
    assert found.members


def test_the_scene_of_locating_is_none_of_the_edit(scene: Counterfactual):
    used = [np.asarray(one) for group in editing.pictures("cake", "dog").values() for one in group]
    assert not any(np.array_equal(np.asarray(scene.original), one) for one in used)


def test_without_a_kept_neuron_the_next_scene_is_taken(demo: ns.VLM, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []

    def locate(*_: object) -> object:
        asked.append(1)
        return type("Found", (), {"neurons": ns.Neurons.of([])})

    monkeypatch.setattr(editing, "valid_pair", lambda *_: (None,))
    monkeypatch.setattr(ns.TwoStage, "locate", locate)
    with pytest.raises(SystemExit, match="nothing is kept on 3 scenes of 'cake'"):
        editing.located(demo, "cake", "default")
    assert len(asked) == len(SEEDS)
