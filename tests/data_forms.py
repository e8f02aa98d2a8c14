"""The same annotated pictures in every form that `neuronscope.annotated` reads."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from neuronscope.samples import boxes
from neuronscope.samples.scenes import Scene, render

Box: TypeAlias = tuple[float, float, float, float]
#: File -> its picture, and objects with their boxes.
Data: TypeAlias = Mapping[str, tuple[Image.Image, Sequence[tuple[str, Box]]]]


def of_scenes(scenes: Sequence[Scene]) -> Data:
    """Rendered scenes, each object by its box."""
    found: dict[str, Any] = {}
    for number, scene in enumerate(scenes):
        drawn = render(scene)
        found[f"{number:03d}.png"] = (drawn.image, [(name, boxes.mask_box(m)) for name, m in drawn.masks.items()])
    return found


def draw(data: Data, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, (picture, _) in data.items():
        picture.save(folder / file)
    return folder


def rows(data: Data) -> list[dict[str, Any]]:
    """A row for each object."""
    sides = ("x", "y", "width", "height")
    return [
        {"file": file, "concept": name, **dict(zip(sides, map(float, box), strict=True))}
        for file, (_, objects) in data.items()
        for name, box in objects
    ]


def nested(data: Data) -> list[dict[str, Any]]:
    """A row for each picture."""
    return [
        {"file_name": f, "objects": {"bbox": [list(map(float, b)) for _, b in of], "category": [n for n, _ in of]}}
        for f, (_, of) in data.items()
    ]


def coco(data: Data, root: Path) -> Path:
    draw(data, root / "images")
    names = list(dict.fromkeys(name for _, objects in data.values() for name, _ in objects))
    found: list[dict[str, Any]] = []
    for file, (_, objects) in data.items():
        for name, box in objects:
            own = {"id": len(found), "image_id": file, "category_id": names.index(name)}
            found.append({**own, "bbox": list(map(float, box)), "iscrowd": 0})
    sizes = {file: picture.size for file, (picture, _) in data.items()}
    listed = [{"id": file, "file_name": file, "width": w, "height": h} for file, (w, h) in sizes.items()]
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    (root / "annotations").mkdir()
    text = json.dumps({"images": listed, "annotations": found, "categories": categories})
    (root / "annotations" / "instances.json").write_text(text, encoding="utf-8")
    return root


def _csv(data: Data, root: Path) -> Path:
    path = draw(data, root) / "boxes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows(data)[0]))
        writer.writeheader()
        writer.writerows(rows(data))
    return path


def _jsonl(data: Data, root: Path) -> Path:
    path = draw(data, root) / "boxes.jsonl"
    path.write_text("\n".join(map(json.dumps, rows(data))), encoding="utf-8")
    return path


def _parquet(data: Data, root: Path) -> Path:
    path = draw(data, root) / "boxes.parquet"
    pq.write_table(pa.Table.from_pylist(nested(data)), path)
    return path


def _image_folder(data: Data, root: Path) -> Path:
    draw(data, root)
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, nested(data))), encoding="utf-8")
    return root


def _held(data: Data, root: Path) -> Path:
    """As `datasets` saves to disk, pictures inside."""
    drawn = draw(data, root / "drawn")
    held = [
        {"image": {"bytes": (drawn / row["file_name"]).read_bytes(), "path": None}, "objects": row["objects"]}
        for row in nested(data)
    ]
    shutil.rmtree(drawn)
    table = pa.Table.from_pylist(held)
    target = str(root / "data-00000-of-00001.arrow")
    with pa.OSFile(target, "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)
    (root / "state.json").write_text("{}", encoding="utf-8")
    return root


def _yolo(data: Data, root: Path) -> Path:
    draw(data, root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    names = list(dict.fromkeys(name for _, objects in data.values() for name, _ in objects))
    (root / "data.yaml").write_text(f"names: {json.dumps(names)}\n", encoding="utf-8")
    for file, (picture, objects) in data.items():
        width, height = picture.size
        lines = [
            f"{names.index(name)} {(x + w / 2) / width!r} {(y + h / 2) / height!r} {w / width!r} {h / height!r}"
            for name, (x, y, w, h) in objects
        ]
        (root / "labels" / "train" / f"{Path(file).stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    return root


def _voc(data: Data, root: Path) -> Path:
    draw(data, root / "JPEGImages")
    (root / "Annotations").mkdir()
    for file, (picture, objects) in data.items():
        inside = "".join(
            f"<object><name>{escape(name)}</name><bndbox><xmin>{x + 1:g}</xmin><ymin>{y + 1:g}</ymin>"
            f"<xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax></bndbox></object>"
            for name, (x, y, w, h) in objects
        )
        size = f"<size><width>{picture.width}</width><height>{picture.height}</height></size>"
        text = f"<annotation><filename>{file}</filename>{size}{inside}</annotation>"
        (root / "Annotations" / f"{Path(file).stem}.xml").write_text(text, encoding="utf-8")
    return root


#: Name -> what writes data into a folder and says what to name.
FORMS: dict[str, Callable[[Data, Path], Path]] = {
    "coco": coco,
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "image folder": _image_folder,
    "saved by datasets": _held,
    "yolo": _yolo,
    "voc": _voc,
}
