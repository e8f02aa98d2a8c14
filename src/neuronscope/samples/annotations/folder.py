"""Pictures whose annotations came from something else than a COCO file, as a COCO folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ...errors import InvalidSample
from ...types import Json
from ..coco import CocoFolder
from ..coco_boxes import require_widths
from ..coco_tables import Id, Row, Tables
from ..image import ImageSource, held_picture
from ..sample import Sample
from .objects import AnnotatedPicture, tables_of
from .unpacked import Unpacked


@dataclass(frozen=True, repr=False)
class Annotated(CocoFolder):
    """Made by :func:`neuronscope.annotated`; everything that a COCO folder does.

    Attributes:
        pictures: what the reader found; `instances` is where.
    """

    pictures: tuple[AnnotatedPicture, ...] = field(default=(), kw_only=True)

    def __repr__(self) -> str:
        return f"<Annotated {str(self.instances)!r}, {len(self.tables.images)} pictures in {str(self.images)!r}>"

    @classmethod
    def of(cls, source: Path, images: Path, pictures: Iterable[AnnotatedPicture], *, allow_outside: bool) -> Annotated:
        """Raises InvalidSample where nothing in it can be used."""
        found = cls(images, source, allow_outside=allow_outside, pictures=tuple(pictures))
        found.tables  # noqa: B018 - what is wrong with all of it is told at once
        return found

    def identity(self) -> dict[str, Json]:
        """What tells these annotations from others, in whatever form they came."""
        rows = [self.tables.images, self.tables.annotations]
        digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
        return {"instances": self.instances.name, "sha256": digest}

    @cached_property
    def tables(self) -> Tables:
        """The pictures and their objects. Raises InvalidSample where none can be used."""
        found = tables_of(self.instances, self.images, self.pictures, allow_outside=self.allow_outside)
        if not any("fault" in row for row in found.images.values()):
            require_widths(found)
        return found

    @cached_property
    def references(self) -> dict[Id, tuple[str, ...]]:
        """Reference captions by image."""
        return {number: tuple(row["captions"]) for number, row in self.tables.images.items() if row["captions"]}

    @cached_property
    def _held(self) -> dict[str, bytes]:
        """Pictures that are in the source itself, by name."""
        return {one.file: one.data for one in self.pictures if one.data is not None}

    @cached_property
    def _unpacked(self) -> Unpacked:
        return Unpacked()

    def picture(self, row: Row) -> Path:
        """The file of a picture; one that the source itself holds is written to a folder of this process.

        Raises InvalidSample for a picture that cannot be used, with what is wrong with it.
        """
        if fault := row.get("fault"):
            raise InvalidSample(fault)
        name: str = row["file_name"]
        return self._unpacked.path(name, self._held[name]) if name in self._held else super().picture(row)

    def _image(self, row: Row) -> ImageSource:
        name: str = row["file_name"]
        return held_picture(self._held[name], name) if name in self._held else super()._image(row)

    def _sample(self, image_id: Id, concept: str) -> Sample:
        if fault := self.tables.images[image_id].get("fault"):
            raise InvalidSample(fault)
        return super()._sample(image_id, concept)
