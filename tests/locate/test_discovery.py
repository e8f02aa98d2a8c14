"""Neurons for every noun of a caption: each noun with its own token and position, and the formula one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import neuronscope as ns
from neuronscope.caption import Caption
from neuronscope.errors import InvalidOption
from neuronscope.locate.discovery import Discovery, discover, discover_in

PROMPT = "The image shows a"


def caption_of(vlm: ns.VLM, text: str) -> Caption:
    ids = vlm.tokenizer(text, add_special_tokens=False).input_ids
    return Caption(vlm.tokenizer.decode(ids), f"{PROMPT} {text}", tuple(ids))


def test_toy(make_vlm, picture):
    """METHODS (c), (m) oracle 13, at one predicting position: a = (4/2, 2/2), w = unit vectors, u = (2,-1)."""
    vlm = make_vlm(layers=1, hidden=4, d_ff=2, side=16)
    caption = caption_of(vlm, "bear")
    with torch.no_grad():
        vlm.structure.ffns[0].output.weight.copy_(torch.eye(4)[:, :2])
        vlm.structure.unembedding.weight[caption.ids[0]] = torch.tensor([2.0, -1.0, 0.0, 0.0])
    both = ns.Neurons.of([(0, 0), (0, 1)])
    positions = vlm.prepare([picture]).rows[0].length
    toy = np.tile(np.array([[2.0, 1.0]], np.float32), (positions, 1))
    with vlm.intervene(ns.Patch(both, source=toy, span="all")):
        found = discover_in(vlm, picture, caption, Discovery(top=2, norm="none"))
    np.testing.assert_array_equal(found.scores, [[4, -1]])
    assert found["bear"].neurons.scores == {"contribution": (4.0, -1.0)}
    assert found["bear"].neurons.members == both.members


@pytest.mark.parametrize("concept_token", ["first", "last", "sum", "mean"])
def test_every_noun_is_scored_with_its_own_token_at_its_own_position(
    vlm: ns.VLM, picture, naive_activations, concept_token
):
    caption = caption_of(vlm, "brown dog on surfboard with red horse")
    options = Discovery(top=7, norm="none", concept_token=concept_token)
    found = discover_in(vlm, picture, caption, options)
    assert [noun.noun.text for noun in found.nouns] == ["dog", "surfboard", "horse"]
    assert [noun.tokens for noun in found.nouns] == [(1,), (3, 4), (7,)]
    table = vlm.structure.unembedding.weight.detach()
    clean = naive_activations(vlm, picture, caption.ids, everywhere=True)
    start = vlm.prepare([picture]).rows[0].length
    for row, noun in zip(found.scores, found.nouns, strict=True):
        each = []
        for token in noun.tokens:
            layers = []
            for layer in range(vlm.layers):  # one neuron after the other
                vectors = vlm.structure.layers[layer].mlp.down_proj.weight.detach()
                a = clean[layer][start + token - 1]
                layers += [float(a[i] * (vectors[:, i] @ table[caption.ids[token]])) for i in range(48)]
            each.append(layers)
        expected = {"first": each[0], "last": each[-1], "sum": np.sum(each, 0), "mean": np.mean(each, 0)}
        np.testing.assert_allclose(row, expected[concept_token], rtol=1e-3, atol=2e-5)
        assert noun.neurons.scores["contribution"] == tuple(sorted(row.tolist(), reverse=True)[:7])
        assert noun.neurons.concept == noun.noun.text


def test_a_noun_that_is_left_out_shifts_no_other(vlm: ns.VLM, picture):
    """In the published code, dropping one noun gives every later one its neighbour's token."""
    caption = caption_of(vlm, "brown dog on grass with red horse")
    whole = discover_in(vlm, picture, caption, Discovery(top=5))
    less = discover_in(vlm, picture, caption, Discovery(top=5, exclude=("dog",)))
    assert [noun.noun.text for noun in less.nouns] == ["grass", "horse"]
    for noun in less.nouns:
        assert noun.neurons.members == whole[noun.noun.text].neurons.members
    np.testing.assert_allclose(less.scores, whole.scores[1:], rtol=1e-5, atol=1e-6)


