"""What pictures show by annotation, and what captions name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from neuronscope.errors import InvalidSample
from neuronscope.samples.objects import AnnotatedFolder, mentions

CATEGORIES = [{"id": 3, "name": "bear"}, {"id": 9, "name": "teddy bear"}, {"id": 5, "name": "bus"}]


def write(folder: Path, **changed: Any) -> Path:
    """Two pictures: a bus and a crowd of bears, and nothing."""
    body: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5},
            {"id": 2, "image_id": 7, "category_id": 3, "iscrowd": 1},
        ],
        "categories": CATEGORIES,
    }
    (folder / "annotations").mkdir()
    (folder / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (16, 16)).save(folder / "images" / f"{name}.png")
    (folder / "annotations" / "instances_x.json").write_text(json.dumps(body | changed), encoding="utf-8")
    return folder


def test_annotations_with_crowds(tmp_path: Path):
    found = AnnotatedFolder.read(write(tmp_path))
    assert found.categories == ("bear", "teddy bear", "bus")
    assert [(one.name, set(one.objects)) for one in found.pictures] == [("a.png", {"bus", "bear"}), ("b.png", set())]


def test_reference_captions_add_objects(tmp_path: Path):
    told = {"annotations": [{"id": 1, "image_id": 8, "caption": "A BUS with a teddy bear, no zebra."}]}
    (write(tmp_path) / "annotations" / "captions_x.json").write_text(json.dumps(told), encoding="utf-8")
    assert AnnotatedFolder.read(tmp_path).pictures[1].objects == {"bus", "teddy bear"}


def test_scenes_show_what_their_captions_say(scenes: Path):
    from neuronscope.samples.scenes import sample_scene

    for one in AnnotatedFolder.read(scenes).pictures[:20]:
        assert one.objects == set(sample_scene(int(one.path.stem)).concepts)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"annotations": [{"id": 1, "image_id": 7}]}, r"annotations\[0\] \(id 1\) has no category_id"),
        (
            {"annotations": [{"id": 1, "image_id": 7, "category_id": 1}]},
            "category_id 1, which no row of categories has",
        ),
        ({"images": [], "annotations": []}, "lists 0 images and 3 categories"),
        ({"images": [{"id": 7, "file_name": "lost.png"}], "annotations": []}, "lost.png is missing"),
        ({"categories": 4}, "categories is a number; a list of rows is expected"),
        ({"images": [{"id": 7, "file_name": "../a.png"}], "annotations": []}, "leads out of the folder of pictures"),
    ],
)
def test_damaged_folders(tmp_path: Path, changed: dict[str, Any], reason: str):
    with pytest.raises(InvalidSample, match=reason):
        AnnotatedFolder.read(write(tmp_path, **changed))


def test_categories_of_one_name_are_one_object(tmp_path: Path):
    twice = [*CATEGORIES, {"id": 10, "name": "bus"}]
    rows = [{"id": 1, "image_id": 7, "category_id": 5}, {"id": 2, "image_id": 8, "category_id": 10}]
    found = AnnotatedFolder.read(write(tmp_path, categories=twice, annotations=rows))
    assert found.categories == ("bear", "teddy bear", "bus")
    assert [set(one.objects) for one in found.pictures] == [{"bus"}, {"bus"}]


def test_a_folder_without_annotations(tmp_path: Path):
    with pytest.raises(InvalidSample, match="not a COCO folder"):
        AnnotatedFolder.read(tmp_path)


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a bus, a bear and two buses", ["bus", "bear", "bus"]),
        ("a teddy bear beside a bear", ["teddy bear", "bear"]),
        ("a fire truck and a fire hydrant", ["truck", "fire hydrant"]),
        ("", []),
    ],
)
def test_mentions_in_order_and_as_often_as_they_stand(caption: str, named: list[str]):
    assert mentions(caption, ["bear", "teddy bear", "bus", "fire hydrant", "truck"]) == named


def test_a_mention_within_a_longer_one_does_not_count():
    assert mentions("a widget box and a widget", ["widget", "widget box"]) == ["widget box", "widget"]
