import contextlib
import json
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.coco_outlines import outline, runs_mask

W, H = 40, 30
CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 7, "name": "bear"}]


def block(x, y, w, h):
    mask = np.zeros((H, W), np.uint8, order="F")
    mask[y : y + h, x : x + w] = 1
    return mask


def compressed(mask):
    code = rle.encode(mask)
    return {"size": code["size"], "counts": code["counts"].decode()}


def polygon(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def entry(number, image, category, box, segmentation, **more):
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": list(box), "segmentation": segmentation,
        "area": box[2] * box[3], "iscrowd": 0, **more,
    }  # fmt: skip


def annotations():
    return [
        entry(1, 11, 7, (2, 2, 10, 8), polygon(2, 2, 10, 8)),
        entry(2, 11, 7, (20, 10, 6, 6), compressed(block(20, 10, 6, 6))),
        entry(3, 11, 7, (0, 0, 40, 30), {"size": [H, W], "counts": [0, W * H]}, iscrowd=1),
        entry(4, 11, 3, (30, 20, 5, 5), polygon(30, 20, 5, 5)),
        entry(5, 12, 7, (0, 0, 2, 2), polygon(0, 0, 2, 2)),  # 4 px: too small
        entry(6, 13, 7, (0, 0, 40, 24), polygon(0, 0, 40, 24)),  # 80 %: too large
        entry(7, 14, 7, (5, 5, 10, 10), polygon(5, 5, 10, 10)),  # its picture file is missing
        entry(8, 15, 7, (0, 0, 40, 30), {"size": [H, W], "counts": [0, W * H]}, iscrowd=1),  # nothing but a crowd
    ]


@pytest.fixture
def write(tmp_path):
    def make(split="val2017", changes=lambda entries: entries):
        (tmp_path / split).mkdir()
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for number in (11, 12, 13, 15):
            Image.new("RGB", (W, H), "green").save(tmp_path / split / f"{number}.png")
        images = [{"id": n, "file_name": f"{n}.png", "width": W, "height": H} for n in (11, 12, 13, 14, 15)]
        instances = {"images": images, "annotations": changes(annotations()), "categories": CATEGORIES}
        captions = {
            "images": images,
            "annotations": [{"id": i, "image_id": 11, "caption": c} for i, c in enumerate("ab")],
        }
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(instances))
        (tmp_path / "annotations" / f"captions_{split}.json").write_text(json.dumps(captions))
        return tmp_path

    return make


def by_id(samples):
    return {sample.image_id: sample for sample in samples}


def test_a_sample_holds_all_instances_and_the_others(write, capsys):
    folder = ns.CocoFolder.open(write())
    assert folder.concepts() == ["dog", "bear"]
    sample = by_id(folder.samples("bear"))["11"]
    assert sample.boxes == ((2, 2, 10, 8), (20, 10, 6, 6))
    assert (sample.mask == (block(2, 2, 10, 8) | block(20, 10, 6, 6)).astype(bool)).all()
    assert [(r.concept, r.box) for r in sample.others] == [("dog", (30, 20, 5, 5))]
    assert sample.others[0].mask.sum() == 25
    assert tuple(sample.captions) == ("a", "b")
    assert sample.load().size == (W, H)
    assert capsys.readouterr().out == ""


def test_area_limits_and_crowds_decide_which_pictures_are_listed(write):
    folder = ns.CocoFolder.open(write())
    assert set(by_id(folder.samples("bear"))) == {"11", "14"}
    assert set(by_id(folder.samples("bear", min_area=0, max_area=1))) == {"11", "12", "13", "14"}
    assert by_id(folder.samples("dog", min_area=0))["11"].concept == "dog"


