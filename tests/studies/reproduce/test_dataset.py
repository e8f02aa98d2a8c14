"""The builder on a COCO folder whose pictures say, in their first pixel, what the model is to say about them."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.caption import Caption, Decoding
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.locate import validity
from neuronscope.samples.scenes import write_coco
from neuronscope.studies.reproduce.conditions import Limits, TooFewSamples
from neuronscope.studies.reproduce.dataset import SCHEMA, build, require_candidates
from neuronscope.studies.reproduce.kept import CandidateSource

SIDE = 64  # the tiny model sees 32 x 32 pixels of it
SAID = {  # value of the first pixel -> captions of the original and the edited image
    0: ("brown bear on grass", "red grass"),
    1: ("grass and snow", "red grass"),
    2: ("brown bear on grass", "bear on snow"),
    3: ("dog and cat", "cat"),
    4: ("bear and dog", "grass"),
}
BOX = (16, 16, 24, 24)
SMALL = Limits(min_side=8)


def instance(image, category, box, **more):
    return {"image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0, **more}


#: image -> (what is said of it, its instances)
IMAGES = {
    1: (0, [instance(1, 1, BOX)]),
    2: (0, [instance(2, 1, BOX)]),
    3: (1, [instance(3, 1, BOX)]),
    4: (2, [instance(4, 1, BOX)]),
    5: (0, [instance(5, 1, BOX), instance(5, 3, (20, 20, 10, 10))]),  # a cat within the bear's box
    6: (0, [instance(6, 1, (3, 3, 9, 9))]),  # 81 of 4096 px
    7: (0, [instance(7, 1, (2, 10, 60, 10))]),  # a tenth of the image, but 5 px high as the model sees it
    8: (0, [instance(8, 1, (0, 0, 64, 63), iscrowd=1)]),
    9: (0, [instance(9, 1, BOX)]),  # its picture is missing
    10: (0, [instance(10, 1, BOX, segmentation=[[1, 2]])]),  # damaged
    11: (4, [instance(11, 1, BOX), instance(11, 2, (44, 44, 16, 16))]),  # a bear and a dog
    12: (3, [instance(12, 2, BOX)]),
    13: (0, [instance(13, 1, (1, 1, 62, 62))]),  # 94 %
}
REASONS = {
    "AlreadyUsed": 0,
    "AreaOutOfRange": 2,
    "ConceptNotNamed": 1,
    "ConceptStillNamed": 1,
    "InvalidSample": 2,
    "NoInstance": 1,
    "ObjectTooSmall": 1,
    "OtherConceptRemoved": 1,
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    for number, (said, _) in IMAGES.items():
        pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
        pixels[0, 0] = said
        if number != 9:
            Image.fromarray(pixels).save(tmp_path / "val2017" / f"{number}.png")
    listed = [{"id": n, "file_name": f"{n}.png", "width": SIDE, "height": SIDE} for n in IMAGES]
    entries = [{"id": i, **e} for i, e in enumerate((e for _, found in IMAGES.values() for e in found), 1)]
    categories = [{"id": i, "name": name} for i, name in enumerate(("bear", "dog", "cat"), 1)]
    document = {"images": listed, "annotations": entries, "categories": categories}
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    return ns.CocoFolder.open(tmp_path)


@pytest.fixture
def scripted(vlm, monkeypatch):
    """The tiny model, saying what the pictures tell it to say; gives the calls it got."""
    calls = []

    def fake(model, images, *, decoding=None, **_):
        calls.append(decoding)
        rows = []
        for which, image in enumerate(images):
            text = SAID[image.getpixel((0, 0))[0]][which % 2]
            ids = tuple(vlm.tokenizer(text, add_special_tokens=False)["input_ids"])
            rows.append([Caption(text, f"The image shows a {text}", ids)])
        return rows

    monkeypatch.setattr(validity, "generate_captions", fake)
    return calls


def test_every_rejection_is_counted_by_its_reason(vlm, folder, scripted):
    found = build(vlm, folder, ["bear", "dog"], per_concept=9, limits=SMALL, max_other_share=0.1)
    assert {kept.image_id for kept in found.of("bear")} == {"1", "2", "11"}
    assert {kept.image_id for kept in found.of("dog")} == {"12"}
    assert found.rejected("bear") == {k: v for k, v in REASONS.items() if v}
    assert found.rejected("dog") == {"AlreadyUsed": 1}
    assert sum(found.rejected().values()) == len(found.rejections) == len(IMAGES) - 3
    assert found.missing == {"bear": 6, "dog": 8}
    details = {r.image_id: (r.reason, r.detail) for r in found.rejections if r.concept == "bear"}
    assert details["9"] == ("InvalidSample", f"image {folder.images / '9.png'} does not exist")
    assert details["4"][1].startswith("the caption of the edited image still names 'bear'. Caption of the original:")
    assert details["6"][1] == "the 'bear' of image 6 fills 1.98% of it; wanted: 2.00% to 60.00%"
    assert "is 5.0 px on the shorter side of its largest box" in details["7"][1]
    assert "image 8 has no instance of 'bear' that is not a crowd" in details["8"][1]
    assert details[""][0] == "InvalidSample"
    assert "the entries of image 10 are damaged" in details[""][1]
    assert next(r.detail for r in found.rejections if r.concept == "dog") == "image 11 stands for 'bear'"


@pytest.mark.parametrize(
    "error", [ValueError("absolute aspect ratio"), KeyError("tiles"), MemoryError(), AssertionError()]
)
def test_a_picture_that_the_processor_refuses_is_on_record_and_the_others_go_on(
    vlm, folder, scripted, monkeypatch, error
):
    marked = folder.images / "2.png"
    with Image.open(marked) as opened:
        picture = opened.copy()
    picture.putpixel((1, 0), (7, 7, 7))
    picture.save(marked)
    process = type(vlm.processor).__call__

    def call(self, *args, images, **kwargs):
        if any(image.getpixel((1, 0)) == (7, 7, 7) for image in images):
            raise error
        return process(self, *args, images=images, **kwargs)

    monkeypatch.setattr(type(vlm.processor), "__call__", call)
    found = build(vlm, folder, ["bear", "dog"], per_concept=9, limits=SMALL, max_other_share=0.1)
    assert {kept.image_id for kept in found.of("bear")} == {"1", "11"}
    (rejected,) = [one for one in found.rejections if one.image_id == "2"]
    assert rejected.reason == "InvalidSample"
    assert "(64 x 64 px) is refused by the processor of" in rejected.detail
    assert type(error).__name__ in rejected.detail


def test_pictures_of_another_size_or_turned_are_on_record(vlm, folder, scripted):
    Image.new("RGB", (SIDE * 2, SIDE * 2)).save(folder.images / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (SIDE, SIDE)).save(folder.images / "2.png", exif=exif)
    found = build(vlm, folder, ["bear", "dog"], per_concept=9, limits=SMALL, max_other_share=0.1)
    assert {kept.image_id for kept in found.of("bear")} == {"11"}
    details = {r.image_id: r.detail for r in found.rejections if r.concept == "bear"}
    assert "is 128 x 128 px, but its boxes and masks were drawn on 64 x 64 px" in details["1"]
    assert "(orientation 3) turns it" in details["2"]


def test_a_folder_whose_candidates_are_all_refused_says_why(folder, tmp_path):
    for number in IMAGES:
        path = folder.images / f"{number}.png"
        if path.exists():
            path.rename(tmp_path / f"away-{number}.png")
            path.symlink_to(tmp_path / f"away-{number}.png")
    with pytest.raises(
        TooFewSamples, match=r"cat is in 0.*The first that was refused: .*leads out of .*--allow-outside"
    ):
        require_candidates(folder, ["cat"], 1)


def test_what_went_with_the_object_is_on_record_unless_it_is_refused(vlm, folder, scripted):
    lax, strict = (build(vlm, folder, ["bear"], per_concept=9, limits=SMALL, max_other_share=s) for s in (None, 0.1))
    more = {kept.image_id: kept for kept in lax.samples}
    assert set(more) - {kept.image_id for kept in strict.samples} == {"5"}
    assert more["5"].record()["removed"] == {"cat": 1.0}
    assert more["11"].record()["removed"] == {}
    assert more["11"].record()["lost"] == ["dog"]
    assert (lax.settings["max_other_share"], strict.settings["max_other_share"]) == (None, 0.1)


def test_an_image_stands_for_one_concept_and_the_first_concept_has_it(vlm, folder, scripted):
    found = build(vlm, folder, ["dog", "bear"], per_concept=9, limits=SMALL)
    assert {kept.image_id for kept in found.of("dog")} == {"11", "12"}
    assert {kept.image_id for kept in found.of("bear")} == {"1", "2", "5"}
    both = next(kept for kept in found.samples if kept.image_id == "11")
    assert (both.concept, both.shown) == ("dog", ("dog", "bear"))
    assert len({kept.image_id for kept in found.samples}) == len(found.samples)


def test_the_first_that_pass_are_kept_in_the_order_of_the_seed(vlm, folder, scripted):
    every = build(vlm, folder, ["bear"], per_concept=9, seed=3, limits=SMALL)
    steps = []
    found = build(vlm, folder, ["bear"], per_concept=2, seed=3, limits=SMALL, step=steps.append)
    assert [kept.image_id for kept in found.samples] == [kept.image_id for kept in every.samples][:2]
    assert found.missing == {}
    assert found.complete() is found
    assert found.rejections == every.rejections[: len(found.rejections)]
    assert len(steps) >= 2 + sum(1 for r in found.rejections if r.image_id)  # a few at a time
    assert steps[0].startswith("looking at 'bear' in image ")


def test_the_same_arguments_give_the_same_data_set(vlm, folder, scripted):
    first, again = (build(vlm, folder, ["bear", "dog"], limits=SMALL, seed=1).to_dict() for _ in range(2))
    assert json.dumps(first) == json.dumps(again)
    others = [build(vlm, folder, ["bear"], per_concept=1, limits=SMALL, seed=s).samples[0].image_id for s in range(6)]
    assert len(set(others)) > 1


def test_limit_bounds_how_many_candidates_are_looked_at(vlm, folder, scripted):
    found = build(vlm, folder, ["bear"], per_concept=9, limits=SMALL, limit=4)
    assert len(found.samples) + len(found.rejections) == 4


def test_too_few_samples_are_reported(vlm, folder, scripted):
    found = build(vlm, folder, ["bear", "cat"], per_concept=3, limits=SMALL, max_other_share=0.1)
    assert found.missing == {"cat": 3}
    with pytest.raises(InvalidSample, match=r"1 of 2 concepts have too few samples: cat lacks 3 \(1 ObjectTooSmall\)"):
        found.complete()


def test_the_record_tells_what_the_sample_was(vlm, folder, scripted):
    decoding = Decoding(max_new_tokens=5)
    found = build(vlm, folder, ["dog"], limits=SMALL, decoding=decoding, edit="mean_fill")
    assert set(scripted) == {decoding}
    kept = next(kept for kept in found.samples if kept.image_id == "12")
    record = kept.record()
    assert json.loads(json.dumps(record)) == record
    grey = np.full((SIDE, SIDE, 3), 90, np.uint8)
    grey[0, 0] = 3
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:40, 16:40] = 1
    digest = lambda pixels: hashlib.sha256(b"64x64" + pixels.tobytes()).hexdigest()  # noqa: E731
    assert record["image_sha256"] == record["edited_sha256"] == digest(grey)  # filled with the colour around it
    assert record["mask_sha256"] == digest(mask)
    assert record["mask_pixels"] == 24 * 24
    expected = {
        "image": str(folder.images / "12.png"),
        "size": [SIDE, SIDE],
        "concept": "dog",
        "boxes": [list(BOX)],
        "edit": {"method": "mean_fill", "radius": 3, "dilate": 0, "region": "mask"},
        "question": "",
        "prefix": "The image shows a",
        "system": "",
        "chat": "auto",
        "sent": "<image>\nThe image shows a",
        "max_new_tokens": 5,
        "span_tokens": 16,
        "grids": [[4, 4]],
        "surface": "dog",
        "concept_tokens": [0],
        "concept_ids": vlm.tokenizer("dog", add_special_tokens=False)["input_ids"],
        "model": vlm.record(),
    }
    assert {key: record[key] for key in expected} == expected
    ids = vlm.prepare([Image.fromarray(grey)]).tensors["input_ids"][0].tolist()
    assert record["span_start"] == ids.index(vlm.image_token)
    assert (record["caption"]["text"], record["caption_edited"]["text"]) == SAID[3]
    document = found.to_dict()
    assert document["schema"] == SCHEMA
    assert document["settings"]["per_concept"] == 3
    assert document["settings"]["edit"] == "mean_fill"
    assert document["settings"]["min_side"] == 8
    assert document["concepts"]["dog"] == {"kept": 2, "missing": 1, "rejected": {}}


def test_rendered_scenes_with_the_bundled_model(demo, tmp_path):
    """Nothing scripted: real captions, and the folder that `neuronscope scenes` writes."""
    folder = ns.CocoFolder.open(write_coco(tmp_path / "scenes", 25, seed=20_000_000))
    found = build(demo, folder, ["bus", "umbrella"], per_concept=1, edit="exact", limits=Limits(min_side=16))
    assert [kept.concept for kept in found.samples] == ["bus", "umbrella"]
    for kept in found.samples:
        assert ns.Lexicon.default().match(kept.validity.original.text, kept.concept)
        assert not ns.Lexicon.default().match(kept.validity.edited.text, kept.concept)
        assert kept.record()["grids"] == [[8, 8]]
    again = build(demo, folder, ["bus"], per_concept=30, edit="exact", limits=Limits(min_side=16))
    counts = Counter(r.reason for r in again.rejections)
    assert len(again.samples) + sum(counts.values()) == len(list(folder.everything().samples("bus")))


def test_a_model_that_names_nothing_leaves_the_data_set_empty(vlm, folder):
    found = build(vlm, folder, ["cat"], limits=Limits(min_area=0, min_side=0))
    assert found.samples == ()
    assert [(r.image_id, r.reason) for r in found.rejections] == [("5", "ConceptNotNamed")]


class Listed:
    """A source of samples given as such."""

    def __init__(self, *samples):
        self.given = samples

    def concepts(self):
        return ["bear", "dog"]

    def samples(self, concept, *, seed=0):
        return list(self.given)


def test_any_source_will_do_but_its_images_need_names(vlm, scripted):
    picture = Image.new("RGB", (SIDE, SIDE))
    make = lambda name: ns.Sample(picture, "bear", boxes=[BOX], image_id=name)  # noqa: E731
    source = Listed(make("a"), make("b"))
    assert isinstance(source, CandidateSource)
    found = build(vlm, source, ["bear"], per_concept=2, limits=SMALL)
    assert [kept.record()["image"] for kept in found.samples] == [None, None]
    with pytest.raises(InvalidOption, match="image_id 'a' twice for 'bear'"):
        build(vlm, Listed(make("a"), make("a")), ["bear"], limits=SMALL)
    with pytest.raises(InvalidOption, match="a sample without image_id"):
        build(vlm, Listed(make("")), ["bear"], limits=SMALL)


@pytest.mark.parametrize(
    ("concepts", "options", "reason"),
    [
        (["bera"], {}, "concepts='bera' is not known. Did you mean 'bear'"),
        ([], {}, "at least one, each once; got none"),
        (["dog", "dog"], {}, "each once; got dog, dog"),
        (["dog"], {"per_concept": 0}, "per_concept=0"),
        (["dog"], {"limit": 0}, "limit=0"),
        (["dog"], {"edit": "tela"}, "edit='tela' is not known. Did you mean 'telea'"),
        (["dog"], {"edit": "edited"}, "edit='edited'"),
        (["dog"], {"match": "exact"}, "match='exact'"),
    ],
)
def test_bad_options_are_refused_before_any_work(vlm, concepts, options, reason):
    with pytest.raises(InvalidOption, match=reason):
        build(vlm, Listed(), concepts, **options)


def test_questions_about_concepts_that_were_not_asked_for_are_refused(vlm, folder, scripted):
    found = build(vlm, folder, ["dog"], limits=SMALL)
    for question in (found.of, found.rejected):
        with pytest.raises(InvalidOption, match="concept='bear'"):
            question("bear")
