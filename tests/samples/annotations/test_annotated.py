"""The same pictures in every form give the same samples; what is wrong is told with file, row and remedy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, InvalidSample
from neuronscope.samples.annotations.rows import of_arrow

#: picture -> size, objects: concept and x, y, width, height.
PICTURES: dict[str, tuple[tuple[int, int], list[tuple[str, tuple[int, int, int, int]]]]] = {
    "a.png": ((60, 40), [("bear", (10, 5, 20, 10)), ("dog", (40, 20, 10, 10))]),
    "b.png": ((40, 50), [("bear", (4, 8, 20, 30)), ("bear", (26, 8, 10, 30))]),
    "c.png": ((50, 50), [("dog", (1, 2, 30, 40))]),
    "d.png": ((50, 30), []),
}
NAMES = ["bear", "dog"]
FLAT = [(file, concept, box) for file, (_, objects) in PICTURES.items() for concept, box in objects]


def draw(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, (file, (size, _)) in enumerate(PICTURES.items()):
        pixels = np.random.default_rng(k).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / file)
    return folder


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    draw(path.parent)
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def sides(names: tuple[str, ...], *, corners: bool = False, file: str = "file", concept: str = "concept"):
    def row(of: str, said: str, box: tuple[int, int, int, int]) -> dict[str, Any]:
        x, y, w, h = box
        return {file: of, concept: said, **dict(zip(names, (x, y, x + w, y + h) if corners else box, strict=True))}

    return [row(*one) for one in FLAT]


def nested(boxes: str = "bbox", concepts: str = "category") -> list[dict[str, Any]]:
    return [
        {"file_name": file, "objects": {boxes: [list(b) for _, b in of], concepts: [c for c, _ in of]}}
        for file, (_, of) in PICTURES.items()
    ]


def yolo(root: Path, images: str, labels: str, *, polygons: bool = False, classes: bool = False) -> Path:
    draw(root / images)
    (root / labels).mkdir(parents=True)
    for file, ((width, height), objects) in PICTURES.items():
        lines: list[str] = []
        for concept, (x, y, w, h) in objects:
            right, low = (x + w) / width, (y + h) / height
            corners = [x / width, y / height, right, y / height, right, low, x / width, low]
            centre = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
            lines.append(" ".join(map(str, [NAMES.index(concept), *(corners if polygons else centre)])))
        if lines:
            (root / labels / file).with_suffix(".txt").write_text("\n".join(lines) + "\n")
    if classes:
        (root / "classes.txt").write_text("\n".join(NAMES))
    else:
        (root / "data.yaml").write_text(f"train: {images}\nnc: 2\nnames:\n  0: bear\n  1: dog\n")
    return root


def voc(root: Path, images: str, annotations: str) -> Path:
    draw(root / images)
    (root / annotations).mkdir(parents=True, exist_ok=True)
    for file, ((width, height), objects) in PICTURES.items():
        said = "".join(
            f"<object><name>{escape(c)}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for c, (x, y, w, h) in objects
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{file}</filename>{size}{said}</annotation>"
        (root / annotations / file).with_suffix(".xml").write_text(text)
    return root


def masks(root: Path) -> Path:
    rows: list[dict[str, Any]] = []
    (root / "masks").mkdir(parents=True)
    for k, (file, concept, (x, y, w, h)) in enumerate(FLAT):
        width, height = PICTURES[file][0]
        mask = np.zeros((height, width), np.uint8)
        mask[y : y + h, x : x + w] = 255
        Image.fromarray(mask).save(root / "masks" / f"{k}.png")
        rows.append({"file": file, "concept": concept, "mask": f"masks/{k}.png"})
    return table(root / "boxes.csv", rows)


def embedded(root: Path, *, arrow: bool) -> Path:
    """As `datasets` writes it, checked against it where this was written: pictures inside, labels as numbers."""
    rows: list[dict[str, Any]] = []
    for file, (_, objects) in PICTURES.items():
        data = (draw(root / "drawn") / file).read_bytes()
        inner = {"bbox": [list(map(float, b)) for _, b in objects], "category": [NAMES.index(c) for c, _ in objects]}
        rows.append({"image": {"bytes": data, "path": None}, "objects": inner})
    features = {
        "image": {"_type": "Image"},
        "objects": {
            "bbox": {"feature": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}, "_type": "List"},
            "category": {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "List"},
        },
    }
    told = pa.Table.from_pylist(rows).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    if not arrow:
        pq.write_table(told, root / "train.parquet")
        return root / "train.parquet"
    with pa.OSFile(str(root / "data-00000-of-00001.arrow"), "wb") as file, pa.ipc.new_stream(file, told.schema) as out:
        out.write_table(told)
    (root / "state.json").write_text("{}")
    return root


XYWH, CORNERS = ("x", "y", "width", "height"), ("xmin", "ymin", "xmax", "ymax")
FORMS: dict[str, Callable[[Path], Path]] = {
    "csv": lambda root: table(root / "t.csv", sides(XYWH)),
    "tsv, short names": lambda root: table(root / "t.tsv", sides(("x", "y", "w", "h"), file="image", concept="label")),
    "csv of corners": lambda root: table(
        root / "t.csv", sides(CORNERS, corners=True, file="filename", concept="class")
    ),
    "jsonl of corners": lambda root: table(root / "t.jsonl", sides(("x1", "y1", "x2", "y2"), corners=True)),
    "jsonl with lists": lambda root: table(root / "t.jsonl", nested()),
    "parquet": lambda root: table(root / "t.parquet", sides(XYWH, concept="category")),
    "parquet with lists": lambda root: table(root / "t.parquet", nested()),
    "csv, one column": lambda root: table(
        root / "t.csv", [{"file": f, "concept": c, "bbox": str(list(b)), "width": 9, "height": 9} for f, c, b in FLAT]
    ),
    "boxes and labels": lambda root: table(
        root / "t.jsonl",
        [{"image": f, "boxes": [b for _, b in of], "labels": [c for c, _ in of]} for f, (_, of) in PICTURES.items()],
    ),
    "image folder": lambda root: table(root / "metadata.jsonl", nested("bbox", "categories")).parent,
    "masks": masks,
    "yolo": lambda root: yolo(root, "images/train", "labels/train"),
    "yolo, splits outside": lambda root: yolo(root, "train/images", "train/labels"),
    "yolo, plain": lambda root: yolo(root, "images", "labels", classes=True),
    "yolo, outlines": lambda root: yolo(root, "images", "labels", polygons=True),
    "voc": lambda root: voc(root, "JPEGImages", "Annotations"),
    "voc, beside": lambda root: voc(root, "", ""),
    "hugging face parquet": lambda root: embedded(root, arrow=False),
    "hugging face folder": lambda root: embedded(root, arrow=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_samples(tmp_path: Path, form: str):
    found = ns.annotated(FORMS[form](tmp_path / "data"))
    assert found.identity() == ns.annotated(found.instances if found.instances.exists() else tmp_path).identity()
    assert sorted(found.concepts()) == NAMES
    for concept in NAMES:
        wanted = [file for file, (_, of) in PICTURES.items() if concept in [c for c, _ in of]]
        samples = list(found.everything().samples(concept, seed=3))
        assert len(samples) == len(wanted)
        assert len({sample.image_id for sample in samples}) == len(wanted)
        for sample in samples:
            picture = sample.load()
            file = next(f for f in wanted if PICTURES[f][0] == picture.size)
            own = [box for c, box in PICTURES[file][1] if c == concept]
            np.testing.assert_allclose(sample.boxes, own, atol=1 if "outlines" in form else 1e-4)
            assert [one.concept for one in sample.others] == [c for c, _ in PICTURES[file][1] if c != concept]
            assert sample.region(picture.size, source="mask").sum() == pytest.approx(
                sum(w * h for _, _, w, h in own), rel=0.15
            )


def test_a_data_frame(tmp_path: Path):
    draw(tmp_path)
    frame = pd.DataFrame(sides(XYWH, file="photo", concept="species"))
    frame["mask"] = np.nan
    named = {"file": "photo", "concept": "species"}
    found = ns.annotated(frame, images=tmp_path, columns=named)
    assert found.concepts() == NAMES
    assert len(list(found.samples("bear", max_area=1.0))) == 2
    with pytest.raises(InvalidSample, match=r"row 0: no file: it needs a column file or file_name.*photo.*columns="):
        ns.annotated(frame, images=tmp_path)
    with pytest.raises(InvalidOption, match=r"columns: 'box_' is not known\. Did you mean 'box'"):
        ns.annotated(frame, images=tmp_path, columns={"box_": "x"})


class DataSet:
    """The two things that are asked of a data set of `datasets`."""

    def __init__(self, table: pa.Table):
        self.features = type("Features", (), {"arrow_schema": table.schema})
        self._table = table

    def with_format(self, kind: str) -> pa.Table:
        assert kind == "arrow"
        return self._table


def test_a_data_set_of_hugging_face(tmp_path: Path):
    (tmp_path / "x").mkdir()
    found = ns.annotated(DataSet(pq.read_table(embedded(tmp_path / "x", arrow=False))))  # pyright: ignore
    assert found.concepts() == NAMES
    assert len(list(found.samples("bear", max_area=1.0))) == 2


def test_splits_of_a_saved_data_set(tmp_path: Path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        embedded(tmp_path / name, arrow=True)
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert ns.annotated(tmp_path, split="test").concepts() == NAMES
    with pytest.raises(InvalidSample, match="several splits; choose one of test, train"):
        ns.annotated(tmp_path)
    with pytest.raises(InvalidSample, match=r"no split 'tset'\. Did you mean 'test'"):
        ns.annotated(tmp_path, split="tset")


def test_labels_of_features_that_hold_each_other():
    told = {"info": {"features": {"objects": [{"category": {"names": ["x", "y"], "_type": "ClassLabel"}}]}}}
    plain = pa.Table.from_pylist([{"objects": [{"category": 1}, {"category": 0}, {"category": 7}]}])
    rows = list(of_arrow("t", plain.replace_schema_metadata({"huggingface": json.dumps(told)})))
    assert rows == [("t row 0", {"objects": [{"category": "y"}, {"category": "x"}, {"category": 7}]})]
    assert next(of_arrow("t", plain.replace_schema_metadata({"huggingface": "["})))[1]["objects"][0]["category"] == 1


def written(name: str, text: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        draw(root)
        (root / name).write_text(text, encoding="utf-8")
        return root / name

    return make


def spoiled(form: str, file: str, old: str, new: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        found = FORMS[form](root)
        place = root / file
        assert old in place.read_text()
        place.write_text(place.read_text().replace(old, new, 1))
        return found

    return make


HEAD = "file,concept,x,y,width,height\n"
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no rows": (written("t.csv", HEAD), r"t\.csv has no rows"),
    "empty": (written("t.csv", ""), r"t\.csv has no rows"),
    "a field too many": (written("t.csv", HEAD + "a.png,bear,1,2,3,4,5\n"), "t.csv:2: 7 fields where the header has 6"),
    "no number": (written("t.csv", HEAD + "a.png,bear,1,2,3,4\na.png,bear,1,2,three,4\n"), "t.csv:3: width is 'three'"),
    "NaN": (written("t.csv", HEAD + "a.png,bear,1,2,nan,4\n"), "t.csv:2: box .* is not four finite numbers"),
    "no concept": (
        written("t.csv", HEAD + "a.png,,1,2,3,4\n"),
        "t.csv:2: no concept: it needs a column concept or label",
    ),
    "no box": (
        written("t.csv", "file,concept\na.png,bear\n"),
        "t.csv:2: no box, outline or mask; columns file, concept",
    ),
    "two columns of a name": (written("t.csv", "file,file\n"), "two columns 'file'"),
    "two boxes": (
        written("t.csv", "file,concept,x,y,w,h,x1,y1,x2,y2\na.png,bear,1,2,3,4,1,2,4,6\n"),
        "t.csv:2: two boxes, x, y, w, h and x1, y1, x2, y2; leave one",
    ),
    "no picture": (
        written("t.csv", HEAD + "z.png,bear,1,2,3,4\n"),
        r"t.csv:2: picture .*z.png does not exist; name .* images=",
    ),
    "outside": (written("t.csv", HEAD + "../a.png,bear,1,2,3,4\n"), "leads out of .*allow-outside"),
    "no JSON": (written("t.jsonl", "{}\n{\n"), "t.jsonl:1: no file"),
    "no object": (written("t.jsonl", "[1]\n"), "t.jsonl:1 is .*an object is expected"),
    "cut JSON": (written("t.jsonl", '{"file": \n'), "t.jsonl:1 is not JSON"),
    "no Parquet": (written("t.parquet", "PAR1"), "t.parquet cannot be read as Parquet"),
    "no table": (written("t.docx", "x"), r"is not a table of boxes; known are \.csv"),
    "lists that differ": (
        written("t.jsonl", '{"file": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "category": []}}'),
        "t.jsonl:1: objects has lists of several lengths",
    ),
    "two sizes": (
        written(
            "t.csv", "file,concept,x1,y1,x2,y2,image_width,image_height\na.png,b,1,2,3,4,60,40\na.png,b,1,2,3,4,61,40\n"
        ),
        r"t.csv:3 says that a.png is \(61, 40\) px, t.csv:2 \(60, 40\)",
    ),
    "yolo, no class": (spoiled("yolo", "labels/train/a.txt", "0 ", "7 "), r"a.txt:1 is of class 7, which has no name"),
    "yolo, pixels": (spoiled("yolo", "labels/train/c.txt", "1 ", "1 40 "), "c.txt:1 .* holds pixels"),
    "yolo, words": (spoiled("yolo", "labels/train/c.txt", "1 ", "dog "), "c.txt:1 .* something else than numbers"),
    "yolo, confidence": (
        spoiled("yolo", "labels/train/c.txt", "\n", " 0.9\n"),
        "c.txt:1 has 5 numbers behind its class",
    ),
    "yolo, no names": (spoiled("yolo", "data.yaml", "names:\n  0: bear\n  1: dog", "names: 2"), "no list of names"),
    "yolo, no YAML": (spoiled("yolo", "data.yaml", "names:", "names: ["), "is not YAML"),
    "voc, no XML": (spoiled("voc", "Annotations/a.xml", "<size>", "<"), "a.xml cannot be read as XML"),
    "voc, entities": (spoiled("voc", "Annotations/a.xml", "<annotation>", "<!DOCTYPE a><annotation>"), "entities"),
    "voc, no number": (
        spoiled("voc", "Annotations/a.xml", "<xmin>11", "<xmin>ten"),
        "a.xml: bndbox has the xmin 'ten'",
    ),
    "voc, no name": (spoiled("voc", "Annotations/a.xml", "<name>bear</name>", ""), "a.xml: object 1 has no name"),
    "an empty folder": (lambda root: draw(root), "is not a COCO folder, and none of the others"),
    "nothing": (lambda root: root / "nothing", "is no folder and no file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str):
    make, message = REFUSED[name]
    with pytest.raises(InvalidSample, match=message):
        ns.annotated(make(tmp_path / "data"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,bear,0.1,0.2,0.3,0.4", "annotation t.csv:3: .* looks like shares"),
        ("a.png,bear,50,5,40,10", "annotation t.csv:3: .* reaches"),
        ("a.png,bear,5,5,0,10", "annotation t.csv:3: .* is empty"),
        ("z.png,bear,5,5,5,10", "t.csv:3: picture .*z.png does not exist"),
    ],
)
def test_one_bad_picture_leaves_the_others(tmp_path: Path, row: str, message: str):
    path = written("t.csv", f"{HEAD}b.png,bear,1,2,30,40\n{row}\nc.png,bear,20,20,20,20\n")(tmp_path)
    samples = ns.annotated(path).samples("bear")
    good, said = 0, ""
    while True:
        try:
            next(samples)
            good += 1
        except StopIteration:
            break
        except InvalidSample as error:
            said = str(error)
    assert good == 2
    with pytest.raises(InvalidSample, match=message):
        raise InvalidSample(said)


def test_a_photograph_that_lies_on_its_side(tmp_path: Path):
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.new("RGB", (60, 40), "white").save(tmp_path / "t.jpg", exif=tag)
    path = tmp_path / "t.csv"
    path.write_text(HEAD + "t.jpg,bear,5,30,20,20\n")
    sample = next(ns.annotated(path).samples("bear"))
    assert sample.load().size == sample.annotated == (40, 60)


def test_a_picture_in_a_table_that_is_none(tmp_path: Path):
    row = {"image": {"bytes": b"no picture", "path": None}, "bbox": [1, 2, 3, 4], "label": "bear"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    with pytest.raises(InvalidSample, match=r"t\.parquet row 0 is not in a format that can be read"):
        ns.annotated(tmp_path / "t.parquet")
    buffer = io.BytesIO()
    Image.new("RGB", (30, 30)).save(buffer, "PNG")
    row["image"] = {"bytes": buffer.getvalue()[:60], "path": None}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    with pytest.raises(InvalidSample, match=r"image t\.parquet row 0 cannot be read"):
        ns.annotated(tmp_path / "t.parquet")