def test_the_order_is_a_shuffle_fixed_by_the_seed(write):
    folder = ns.CocoFolder.open(write())
    orders = [[s.image_id for s in folder.samples("bear", seed=k, min_area=0, max_area=1)] for k in (0, 0, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len(set(map(tuple, orders))) > 1


def test_a_missing_picture_is_found_out_on_load(write):
    sample = by_id(ns.CocoFolder.open(write()).samples("bear"))["14"]
    with pytest.raises(InvalidSample, match=r"14\.png does not exist"):
        sample.load()


def test_box_only_annotations_without_iscrowd_are_read(write):
    def strip(entries):
        return [
            {k: v for k, v in e.items() if k not in ("segmentation", "iscrowd")} for e in entries if not e["iscrowd"]
        ]

    sample = by_id(ns.CocoFolder.open(write(changes=strip)).samples("bear"))["11"]
    assert (sample.mask == (block(2, 2, 10, 8) | block(20, 10, 6, 6)).astype(bool)).all()
    assert sample.others[0].mask is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"bbox": [1, 2]}, "not four finite numbers"),
        ({"bbox": None}, "not four finite numbers"),
        ({"bbox": ["1", 2, 3, 4]}, "not four finite numbers"),
        ({"bbox": [True, 2, 3, 4]}, "not four finite numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "not four finite numbers"),
        ({"bbox": [1, 2, 0, 4]}, "is empty"),
        ({"bbox": [9, 9, -5, 4]}, "is empty.*top left corner"),
        ({"bbox": [30, 20, 15, 5]}, "reaches 5 px out"),
        ({"bbox": [300, 200, 15, 5]}, "lies outside"),
        ({"bbox": [0.5, 0.5, 0.2, 0.2]}, "shares of the picture"),
        ({"bbox": [1, 1, 5, 5]}, "100% of its outline lies outside its box"),
        ({"bbox": [30, 20, 35, 25]}, "two corners"),
    ],
)
def test_damaged_entries_are_refused_by_file_image_and_annotation(write, damage, reason):
    folder = ns.CocoFolder.open(write(changes=lambda entries: [*entries[:3], {**entries[3], **damage}]))
    with pytest.raises(
        InvalidSample, match=r"val2017\.json: the entries of image 11 are damaged: annotation 4: "
    ) as told:
        list(folder.samples("bear"))
    assert re.search(reason, str(told.value))


def test_an_annotation_without_a_box_is_refused(write):
    def strip(entries):
        return [{k: v for k, v in entry.items() if k != "bbox"} for entry in entries]

    with pytest.raises(InvalidSample, match=r"annotation \d: it has no bbox; give x, y, width, height"):
        list(ns.CocoFolder.open(write(changes=strip)).samples("bear"))


@pytest.mark.parametrize("outlined", [True, False], ids=["outlines", "areas only"])
@pytest.mark.parametrize("box", [(4, 3, 10, 8), (9, 3, 8, 20), (1, 12, 19, 6), (5, 5, 7, 7), (3, 1, 15, 12)])
def test_corners_inside_the_picture_are_told_by_outline_or_area(write, outlined, box):
    """All of these fit into the picture, also where they are taken for width and height."""
    x, y, w, h = box
    assert x + (x + w) <= W
    assert y + (y + h) <= H + 14
    corners = entry(1, 11, 7, box, polygon(*box) if outlined else [], bbox=[x, y, x + w, y + h], area=w * h)
    folder = ns.CocoFolder.open(write(changes=lambda entries: [corners, *entries[4:]]))
    with pytest.raises(InvalidSample, match=r"two corners|as two corners"):
        list(folder.samples("bear", min_area=0, max_area=1))
    whole = ns.CocoFolder.open(write("b", changes=lambda entries: [{**corners, "bbox": list(box)}, *entries[4:]]), "b")
    assert by_id(whole.samples("bear", min_area=0, max_area=1))["11"].boxes == (box,)


def test_corners_are_told_of_the_whole_file_where_one_box_gives_them_away(write):
    boxes = [(2, 2, 12, 10), (3, 4, 9, 9), (1, 1, 30, 20), (25, 15, 38, 29)]
    entries = [entry(n, 11 + n, 7, box, [], area=0) for n, box in enumerate(boxes)]
    folder = ns.CocoFolder.open(write(changes=lambda _: entries))
    with pytest.raises(InvalidSample, match=r"\(id 3\) has the bbox \[25, 15, 38, 29\].*all boxes of the file"):
        folder.concepts()
    entries.append(entry(9, 15, 7, (20, 20, 5, 5), []))  # one that is no pair of corners
    folder = ns.CocoFolder.open(write("b", changes=lambda _: entries), "b")
    assert sorted(outcomes(folder.everything().samples("bear"))) == ["11", "12", "13", "15", "damaged"]


def test_boxes_smaller_than_an_outline_s_share_outside_are_kept(write):
    """Annotators round; boxes and outlines of real data differ by a pixel."""
    changed = entry(1, 11, 7, (3, 2, 9, 8), polygon(2, 2, 10, 8))
    folder = ns.CocoFolder.open(write(changes=lambda entries: [changed, *entries[4:]]))
    assert by_id(folder.samples("bear"))["11"].boxes == ((3, 2, 9, 8),)


def with_segmentation(segmentation):
    """The entries with another outline of the first bear of image 11."""
    return lambda entries: [{**entries[0], "segmentation": segmentation}, *entries[2:]]


