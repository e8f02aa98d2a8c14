from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import neuronscope as ns
from neuronscope.caption import Caption, Decoding
from neuronscope.errors import ConceptNotNamed, ConceptStillNamed, InvalidOption, InvalidSample, OtherConceptRemoved
from neuronscope.locate import validity
from neuronscope.locate.validity import MAX_OTHER_SHARE, check_validity, valid_pair, valid_pairs

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
            check_validity(vlm, changed, max_other_share=MAX_OTHER_SHARE)
        assert ORIGINAL in str(caught.value)
        assert EDITED in str(caught.value)
    else:
        assert check_validity(vlm, changed, max_other_share=MAX_OTHER_SHARE).match.surface == "bear"
    recorded = check_validity(vlm, changed)
    assert recorded.removed == ((("dog", pytest.approx(share)),) if share > MAX_OTHER_SHARE else ())


def test_of_several_objects_of_a_concept_the_largest_share_is_on_record(vlm, pair, say):
    say()
    dogs = [ns.Region("dog", box) for box in ((15, 8, 10, 8), (10, 8, 10, 8), (18, 8, 10, 8))]
    assert check_validity(vlm, with_others(pair, *dogs)).removed == (("dog", 1.0),)
    assert check_validity(vlm, with_others(pair, *dogs), max_other_share=1).removed == (("dog", 1.0),)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_0_and_1(vlm, pair, say, share):
    say()
    with pytest.raises(InvalidOption, match=f"max_other_share={share} must be between 0 and 1"):
        check_validity(vlm, pair, max_other_share=share)
    with pytest.raises(InvalidOption, match=f"max_other_share={share} must be between 0 and 1"):
        valid_pair(vlm, pair.sample, max_other_share=share)


@pytest.fixture
def noisy(sample):
    """A picture of noise: every inpainted pixel changes."""
    return replace(sample, image=np.random.default_rng(0).integers(0, 250, (32, 48, 3), np.uint8))


@pytest.fixture
def stays(vlm, noisy, monkeypatch):
    """The bear's word stays until so many pixels of the picture are gone; gives the masks' sizes that were tried."""

    def force(pixels):
        tried = []
        original = np.asarray(noisy.load())

        def fake(model, images, *, decoding=None, **_):
            rows = []
            for image in images:
                gone = int((np.asarray(image) != original).any(-1).sum())
                tried.append(gone)
                text = EDITED if gone >= pixels else ORIGINAL
                ids = tuple(vlm.tokenizer(text, add_special_tokens=False)["input_ids"])
                rows.append([Caption(text, f"The image shows a {text}", ids)])
            return rows

        monkeypatch.setattr(validity, "generate_captions", fake)
        return tried

    return force


def with_mask(sample):
    """The left half of the box."""
    mask = np.zeros((32, 48), bool)
    mask[8:16, 10:15] = True
    return replace(sample, mask=mask)


def test_the_mask_is_inpainted_first_and_grown_where_the_word_stays(vlm, noisy, stays):
    given = with_mask(noisy)
    stays(30)
    pair, found = valid_pair(vlm, given, "mean_fill")
    assert (pair.options["region"], pair.options["dilate"]) == ("mask", 0)
    assert pair.mask.sum() == 40
    assert found.edited.text == EDITED
    stays(50)
    pair, _ = valid_pair(vlm, given, "mean_fill")
    assert (pair.options["region"], pair.options["dilate"]) == ("mask", 1)


def test_the_boxes_come_last_and_then_the_word_has_to_go(vlm, noisy, stays):
    given = replace(with_mask(noisy), boxes=[(4, 2, 30, 20)])
    tried = stays(500)
    pair, _ = valid_pair(vlm, given, "mean_fill")
    assert (pair.options["region"], pair.options["dilate"]) == ("boxes", 0)
    assert len(tried) == 2 + 5
    stays(48 * 32 + 1)
    with pytest.raises(ConceptStillNamed, match="still names 'bear'"):
        valid_pair(vlm, given, "mean_fill")


def test_a_region_that_grows_to_the_whole_image_ends_there(vlm, noisy, stays):
    tried = stays(48 * 32 + 1)
    whole = replace(noisy, boxes=[(1, 1, 46, 30)])
    with pytest.raises(ConceptStillNamed):
        valid_pair(vlm, whole, "mean_fill")
    assert len(tried) == 2
    with pytest.raises(InvalidSample, match="nothing would be left"):
        valid_pair(vlm, replace(noisy, boxes=[(0, 0, 48, 32)]), "mean_fill")
    with pytest.raises(InvalidSample, match="no boxes"):
        valid_pair(vlm, replace(noisy, boxes=[]), "mean_fill")


def test_a_caption_that_never_named_the_concept_is_not_tried_again(vlm, noisy, stays):
    tried = stays(0)
    with pytest.raises(ConceptNotNamed):
        valid_pair(vlm, noisy, "mean_fill")
    assert len(tried) == 2


@pytest.mark.parametrize("reach", ["auto", "boxes"])
def test_another_reach_is_one_edit(vlm, noisy, stays, reach):
    stays(60)
    pair, _ = valid_pair(vlm, with_mask(noisy), "mean_fill", reach=reach)
    assert (pair.options["region"], pair.options["dilate"]) == (reach, 0)
    with pytest.raises(ConceptStillNamed):
        valid_pair(vlm, with_mask(noisy), "mean_fill", reach="mask")
    with pytest.raises(InvalidOption, match="reach='far'"):
        valid_pair(vlm, noisy, reach="far")


@pytest.mark.long
def test_most_photographs_on_which_the_natural_model_names_an_object_make_a_pair(natural_vlm, real_coco):
    lexicon = ns.Lexicon.default()
    source = ns.CocoFolder.open(real_coco)
    outcomes = []
    for concept in ("train", "toilet", "dog", "bed", "laptop"):
        for given in source.samples(concept):
            if lexicon.match(natural_vlm.captions([given.load()])[0], concept) is None:
                continue
            try:
                outcomes.append(bool(valid_pair(natural_vlm, given)))
            except InvalidSample:
                outcomes.append(False)
    assert sum(outcomes) >= 0.9 * len(outcomes)
    assert len(outcomes) >= 4


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


@pytest.mark.parametrize(("reach", "batch_sizes"), [("grown", [3]), ("boxes", [32]), ("auto", [32])])
def test_several_samples_are_judged_as_one_by_one(demo, few_scenes, tmp_path, reach, batch_sizes):
    """Kept with the same edit and captions, or refused for the same reason, whoever shares the batch."""
    source = ns.CocoFolder.open(few_scenes)
    samples = [sample for concept in ("bear", "bus") for sample in islice(source.samples(concept), 2)]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    samples.insert(1, replace(samples[0], image=str(broken), image_id="broken"))
    samples.insert(3, replace(samples[4], boxes=(), mask=None, image_id="no object"))
    samples.insert(5, replace(samples[5], concept="zebra", image_id="not named"))

    def alone(sample):
        try:
            return valid_pair(demo, sample, reach=reach)
        except InvalidSample as error:
            return error

    one_by_one = [alone(sample) for sample in samples]
    for batch_size in batch_sizes:
        together = valid_pairs(demo, samples, reach=reach, batch_size=batch_size)
        assert len(together) == len(samples)
        kept = 0
        for found, expected in zip(together, one_by_one, strict=True):
            if isinstance(expected, Exception):
                assert (type(found), str(found)) == (type(expected), str(expected))
                continue
            kept += 1
            assert np.array_equal(np.asarray(found[0].edited), np.asarray(expected[0].edited))
            assert found[1] == expected[1]
        assert 0 < kept < len(samples) - 2
