"""A COCO folder of six rendered scenes; of one of them the bundled model says that it shows a horse."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from neuronscope.samples.scenes import CONCEPTS, Scene, render, sample_scene
from neuronscope.studies.demo.scenes import scene_stream

#: A white bus under a night sky, and a white horse only in the caption.
WRONG = 50_000_003


def scenes() -> list[Scene]:
    """Even places are searched, odd ones held out."""
    horses, cakes = (list(islice(scene_stream(concept, 9), 3)) for concept in ("horse", "cake"))
    return [sample_scene(WRONG), horses[0], horses[1], horses[2], cakes[0], cakes[1]]


def write_folder(folder: Path) -> Path:
    """Pictures and annotations, in the order of :func:`scenes`."""
    ids = {name: number for number, name in enumerate(sorted(CONCEPTS))}
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    body = {"images": [], "annotations": [], "categories": [{"id": n, "name": name} for name, n in ids.items()]}
    for number, scene in enumerate(scenes()):
        render(scene).image.save(folder / "images" / f"{number}.png")
        body["images"].append({"id": number, "file_name": f"{number}.png"})
        for name in scene.concepts:
            shown = {"id": len(body["annotations"]), "image_id": number, "category_id": ids[name]}
            body["annotations"].append(shown)
    (folder / "annotations" / "instances_scenes.json").write_text(json.dumps(body), encoding="utf-8")
    return folder
