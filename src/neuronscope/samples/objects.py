"""Which objects a picture shows, by annotation, and which a caption names: what hallucination is measured against.

Rohrbach et al. (2018) take as shown what is annotated in a picture and what its reference captions name. A mention
counts for every time it stands in a caption; the vocabulary is the annotated categories, in all their surface forms
(lexicon.py), because of no other object can it be said that a picture does not show it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidSample
from ..parsing import read_json
from .coco import CocoFolder
from .lexicon import Lexicon

#: What reading a damaged file may raise.
_DAMAGED = (OSError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Shown:
    """A picture and the categories of the objects in it."""

    path: Path
    name: str
    objects: frozenset[str]


@dataclass(frozen=True)
class AnnotatedFolder:
    """All pictures of a COCO folder with what they show.

    Attributes:
        pictures: in the order of the annotation file.
        categories: every object that was annotated where it was seen, in the file's order.
    """

    pictures: tuple[Shown, ...]
    categories: tuple[str, ...]

    @classmethod
    def read(cls, folder: str | Path, split: str | None = None) -> AnnotatedFolder:
        """Read `annotations/instances_SPLIT.json`, crowds included, and the objects that reference captions name.

        Raises InvalidSample for a folder that is no COCO folder, for damaged annotations, for a folder without a
        picture or a category, and for a picture that is missing.
        """
        found = CocoFolder.open(folder, split)
        try:
            data = read_json(found.instances)
            names = {int(one["id"]): str(one["name"]) for one in data["categories"]}
            seen: dict[int, set[str]] = defaultdict(set)
            for one in data["annotations"]:
                seen[int(one["image_id"])].add(names[int(one["category_id"])])
            files = {int(one["id"]): str(one["file_name"]) for one in data["images"]}
            told = _captions(found.captions)
        except _DAMAGED as error:
            what = f"{type(error).__name__}: {error}"
            raise InvalidSample(
                f"{found.instances} or its captions cannot be read as COCO annotations: {what}"
            ) from error
        if not files or not names:
            raise InvalidSample(f"{found.instances} lists {len(files)} images and {len(names)} categories")
        for image, texts in told:
            seen[image].update(mentions(texts, names.values()))
        pictures = tuple(
            Shown(found.images / file, Path(file).name, frozenset(seen[image])) for image, file in files.items()
        )
        for one in pictures:
            if not one.path.is_file():
                raise InvalidSample(f"{one.path} is missing; {found.instances} lists it")
        return cls(pictures, tuple(dict.fromkeys(names.values())))


def mentions(caption: str, categories: Iterable[str]) -> list[str]:
    """The categories that a caption names, in its order, each as often as it is named.

    A mention within a longer one of another category ("bear" in "teddy bear") does not count.
    """
    lexicon = Lexicon.default()
    spans = [(match.start, match.end, one) for one in categories for match in lexicon.mentions(caption, one)]
    return [
        one
        for start, end, one in sorted(spans)
        if not any(a <= start and end <= b and b - a > end - start for a, b, _ in spans)
    ]


def _captions(path: Path | None) -> list[tuple[int, str]]:
    if path is None:
        return []
    rows: list[Any] = read_json(path)["annotations"]
    return [(int(one["image_id"]), str(one["caption"])) for one in rows]
