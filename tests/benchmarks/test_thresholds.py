"""`python -m benchmarks.thresholds`: cuts made on scores that are computed once are what the method itself keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from benchmarks.thresholds import Null, Scene, effect, label, scored
from benchmarks.truth import valid_pair

import neuronscope as ns
from neuronscope.locate.scores import Layout
from neuronscope.locate.thresholds import Fixed, TargetDecoy
from neuronscope.locate.validity import Validity, check_validity
from neuronscope.samples import Counterfactual

#: A method -> (layer, unit) of what it keeps on the scene.
Kept = Callable[[ns.TwoStage], set[tuple[int, int]]]


@pytest.fixture(scope="module")
def chosen(demo: ns.VLM) -> tuple[Counterfactual, tuple[str, ...], Validity]:
    pair, shown, _ = valid_pair(demo, "cake", 7)
    return pair, shown, check_validity(demo, pair)


@pytest.fixture(scope="module")
def scene(demo: ns.VLM, chosen: tuple[Counterfactual, tuple[str, ...], Validity]) -> Scene:
    return scored(demo, "cake", *chosen)


@pytest.fixture(scope="module")
def kept(demo: ns.VLM, chosen: tuple[Counterfactual, tuple[str, ...], Validity]) -> Kept:
    pair, _, known = chosen
    return lambda method: {(n.layer, n.unit) for n in method.locate(demo, pair, validity=known).neurons}


def listed(vlm: ns.VLM, keep: np.ndarray) -> set[tuple[int, int]]:
    layout = Layout(vlm.widths)
    return {layout.split(int(flat)) for flat in np.nonzero(keep)[0]}


@pytest.mark.parametrize("point", [(0.8, 1e-4), (1.2, 5e-4), (1.6, 2e-3), (2.5, 1e-4)])
@pytest.mark.parametrize("site", ["act", "neuron"])
def test_fixed_cuts_are_those_of_the_method(
    demo: ns.VLM, scene: Scene, kept: Kept, site: str, point: tuple[float, float]
):
    method = ns.TwoStage(activation=Fixed(point[0]), gradient=Fixed(point[1]), site=site, grad_pool="any")  # type: ignore[arg-type]
    scores = scene.paper if site == "act" else scene.neuron
    assert listed(demo, scores.keep(point)) == kept(method)


def test_the_paper_form_is_the_paper_preset(demo: ns.VLM, scene: Scene, kept: Kept):
    point = next(at for name, at, _ in scene.sets() if name == "Table IV")
    keep = next(keep for name, _, keep in scene.sets() if name == "Table IV")
    assert listed(demo, keep) == kept(ns.TwoStage.paper(point))


@pytest.mark.parametrize("q", [0.02, 0.1, 0.5])
def test_null_based_cuts_are_those_of_the_method(demo: ns.VLM, scene: Scene, kept: Kept, q: float):
    method = ns.TwoStage(activation=TargetDecoy(q), gradient=TargetDecoy(q))
    assert listed(demo, scene.null.keep(q)) == kept(method)


def test_nothing_passes_stage_two_where_nothing_passed_stage_one():
    null = Null()
    null.activation.target, null.activation.decoys = np.zeros(4), np.ones((2, 4))
    null.gradient.target, null.gradient.decoys = np.ones(4), np.zeros((2, 4))
    assert not null.keep(0.1).any()


def test_a_caption_counts_where_its_own_concept_is_concerned(scene: Scene):
    other = Scene("dog", scene.pair, ("dog",), scene.paper, scene.neuron, scene.null)
    both = Scene("bus", scene.pair, ("bus", "cake"), scene.paper, scene.neuron, scene.null)
    found = effect("cake", [scene, other, both], ["a dog", "a dog", "nothing"])
    assert (found.s_se, found.s_re, found.others.shape) == (1.0, 1.0, (1, 1))


def test_points_have_different_names(scene: Scene):
    names = [label(name, at) for name, at, _ in scene.sets()]
    assert len(names) == len(set(names))
