"""Which tokens spell a word."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.tokens import first_token, tokens_of_span


def spell(vlm: ns.VLM, text: str) -> list[int]:
    return vlm.tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    ("text", "word", "indices"),
    [
        ("a brown bear on grass", "bear", [2]),
        ("a brown bear on grass", "a", [0]),
        ("a snowboard on grass", "snowboard", [1, 2]),
        ("a snowboard and a surfboard", "surfboard", [5, 6]),
        ("a snowboard", "board", [2]),
        ("red bus", "red bus", [0, 1]),
    ],
)
def test_the_tokens_of_a_word_are_found(vlm: ns.VLM, text: str, word: str, indices: list[int]):
    ids = spell(vlm, text)
    start = text.index(word)
    assert tokens_of_span(vlm.tokenizer, ids, start, start + len(word)) == indices


def test_ids_are_used_as_generated(vlm: ns.VLM):
    """Tokenising the decoded text again would lose the special token, and with it the count."""
    words = {word: vlm.tokenizer.convert_tokens_to_ids(word) for word in ("snow", "##board", "bear", "</s>")}
    ids = [words[w] for w in ("bear", "##board", "</s>", "snow", "##board")]
    text = vlm.tokenizer.decode(ids, skip_special_tokens=True)
    assert text == "bearboard snowboard"
    assert len(spell(vlm, text)) == 4
    assert tokens_of_span(vlm.tokenizer, ids, 0, 9) == [0, 1]
    assert tokens_of_span(vlm.tokenizer, ids, 10, 19) == [3, 4]


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(["the", "bear", "snow", "##board", "surf", "bus"]), min_size=1, max_size=9))
def test_every_character_belongs_to_one_token_and_order_is_kept(vlm: ns.VLM, words: list[str]):
    ids = vlm.tokenizer.convert_tokens_to_ids(words)
    text = vlm.tokenizer.decode(ids, skip_special_tokens=True)
    assert tokens_of_span(vlm.tokenizer, ids, 0, len(text)) == list(range(len(ids)))
    owners = [tokens_of_span(vlm.tokenizer, ids, n, n + 1) for n in range(len(text))]
    assert all(len(owner) == 1 for owner in owners)
    assert sorted(owners) == owners


def test_a_span_after_the_text_has_no_tokens(vlm: ns.VLM):
    assert tokens_of_span(vlm.tokenizer, spell(vlm, "a brown bear"), 99, 120) == []


@pytest.mark.parametrize(("word", "piece"), [("bear", "bear"), ("snowboard", "snow"), ("zebra", "<unk>")])
def test_first_token_is_the_first_piece_after_the_context(vlm: ns.VLM, word: str, piece: str):
    assert first_token(vlm.tokenizer, "the image shows a", word) == vlm.tokenizer.convert_tokens_to_ids(piece)


def test_a_word_that_adds_no_token_is_refused(vlm: ns.VLM):
    with pytest.raises(InvalidOption, match=r"the word '' adds no token after 'the image'"):
        first_token(vlm.tokenizer, "the image", "")
