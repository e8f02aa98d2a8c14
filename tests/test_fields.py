"""What the fields of option classes may hold: every number of every option class, with everything it must not be."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import neuronscope as ns
from neuronscope import cluster, explorer, fields, studies
from neuronscope.caption.shortcuts import Engine
from neuronscope.edit.registry import EDITORS
from neuronscope.errors import InvalidOption, InvalidSample, NeuronscopeError, RunMismatch
from neuronscope.evaluate.captions import METRICS
from neuronscope.intervene import operations
from neuronscope.locate import METHODS, thresholds
from neuronscope.locate.recovery import Recovery
from neuronscope.options import BOX, NUMBERS, SETTING, SHARE, options_in
from neuronscope.samples import Region
from neuronscope.studies.discover.settings import Discover, DiscoveryPlan
from neuronscope.studies.reproduce.settings import Experiment

NEURONS = ns.Neurons.of([(0, 1), (2, 5)])
#: What a class cannot do without.
NEEDED: dict[str, dict[str, Any]] = {
    "Fixed": {"value": 1.0},
    "Budget": {"count": 3},
    "Mean": {"neurons": NEURONS, "means": (0.5, 1.0)},
    "Patch": {"neurons": NEURONS, "source": np.zeros((1, 2))},
    "Graft": {"source": "bear", "target": "dog", "donors": NEURONS},
    "Experiment": {"concepts": ("bear", "dog")},
    "Locate": {"image": "a.png", "concept": "bear"},
    "OnePicture": {"image": "a.png", "concept": "bear"},
    "Condition": {"name": "noise"},
    "Statistics": {},
    "Neuron": {"layer": 1, "unit": 2},
    "Focused": {"editor": ns.Swap(source="bear", target="dog")},
    "Tuned": {"editors": (ns.Swap(source="bear", target="dog"),)},
    "Sample": {"image": "a.png", "concept": "bear"},
    "Probes": {"edited": ("a",), "held_out": ("b",), "others": ("c",)},
    "ClipScore": {"model": "clip"},
    "Discover": {"sources": ("a",)},
    "IndexOf": {"sources": ("a",)},
    "Rewrite": {"images": ("a",), "source": "bear"},
    "Family": {"model_type": "a", "title": "A"},
    "CocoFolder": {"images": Path("images"), "instances": Path("instances.json")},
    "RepairJob": {"images": "data"},
    "DiscoveryJob": {"asked": Discover(sources=("a",)), "plan": DiscoveryPlan()},
    "ReproductionJob": {"experiment": Experiment(concepts=("bear", "dog")), "data": Path("data")},
}
#: Dataclasses among them that are results, or made by the engine.
RESULTS = {
    *(
        "Attempt",
        "Beside",
        "Caption",
        "Counterfactual",
        "Cut",
        "Difference",
        "Edit",
        "Heatmap",
        "Located",
        "Moment",
        "Regions",
    ),
    *(
        "Ceiling",
        "Effects",
        "ScoredConcept",
        "Scores",
        "Validity",
        "Decoded",
        "ScoreCell",
        "Estimate",
        "Results",
        "Scope",
        "Trials",
    ),
}


def option_classes() -> dict[str, type]:
    """Registries, public names, modules of thresholds, operations and settings, and every class with an option."""
    found: list[Any] = [*METHODS.values(), *EDITORS.values(), Engine, Recovery, ns.Neuron]
    found += [getattr(one, "func", one) for one in METRICS.values()]
    found += [getattr(ns, name) for name in ns.__all__]
    found += [*vars(thresholds).values(), *vars(operations).values()]
    for package in (cluster, studies, explorer):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] in ("settings", "resources", "compare", "forms", "job"):
                found += vars(import_module(module.name)).values()
    found += [import_module("neuronscope.report.gather").Test]
    classes = (one for one in found if isinstance(one, type) and dataclasses.is_dataclass(one))
    names = {one.__name__: one for one in classes if not one.__name__.startswith("_") and not _no_options(one)}
    return dict(sorted(names.items()))


def _no_options(one: Any) -> bool:
    return bool(getattr(one, "__abstractmethods__", ())) or one.__name__ in RESULTS


def made(kind: type) -> Any:
    names = {one.name for one in dataclasses.fields(kind)}
    known = {"source": "bear", "target": "dog", "neurons": NEURONS}
    lacking = {
        one.name: known[one.name]
        for one in dataclasses.fields(kind)
        if one.init
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
        and one.name in known
    }
    given = {**lacking, **NEEDED.get(kind.__name__, {})}
    assert given.keys() <= names
    return kind(**given)


NAN, INF = math.nan, math.inf
COMMON: list[Any] = [NAN, INF, -INF, "x", "3", "", b"1", np.nan, np.float32("inf"), 1j, [1], {}, object()]
WRONG: dict[str, list[Any]] = {
    "int": [*COMMON, True, False, np.True_, 1.5, 2.0, np.float64(2.0), Fraction(1, 2), np.array([1, 2])],
    "float": [*COMMON, True, np.True_, 10**400, -(10**400)],
    "bool": ["x", "false", "", 1, 0, 1.0, NAN, [], np.int64(1)],
}


def cases() -> Iterator[Any]:
    for name, kind in option_classes().items():
        for field in dataclasses.fields(kind):
            hint = str(field.type)
            if not field.init or not re.search(r"\b(int|float|bool)\b", hint) or "[" in hint.replace("tuple[", ""):
                continue
            if "Mapping" in hint or "np." in hint:
                continue
            values: list[Any] = []
            items = re.fullmatch(r"tuple\[(int|float|bool)\b(.*)\](?: \| None)?", hint)
            if hint.startswith("tuple[tuple[float, float, float, float]"):  # boxes
                values = [((1.0, 2.0, 3.0, bad),) for bad in WRONG["float"]]
                values += [((1.0, 2.0, 3.0),), (1.0, 2.0, 3.0, 4.0), "12", 3, b"12", NAN]
            elif items:
                count = 1 if "..." in items[2] else 1 + items[2].count(",")
                values = [(bad,) * count for bad in WRONG[items[1]]] + ["12", 3, b"12", NAN]
                values += [(1,) * (count + 1)] if "..." not in items[2] else []
            else:
                plain = re.match(r"int|float|bool", hint)
                assert plain, f"{name}.{field.name}: {hint} is of a kind that this test does not know"
                values = list(WRONG[plain[0]])
            if "None" not in hint:
                values.append(None)
            yield pytest.param(kind, field.name, values, id=f"{name}.{field.name}")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("kind", "field", "values"), cases())
def test_what_is_no_such_number_is_refused_by_name(kind: type, field: str, values: list[Any]):
    right = made(kind)
    for value in values:
        with pytest.raises(NeuronscopeError, match=rf"\b{field}\b"):
            dataclasses.replace(right, **{field: value})
        try:
            dataclasses.replace(right, **{field: value})
        except NeuronscopeError as error:
            assert "\n" not in str(error)


def test_there_are_many_cases():
    assert len(list(cases())) > 90
    assert {"Noise", "Scale", "Decoding", "Limits", "Experiment", "Resources", "Learned", "TwoStage", "Budget"} < set(
        option_classes()
    )


@pytest.mark.parametrize(
    ("make", "held"),
    [
        (lambda: thresholds.Budget(np.int64(3)).count, 3),
        (lambda: thresholds.Fixed(np.float32(0.5)).value, 0.5),
        (lambda: thresholds.Fixed(2).value, 2),
        (lambda: ns.Noise(NEURONS, level=np.float64(2), draws=np.uint8(2), relative=np.True_).relative, True),
        (lambda: ns.Mean(NEURONS, means=np.array([1, 2], dtype=np.float32)).means, (1.0, 2.0)),
        (lambda: ns.Neurons.of(np.array([[1, 2]])).members, (ns.Neuron(1, 2),)),
        (lambda: ns.TwoStage(stages=[1]).stages, (1,)),
        (lambda: ns.Decoding(max_new_tokens=np.int32(4)).max_new_tokens, 4),
        (lambda: ns.Scale(NEURONS, factor=Fraction(1, 2)).factor, 0.5),
    ],
)
def test_numbers_of_numpy_are_numbers(make: Callable[[], Any], held: Any):
    value = make()
    assert value == held
    assert type(value) is type(held)


@pytest.mark.parametrize("pair", [(1.9, 2.9), (1, 2.0), (True, 1), ("1", "2"), (math.nan, 1), (None, 1), 3, (1, 2, 3)])
def test_an_address_is_two_whole_numbers(pair: Any):
    with pytest.raises(InvalidOption):
        ns.Neurons.of([pair])
    if isinstance(pair, tuple) and len(pair) == 2:
        with pytest.raises(InvalidOption):
            ns.Neuron(*pair)
    with pytest.raises(InvalidOption):
        ns.Neurons((pair,))


@pytest.mark.parametrize("key", ["layer", "unit"])
@pytest.mark.parametrize("value", ["true", "1.0", "1.5", '"1"', "null", "NaN", "[1]", "-1", "1e3"])
def test_a_document_of_neurons_has_whole_numbers(tmp_path: Path, key: str, value: str):
    document = NEURONS.to_dict()
    document["neurons"][1][key] = "@"
    path = tmp_path / "neurons.json"
    path.write_text(json.dumps(document).replace('"@"', value))
    with pytest.raises(RunMismatch, match=key):
        ns.Neurons.load(path)


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, None])
def test_scores_are_finite_numbers(value: Any):
    with pytest.raises(InvalidOption, match="score 'activation'"):
        ns.Neurons(NEURONS.members, {"activation": (1.0, value)})
    document = NEURONS.to_dict()
    document["scores"] = ["activation"]
    for row in document["neurons"]:
        row["scores"] = {"activation": value}
    with pytest.raises(RunMismatch, match="score 'activation'"):
        ns.Neurons.from_dict(document)


@pytest.mark.parametrize("box", [(math.nan, 0, 5, 5), (0, 0, math.inf, 5), ("0", 0, 5, 5), (True, 0, 5, 5), "1234", 7])
def test_boxes_are_finite_numbers(box: Any):
    with pytest.raises((InvalidSample, TypeCheckError), match="box"):
        ns.Sample(image="a.png", concept="bear", boxes=[box])
    with pytest.raises((InvalidSample, TypeCheckError), match="box"):
        Region("bear", box)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "Infinity", "NaN"])
def test_words_of_the_command_line_are_finite_numbers(word: str):
    for form, text in ((BOX, f"1,2,{word},4"), (NUMBERS, f"1,{word}"), (SHARE, word)):
        with pytest.raises(ValueError, match="finite"):
            form.read(text)
    name, value = SETTING.read(f"factor={word}")
    with pytest.raises(InvalidOption, match="factor"):
        ns.Scale(NEURONS, **{name: value})


@pytest.mark.parametrize("source", [[[math.nan, 0]], [[0, math.inf]], [["x", "y"]], [[None, 1]], [[True, False]]])
def test_a_patch_holds_finite_numbers(source: Any):
    with pytest.raises(
        (InvalidOption, TypeCheckError), match=r"Patch source|source=|'source'"
    ):  # shapes are looked at first
        ns.Patch(NEURONS, source=np.array(source))


@pytest.mark.parametrize("neurons", [None, [(1, 2)], (ns.Neuron(1, 2),), "text.1.2"])
def test_an_operation_acts_on_a_set(neurons: Any):
    with pytest.raises(InvalidOption, match="neurons="):
        ns.Zero(neurons)


@pytest.mark.parametrize("rule", [0.5, "knee", math.nan, True])
def test_a_threshold_is_a_rule(rule: Any):
    with pytest.raises(InvalidOption, match="activation="):
        ns.TwoStage(activation=rule)


def test_names_that_are_no_text_are_refused_as_names():
    for value in (1.5, math.nan, True):
        with pytest.raises(InvalidOption, match="span="):
            ns.Zero(NEURONS, span=value)


def test_every_option_of_the_command_line_is_looked_at():
    """A field of a kind that is not known is left to its class: numbers may not be among them."""
    for name, kind in option_classes().items():
        for field, _ in options_in(kind):
            if re.search(r"\b(int|float|bool)\b", str(field.type)):
                assert field.name in [known[0] for known in fields._readers(kind)], f"{name}.{field.name}"
