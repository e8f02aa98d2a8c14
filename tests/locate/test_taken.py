"""The word that is asked for is compared with what was removed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import neuronscope as ns
from neuronscope.caption import Caption, Decoding
from neuronscope.errors import ConceptNotNamed, InvalidSample
from neuronscope.locate import validity
from neuronscope.locate.taken import Affected, Removal
from neuronscope.locate.validity import check_validity
from neuronscope.studies.demo.scenes import scenes_of
from neuronscope.testing import tiny_model, tiny_processor


@pytest.fixture(scope="module")
def scenes(demo):
    """Scenes in which the bundled model says "left" or "right" with the object, with the words that went."""
    found = []
    for concept in ("toilet", "cake", "tennis racket"):
        for sample in scenes_of(concept, 4, seed=3):
            try:
                pair, valid = validity.valid_pair(demo, sample)
            except InvalidSample:
                continue
            found.append((pair, valid))
    return found


@pytest.fixture
def ask(demo, monkeypatch):
    """Why a word is doubtful; "refused" for one that is not affected. What the model says of a pair is known."""

    def asked(pair, valid, word):
        monkeypatch.setattr(validity, "generate_captions", lambda *_, **__: [[valid.original], [valid.edited]])
        return doubt(check_validity(demo, replace(pair, sample=replace(pair.sample, concept=word))).removal)

    return asked


def doubt(found):
    try:
        found.require()
    except InvalidSample as error:
        return f"refused: {error}"
    return found.doubt


def test_the_object_itself_is_not_doubted(scenes):
    assert len(scenes) > 7
    for _, valid in scenes:
        valid.removal.require()
        assert valid.removal.doubt == "", valid.original.text


def test_words_that_only_went_with_it_are(scenes, ask):
    """Every lost word of place, grammar or background in these scenes."""
    asked = 0
    for pair, valid in scenes[::2]:
        gone = {one.word for one in valid.removal.words if one.lost}
        for word in gone & {"left", "right", "of", "in", "on", "snow", "under"}:
            told = ask(pair, valid, word)
            assert word in told, (word, valid.original.text)
            asked += 1
            if word in ("of", "in", "on"):
                assert told.startswith("refused")
    assert asked > 8


def test_the_verdict_of_locate_begins_with_it(demo, scenes, tmp_path):
    from neuronscope.report import Evidence
    from neuronscope.studies.locate.study import locate_into

    pair, valid = next((p, v) for p, v in scenes if any(w.word == "left" and w.taken > 0.05 for w in v.removal.words))
    pair = replace(pair, sample=replace(pair.sample, concept="left"))
    left = check_validity(demo, pair)
    result = locate_into(tmp_path, demo, ns.method("difference-x-gradient"), pair, validity=left, draws=None)
    document = json.loads(json.dumps(result.to_dict()))
    assert document["verdict"].startswith("The removal takes little from “left”: after the same words it keeps ")
    assert document["removal"]["doubt"] in result.summary[0]
    assert document["removal"]["asked"]["word"] == "left"
    assert Evidence.load(tmp_path).removal == left.removal
    assert left.removal.doubt in result.located._repr_html_()
    assert valid.match.surface in {one["word"] for one in document["removal"]["words"]} | {"tennis racket"}


def plainly(vlm, image, ids):
    """Natural logarithm of the probability of each token of a caption, from one pass over prompt and caption."""
    inputs = vlm.prepare([image]).extend(ids)
    with torch.no_grad():
        logits = vlm.logits(inputs, last=len(ids) + 1)[0].double().log_softmax(-1)
    return np.array([float(logits[k, token]) for k, token in enumerate(ids)])


@pytest.fixture(scope="module")
def spelling(natural_files):
    """A tiny model that spells as the natural one does, in pieces of words of any language."""
    tokenizer = AutoTokenizer.from_pretrained(natural_files)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.image_token = "<image>"
    tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model = tiny_model(text={"vocab_size": len(tokenizer)}, image_token_id=tokenizer.image_token_id)
    return ns.load((model, tiny_processor(tokenizer=tokenizer)))


@pytest.mark.parametrize(
    ("original", "concept", "surface"),
    [
        ("рыжий кот на снегу", "кот", "кот"),
        ("ein roter Feuerhydrant im Wald", "feuerhydrant", "Feuerhydrant"),
        ("un chat roux près du feu tricolore", "feu tricolore", "feu tricolore"),
        ("草地上 有 大熊", "大熊", "大熊"),
        ("a red traffic light over snow", "traffic light", "traffic light"),
        ("ένα άσπρο άλογο", "άλογο", "άλογο"),
    ],
)
def test_words_of_several_tokens_in_any_language(spelling, picture, monkeypatch, original, concept, surface):
    """All tokens of the word count, and the sum over all words is that of the caption's tokens."""
    said = (original, "snow")
    rows = [tuple(spelling.tokenizer(text, add_special_tokens=False).input_ids) for text in said]
    captions = [[Caption(text, text, ids)] for text, ids in zip(said, rows, strict=True)]
    monkeypatch.setattr(validity, "generate_captions", lambda *_, **__: captions)
    pair = ns.counterfactual(ns.Sample(picture, concept, boxes=[(4, 4, 20, 20)]), "mean_fill")
    found = check_validity(spelling, pair)
    assert found.match.surface == surface
    before, after = (plainly(spelling, image, rows[0]) for image in (pair.original, pair.edited))
    of = list(found.tokens)
    assert len(of) > 1 or surface.isascii()
    assert found.removal.asked.taken == pytest.approx(float((before - after)[of].sum()), abs=1e-3)
    assert found.removal.asked.before == pytest.approx(math.exp(before[of].sum()), rel=1e-3)
    assert all(surface not in one.word for one in found.removal.words)
    assert found.removal.place == sum(original.index(one.word) < found.match.start for one in found.removal.words)


