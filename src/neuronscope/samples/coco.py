"""Reading a COCO-format folder (2017 layout or any other of that format).

The tables are checked as a whole (coco_tables.py), the boxes and outlines of a picture with that picture
(coco_outlines.py): after one that is wrong the others can still be had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from os.path import isfile
from pathlib import Path

import numpy as np

from ..errors import InvalidOption, InvalidSample, suggest
from ..fields import check_fields
from ..files import is_folder
from ..given import checked_methods
from ..types import Json
from .boxes import Box, boxes_mask, require_inside
from .coco_boxes import box_of, frame_of, require_agreement, require_widths
from .coco_outlines import Mask, outline
from .coco_tables import Id, Row, Tables
from .image import ImageSource
from .place import ALLOW, leaves, place
from .sample import Region, Sample

#: What reading a damaged entry may raise.
_DAMAGED = (KeyError, TypeError, ValueError, IndexError, OverflowError, InvalidSample)

#: The largest picture, in pixels, that an annotation file is believed to describe.
_MAX_PIXELS = 200_000_000


@checked_methods
@dataclass(frozen=True)
class CocoFolder:
    """Images and annotations of one split.

    Attributes:
        images: folder of the pictures.
        instances: instances JSON (polygons or RLE; crowds are left out as instances).
        captions: captions JSON, if there is one.
        allow_outside: read pictures that lie outside `images`, where names or links lead out of it.
    """

    images: Path
    instances: Path
    captions: Path | None = None
    allow_outside: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def open(cls, folder: str | Path, split: str | None = None, *, allow_outside: bool = False) -> CocoFolder:
        """Find `annotations/instances_SPLIT.json`, `captions_SPLIT.json` and the picture folder SPLIT (or `images`).

        Files without a split, `instances.json` and `captions.json`, are the split "".

        Raises InvalidSample when there is none, or several and `split` does not choose.
        """
        root = Path(folder)
        if not is_folder(root):
            raise InvalidSample(f"{root} is no folder: a COCO folder with annotations/instances_*.json is needed")
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
        return cls(places[0], annotations, captions if captions.is_file() else None, allow_outside)

    def identity(self) -> dict[str, Json]:
        """What tells these annotations from others, wherever they lie."""
        digest = hashlib.sha256(self.instances.read_bytes()).hexdigest()
        return {"instances": self.instances.name, "sha256": digest}

    def concepts(self) -> list[str]:
        """Category names, in the file's order, each once. Raises InvalidSample for tables that do not hold together."""
        return list(self.tables.concepts)

    def samples(
        self, concept: str, *, seed: int = 0, min_area: float = 0.02, max_area: float = 0.6
    ) -> Iterator[Sample]:
        """Samples of a concept in seeded random order (METHODS b, "Building D").

        Every non-crowd instance becomes a box, their union the mask; images whose instances cover less than
        `min_area` or more than `max_area` of the picture are passed over. Pictures are read only on `load()`, which
        raises InvalidSample with the path of one that is missing or has another size than was annotated. Of several
        categories with the concept's name all instances count.

        Raises InvalidSample for tables that do not hold together and an unknown concept, at once, and for damaged
        annotations of a picture when it comes to them, after which the next sample can still be asked for;
        InvalidOption unless 0 <= min_area <= max_area <= 1.
        """
        if not 0 <= min_area <= max_area <= 1:
            raise InvalidOption(f"min_area={min_area}, max_area={max_area}: need 0 <= min_area <= max_area <= 1")
        every = self.everything().samples(concept, seed=seed)
        return filter(partial(_fits, min_area=min_area, max_area=max_area), every)

    def everything(self) -> Unfiltered:
        """The same folder with no image passed over, for a reader that counts what it rejects."""
        return Unfiltered(self)

    @cached_property
    def tables(self) -> Tables:
        """The instances, checked. Raises InvalidSample where they do not hold together."""
        found = Tables.read(self.instances, () if self.allow_outside else (_stays,))
        require_widths(found)
        return found

    @cached_property
    def references(self) -> dict[Id, tuple[str, ...]]:
        """Reference captions by image; none without a captions file. Raises InvalidSample as :attr:`tables` does."""
        return {} if self.captions is None else self.tables.captions(self.captions)

    def picture(self, row: Row) -> Path:
        """The file of a row of images. Raises InvalidSample where it leads out of the folder of pictures."""
        return place(self.images, row["file_name"], allow_outside=self.allow_outside)

    def showing(self, concept: str) -> Iterator[tuple[Path, bool]]:
        """Every picture, in the order of the file, and whether anything in it is annotated as the concept.

        Crowds count: they show it. Raises InvalidSample, at once, for an unknown concept and for tables that do not
        hold together; later for a picture outside the folder.
        """
        names = self.concepts()
        if concept not in names:
            raise InvalidSample(f"{self.instances} has no category {concept!r}.{suggest(concept, names)}")
        own = frozenset(self.tables.showing(concept))
        return ((self.picture(row), number in own) for number, row in self.tables.images.items())

    def _walk(self, concept: str, seed: int) -> Iterator[Sample]:
        ids = self.tables.showing(concept)
        order = np.random.default_rng(seed).permutation(len(ids)).tolist()
        self.references  # noqa: B018 - captions that do not fit are told before the first sample
        return map(partial(self._checked, concept=concept), [ids[k] for k in order])  # one that raises can go on

    def _checked(self, image_id: Id, concept: str) -> Sample:
        try:
            return self._sample(image_id, concept)
        except _DAMAGED as error:
            what = str(error) if isinstance(error, InvalidSample) else f"{type(error).__name__}: {error}"
            raise InvalidSample(f"{self.instances}: the entries of image {image_id} are damaged: {what}") from error

    def _sample(self, image_id: Id, concept: str) -> Sample:
        tables = self.tables
        info = tables.images[image_id]
        frame = frame_of(info)
        if frame is None or frame[0] * frame[1] > _MAX_PIXELS:
            raise InvalidSample(f"its width and height are {'not given' if frame is None else frame}")
        shown = [_Shown.read(row, tables, frame) for row in tables.annotations[image_id] if not row.get("iscrowd")]
        own = [one for one in shown if one.concept == concept]
        masks = [boxes_mask([one.box], frame) if one.mask is None else one.mask for one in own]
        return Sample(
            image=self._image(info),
            concept=concept,
            boxes=[one.box for one in own],
            mask=np.any(masks, axis=0) if masks else None,
            others=[Region(one.concept, one.box, one.mask) for one in shown if one.concept != concept],
            captions=self.references.get(image_id, ()),
            image_id=str(image_id),
            exact=self._exact(Path(info["file_name"]).stem, concept),
            annotated=frame,
        )

    def _image(self, row: Row) -> ImageSource:
        return self.picture(row)

    def _exact(self, picture: str, concept: str) -> Path | None:
        """The picture without the concept, which folders of rendered scenes have."""
        folder, name = self.images.parent / "exact", f"{picture}.{concept}.png"
        return place(folder, name, allow_outside=self.allow_outside) if isfile(folder / name) else None


@dataclass(frozen=True)
class _Shown:
    """An object of a picture, its numbers checked."""

    concept: str
    box: Box
    mask: Mask | None

    @classmethod
    def read(cls, row: Row, tables: Tables, frame: tuple[int, int]) -> _Shown:
        """Raises InvalidSample, or what a wrong type raises."""
        try:
            box, mask = require_inside(box_of(row), frame), outline(row, frame)
            require_agreement(box, mask, row.get("area"), frame)
        except _DAMAGED as error:
            what = str(error) if isinstance(error, InvalidSample) else f"{type(error).__name__}: {error}"
            raise InvalidSample(f"annotation {row['id']}: {what}") from error
        return cls(tables.names[row["category_id"]], box, mask)


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


def _stays(row: Row) -> str:
    name = row["file_name"]
    return f"has the file_name {name!r}, which leads out of the folder of pictures; {ALLOW}" if leaves(name) else ""