@pytest.mark.parametrize(
    "segmentation",
    [
        polygon(2, 2, 10, 8),
        [*polygon(2, 2, 4, 8), *polygon(6, 2, 6, 8)],  # an object in two parts
        compressed(block(2, 2, 10, 8)),
        {"size": [H, W], "counts": [62, *[8, 22] * 9, 8, 860]},  # uncompressed, down the columns
    ],
)
def test_polygons_and_both_kinds_of_run_lengths_give_the_same_mask(write, segmentation):
    sample = by_id(ns.CocoFolder.open(write(changes=with_segmentation(segmentation))).samples("bear"))["11"]
    assert (sample.mask == block(2, 2, 10, 8).astype(bool)).all()


@pytest.mark.parametrize("seed", range(8))
def test_compressed_runs_are_read_as_pycocotools_writes_them(seed):
    """Masks from single pixels to long runs; the widest has runs of more than one character."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(1, 90, 2))
    mask = np.asfortranarray(np.kron(rng.random((height, width)) < 0.5, np.ones((1 + seed, 3))).astype(np.uint8))
    code = compressed(mask)
    assert (runs_mask(code, mask.shape[::-1]) == mask.astype(bool)).all()
    assert (runs_mask(compressed(mask * 0), mask.shape[::-1]) == 0).all()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[]], "three or more points"),
        ([[1, 2]], "three or more points"),
        ([[1, 2, 3, 4]], "three or more points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three or more points"),
        ([[1, 2, float("nan"), 4, 5, 6]], "near the picture"),
        ([[1, 2, 1e12, 4, 5, 6]], "near the picture"),
        ([1, 2, 3, 4, 5, 6], "TypeError"),
        ("abc", "ValueError"),
        ({"size": [H, W]}, "KeyError: 'counts'"),
        ({"size": [H, W], "counts": [0, 10]}, "with a sum of 10 .* do not fill a picture of 30 x 40"),
        ({"size": [H, W], "counts": [-10, 10 + H * W]}, "do not fill"),
        ({"size": [W, H], "counts": [0, H * W]}, r"of size \[40, 30\] do not fill a picture of 30 x 40"),
        ({"size": [H, W], "counts": compressed(block(2, 2, 10, 8))["counts"][:-2]}, "do not fill|end within"),
        ({"size": [H, W], "counts": "~~"}, "hold '~'"),
        ({"size": [H, W], "counts": "o"}, "end within a number"),
    ],
)
def test_outlines_that_would_give_a_wrong_mask_are_refused(write, segmentation, reason):
    """pycocotools fills masks from run lengths that end early with whatever is in memory, and NaN takes all of it."""
    folder = ns.CocoFolder.open(write(changes=with_segmentation(segmentation)))
    with pytest.raises(InvalidSample, match=r"the entries of image 11 are damaged: annotation 1: ") as caught:
        list(folder.samples("bear"))
    assert re.search(reason, str(caught.value))


@pytest.mark.parametrize("size", [(None, 30), (10**6, 10**6)])
def test_impossible_frames_are_refused(write, size):
    root = write()
    path = root / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    document["images"][0] |= {"width": size[0], "height": size[1]}
    document["images"][0] = {k: v for k, v in document["images"][0].items() if v is not None}
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidSample, match="image 11 are damaged: its width and height are"):
        list(ns.CocoFolder.open(root).samples("bear"))


def outcomes(stream):
    """What each `next` gives, until the end: the sample's name, or that it was refused."""
    while True:
        outcome = "damaged"
        try:
            outcome = next(stream).image_id
        except StopIteration:
            return
        except InvalidSample:
            pass
        yield outcome


def test_after_a_damaged_entry_the_others_can_still_be_read(write):
    folder = ns.CocoFolder.open(write(changes=with_segmentation([[1, 2]])))
    for stream in (folder.samples("bear", min_area=0, max_area=1), folder.everything().samples("bear")):
        read = list(outcomes(stream))
        assert read.count("damaged") == 1
        assert {"12", "13", "14"} <= set(read)


def test_everything_passes_nothing_over(write):
    folder = ns.CocoFolder.open(write())
    found = by_id(folder.everything().samples("bear"))
    assert set(found) == {"11", "12", "13", "14", "15"}
    assert (found["15"].boxes, found["15"].mask) == ((), None)  # nothing but a crowd
    assert folder.everything().concepts() == folder.concepts()
    orders = [[s.image_id for s in folder.everything().samples("bear", seed=k)] for k in range(5)]
    filtered = [s.image_id for s in folder.samples("bear", seed=2)]
    assert filtered == [name for name in orders[2] if name in filtered]
    assert len(set(map(tuple, orders))) > 1
    with pytest.raises(InvalidSample, match=r"no category 'bera'\. Did you mean 'bear'"):
        folder.everything().samples("bera")


