"""Which objects a picture shows, by annotation, and which a caption names: what hallucination is measured against.

Rohrbach et al. (2018) take as shown what is annotated in a picture and what its reference captions name. A mention
counts for every time it stands in a caption; the vocabulary is the annotated categories, in all their surface forms
(lexicon.py), because of no other object can it be said that a picture does not show it. The original's own lists and
rules are in synonyms.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidSample
from .annotations.opened import annotated
from .lexicon import Lexicon


@dataclass(frozen=True)
class PictureCategories:
    """A picture and the categories of the objects in it.

    Attributes:
        path, name: of the file.
        objects: what is annotated, and what reference captions name by the lexicon.
        annotated: the former alone.
        references: its reference captions.
    """

    path: Path
    name: str
    objects: frozenset[str]
    annotated: frozenset[str] = frozenset()
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class AnnotatedFolder:
    """All pictures of annotated data with what they show.

    Attributes:
        pictures: in the order of the annotations.
        categories: every object that was annotated where it was seen, in the file's order.
    """

    pictures: tuple[PictureCategories, ...]
    categories: tuple[str, ...]

    @classmethod
    def read(cls, folder: str | Path, split: str | None = None, *, allow_outside: bool = False) -> AnnotatedFolder:
        """Read whatever :func:`neuronscope.annotated` does, crowds included, and the objects that captions in it name.

        Raises InvalidSample for what is no annotated data, for tables that do not hold together, for data without a
        picture or a category, and for a picture that is missing or, unless it is allowed, lies outside.
        """
        found = annotated(folder, split=split, allow_outside=allow_outside)
        tables = found.tables
        if not tables.images or not tables.names:
            raise InvalidSample(
                f"{found.instances} lists {len(tables.images)} images and {len(tables.names)} categories"
            )
        pictures: list[PictureCategories] = []
        for image, row in tables.images.items():
            path = found.picture(row)
            if not path.is_file():
                raise InvalidSample(f"{path} is missing; {found.instances} lists it")
            seen = frozenset(tables.names[one["category_id"]] for one in tables.annotations.get(image, ()))
            texts = tuple(found.references.get(image, ()))
            named = frozenset(one for text in texts for one in mentions(text, tables.concepts))
            pictures.append(PictureCategories(path, Path(row["file_name"]).name, seen | named, seen, texts))
        return cls(tuple(pictures), tables.concepts)


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
