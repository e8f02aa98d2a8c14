"""Where the concept's word is predicted, and which tokens count."""

import dataclasses

import pytest
import torch

from neuronscope.caption import Caption, Decoding
from neuronscope.errors import InvalidSample
from neuronscope.locate.target import concept_word, positions_of
from neuronscope.locate.validity import Validity
from neuronscope.samples.lexicon import Match


@pytest.fixture
def seen() -> Validity:
    """A caption of ids 10 to 14 whose tokens 2 and 3 spell the concept."""
    caption = Caption("a surfboard here", "The image shows a surfboard here", (10, 11, 12, 13, 14))
    return Validity(caption, caption, Match("surfboard", 2, 11, "surfboard"), (2, 3))


@pytest.mark.parametrize(
    ("token", "ids", "entries", "average"),
    [
        ("first", (10, 11), ((1, 12),), False),
        ("last", (10, 11, 12), ((1, 13),), False),
        ("sum", (10, 11, 12), ((2, 12), (1, 13)), False),
        ("mean", (10, 11, 12), ((2, 12), (1, 13)), True),
    ],
)
def test_the_position_that_predicts_a_token_is_the_one_before_it(seen, token, ids, entries, average):
    word = concept_word(seen, token)
    assert (word.ids, word.entries, word.average) == (ids, entries, average)


def test_a_word_that_no_token_spells_is_refused(seen):
    with pytest.raises(InvalidSample, match="no token of the caption 'a surfboard here' spells 'surfboard'"):
        concept_word(dataclasses.replace(seen, tokens=()))


def test_positions_predict_the_entries(vlm, picture, seen):
    word = concept_word(seen, "sum")
    inputs = word.inputs(vlm, picture, Decoding())
    ids = inputs.tensors["input_ids"][0]
    assert ids[-3:].tolist() == [10, 11, 12]
    predict = positions_of(inputs, word.entries, "predict", len(ids))
    assert (ids[predict + 1 : predict + 2] if len(predict) == 1 else ids[predict[:1] + 1]).tolist() == [12]
    assert predict.tolist() == [len(ids) - 2, len(ids) - 1]
    image = positions_of(inputs, word.entries, "image", len(ids))
    assert torch.equal(torch.nonzero(ids == vlm.image_token)[:, 0], image)
