"""Results as data frames: every number of a result is in its frame, under the address that everything prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.evaluate.aggregate import ScoreCell, ScoreTable
from neuronscope.locate import Recovery
from neuronscope.meaning.pictures import Moved, TopPictures
from neuronscope.run.directory import Run
from neuronscope.samples.lists import Captioned
from neuronscope.studies.demo.scenes import scenes_of


@pytest.fixture(scope="module")
def found(demo: ns.VLM) -> dict[str, Any]:
    pair = ns.counterfactual(scenes_of("bear", 1)[0])
    method = ns.TwoStage(points=1, rounds=0, cut=Recovery(rest=None, draws=1))
    located = method.locate(demo, pair)
    return {
        "located": located,
        "neurons": located.neurons,
        "scores": located.scores,
        "effects": ns.effects(demo, pair, located.neurons[:3], validity=located.validity),
        "discovered": next(iter(ns.discover(demo, [pair.original], ns.Discovery(top=4)))),
        "words": ns.decode(demo, located.neurons[:3], top=2),
        "table": ScoreTable((ScoreCell("bear", 8.0, 0.25, 0.75, 8, 16), ScoreCell("dog", 8.0, 0.5, 0.5, 8, 16))),
        "pictures": TopPictures((Moved(3, 1.5),), (Moved(1, 0.5),), 4),
        "pair": pair,
        "sample": pair.sample,
        "edit": ns.Ablate().edit(demo, located.neurons),
        "lexicon": ns.Lexicon.default(),
        "concept": ns.ScoredConcept(demo, (pair,), method, (located,), (1.0,)),
        "list": ns.ImageList(tuple(Captioned(Path(f"{k}.png"), ("a\nb",)) for k in range(999))),
        "words of an image": pair.sample.others[0] if pair.sample.others else ns.Region("dog", (1, 2, 3, 4)),
        "heatmap": ns.heatmap(demo, pair.original, located.neurons),
    }


TABLES = ("neurons", "scores", "effects", "discovered", "words", "table", "pictures")


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 999)), unique=True, max_size=9),
    st.sampled_from(["text", "vision", "gated"]),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_a_set_of_neurons(pairs: list[tuple[int, int]], part: Any, names: list[str]):
    names = [name for name in names if name not in ("neuron", "part", "layer", "unit")]
    scores = {name: tuple(k + float(unit) for _, unit in pairs) for k, name in enumerate(names)}
    chosen = ns.Neurons(tuple(ns.Neuron(*pair) for pair in pairs), scores, part=part, concept="bear")
    frame = chosen.to_dataframe()
    assert ns.Neurons.at(*frame["neuron"]).members == chosen.members
    assert list(zip(frame["layer"], frame["unit"], strict=True)) == pairs
    assert {name: tuple(frame[name]) for name in names} == scores
    assert frame.attrs["concept"] == "bear"


def test_a_score_may_not_hide_an_address():
    chosen = ns.Neurons((ns.Neuron(1, 2),), {"unit": (1.0,)})
    with pytest.raises(InvalidOption, match="score 'unit' has the name of a column"):
        chosen.to_dataframe()


def test_nothing_is_lost(found: dict[str, Any], demo: ns.VLM):
    neurons, scores = found["neurons"], found["scores"].to_dataframe()
    assert set(neurons.scores) == set(scores) - {"neuron", "part", "layer", "unit"}
    assert len(scores) == sum(demo.widths)
    own = scores.set_index("neuron").loc[neurons.addresses]
    for name, values in neurons.scores.items():
        np.testing.assert_array_equal(own[name], values)
    effects = found["effects"].to_dataframe().set_index("neuron")
    best = found["effects"].best()
    assert list(effects.loc[best.addresses, "effect"]) == list(best.scores["effect"])
    assert effects.attrs["edit"] == found["effects"].edit
    discovered = found["discovered"]
    kept = discovered.to_dataframe()
    assert len(kept) == 4 * len(discovered.nouns) > 0
    for one in discovered.nouns:
        rows = kept[kept.noun == one.noun.text]
        assert list(rows.neuron) == one.neurons.addresses
        assert tuple(rows.contribution) == one.neurons.scores["contribution"]
    words = found["words"].to_dataframe()
    assert len(words) == 3 * 2 * 2
    told = words[(words.neuron == str(neurons[1])) & ~words.random]
    assert (tuple(told.token), tuple(told.strength)) == (found["words"][1].tokens, found["words"][1].strengths)
    assert words.attrs["sentence"] == found["words"].sentence
    assert list(found["table"].to_dataframe().s_se) == [0.75, 0.5]
    assert list(found["pictures"].to_dataframe().number) == [3, 1]


def test_the_rows_of_a_run(tmp_path: Path):
    run = Run.open(tmp_path / "run", {"a": 1})
    run.write("numbers", {"image": "x"}, [{"value": 1.5}, {"value": 2.5}])
    assert list(run.to_dataframe("numbers").value) == [1.5, 2.5]


@pytest.mark.parametrize("name", TABLES)
def test_without_pandas_one_sentence(found: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InvalidOption, match=r"needs pandas: pip install 'neuronscope\[pandas\]'"):
        found[name].to_dataframe()


def test_reprs_are_one_short_line(found: dict[str, Any]):
    for name, result in found.items():
        text = repr(result)
        assert len(text.splitlines()) == 1, f"{name}: {text}"
        assert len(text) < 400, f"{name}: {text}"


def test_notebook_views(found: dict[str, Any]):
    for name in ("located", "neurons", "effects", "discovered", "words", "heatmap", "pair"):
        assert found[name]._repr_html_().startswith(("<p>", "<table>", "<figure>")), name
