from dataclasses import replace

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.caption import Caption, Decoding
from neuronscope.errors import ConceptNotNamed, ConceptStillNamed, InvalidSample, OtherConceptRemoved
from neuronscope.locate import validity
from neuronscope.locate.validity import MAX_OTHER_SHARE, check_validity

ORIGINAL, EDITED = "brown bear and dog on grass", "red grass with snow"


@pytest.fixture
def pair(sample):
    return ns.counterfactual(sample, "mean_fill")


@pytest.fixture
def say(vlm, monkeypatch):
    """Make the model say these captions of the original and the edited image; gives the calls it got."""

    def force(original=ORIGINAL, edited=EDITED):
        calls = []

        def fake(model, images, *, decoding=None):
            calls.append((model, list(images), decoding))
            ids = (vlm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (original, edited))
            return [
                [Caption(text, f"The image shows a {text}", tuple(i))]
                for text, i in zip((original, edited), ids, strict=True)
            ]

        monkeypatch.setattr(validity, "generate_captions", fake)
        return calls

    return force


def with_concept(pair, concept):
    return replace(pair, sample=replace(pair.sample, concept=concept))


def with_others(pair, *others):
    return replace(pair, sample=replace(pair.sample, others=others))


@pytest.mark.parametrize(
    ("concept", "original", "surface", "tokens"),
    [
        ("bear", ORIGINAL, "bear", (1,)),
        ("surfboard", "red surfboard and dog", "surfboard", (1, 2)),  # surf ##board
        ("bus", "dog on bus with bus", "bus", (2,)),
    ],
)
def test_a_valid_sample_tells_which_tokens_name_the_concept(vlm, pair, say, concept, original, surface, tokens):
    say(original)
    result = check_validity(vlm, with_concept(pair, concept))
    assert result.match.surface == original[result.match.start : result.match.end] == surface
    assert result.tokens == tokens
    assert vlm.tokenizer.decode([result.original.ids[i] for i in tokens]) == surface
    assert (result.original.text, result.edited.text) == (original, EDITED)


def test_both_images_are_captioned_once_with_the_given_decoding(vlm, pair, say):
    calls = say()
    decoding = Decoding()
    check_validity(vlm, pair, decoding=decoding)
    ((model, images, used),) = calls
    assert model is vlm
    assert images == [pair.original, pair.edited]
    assert used is decoding


@pytest.mark.parametrize(
    ("original", "edited", "error", "reason"),
    [
        ("dog on grass", EDITED, ConceptNotNamed, "original image does not name 'bear'"),
        ("dog on grass", "bear on grass", ConceptNotNamed, "original image does not name 'bear'"),
        ("", "", ConceptNotNamed, "original image does not name 'bear'"),
        ("teddy bear", EDITED, ConceptNotNamed, "original image does not name 'bear'"),
        (ORIGINAL, "snow and Bears", ConceptStillNamed, "edited image still names 'bear'"),
        (ORIGINAL, ORIGINAL, ConceptStillNamed, "edited image still names 'bear'"),
    ],
)
def test_captions_that_break_a_condition_are_refused_with_both(vlm, pair, say, original, edited, error, reason):
    say(original, edited)
    with pytest.raises(error, match=reason) as caught:
        check_validity(vlm, pair)
    assert type(caught.value) is error
    assert f'original: "The image shows a {original}"' in str(caught.value)
    assert f'edited image: "The image shows a {edited}"' in str(caught.value)


@pytest.mark.parametrize(("mode", "refused"), [("lexicon", False), ("strict", True), ("substring", True)])
def test_the_mode_of_matching_decides(vlm, pair, say, mode, refused):
    say("a plane on snow")
    plane = with_concept(pair, "airplane")
    if refused:
        with pytest.raises(ConceptNotNamed, match="does not name 'airplane'"):
            check_validity(vlm, plane, mode=mode)
    else:
        assert check_validity(vlm, plane, mode=mode).match.form == "plane"


# The edited region is 10 x 8 px at (10, 8).
@pytest.mark.parametrize(
    ("box", "share"),
    [((10, 8, 10, 8), 1.0), ((15, 8, 10, 8), 0.5), ((18, 8, 10, 8), 0.2), ((19, 8, 10, 8), 0.1), ((20, 8, 10, 8), 0)],
)
@pytest.mark.parametrize("exact", [False, True], ids=["box", "mask"])
def test_an_object_more_than_a_tenth_inside_the_region_is_refused(vlm, pair, say, box, share, exact):
    say()
    x, y, w, h = box
    mask = np.zeros((32, 48), bool)
    mask[y : y + h, x : x + w] = True
    # With a mask, the box (here far away) does not count.
    dog = ns.Region("dog", (0, 0, 3, 3), mask) if exact else ns.Region("dog", box)
    far = ns.Region("cat", (30, 0, 9, 9))
    changed = with_others(pair, far, dog)
    if share > MAX_OTHER_SHARE:
        with pytest.raises(OtherConceptRemoved, match=rf"{share:.0%} of the 'dog' .* \(at most 10%\)") as caught:
            check_validity(vlm, changed)
        assert ORIGINAL in str(caught.value)
        assert EDITED in str(caught.value)
    else:
        assert check_validity(vlm, changed).match.surface == "bear"


def test_an_object_without_pixels_takes_no_part(vlm, pair, say):
    say()
    empty = ns.Region("dog", (10, 8, 10, 8), np.zeros((32, 48), bool))
    assert check_validity(vlm, with_others(pair, empty)).tokens == (1,)


@pytest.mark.parametrize(
    ("dog", "reason"),
    [
        (
            ns.Region("dog", (0, 0, 4, 4), np.ones((48, 32), bool)),
            r"'dog' has shape \(48, 32\), the image has \(32, 48\)",
        ),
        (ns.Region("dog", (90, 0, 4, 4)), r"\(90.*outside the image of 48 x 32"),
    ],
    ids=["mask", "box"],
)
def test_an_object_that_does_not_fit_the_image_is_refused(vlm, pair, say, dog, reason):
    say()
    with pytest.raises(InvalidSample, match=reason):
        check_validity(vlm, with_others(pair, dog))


@pytest.mark.parametrize(
    ("concept", "original", "lost"),
    [
        ("bear", ORIGINAL, ("dog",)),
        ("Bear", ORIGINAL, ("dog",)),
        ("bear", "bear and cat and dog on red bus", ("bus", "cat", "dog")),
        ("bear", "bear with snow", ()),
        ("plane", "a plane and dog", ("dog",)),  # airplane is the same word of the caption
    ],
)
def test_other_concepts_that_vanish_from_the_caption_are_listed(vlm, pair, say, concept, original, lost):
    say(original)
    assert check_validity(vlm, with_concept(pair, concept)).lost == lost


def test_what_both_captions_name_is_not_lost(vlm, pair, say):
    say("bear and two dogs", "a dog")
    assert check_validity(vlm, pair).lost == ()


def test_the_models_own_captions_are_used(vlm, pair):
    text = vlm.caption(pair.original)
    word = next(w for w in reversed(text.split()) if w.isalpha())
    with pytest.raises((ConceptNotNamed, ConceptStillNamed)) as caught:
        check_validity(vlm, replace(with_concept(pair, word), edited=pair.original))
    assert caught.type is ConceptStillNamed
    assert str(caught.value).count(text) == 2
