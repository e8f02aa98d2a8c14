"""Every key of every table, damaged in every way, one after another."""

import copy
import json
import re

import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidSample
from neuronscope.samples.objects import AnnotatedFolder

MISSING = object()


def instances():
    rows = [(1, 11, 3, [2, 2, 9, 9]), (2, 12, 7, [4, 4, 8, 8]), (3, 12, 3, [20, 2, 9, 9])]
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (11, 12)],
        "annotations": [{"id": i, "image_id": n, "category_id": c, "bbox": b, "iscrowd": 0} for i, n, c, b in rows],
        "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "bear"}],
    }


def captions():
    images = [{"id": n, "file_name": f"{n}.png"} for n in (11, 12, 13)]  # of one more image than the instances
    told = [{"id": i, "image_id": n, "caption": text} for i, (n, text) in enumerate([(11, "a"), (11, "b"), (13, "c")])]
    return {"images": images, "annotations": told}


def written(root, own, told=None):
    for part in ("annotations", "images"):
        (root / part).mkdir(exist_ok=True)
    for number in (11, 12):
        Image.new("RGB", (40, 30), "green").save(root / "images" / f"{number}.png")
    (root / "annotations" / "instances_x.json").write_text(json.dumps(own))
    if told is not None:
        (root / "annotations" / "captions_x.json").write_text(json.dumps(told))
    return root


def read(root):
    folder = ns.CocoFolder.open(root)
    return {concept: {s.image_id: s for s in folder.everything().samples(concept)} for concept in folder.concepts()}


def test_whole_tables_are_read(tmp_path):
    found = read(written(tmp_path, instances(), captions()))
    assert {concept: set(samples) for concept, samples in found.items()} == {"dog": {"11", "12"}, "bear": {"12"}}
    assert found["dog"]["11"].captions == ("a", "b")
    assert found["dog"]["12"].captions == ()
    assert found["bear"]["12"].boxes == ((4, 4, 8, 8),)


WRONG = {
    ("images", "id"): [MISSING, None, 1.5, True, [], {}, ""],
    ("images", "file_name"): [MISSING, None, 7, "", " ", ["a"]],
    ("images", "width"): [None, 0, -40, 40.5, "40", True, 1e99],
    ("images", "height"): [None, 0, -1, [30], float("nan"), float("inf")],
    ("annotations", "id"): [MISSING, None, 1.0, False, "", [1]],
    ("annotations", "image_id"): [MISSING, None, 99, "11", 11.0, [11], True],
    ("annotations", "category_id"): [MISSING, None, 99, "7", 7.0, {}],
    ("annotations", "iscrowd"): [None, 2, "0", "false", 0.5, []],
    ("categories", "id"): [MISSING, None, 0.5, "", [7]],
    ("categories", "name"): [MISSING, None, "", "  ", 7, ["dog"]],
}
CASES = [(table, key, value) for (table, key), values in WRONG.items() for value in values]
TOLD = {
    ("images", "id"): [MISSING, None, 1.5],
    ("images", "file_name"): [MISSING, None, "another.png"],
    ("annotations", "id"): [MISSING, None, 2.5],
    ("annotations", "image_id"): [MISSING, None, 99, "11", 11.0],
    ("annotations", "caption"): [MISSING, None, "", 7, ["a"]],
}


def damaged(document, table, key, value):
    document = copy.deepcopy(document)
    if value is MISSING:
        del document[table][-1][key]
    else:
        document[table][-1][key] = value
    return document


@pytest.mark.parametrize(("table", "key", "value"), CASES)
@pytest.mark.parametrize("how", [read, AnnotatedFolder.read])
def test_a_key_that_is_missing_or_wrong_is_refused_with_file_table_row_and_remedy(tmp_path, table, key, value, how):
    root = written(tmp_path, damaged(instances(), table, key, value))
    with pytest.raises(InvalidSample) as caught:
        how(root)
    last = len(instances()[table]) - 1
    # An image or a category without its id leaves the rows that point to it in the air, which may be told first.
    assert re.search(
        rf"instances_x\.json: {table}\[{last}\].* (has|has no) {key}.*(expected|give it|add|write)", str(caught.value)
    )


