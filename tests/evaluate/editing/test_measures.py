"""Measures of edits, worked by hand on captions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.evaluate import metric
from neuronscope.evaluate.captions.clipscore import ClipScore
from neuronscope.evaluate.editing import (
    MEASURES,
    Answers,
    MeasureValues,
    TextReading,
    Wording,
    compare_readings,
    repetition,
)
from neuronscope.evaluate.editing.measures import rouge_l

WORDS = Wording("bear", "dog", facts=("beach", "street"))
BEFORE = Answers(
    edited=("brown bear on a beach.", "a red bus."),
    held_out=("bear on a street.", "black bear and a cake on a beach.", "bears and a bus.", "a cake."),
    others=("a bus.", "a cake on a street.", "a pizza.", "a bear."),
    prompted={"There is a": ("bear.", "bear.", "cake.", "cake.")},
    nll=(0.5, 0.5, None, 0.25),
    texts=(TextReading((1.0, 3.0), (5, 6)), TextReading((2.0,), (7,))),
    asked=("one", "two"),
)
AFTER = Answers(
    edited=("brown dog on a beach.", "a red dog."),
    held_out=("dog on a street.", "black dog and a cake.", "dog and a bear.", "a a a a a."),
    others=("a bus.", "a dog on a street.", "a pizza.", "a dog."),
    prompted={"There is a": ("dog.", "bus.", "dog.", "cake.")},
    nll=(0.75, 0.25, 0.1, None),
    texts=(TextReading((2.0, 4.0), (5, 9)), TextReading((2.0,), (7,))),
    asked=("one", "two"),
)
#: Values of images and texts, by hand.
EXPECTED = {
    "success": (1.0,),  # the bus never was a bear
    "generality": (1.0, 1.0, 0.0),  # the third still names the bear
    "prompts": (1.0, 0.0),  # of the first two, which named it
    "gone": (1.0, 1.0, 0.0),
    "locality": (1.0, 0.0, 1.0),  # the fourth named the bear
    "text_perplexity": (1.0, 0.0),  # logarithms
    "text_agreement": (0.5, 1.0),
    "portability": (1.0, 0.5, 0.0),  # street; cake without its beach; no bus
    "rest": (1.0, 0.0, 0.0),
    "perplexity": (0.25, -0.25),  # where both captions have tokens
}


@pytest.mark.parametrize("name", EXPECTED)
def test_values_worked_by_hand(name: str):
    assert compare_readings(BEFORE, AFTER, WORDS)[name].values == pytest.approx(EXPECTED[name])


def test_nothing_changed():
    found = compare_readings(BEFORE, BEFORE, WORDS)
    assert list(found) == list(MEASURES)
    for name in ("success", "generality", "prompts", "gone", "rest"):
        assert found[name].mean == 0, name
    for name in ("locality", "similarity", "text_perplexity", "text_agreement", "portability", "perplexity"):
        assert found[name].mean == 1, name
    assert found["repetition"] == found["repetition_before"]


def test_similarity_leaves_out_the_others_that_name_the_source():
    found = compare_readings(BEFORE, AFTER, WORDS)["similarity"].values
    # "a dog on a street" and "a cake on a street" share 4 of 5 words in order.
    assert found == pytest.approx((1, 0.8, 1))
    assert compare_readings(BEFORE, AFTER, WORDS, metric("rouge-1"))["similarity"].values == pytest.approx((1, 0.8, 1))


@pytest.mark.parametrize(
    ("caption", "reference", "score"),
    [
        ("a dog on a street", "a cake on a street", 0.8),
        ("A street-dog.", "a street dog", 1),
        ("street a on dog a", "a dog on a street", 0.6),
        ("red bus", "green cake", 0),
        ("", "", 0),
        ("", "a cake", 0),
    ],
)
def test_rouge_l_is_the_library_s(caption: str, reference: str, score: float):
    assert rouge_l(caption, reference) == pytest.approx(score)
    assert rouge_l(caption, reference) == pytest.approx(metric("rouge-l").score([caption], [reference])[0])


def test_repetition():
    found = compare_readings(BEFORE, AFTER, WORDS)
    assert found["repetition_before"].mean == 0
    # five equal words: one distinct of four pairs; of three triples; of two quadruples
    assert found["repetition"].values == (0, 0, 0, 0.75)
    assert (repetition(""), repetition("a"), repetition("a b a b")) == (0, 0, pytest.approx(1 / 3))


def test_without_a_target_the_source_has_to_go():
    found = compare_readings(BEFORE, AFTER, Wording("bear"))
    assert found["success"].values == (1,)
    assert found["generality"].values == found["gone"].values
    assert found["rest"].values == ()
    assert found["rest"].mean is None
    assert found["rest"].estimate is None


def test_exchanging_every_mention():
    assert WORDS.exchanged("a bear and two bears, no teddy bear") == "a dog and two dog, no teddy bear"
    assert WORDS.exchanged("a cake") == "a cake"


def test_ratios_are_geometric_means():
    ratios = MeasureValues((math.log(2), math.log(8)), ratio=True)
    assert ratios.mean == pytest.approx(4)
    found = ratios.estimate
    assert found is not None
    assert (found.low, found.value, found.high) == pytest.approx((2, 4, 8))
    assert MeasureValues((1.0,)).join([MeasureValues((0.0, 0.0))]).mean == pytest.approx(1 / 3)


@pytest.mark.parametrize("target", ["bear", "Bear ", "brown bear", "bears"])
def test_a_target_that_names_the_source_is_refused(target: str):
    with pytest.raises(InvalidOption, match="names source='bear'"):
        compare_readings(BEFORE, AFTER, Wording("bear", target))


def test_readings_of_other_probes_are_refused():
    for other in (replace(AFTER, others=()), replace(AFTER, asked=("one",)), replace(AFTER, prompted={})):
        with pytest.raises(RunMismatch, match="different probes"):
            compare_readings(BEFORE, other, WORDS)


def test_a_metric_between_captions_and_images_is_refused():
    with pytest.raises(InvalidOption, match="'clipscore' compares with images"):
        compare_readings(BEFORE, AFTER, WORDS, ClipScore(model="any"))
