"""Reading a COCO-format folder (2017 layout or any other of that format) through pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..errors import InvalidOption, InvalidSample, suggest
from .sample import Box, Region, Sample, boxes_mask


@dataclass(frozen=True)
class CocoFolder:
    """Images and annotations of one split.

    Attributes:
        images: folder of the pictures.
        instances: instances JSON (polygons or RLE; crowds are left out as instances).
        captions: captions JSON, if there is one.
    """

    images: Path
    instances: Path
    captions: Path | None = None

    @classmethod
    def open(cls, folder: str | Path, split: str | None = None) -> CocoFolder:
        """Find `annotations/instances_SPLIT.json`, `captions_SPLIT.json` and the picture folder SPLIT (or `images`).

        Raises InvalidSample when there is none, or several and `split` does not choose.
        """
        root = Path(folder)
        found = sorted((root / "annotations").glob("instances_*.json"))
        splits = [path.stem.removeprefix("instances_") for path in found]
        if not splits:
            raise InvalidSample(f"{root} holds no annotations/instances_*.json: it is not a COCO folder")
        if split is None and len(splits) > 1:
            raise InvalidSample(f"{root} holds several splits; choose one of {', '.join(splits)}")
        name = split or splits[0]
        if name not in splits:
            raise InvalidSample(f"{root} holds no split {name!r}.{suggest(name, splits)}")
        captions = root / "annotations" / f"captions_{name}.json"
        places = [place for place in (root / name, root / "images" / name, root / "images") if place.is_dir()]
        if not places:
            raise InvalidSample(f"{root} holds no picture folder {name!r} or 'images'")
        return cls(places[0], found[splits.index(name)], captions if captions.is_file() else None)

    def concepts(self) -> list[str]:
        """Category names, in the file's order."""
        return [category["name"] for category in self._coco.dataset["categories"]]

    def samples(
        self, concept: str, *, seed: int = 0, min_area: float = 0.02, max_area: float = 0.6
    ) -> Iterator[Sample]:
        """Samples of a concept in seeded random order (METHODS b, "Building D").

        Every non-crowd instance becomes a box, their union the mask; images whose instances cover less than
        `min_area` or more than `max_area` of the picture are passed over. Pictures are read only on `load()`.

        Raises InvalidSample for an unknown concept, at once, and for damaged annotations when it comes to them;
        InvalidOption unless 0 <= min_area <= max_area <= 1.
        """
        if not 0 <= min_area <= max_area <= 1:
            raise InvalidOption(f"min_area={min_area}, max_area={max_area}: need 0 <= min_area <= max_area <= 1")
        names = self.concepts()
        if concept not in names:
            raise InvalidSample(f"{self.instances} has no category {concept!r}.{suggest(concept, names)}")
        return self._walk(concept, seed, min_area, max_area)

    def _walk(self, concept: str, seed: int, min_area: float, max_area: float) -> Iterator[Sample]:
        coco = self._coco
        category = coco.getCatIds(catNms=[concept])[0]
        ids: list[int] = sorted(coco.getImgIds(catIds=[category]))
        for image_id in np.random.default_rng(seed).permutation(ids):
            try:
                sample = self._sample(int(image_id), concept, category)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                what = f"{type(error).__name__}: {error}"
                raise InvalidSample(f"{self.instances}: the entries of image {image_id} are damaged: {what}") from error
            if sample is not None and sample.mask is not None and min_area <= sample.mask.mean() <= max_area:
                yield sample

    def _sample(self, image_id: int, concept: str, category: int) -> Sample | None:
        coco = self._coco
        info: dict[str, Any] = coco.loadImgs([image_id])[0]
        annotations: list[dict[str, Any]] = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        annotations = [a for a in annotations if not a.get("iscrowd")]  # home-made files often leave the key out
        own = [a for a in annotations if a["category_id"] == category]
        if not own:
            return None
        frame = (int(info["width"]), int(info["height"]))
        masks = [boxes_mask([_box(a)], frame) if (m := _mask(coco, a)) is None else m for a in own]
        names = {c["id"]: c["name"] for c in coco.dataset["categories"]}
        others = [
            Region(names[a["category_id"]], _box(a), _mask(coco, a))
            for a in annotations
            if a["category_id"] != category
        ]
        picture = self.images / str(info["file_name"])
        exact = self.images.parent / "exact" / f"{picture.stem}.{concept}.png"  # folders of rendered scenes have it
        return Sample(
            image=picture,
            concept=concept,
            boxes=[_box(a) for a in own],
            mask=np.any(masks, axis=0),
            others=others,
            captions=self._captions.get(image_id, ()),
            image_id=str(image_id),
            exact=exact if exact.is_file() else None,
        )

    @cached_property
    def _coco(self) -> Any:
        return _read(self.instances, ("images", "annotations", "categories"))

    @cached_property
    def _captions(self) -> dict[int, tuple[str, ...]]:
        if self.captions is None:
            return {}
        result: dict[int, tuple[str, ...]] = {}
        for annotation in _read(self.captions, ("images", "annotations")).dataset["annotations"]:
            key = int(annotation["image_id"])
            result[key] = (*result.get(key, ()), str(annotation["caption"]))
        return result


def _read(path: Path, needed: tuple[str, ...]) -> Any:
    from pycocotools.coco import COCO

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its timings
            coco = COCO(str(path))
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise InvalidSample(f"{path} cannot be read as COCO annotations: {error}") from error
    missing = [key for key in needed if key not in coco.dataset]
    if missing:
        raise InvalidSample(f"{path} is not a COCO file: it lacks {', '.join(missing)}")
    return coco


def _mask(coco: Any, annotation: dict[str, Any]) -> Bool[np.ndarray, "height width"] | None:
    """The segmentation as pixels; None for an instance that has only a box."""
    return coco.annToMask(annotation).astype(bool) if annotation.get("segmentation") else None


def _box(annotation: dict[str, Any]) -> Box:
    x, y, w, h = (float(v) for v in annotation["bbox"])
    return (x, y, w, h)
