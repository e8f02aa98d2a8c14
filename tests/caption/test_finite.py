"""Logits that are no numbers make no caption, whichever way it would be written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import neuronscope as ns
from neuronscope.caption import Caption, Captioner, generate_captions
from neuronscope.caption.finite import Watch
from neuronscope.caption.shortcuts import Engine
from neuronscope.errors import InvalidSample, NotFinite
from neuronscope.evaluate.captions.scored import score_pairs
from neuronscope.evaluate.editing.measures import Wording
from neuronscope.evaluate.effect import Effect, counts
from neuronscope.intervene import activations, mean_activations
from neuronscope.locate.located import Scores
from neuronscope.locate.patching import word_score
from neuronscope.locate.scores import Layout, Pooled
from neuronscope.locate.target import Word
from neuronscope.locate.validity import _judged
from neuronscope.models.finite import finite_logits, finite_rows
from neuronscope.testing import tiny_vlm

NEURONS = ns.Neurons.of([(1, unit) for unit in range(6)])


class Broken(ns.Scale):
    """An operation of somebody's own whose arithmetic goes wrong."""

    value = math.nan

    def change(self, values: Tensor, at: Any) -> Tensor:
        return values * 0 + self.value


class Infinite(Broken):
    value = math.inf


class Negative(Broken):
    value = -math.inf


@pytest.fixture
def own() -> ns.VLM:
    return tiny_vlm()


@pytest.fixture(scope="module")
def half() -> ns.VLM:
    """In float16; no test changes it."""
    vlm = tiny_vlm()
    vlm.model.half()
    return vlm


SHORT = ns.Decoding(max_new_tokens=4)
WAYS: dict[str, Callable[[ns.VLM, Any, Any], Any]] = {
    "plain": lambda vlm, picture, change: generate_captions(vlm, [picture], change, decoding=SHORT),
    "batch": lambda vlm, picture, change: generate_captions(vlm, [picture] * 3, change, decoding=SHORT, batch_size=2),
    "drafts": lambda vlm, picture, change: Captioner(vlm, [picture] * 2, decoding=SHORT).captions(change),
    "no drafts": lambda vlm, picture, change: Captioner(
        vlm, [picture], decoding=SHORT, engine=Engine(draft=False)
    ).captions(change),
    "nothing saved": lambda vlm, picture, change: Captioner(
        vlm, [picture], decoding=SHORT, engine=Engine.off()
    ).captions(change),
    "no cache": lambda vlm, picture, change: generate_captions(
        vlm, [picture], change, decoding=ns.Decoding(use_cache=False, max_new_tokens=3)
    ),
}


@pytest.mark.parametrize("broken", [Broken, Infinite, Negative])
@pytest.mark.parametrize("way", WAYS)
def test_an_intervention_that_breaks_the_logits(vlm: ns.VLM, picture: Any, way: str, broken: type[Broken]):
    with pytest.raises(NotFinite, match=rf"caption of image 0.* under {broken.__name__} are not finite"):
        WAYS[way](vlm, picture, broken(NEURONS))
    for row in WAYS[way](vlm, picture, None):  # and nothing is left behind
        assert row[0].ids


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("way", ["plain", "no cache"])
def test_weights_that_are_no_numbers(own: ns.VLM, picture: Any, way: str, value: float):
    with torch.no_grad():
        own.model.get_output_embeddings().weight[3] = value
    with pytest.raises(NotFinite, match="image 0 would be written from are not finite"):
        WAYS[way](own, picture, None)
    with pytest.raises(NotFinite, match=r"row\(s\) \[0, 1\] of 2"):
        own.logits(own.prepare([picture] * 2))


def test_only_the_rows_that_are_broken_are_named(vlm: ns.VLM, picture: Any):
    class Second(ns.Noise):
        def change(self, values: Tensor, at: Any) -> Tensor:
            return torch.where((at.draw == 1)[:, None, None], math.nan, values)

    with pytest.raises(NotFinite, match="caption of image 0, 1 "):
        generate_captions(vlm, [picture] * 2, Second(NEURONS, level=1.0, draws=2))


