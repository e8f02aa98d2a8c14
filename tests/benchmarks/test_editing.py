"""`python -m benchmarks.editing --located`: whose neurons are edited, and on which scene they were found."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.truth import SEEDS, valid_pair

import neuronscope as ns
from benchmarks import editing


@pytest.mark.parametrize(("form", "method"), [("default", ns.TwoStage()), ("paper", ns.TwoStage.paper("cake"))])
def test_located_neurons_are_those_of_the_form(demo: ns.VLM, form: str, method: ns.TwoStage):
    found = editing.located(demo, "cake", form)
    wanted = method.locate(demo, valid_pair(demo, "cake", SEEDS[0])[0]).neurons
    assert found.members == wanted.members
    assert found.members


def test_the_scene_of_locating_is_none_of_the_edit(demo: ns.VLM):
    pair = valid_pair(demo, "cake", SEEDS[0])[0]
    used = [np.asarray(one) for group in editing.pictures("cake", "dog").values() for one in group]
    assert not any(np.array_equal(np.asarray(pair.original), one) for one in used)


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