def test_an_unknown_concept_is_refused_before_the_first_sample(write):
    with pytest.raises(InvalidSample, match=r"no category 'bera'\. Did you mean 'bear'"):
        ns.CocoFolder.open(write()).samples("bera")


@pytest.mark.parametrize("areas", [(-0.1, 0.5), (0.5, 0.2), (0, 1.5), (float("nan"), 1)])
def test_impossible_area_limits_are_refused(write, areas):
    with pytest.raises(InvalidOption, match=r"need 0 <= min_area <= max_area <= 1|min_area=nan is not"):
        ns.CocoFolder.open(write()).samples("bear", min_area=areas[0], max_area=areas[1])


def test_several_splits_need_a_choice(write):
    write("train2017")
    root = write("val2017")
    with pytest.raises(InvalidSample, match="train2017, val2017"):
        ns.CocoFolder.open(root)
    assert ns.CocoFolder.open(root, split="val2017").images == root / "val2017"
    with pytest.raises(InvalidSample, match=r"no split 'val2071'\. Did you mean 'val2017'"):
        ns.CocoFolder.open(root, split="val2071")


@pytest.mark.parametrize("place", ["images", "images/val2017"])
def test_pictures_may_lie_in_a_folder_images(write, place):
    root = write()
    (root / "images").mkdir()
    (root / "val2017").rename(root / place)
    assert ns.CocoFolder.open(root).images == root / place


def test_folders_without_annotations_or_pictures_are_refused(tmp_path, write):
    with pytest.raises(InvalidSample, match="not a COCO folder"):
        ns.CocoFolder.open(tmp_path)
    root = write()
    (root / "val2017").rename(root / "elsewhere")
    with pytest.raises(InvalidSample, match="no picture folder 'val2017'"):
        ns.CocoFolder.open(root)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "an object with tables is expected, not a list"),
        ("{}", "lacks the table images"),
        ('{"images": [], "annotations": []}', "lacks the table categories"),
        ('{"annotations": [{"id": 1}]}', "lacks the table images"),
        ("[" * 100_000, "nested deeper than 100 levels"),
        ('{"images": ' + "9" * 5000 + "}", "ValueError"),
        ("null", "not null"),
        ('"text"', "not text"),
    ],
)
def test_json_that_is_not_coco_is_refused_by_name(tmp_path, text, reason):
    path = tmp_path / "instances_x.json"
    path.write_text(text)
    with pytest.raises(InvalidSample, match=reason) as caught:
        ns.CocoFolder(tmp_path, path).concepts()
    assert str(path) in str(caught.value)


def test_real_photographs_go_all_the_way_to_a_counterfactual(real_coco):
    folder = ns.CocoFolder.open(real_coco)
    found = [next(folder.samples(concept), None) for concept in ("person", "bear", "bus", "cat", "train", "pizza")]
    samples = [sample for sample in found if sample is not None]
    assert samples
    for sample in samples:
        pair = ns.counterfactual(sample)
        assert sample.mask.shape == pair.mask.shape == (pair.original.height, pair.original.width)
        assert (sample.mask & pair.mask).sum() > 0.95 * sample.mask.sum()  # the boxes hold the segmentation
        same = (np.asarray(pair.original) == np.asarray(pair.edited)).all(-1)
        assert same[~pair.mask].all()
        assert sample.captions


def test_real_annotations_are_read_as_pycocotools_reads_them(real_coco):
    """Every object of 80 photographs, crowds in uncompressed run lengths included."""
    folder = ns.CocoFolder.open(real_coco)
    with contextlib.redirect_stdout(None):
        coco = COCO(str(folder.instances))
    crowds = 0
    for annotation in coco.dataset["annotations"]:
        info = coco.imgs[annotation["image_id"]]
        mask = outline(annotation, (info["width"], info["height"]))
        assert (mask == coco.annToMask(annotation).astype(bool)).all()
        crowds += annotation["iscrowd"]
    assert crowds
    kept = {s.image_id for concept in folder.concepts() for s in folder.everything().samples(concept) if s.boxes}
    objects = [a for a in coco.dataset["annotations"] if not a["iscrowd"]]
    assert kept == {str(a["image_id"]) for a in objects}