def word(name, taken, lost=True):
    return Affected(name, 0.9, 0.9 * math.exp(-taken), taken, lost)


@pytest.mark.parametrize(
    ("asked", "others", "place", "doubtful"),
    [
        (word("bear", 3.0), [word("brown", 12.0), word("street", 0.0)], 1, False),  # what stands before it is no rival
        (word("bear", 3.0), [word("brown", 12.0), word("beside", 13.0)], 1, True),
        (word("left", 0.3), [word("dog", 9.0)], 0, True),
        (word("left", 1.4), [word("dog", 9.0)], 0, True),
        (word("left", 1.4), [word("dog", 9.0, lost=False)], 0, False),  # still in the caption
        (word("left", 0.6), [], 0, True),  # still said
        (word("dog", 0.7), [], 0, False),
    ],
)
def test_by_hand(asked, others, place, doubtful):
    removal = Removal(asked, tuple(others), place)
    assert bool(removal.doubt) == doubtful
    assert Removal.from_dict(json.loads(json.dumps(removal.to_dict()))) == removal


@pytest.mark.parametrize("taken", [0.009, 0.0, -2.0])
def test_a_word_from_which_nothing_is_taken_is_refused(taken):
    with pytest.raises(InvalidSample, match=r"'snow' is not the word for what was removed.*takes most from 'bear'"):
        Removal(word("snow", taken), (word("bear", 4.0), word("dog", 9.0, lost=False)), 1).require()
    Removal(word("snow", 0.02), (), 0).require()


def test_many_at_a_time_are_not_asked(demo, scenes):
    (found,) = validity.valid_pairs(demo, [scenes[0][0].sample], decoding=Decoding())
    assert found[1].removal is None


def test_a_word_that_is_not_in_the_caption_is_refused_as_before(scenes, ask):
    with pytest.raises(ConceptNotNamed):
        ask(*scenes[0], "zeppelin")
