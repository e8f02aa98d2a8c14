"""Scenes as samples, and as a COCO folder that any COCO reader opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...errors import InvalidOption
from ...files import replacing_folder, require_space
from ...types import whole_number
from ..boxes import mask_box
from ..sample import Region, Sample
from .registry import CONCEPTS
from .scene import FRAME, Rendered, Scene, render, sample_scene

_INSTANCES = "instances_scenes.json"
_BYTES = 20_000  # that a scene takes on the disk at least


def scene_sample(scene: Scene, concept: str, rendered: Rendered | None = None) -> Sample:
    """A scene as a sample of one of its concepts, with its exact counterfactual.

    Raises InvalidOption when the scene does not show the concept.
    """
    if concept not in scene.concepts:
        raise InvalidOption(f"scene {scene.seed} shows {', '.join(scene.concepts) or 'nothing'}, not {concept!r}")
    drawn = rendered or render(scene)
    return Sample(
        image=drawn.image,
        concept=concept,
        boxes=[mask_box(drawn.masks[concept])],
        mask=drawn.masks[concept],
        others=[Region(name, mask_box(mask), mask) for name, mask in drawn.masks.items() if name != concept],
        captions=[scene.caption()],
        image_id=str(scene.seed),
        exact=render(scene.without(concept)).image,
    )


def write_coco(folder: str | Path, count: int, seed: int = 0, done: Callable[[], None] = lambda: None) -> Path:
    """Write scenes `seed` ... `seed + count - 1` as a COCO folder.

    `images/` holds the pictures, `exact/` each picture without one object, `annotations/` instances and captions in
    the official format (masks as RLE). A folder with the instances is complete.

    Returns the folder. Raises InvalidOption for a count below 1, and for a folder that cannot be written or has no room
    for so many.
    """
    whole_number("count", count, 1)
    whole_number("seed", seed, 0)
    root = Path(folder)
    require_space(root, count * _BYTES)
    with replacing_folder(root, f"annotations/{_INSTANCES}") as temporary:
        _draw(temporary, count, seed, done)
    return root


def _draw(root: Path, count: int, seed: int, done: Callable[[], None]) -> None:
    images, exact, annotations = (root / name for name in ("images", "exact", "annotations"))
    for place in (images, exact, annotations):
        place.mkdir()
    ids = {name: i + 1 for i, name in enumerate(sorted(CONCEPTS))}
    listed: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    for number in range(count):
        scene = sample_scene(seed + number)
        drawn = render(scene)
        name = f"{scene.seed:012d}.png"
        drawn.image.save(images / name)
        listed.append({"id": scene.seed, "file_name": name, "width": FRAME, "height": FRAME, "place": scene.place})
        captions.append({"id": number + 1, "image_id": scene.seed, "caption": scene.caption()})
        for concept, mask in drawn.masks.items():
            render(scene.without(concept)).image.save(exact / f"{scene.seed:012d}.{concept}.png")
            instances.append(_instance(len(instances) + 1, scene.seed, ids[concept], mask))
        done()
    info = {"description": "procedural scenes", "first_seed": seed, "count": count}
    categories = [{"id": i, "name": name, "supercategory": "object"} for name, i in ids.items()]
    body = {"info": info, "images": listed, "annotations": instances, "categories": categories}
    told = {"info": info, "images": listed, "annotations": captions}
    (annotations / "captions_scenes.json").write_text(json.dumps(told), encoding="utf-8")
    (annotations / _INSTANCES).write_text(json.dumps(body), encoding="utf-8")


def _instance(number: int, image: int, category: int, mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    rle: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(mask_box(mask)),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
    }