@pytest.mark.parametrize(("table", "key", "value"), [(*place, v) for place, values in TOLD.items() for v in values])
@pytest.mark.parametrize("how", [read, AnnotatedFolder.read])
def test_captions_are_checked_likewise(tmp_path, table, key, value, how):
    told = captions()
    told["images"].pop()
    told["annotations"].pop()
    root = written(tmp_path, instances(), damaged(told, table, key, value))
    with pytest.raises(InvalidSample, match=rf"captions_x\.json: {table}\[1\]"):
        how(root)


@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
@pytest.mark.parametrize("file", ["instances", "captions"])
def test_ids_that_stand_twice_are_refused(tmp_path, file, table):
    documents = {"instances": instances(), "captions": captions()}
    if table not in documents[file]:
        return
    rows = documents[file][table]
    rows.append({**rows[0], **({"file_name": "new.png"} if table == "images" else {})})
    root = written(tmp_path, documents["instances"], documents["captions"])
    with pytest.raises(InvalidSample, match=rf"{file}_x\.json: {table}\[{len(rows) - 1}\] \(id \d+\) has the id of an"):
        read(root)


def test_a_picture_that_is_listed_twice_is_refused(tmp_path):
    own = instances()
    own["images"].append({**own["images"][0], "id": 77})
    with pytest.raises(InvalidSample, match=r"images\[2\] \(id 77\) has the file_name '11.png' of an earlier row"):
        read(written(tmp_path, own))


@pytest.mark.parametrize("row", [None, 7, "row", [], True])
@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_rows_that_are_no_objects_are_refused(tmp_path, table, row):
    own = instances()
    own[table].insert(1, row)
    with pytest.raises(InvalidSample, match=rf"{table}\[1\] is .*; an object is expected"):
        read(written(tmp_path, own))


@pytest.mark.parametrize("value", [None, 7, "rows", {}, True])
@pytest.mark.parametrize("table", ["images", "annotations", "categories"])
def test_tables_that_are_no_lists_are_refused(tmp_path, table, value):
    with pytest.raises(InvalidSample, match=rf"{table} is .*; a list of rows is expected"):
        read(written(tmp_path, instances() | {table: value}))


def test_all_rows_that_are_wrong_are_counted(tmp_path):
    own = instances()
    for row in own["annotations"]:
        row["image_id"] += 100
    with pytest.raises(InvalidSample, match=r"annotations\[0\].*; 2 more of its 3 rows are wrong as well"):
        read(written(tmp_path, own))


def test_ids_may_be_text_in_all_tables_alike(tmp_path):
    own = json.loads(json.dumps(instances()), object_hook=_as_text)
    assert set(read(written(tmp_path, own))["dog"]) == {"11", "12"}
    own["images"][0]["id"] = 11
    with pytest.raises(InvalidSample, match=r"image_id '11', text|numbers in some rows and text in others"):
        read(written(tmp_path, own))


def _as_text(row):
    return {key: str(value) if key in ("id", "image_id", "category_id") else value for key, value in row.items()}


def test_a_name_of_several_categories_gives_the_samples_of_all(tmp_path):
    """A root category of the same name, as some exports write it, before or behind the real one, or both in use."""
    own = instances()
    own["categories"] = [
        {"id": 0, "name": "dog"},
        *own["categories"],
        {"id": 9, "name": "bear"},
        {"id": 8, "name": "dog"},
    ]
    own["annotations"][2]["category_id"] = 8
    found = read(written(tmp_path, own))
    assert list(found) == ["dog", "bear"]
    assert {name: set(samples) for name, samples in found.items()} == {"dog": {"11", "12"}, "bear": {"12"}}
    assert [other.concept for other in found["dog"]["12"].others] == ["bear"]
    own["annotations"].append({"id": 5, "image_id": 12, "category_id": 3, "bbox": [1, 15, 9, 9], "iscrowd": 0})
    assert read(written(tmp_path, own))["dog"]["12"].boxes == ((20, 2, 9, 9), (1, 15, 9, 9))


def test_captions_of_another_data_set_are_refused(tmp_path):
    told = captions()
    told["images"][1]["file_name"] = "other.png"
    with pytest.raises(InvalidSample, match=r"images\[1\] \(id 12\) is 'other.png', which is '12.png' in instances_x"):
        read(written(tmp_path, instances(), told))


def test_files_with_a_byte_order_mark_are_read(tmp_path):
    root = written(tmp_path, instances())
    path = root / "annotations" / "instances_x.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert set(read(root)["bear"]) == {"12"}
