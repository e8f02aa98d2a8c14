"""`neuronscope pictures`: a folder, a COCO folder, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(3)
    place = tmp_path / "pictures"
    place.mkdir()
    for name in ("a", "b", "c", "d"):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(place / f"{name}.png")
    return place


@pytest.fixture
def coco(tmp_path, folder):
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    folder.rename(root / "images")
    document = {
        "images": [{"id": k, "file_name": f"{n}.png", "width": 48, "height": 40} for k, n in enumerate("abcd")],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "bbox": [2, 2, 9, 9], "area": 81, "iscrowd": k % 2}
            for k in (0, 1)
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    (root / "annotations" / "instances.json").write_text(json.dumps(document))
    return root


def test_a_folder(cli, checkpoint, folder, tmp_path):
    sheet = tmp_path / "deep" / "sheet.png"
    code, out, _ = cli("pictures", "1.3,2.7", folder, "--model", checkpoint, "--count", 3, "--out", sheet, "--json")
    found = json.loads(out)
    assert code == 0
    assert len(found["top"]) == len(found["random"]) == 3
    assert found["files"] == ["a.png", "b.png", "c.png", "d.png"]
    assert (found["auc"], found["p"]) == (None, None)
    assert Image.open(sheet).height > 2 * 160
    code, out, _ = cli("pictures", "1.3", folder, "--model", checkpoint, "--exclude", "b.png", "--exclude", "c")
    assert code == 0
    assert "b.png" not in out
    assert "random neurons" in out


def test_a_coco_folder_tells_what_is_shown(cli, checkpoint, coco):
    code, out, _ = cli("pictures", "1.3", coco, "--model", checkpoint, "--concept", "dog", "--json", "--draws", 5)
    found = json.loads(out)
    assert code == 0
    assert (found["shown"], found["pictures"], len(found["random_auc"])) == (2, 4, 5)
    assert 0 <= found["auc"] <= 1
    assert "2 of 4 pictures show “dog”" in found["sentence"]
    code, out, _ = cli("pictures", "1.3", coco, "--model", checkpoint, "--concept", "cat")
    assert code == 0
    assert "none shows “cat”" in out
    assert json.loads(cli("pictures", "1.3", coco, "--model", checkpoint, "--json")[1])["auc"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--concept", "dgo"), "no category 'dgo'"),
        (("--pool", "sum"), "pool='sum'"),
        (("--draws", "0"), "draws=0"),
        (("--count", "0"), "count=0"),
        (("--exclude", "a", "--exclude", "b", "--exclude", "c"), "1 pictures"),
    ],
)
def test_what_is_refused(cli, checkpoint, coco, options, words):
    code, _, err = cli("pictures", "1.3", coco, "--model", checkpoint, *options)
    assert code == 1
    assert words in err


def test_one_coco_folder_at_a_time(cli, checkpoint, coco, tmp_path):
    code, _, err = cli("pictures", "1.3", coco, coco / "images", "--model", checkpoint)
    assert code == 1
    assert "name it alone" in err
