import pytest
import torch

from neuronscope.edit.words import WordPair, pair_words, require_apart, spell
from neuronscope.errors import InvalidOption


def ids(vlm, *tokens):
    return tuple(vlm.tokenizer.convert_tokens_to_ids(token) for token in tokens)


def test_words_are_spelled_as_after_the_prompt(vlm):
    assert spell(vlm, " bear ", "source") == ids(vlm, "bear")
    assert spell(vlm, "surfboard", "source") == ids(vlm, "surf", "##board")


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [("first", [("surf", "red")]), ("each", [("surf", "red"), ("##board", "horse")])],
)
def test_pairs_of_tokens(vlm, pairing, expected):
    pair = pair_words(vlm, "surfboard", "red horse", pairing)
    assert pair.pairs == tuple(ids(vlm, *tokens) for tokens in expected)
    assert pair.source_ids == ids(vlm, "surf", "##board")


def test_what_one_word_has_more_tokens_is_left(vlm):
    assert pair_words(vlm, "surfboard", "dog", "each").pairs == (ids(vlm, "surf", "dog"),)


def test_a_token_is_exchanged_once(vlm):
    # red -> surf, then horse -> ##board; a third pair would take "red" again
    pair = pair_words(vlm, "red horse bear", "surfboard red", "each")
    assert pair.pairs == (ids(vlm, "red", "surf"), ids(vlm, "horse", "##board"))


def test_variants_are_spellings_that_both_words_have(demo):
    pair = pair_words(demo, "bear", "horse", "variants")  # lower-case tokenizer without plurals: one spelling
    assert pair.pairs == ((pair.source_ids[0], pair.target_ids[0]),)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("bear", " Bear", "same word"),
        ("surfboard", "surf", "begin with the same token 'surf'"),
        ("bear", "zebra", r"target='zebra' is not in the vocabulary"),
        ("zebra", "bear", r"source='zebra' is not in the vocabulary"),
        ("bear", " ", "target=' ' is empty"),
    ],
)
def test_refused_words(vlm, source, target, message):
    with pytest.raises(InvalidOption, match=message):
        pair_words(vlm, source, target)


@pytest.mark.parametrize(("angle", "fine"), [(1e-1, True), (1e-5, False), (0.0, False)])
def test_parallel_directions(angle, fine):
    u = torch.tensor([[1.0, torch.tensor(angle).cos()], [0.0, torch.tensor(angle).sin()]])
    pair = WordPair("bear", "dog", (1,), (2,), ((1, 2),))
    if fine:
        return require_apart(u, pair)
    with pytest.raises(InvalidOption, match="'bear' and target='dog' are parallel"):
        require_apart(u, pair)
    with pytest.raises(InvalidOption, match="parallel"):
        require_apart(torch.stack([u[:, 0], -u[:, 1]], 1), pair)  # opposite is parallel, too
    return None
