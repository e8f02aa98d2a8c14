"""Sites, neurons and sets of neurons: set operations keep scores aligned, and neurons.json round-trips exactly."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate.truth import agreement
from neuronscope.types import PARTS, SCHEMA, Neuron, Neurons, Part, one_of

FULL = Neurons(
    (Neuron(2, 7), Neuron(0, 3), Neuron(2, 1)),
    {"activation": (0.1, 1 / 3, 5e-324), "gradient": (1.0, -0.0, 1.7e308)},
    site="act",
    concept="bär 🐻",
    method="two_stage",
    options={"threshold": None, "nested": {"layers": [0, 1.5, True]}},
    provenance={"note": "by hand"},
    model={"id": "demo", "fingerprint": "ab12"},
)

addresses = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=12)
sets = addresses.map(Neurons.of)
documents = st.builds(
    lambda chosen, site, concept, options, values: replace(
        chosen, site=site, concept=concept, options=options, scores={"s": tuple(values[: len(chosen)])}
    ),
    sets,
    st.sampled_from(["neuron", "act", "pre"]),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.booleans() | st.integers() | st.none()),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=12, max_size=12),
)


@given(addresses)
@settings(max_examples=50, deadline=None)
def test_of_keeps_the_first_of_each_address_in_order(pairs: list[tuple[int, int]]) -> None:
    assert [(n.layer, n.unit) for n in Neurons.of(pairs)] == list(dict.fromkeys(pairs))


@given(sets, sets)
@settings(max_examples=50, deadline=None)
def test_intersection_and_difference_split_a_set_and_keep_its_order(a: Neurons, b: Neurons) -> None:
    both, rest = a & b, a - b
    assert set(both) == set(a).intersection(b)
    assert set(rest) == set(a).difference(b)
    assert list(both) == [n for n in a if n in both]
    assert list(rest) == [n for n in a if n not in both]


OTHERS: dict[str, Callable[[Neurons], Any]] = {
    "neurons": lambda n: n,
    "Neuron objects": list,
    "pairs": lambda n: [(one.layer, one.unit) for one in n],
    "addresses": lambda n: n.addresses,
    "printed": lambda n: iter([str(one) for one in n]),
    "numbers": lambda n: (f"{one.layer}.{one.unit}" for one in n),
    "a set": set,
    "a frozenset of pairs": lambda n: frozenset((one.layer, one.unit) for one in n),
    "keys": lambda n: {(one.layer, one.unit): 0 for one in n}.keys(),
}
PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    one.__name__: one
    for one in (
        *(operator.and_, operator.or_, operator.sub, operator.xor),
        *(operator.le, operator.lt, operator.ge, operator.gt),
    )
}


@given(sets, sets, st.sampled_from(sorted(PYTHON)), st.sampled_from(sorted(OTHERS)))
@settings(max_examples=300, deadline=None)
def test_operations_are_those_of_pythons_sets(a: Neurons, b: Neurons, name: str, form: str) -> None:
    do, expected = PYTHON[name], PYTHON[name](set(a), set(b))
    found = do(a, OTHERS[form](b))
    turned = do(set(a), b)  # Python's set on the left
    if isinstance(expected, bool):
        assert found is turned is expected
        assert a.isdisjoint(OTHERS[form](b)) == set(a).isdisjoint(b)
        return
    for each in (found, turned):
        assert isinstance(each, Neurons)
        assert set(each) == expected
        assert each == expected
        assert len(each) == len(expected)
        assert each != expected | {Neuron(99, 99)}
    beside = sorted(b) if "set" in form else b  # a set of Python has no order
    assert list(found) == list(dict.fromkeys(n for n in (*a, *beside) if n in expected))


@given(documents, documents)
@settings(max_examples=60, deadline=None)
def test_scores_go_with_their_neurons(a: Neurons, b: Neurons) -> None:
    b = replace(b, site=a.site)
    own = {**dict(zip(b, b.scores["s"], strict=True)), **dict(zip(a, a.scores["s"], strict=True))}
    for found in (a & b, a | b, a - b, a ^ b):
        assert dict(zip(found, found.scores["s"], strict=True)) == {n: own[n] for n in found}


def test_a_joined_set_says_where_it_comes_from() -> None:
    other = replace(FULL, members=(Neuron(5, 5),), scores={"gradient": (2.0,)}, concept="dog")
    both = FULL | other
    assert both.scores == {"gradient": (1.0, -0.0, 1.7e308, 2.0)}
    assert (both.method, both.site, both.model, both.concept) == ("two_stage", "act", FULL.model, "")
    assert [one["concept"] for one in both.provenance["joined"]] == [FULL.concept, "dog"]  # pyright: ignore
    assert (FULL | replace(other, method="pan")).scores == {}  # other numbers of the same name
    assert (FULL | [(5, 5)]).scores == {}
    assert FULL | FULL[:1] == FULL | {(2, 7)} == FULL


def test_a_set_that_holds_nothing_of_the_other_silently_is_refused() -> None:
    for do in PYTHON.values():
        with pytest.raises(InvalidOption, match="read at site 'act' and one at 'pre'"):
            do(FULL, replace(FULL, site="pre"))
        with pytest.raises(InvalidOption, match="part 'text' and one of part 'vision'"):
            do(FULL, ["vision.3.17"])
        for wrong in (["x"], [3], [(1,)], [(1, 2, 3)], [None], [(1, "a")], "L1.U2", 3, None, [(-1, 2)]):
            with pytest.raises(InvalidOption):
                do(FULL, wrong)


def test_membership_of_other_forms() -> None:
    assert all(one in FULL for one in (Neuron(2, 7), (2, 7), (np.int64(2), np.int64(7)), "L2.U7", "2.7", "text.2.7"))
    assert not any(one in FULL for one in (Neuron(7, 2), (7, 2), "vision.2.7", 3, None, (2,), ("2", "7")))
    with pytest.raises(InvalidOption, match="'2-7' is not of the form"):
        _ = "2-7" in FULL
    assert [2, 7] not in FULL


def test_every_way_to_pick_members_takes_their_scores_along() -> None:
    for picked in (FULL[1:], FULL & [Neuron(0, 3), Neuron(2, 1)], FULL - [Neuron(2, 7)]):
        assert picked == replace(
            FULL, members=FULL.members[1:], scores={name: values[1:] for name, values in FULL.scores.items()}
        )
    assert FULL[0] == Neuron(2, 7)
    assert FULL[::-1].scores["activation"] == (5e-324, 1 / 3, 0.1)
    assert FULL.by_layer() == {0: [3], 2: [7, 1]}
    assert list(FULL.by_layer()) == [0, 2]


def test_top_sorts_by_the_score_and_breaks_ties_by_address() -> None:
    chosen = replace(FULL, scores={"s": (1.0, 2.0, 1.0)})
    assert [str(n) for n in chosen.top(3, "s")] == ["L0.U3", "L2.U1", "L2.U7"]
    assert chosen.top(2, "s").scores["s"] == (2.0, 1.0)
    assert len(chosen.top(99, "s")) == 3
    with pytest.raises(InvalidOption, match=r"by='activations' is not known.*Did you mean 'activation'.*gradient"):
        FULL.top(1, "activations")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"members": (Neuron(1, 1), Neuron(1, 1)), "scores": {}}, r"lists the same \(layer, unit\) twice"),
        ({"scores": {"gradient": (1.0,)}}, "score 'gradient' has 1 values for 3 neurons"),
        ({"scores": {"gradient": (1.0, float("nan"), 2.0)}}, "score 'gradient' of L0.U3 is nan, not a finite number"),
        ({"scores": {"gradient": (1.0, 2.0, float("inf"))}}, "score 'gradient' of L2.U1 is inf"),
        ({"site": "neurons"}, "site='neurons' is not known. Did you mean 'neuron'.*act"),
    ],
)
def test_an_inconsistent_set_is_refused(changes: dict[str, Any], reason: str) -> None:
    fields = {"members": FULL.members, "scores": FULL.scores, "site": FULL.site} | changes
    with pytest.raises(InvalidOption, match=reason):
        Neurons(**fields)


def test_one_of_names_the_value_the_nearest_and_all_choices() -> None:
    with pytest.raises(InvalidOption, match=r"method='telia' is not known. Did you mean 'telea'\? Choices: telea, ns"):
        one_of("method", "telia", ("telea", "ns"))
    one_of("method", "ns", ("telea", "ns"))


@given(documents)
@settings(max_examples=50, deadline=None)
def test_any_set_survives_json_exactly(chosen: Neurons) -> None:
    text = json.dumps(chosen.to_dict())
    again = Neurons.from_dict(json.loads(text))
    assert again == chosen
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize("chosen", [FULL, Neurons(()), FULL[:0]], ids=["full", "empty", "empty with scores"])
def test_a_saved_set_is_read_back_exactly(tmp_path: Path, chosen: Neurons) -> None:
    path = tmp_path / "neurons.json"
    chosen.save(path)
    again = Neurons.load(path)
    assert again == chosen
    assert again.to_dict() == chosen.to_dict()
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["neurons.json"]


def changed(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: document | changes


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {k: v for k, v in document.items() if k != key}


def with_first(**row: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: document | {"neurons": [document["neurons"][0] | row, *document["neurons"][1:]]}


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another schema": (changed(schema="neuronscope.neurons/2"), f"'neuronscope.neurons/2' is not '{SCHEMA}'"),
    "no schema": (without("schema"), "schema None is not"),
    "no neurons": (without("neurons"), "neurons"),
    "no model": (without("model"), "model"),
    "neurons of another type": (changed(neurons=3), "damaged"),
    "rows of another type": (changed(neurons=[1, 2]), "damaged"),
    "a missing score": (with_first(scores={"activation": 1.0}), "gradient"),
    "a score that is text": (with_first(scores={"activation": "x", "gradient": 0}), "damaged"),
    "a score that is NaN": (with_first(scores={"activation": float("nan"), "gradient": 0}), "not a finite number"),
    "a unit that is no integer": (with_first(unit=1.5), "1.5"),
    "a negative layer": (with_first(layer=-1), "-1"),
    "a unit that is text": (with_first(unit="many"), "many"),
    "a duplicate": (with_first(layer=0, unit=3), "twice"),
    "another site": (changed(site="post"), "'post'.*neuron, act, pre"),
    "options of another type": (changed(options=[1]), "options"),
    "a model of another type": (changed(model="demo"), "model"),
    "a concept of another type": (changed(concept=5), "concept"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_document_that_is_damaged_or_of_another_schema_is_refused(tmp_path: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    path = tmp_path / "neurons.json"
    path.write_text(json.dumps(damage(FULL.to_dict())))
    with pytest.raises(RunMismatch, match=reason):
        Neurons.load(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"{", "cannot be read"), (b"\xff\xfe\x00", "cannot be read"), (b"[]", "holds no JSON object"), (None, "No such")],
)
def test_a_file_that_is_no_json_object_is_refused_by_name(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "set.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunMismatch, match=f"set.json.*{reason}"):
        Neurons.load(path)


def test_addresses_name_part_layer_and_unit():
    neurons = Neurons.at("vision.3.17", "vision.0.2", "vision.3.17")
    assert (neurons.part, neurons.members) == ("vision", (Neuron(3, 17), Neuron(0, 2)))
    assert neurons.addresses == ["vision.L3.U17", "vision.L0.U2"]
    assert Neurons.at() == Neurons(())


@given(st.integers(0, 99), st.integers(0, 10**6), st.sampled_from(PARTS), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_spelling_names_the_same_neuron(layer: int, unit: int, part: Part, letters: bool, said: bool):
    text = f"L{layer}.U{unit}" if letters else f"{layer}.{unit}"
    text = f"{part}.{text}" if said or part != "text" else text
    for spelling in (text, f" {text}", f"{text},", text.replace("L", "l").replace("U", "u")):
        neurons = Neurons.at(spelling)
        assert (neurons.part, list(neurons)) == (part, [Neuron(layer, unit)])
        assert Neurons.at(*neurons.addresses) == Neurons.of([spelling]) == neurons
        assert spelling in neurons
        assert str(neurons[0]) in neurons


@pytest.mark.parametrize(
    "address",
    [
        "3 17",
        "L3U17",
        "U3.L17",
        "vision.3",
        "3.17.",
        "L3.17b",
        "vision.x.1",
        "vision.3.-1",
        "vision.3.1.2",
        "vision.\u0663.1",
        "",
    ],
)
def test_an_address_of_another_form_is_refused(address: str):
    with pytest.raises(InvalidOption, match=r"is not of the form PART\.LAYER\.UNIT"):
        Neurons.at(address)


def test_an_unknown_part_is_refused():
    with pytest.raises(InvalidOption, match="part='audio' is not known"):
        Neurons.at("audio.1.2")


def test_one_set_holds_neurons_of_one_part():
    with pytest.raises(InvalidOption, match="name several parts"):
        Neurons.at("vision.1.2", "text.1.2")


def test_the_part_is_saved_and_older_documents_are_of_the_decoder(tmp_path: Path):
    neurons = Neurons.at("projector.1.2")
    neurons.save(tmp_path / "n.json")
    assert Neurons.load(tmp_path / "n.json") == neurons
    older = neurons.to_dict()
    del older["part"]
    assert Neurons.from_dict(older).part == "text"


FROM = {"here": {"id": "a", "fingerprint": "ab12"}, "there": {"id": "a", "fingerprint": "cd34"}, "hand": {}}
TOGETHER: dict[str, Callable[[Neurons, Neurons], object]] = {
    "and": lambda a, b: a & b,
    "without": lambda a, b: a - b,
    "like": lambda a, b: a.require_like(b),
    "agreement": agreement,
}


@pytest.mark.parametrize("do", TOGETHER.values(), ids=TOGETHER)
def test_sets_whose_addresses_mean_other_neurons_are_not_compared(do: Callable[[Neurons, Neurons], object]):
    one = Neurons(FULL.members, model=FROM["here"])
    for other in (one, replace(one, model=FROM["hand"]), replace(one, model=FROM["there"]).anywhere()):
        do(one, other)
        do(other, one)
    with pytest.raises(RunMismatch, match="ab12 and the other in cd34"):
        do(one, replace(one, model=FROM["there"]))
    for part in ("vision", "projector"):
        with pytest.raises(InvalidOption, match=f"part 'text' and one of part '{part}'"):
            do(one, replace(one, part=part))
