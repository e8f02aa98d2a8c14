"""A caption is said to name the concept only where writing it does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption import clean_captions, near_ties
from neuronscope.caption.captions import ends_of
from neuronscope.evaluate import named
from neuronscope.intervene import Patch
from neuronscope.locate import Exchange
from neuronscope.locate.named_ahead import NamedAhead
from neuronscope.locate.picture_row import picture_rows
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import check_validity
from neuronscope.models import Decoding
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.types import Neurons

PLAIN = Decoding()


def ahead(vlm, words, decoding=PLAIN, concept="bear"):
    ids = tuple(vlm.tokenizer(words, add_special_tokens=False).input_ids)
    validity = SimpleNamespace(original=SimpleNamespace(ids=ids), tokens=(len(ids) - 1,))
    return NamedAhead.of(vlm, validity, concept, "lexicon", decoding)


def logits(vlm, ids):
    """[1, predictions, vocabulary] whose largest are the given tokens."""
    return torch.nn.functional.one_hot(torch.tensor([ids]), len(vlm.tokenizer)).float() * 9


@pytest.mark.parametrize(
    ("said", "behind", "known"),
    [
        ("a brown bear", " on", True),
        ("a brown bear", None, True),  # the end
        ("a brown dog", " on", False),
        ("the brown bear", " on", False),  # the same word, but what was read behind it is another caption's
    ],
)
def test_every_token_through_the_word_has_to_be_the_largest(vlm, said, behind, known):
    ids = vlm.tokenizer(said, add_special_tokens=False).input_ids
    after = ends_of(vlm)[0] if behind is None else vlm.tokenizer(behind, add_special_tokens=False).input_ids[0]
    assert ahead(vlm, "a brown bear").named(logits(vlm, [*ids, after])) == [known]


def test_a_token_that_may_go_on_with_the_word_says_nothing(vlm, monkeypatch):
    found = ahead(vlm, "a brown bear")
    for text, known in (("a brown bear with", True), ("a brown beard", False), ("a brown bear", False)):
        monkeypatch.setattr("neuronscope.locate.named_ahead.caption_of", lambda *_, t=text: SimpleNamespace(text=t))
        assert found.named(logits(vlm, [*found.ids, found.ids[0]])) == [known]


def test_near_ties_and_the_placeholder_say_nothing(vlm):
    found = ahead(vlm, "a brown bear")
    close = logits(vlm, [*found.ids, ends_of(vlm)[0]])
    assert found.named(close) == [True]
    close[0, 1, found.ids[0]] = 9 * (1 - near_ties(vlm).bound / 100)
    assert found.named(close) == [False]
    assert found.named(logits(vlm, [*found.ids, vlm.image_token])) == [False]


def test_nothing_is_read_ahead_where_captions_hang_on_more_than_the_largest_logit(make_vlm, vlm):
    assert ahead(vlm, "a bear", Decoding(generation={"repetition_penalty": 1.5})) is None
    assert ahead(vlm, "a bear", Decoding(max_new_tokens=2)) is None  # nothing is written behind it
    other = make_vlm()
    other.model.bfloat16()
    assert ahead(other, "a bear") is None


@pytest.fixture(scope="module")
def scene():
    return ns.counterfactual(scenes_of("bear", 2)[1])


@pytest.mark.parametrize("token", ["first", "sum"])
def test_effects_are_the_same_and_captions_that_name_it_do(demo, scene, token):
    validity = check_validity(demo, scene)
    word, total = concept_word(validity, token), Layout(demo.widths).total
    rows = picture_rows(demo, scene, word, Decoding(), "neuron")
    plain, reading = (
        Exchange.between(demo, *rows, ahead=each)
        for each in (None, NamedAhead.of(demo, validity, "bear", "lexicon", Decoding()))
    )
    assert reading.ahead is not None
    rng = np.random.default_rng(0)
    sets = [rng.random(total) < share for share in (0.0, 0.02, 0.1, 0.5, 1.0)]
    effects, names = reading.read(sets)
    assert np.allclose(effects, plain.effects(sets), rtol=0, atol=1e-5)
    assert plain.read(sets)[1].tolist() == [True, False, False, False, False]  # nothing is known but of the empty set
    assert names.tolist()[:2] == [True, True]
    assert not names[-1]
    for mask, known in zip(sets[1:], names[1:], strict=True):
        neurons = Neurons.of(Layout(demo.widths).split(int(flat)) for flat in np.nonzero(mask)[0])
        with demo.intervene(Patch.take(demo, neurons, scene.edited)):
            text = clean_captions(demo, [scene.original])[0].text
        assert not known or named(text, "bear")