def test_steps_behind_the_first_are_looked_at_and_padding_is_not():
    nan, on, end = [0.0, math.nan], [1.0, 0.0], [0.0, 1.0]
    watch = Watch([1])
    for rows in ([end, on, on], [nan, on, nan]):
        assert watch(torch.tensor([[5], [5], [5]]), torch.tensor(rows)).shape == (3, 2)
    assert watch.bad == [2]  # the first row was over
    assert [trail.best for trail in watch.trails] == [(1,), (0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("row", "good"),
    [
        ([0.0, 1.0], True),
        ([0.0, -math.inf], True),  # an entry that is never said
        ([-math.inf, -math.inf], False),
        ([0.0, math.inf], False),
        ([math.nan, 1.0], False),
        ([-math.inf, math.nan], False),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_which_rows_of_logits_are_numbers(row: list[float], good: bool, dtype: torch.dtype):
    assert finite_rows(torch.tensor([row], dtype=dtype)).tolist() == [good]
    if not good:
        with pytest.raises(NotFinite, match="float16 ends at 65504" if dtype == torch.float16 else "out of range"):
            finite_logits(torch.tensor([[row]], dtype=dtype), "model", dtype)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ns.Scale(NEURONS, factor=1e6), "factor=1e"),
        (lambda: ns.Scale(NEURONS, factor=-70000), "factor=-70000"),
        (lambda: ns.Mean(NEURONS, means=(0.0, 0.0, 66000.0, 0.0, 0.0, 0.0)), "means=66000"),
        (lambda: ns.Noise(NEURONS, level=1e5), "level=100000"),
        (lambda: ns.Patch(NEURONS, source=np.full((64, 6), 7e4)), "source=70000"),
    ],
)
def test_what_float16_cannot_hold(half: ns.VLM, picture: Any, make: Callable[[], Any], name: str):
    with pytest.raises(NotFinite, match=rf"{name}.* is beyond float16"):
        half.captions([picture], make())


def test_float16_overflow_inside_the_model(half: ns.VLM, picture: Any):
    with pytest.raises(NotFinite, match="float16 ends at 65504"):
        half.captions([picture], ns.Noise(NEURONS, level=6e4))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_activations_and_their_means(own: ns.VLM, picture: Any, value: float):
    with torch.no_grad():
        own.structure.ffns[0].output.weight[0, 0] = value
    neurons = ns.Neurons.of([(1, 0)])
    for read in (lambda: activations(own, picture, neurons), lambda: mean_activations(own, [picture])):
        with pytest.raises(NotFinite):
            read()
    with pytest.raises(NotFinite):
        ns.Mean.over(own, neurons, [picture])
    with pytest.raises(NotFinite):
        ns.Patch.take(own, neurons, picture)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scores_of_neurons_and_of_captions(own: ns.VLM, picture: Any, value: float):
    with pytest.raises(NotFinite, match="the score 'gradient' is not finite in 1 of 4 places"):
        Scores(Layout((4,)), {"gradient": Pooled(np.array([0, value, 1, 2]))})
    with pytest.raises(NotFinite, match="score of the caption 'b'"):
        score_pairs(["a", "b"], ["c", "d"], lambda texts, _: [0.0, value], "caption")
    with torch.no_grad():
        own.model.get_output_embeddings().weight[7] = value
    with torch.no_grad(), pytest.raises(NotFinite):
        word_score(own, own.prepare([picture]), Word((), ((1, 7),)), "logit")


@pytest.mark.parametrize("caption", ["", "  \n", ".", "...", "\u200b\u00ad", "!?", "—", "🐻"])
def test_a_caption_without_a_word_counts_against_the_intervention(caption: str):
    assert counts(caption, "bear", erased=True)
    assert not counts(caption, "bear", erased=False)
    own, others = (np.array([[counts(caption, "bear", erased=erased)] * 3]) for erased in (True, False))
    effect = Effect("bear", own, others)
    assert (effect.s_se, effect.s_re, effect.j) == (0, 0, -1)
    for words in (Wording("bear"), Wording("bear", "dog")):
        assert not words.replaced(caption)
        assert not words.gone(caption)
    assert Wording("bear").gone("a dog")


@pytest.mark.parametrize("text", ["", " ", "."])
def test_an_edited_picture_without_a_caption_is_no_counterfactual(vlm: ns.VLM, picture: Any, text: str):
    sample = ns.Sample(image=picture, concept="bear", boxes=[(1, 1, 9, 9)])
    says = [Caption(one, f"The image shows a {one}", ()) for one in ("a bear", text)]
    with pytest.raises(InvalidSample, match="caption of the edited image says nothing"):
        _judged(vlm, ns.counterfactual(sample), *says, "lexicon", None)
