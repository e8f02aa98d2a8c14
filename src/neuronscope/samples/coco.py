"""Reading a COCO-format folder (2017 layout or any other of that format).

pycocotools reads the JSON and draws polygons. Segmentations are checked first, and run lengths decoded here, because it
takes damaged ones for granted: runs that do not fill the picture leave memory of anything in the mask.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ..errors import InvalidOption, InvalidSample, suggest
from ..types import Json
from .sample import Box, Region, Sample, boxes_mask

#: What reading a damaged entry may raise.
_DAMAGED = (KeyError, TypeError, ValueError, IndexError)

#: The largest picture, in pixels, that an annotation file is believed to describe.
_MAX_PIXELS = 200_000_000


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

        Files without a split, `instances.json` and `captions.json`, are the split "".

        Raises InvalidSample when there is none, or several and `split` does not choose.
        """
        root = Path(folder)
        found = sorted(path for path in (root / "annotations").glob("instances*.json") if path.stem[9:10] in ("", "_"))
        splits = [path.stem[10:] for path in found]
        if not splits:
            raise InvalidSample(f"{root} holds no annotations/instances_*.json: it is not a COCO folder")
        if split is None and len(splits) > 1:
            raise InvalidSample(f"{root} holds several splits; choose one of {', '.join(splits)}")
        name = splits[0] if split is None else split
        if name not in splits:
            raise InvalidSample(f"{root} holds no split {name!r}.{suggest(name, splits)}")
        annotations = found[splits.index(name)]
        captions = annotations.with_name(annotations.name.replace("instances", "captions", 1))
        folders = (root / name, root / "images" / name) if name else ()
        places = [place for place in (*folders, root / "images") if place.is_dir()]
        if not places:
            raise InvalidSample(f"{root} holds no picture folder {name!r} or 'images'")
        return cls(places[0], annotations, captions if captions.is_file() else None)

    def identity(self) -> dict[str, Json]:
        """What tells these annotations from others, wherever they lie."""
        digest = hashlib.sha256(self.instances.read_bytes()).hexdigest()
        return {"instances": self.instances.name, "sha256": digest}

    def concepts(self) -> list[str]:
        """Category names, in the file's order."""
        return [category["name"] for category in self._coco.dataset["categories"]]

    def samples(
        self, concept: str, *, seed: int = 0, min_area: float = 0.02, max_area: float = 0.6
    ) -> Iterator[Sample]:
        """Samples of a concept in seeded random order (METHODS b, "Building D").

        Every non-crowd instance becomes a box, their union the mask; images whose instances cover less than
        `min_area` or more than `max_area` of the picture are passed over. Pictures are read only on `load()`, which
        raises InvalidSample with the path of one that is missing.

        Raises InvalidSample for an unknown concept, at once, and for damaged annotations when it comes to them, after
        which the next sample can still be asked for; InvalidOption unless 0 <= min_area <= max_area <= 1.
        """
        if not 0 <= min_area <= max_area <= 1:
            raise InvalidOption(f"min_area={min_area}, max_area={max_area}: need 0 <= min_area <= max_area <= 1")
        every = self.everything().samples(concept, seed=seed)
        return filter(partial(_fits, min_area=min_area, max_area=max_area), every)

    def everything(self) -> Unfiltered:
        """The same folder with no image passed over, for a reader that counts what it rejects."""
        return Unfiltered(self)

    def showing(self, concept: str) -> Iterator[tuple[Path, bool]]:
        """Every picture, in the order of their ids, and whether anything in it is annotated as the concept.

        Crowds count: they show it. Raises InvalidSample for an unknown concept, and for damaged annotations.
        """
        names = self.concepts()
        if concept not in names:
            raise InvalidSample(f"{self.instances} has no category {concept!r}.{suggest(concept, names)}")
        coco = self._coco
        own = set(coco.getImgIds(catIds=coco.getCatIds(catNms=[concept])))
        for number in sorted(coco.getImgIds()):
            try:
                name = str(coco.loadImgs([number])[0]["file_name"])
            except _DAMAGED as error:
                what = f"{type(error).__name__}: {error}"
                raise InvalidSample(f"{self.instances}: the entry of image {number} is damaged: {what}") from error
            yield self.images / name, number in own

    def _walk(self, concept: str, seed: int) -> Iterator[Sample]:
        category = self._coco.getCatIds(catNms=[concept])[0]
        ids: list[int] = sorted(self._coco.getImgIds(catIds=[category]))
        order = np.random.default_rng(seed).permutation(ids).tolist()
        return map(partial(self._checked, concept=concept, category=category), order)

    def _checked(self, image_id: int, concept: str, category: int) -> Sample:
        try:
            return self._sample(image_id, concept, category)
        except _DAMAGED as error:
            what = f"{type(error).__name__}: {error}"
            raise InvalidSample(f"{self.instances}: the entries of image {image_id} are damaged: {what}") from error

    def _sample(self, image_id: int, concept: str, category: int) -> Sample:
        coco = self._coco
        info: dict[str, Any] = coco.loadImgs([image_id])[0]
        annotations: list[dict[str, Any]] = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        annotations = [a for a in annotations if not a.get("iscrowd")]  # home-made files often leave the key out
        own = [a for a in annotations if a["category_id"] == category]
        frame = (int(info["width"]), int(info["height"]))
        if min(frame) < 1 or frame[0] * frame[1] > _MAX_PIXELS:
            raise ValueError(f"width and height are {frame[0]} and {frame[1]}")
        masks = [boxes_mask([_box(a)], frame) if (m := _mask(a, frame)) is None else m for a in own]
        names = {c["id"]: c["name"] for c in coco.dataset["categories"]}
        others = [
            Region(names[a["category_id"]], _box(a), _mask(a, frame))
            for a in annotations
            if a["category_id"] != category
        ]
        picture = self.images / str(info["file_name"])
        exact = self.images.parent / "exact" / f"{picture.stem}.{concept}.png"  # folders of rendered scenes have it
        return Sample(
            image=picture,
            concept=concept,
            boxes=[_box(a) for a in own],
            mask=np.any(masks, axis=0) if masks else None,
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


@dataclass(frozen=True)
class Unfiltered:
    """A COCO folder that passes nothing over; see :meth:`CocoFolder.everything`."""

    folder: CocoFolder

    def concepts(self) -> list[str]:
        """Category names, in the file's order."""
        return self.folder.concepts()

    def samples(self, concept: str, *, seed: int = 0) -> Iterator[Sample]:
        """Every image of a concept in seeded random order; where all its instances are crowds, without box and mask.

        Raises InvalidSample as :meth:`CocoFolder.samples` does.
        """
        names = self.concepts()
        if concept not in names:
            raise InvalidSample(f"{self.folder.instances} has no category {concept!r}.{suggest(concept, names)}")
        return self.folder._walk(concept, seed)  # pyright: ignore[reportPrivateUsage]


def _fits(sample: Sample, min_area: float, max_area: float) -> bool:
    return sample.mask is not None and min_area <= sample.mask.mean() <= max_area


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


def _mask(annotation: dict[str, Any], frame: tuple[int, int]) -> Bool[np.ndarray, "height width"] | None:
    """The segmentation as pixels of a (width, height); None for an instance that has only a box.

    Raises ValueError, or what a wrong type raises, for a segmentation that is not one of the three kinds.
    """
    segmentation: Any = annotation.get("segmentation")
    if not segmentation:
        return None
    return _runs_mask(segmentation, frame) if isinstance(segmentation, dict) else _polygons_mask(segmentation, frame)


def _polygons_mask(polygons: Sequence[Sequence[float]], frame: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    from pycocotools import mask as coco_mask

    width, height = frame
    reach = 10.0 * max(frame)  # drawing takes memory with the distance; NaN takes all there is
    parts = [[float(v) for v in polygon] for polygon in polygons]
    for part in parts:
        if len(part) < 6 or len(part) % 2 or not all(abs(v) <= reach for v in part):
            raise ValueError(f"a polygon is not three or more points x, y near the picture: {part!s:.100}")
    module: Any = coco_mask  # its stubs do not know lists of lists
    return np.asarray(module.decode(module.merge(module.frPyObjects(parts, height, width)))).astype(bool)


def _runs_mask(segmentation: dict[str, Any], frame: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """Run lengths, down the columns, of pixels outside and inside in turn."""
    width, height = frame
    counts: Any = segmentation["counts"]
    runs = _decompressed(counts) if isinstance(counts, str) else [int(n) for n in counts]
    size = [int(n) for n in segmentation["size"]]
    if size != [height, width] or any(n < 0 for n in runs) or sum(runs) != width * height:
        raise ValueError(
            f"run lengths with a sum of {sum(runs)} for a mask of size {size} do not fill a picture of "
            f"{height} x {width} px (height x width)"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits to a character from "0" on, a sixth bit where more follow, signed.

    From the fourth run on it is the difference to the run before the last that is written.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"compressed run lengths hold {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return runs


def _box(annotation: dict[str, Any]) -> Box:
    x, y, w, h = (float(v) for v in annotation["bbox"])
    return (x, y, w, h)