def test_agrees_with_pan_at_the_predicting_position(vlm: ns.VLM, pair, speaks):
    speaks(vlm, "brown bear on grass", "grass")
    located = dataclasses.replace(ns.Pan.as_published(), count=20).locate(vlm, pair)
    found = discover_in(vlm, pair.original, located.validity.original, Discovery(top=20, norm="none", site="act"))
    assert found["bear"].neurons.members == located.neurons.members
    np.testing.assert_allclose(
        found["bear"].neurons.scores["contribution"], located.neurons.scores["contribution"], rtol=1e-4
    )


def test_many_images_are_captioned_in_batches_with_the_same_result(vlm: ns.VLM, pictures):
    options = Discovery(top=3, decoding=ns.Decoding(max_new_tokens=6))
    together = list(discover(vlm, pictures, options, batch_size=2))
    single = [next(discover(vlm, [picture], options)) for picture in pictures]
    assert [one.caption for one in together] == [one.caption for one in single]
    assert [[n.neurons.members for n in one.nouns] for one in together] == [
        [n.neurons.members for n in one.nouns] for one in single
    ]


def test_the_bundled_model_names_what_scenes_show(demo: ns.VLM, few_scenes):
    image = next(iter(sorted((few_scenes / "images").iterdir())))
    (found,) = discover(demo, [image], Discovery(top=10))
    assert found.nouns
    for noun in found.nouns:
        words = [word.strip() for one in ns.decode(demo, noun.neurons) for word in one.tokens]
        assert demo.tokenizer.decode([found.caption.ids[noun.tokens[0]]]) in words


def test_captions_without_nouns_have_no_neurons(vlm: ns.VLM, picture):
    found = discover_in(vlm, picture, caption_of(vlm, "on and with"), Discovery(top=5))
    assert found.nouns == ()
    assert found.scores.shape == (0, 4 * 48)


def test_matrix_rows_are_best_neurons_and_columns_nouns(vlm: ns.VLM, picture):
    found = discover_in(vlm, picture, caption_of(vlm, "dog on grass"), Discovery(top=5))
    matrix = found.matrix([noun.neurons for noun in found.nouns])
    for a, noun in enumerate(found.nouns):
        best = noun.neurons[0]
        for b in range(2):
            assert matrix[a, b] == found.scores[b, best.layer * 48 + best.unit]
        assert matrix[a, a] == found.scores[a].max()


def test_what_is_saved_can_be_read_again(vlm: ns.VLM, picture, tmp_path):
    found = discover_in(vlm, picture, caption_of(vlm, "dog"), Discovery(top=5, norm="gain"))["dog"].neurons
    found.save(tmp_path / "neurons.json")
    again = ns.Neurons.load(tmp_path / "neurons.json")
    assert again == found
    assert again.options["norm"] == "gain"
    assert again.provenance["caption"] == "The image shows a dog"
    assert again.provenance["nouns"]["finder"] == "tagger"
    assert again.model == vlm.identity()


def test_question_and_beginning_stand_in_what_is_sent(vlm: ns.VLM):
    published = Discovery.as_published(top=5)
    decoding = published.decoding
    assert (decoding.prefix, decoding.max_new_tokens, published.site) == ("An image of", 50, "act")
    assert vlm.sent(decoding) == vlm.sent(ns.Decoding("Describe the image in few words.\nAn image of"))
    assert Discovery().decoding == ns.Decoding()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"top": 0}, "top=0 is not a whole number of at least 1"),
        ({"nouns": "spacy"}, "nouns='spacy' is not known"),
        ({"norm": "full"}, "norm='full' is not known"),
        ({"site": "pre"}, "site='pre' is not known"),
        ({"concept_token": "all"}, "concept_token='all' is not known"),
    ],
)
def test_bad_options(options, reason):
    with pytest.raises(InvalidOption, match=reason):
        Discovery(**options)


def test_more_neurons_than_there_are_and_nouns_that_are_not_there(vlm: ns.VLM, picture):
    caption = caption_of(vlm, "dog")
    with pytest.raises(InvalidOption, match="top=193 is more than the 192 neurons"):
        discover_in(vlm, picture, caption, Discovery(top=193))
    with pytest.raises(InvalidOption, match="noun='cat' is not known"):
        discover_in(vlm, picture, caption, Discovery(top=5))["cat"]
