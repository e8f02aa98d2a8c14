"""What is marked on a picture: boxes, strokes of a brush, and what models found by a word or a click.

In pixels of the picture. A stroke covers every pixel within its radius of the line through its points. Boxes and
strokes come from a browser, so nothing about them is taken on trust; of what was found, it only says which are kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from ..errors import InvalidSample
from ..parsing import parse_json
from ..samples.boxes import Box, boxes_mask
from ..samples.regions import FoundRegion
from ..types import Json

#: More than anybody draws by hand.
MOST_MARKS, MOST_POINTS = 200, 20_000


@dataclass(frozen=True)
class Stroke:
    """A line of the brush: points (x, y) and the radius, in pixels."""

    radius: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Find:
    """What models found: a region, and how, for files and people (:meth:`~neuronscope.Regions.to_dict`)."""

    region: FoundRegion
    found_by: Mapping[str, Json]


@dataclass(frozen=True)
class Marks:
    """All marks on one picture."""

    boxes: tuple[Box, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    finds: tuple[Find, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.boxes or self.strokes or self.finds)

    @property
    def all_boxes(self) -> tuple[Box, ...]:
        """Those that were drawn, and those that were found."""
        return (*self.boxes, *(one.region.box for one in self.finds))

    @property
    def found_by(self) -> Mapping[str, Json]:
        """What found the marks, for a sample; nothing where a person made them all."""
        if len(self.finds) == 1:
            return self.finds[0].found_by
        told: list[Json] = [dict(one.found_by) for one in self.finds]
        sentence = "; ".join(str(one.found_by["sentence"]) for one in self.finds)
        return {"sentence": sentence, "finds": told} if told else {}

    @classmethod
    def parse(cls, text: object, known: Sequence[Find] = ()) -> Marks:
        """Marks as the browser sends them: {"boxes": [[x, y, w, h]], "strokes": [{"radius": r, "points": [[x, y]]}]}.

        `known` is what was found so far; "finds", where it is there, are places in it.

        Raises InvalidSample for anything else, for numbers that are not finite, and for too many of them.
        """
        try:
            data: dict[str, Any] = parse_json(cast("str", text))
            boxes = tuple(cast("Box", numbers_of(box, 4)) for box in data["boxes"])
            strokes = tuple(
                Stroke(
                    numbers_of([stroke["radius"]], 1)[0],
                    tuple(cast("tuple[float, float]", numbers_of(point, 2)) for point in stroke["points"]),
                )
                for stroke in data["strokes"]
            )
            kept = {int(number) for number in data.get("finds", ())}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidSample(f"the marks cannot be read: {type(error).__name__}: {error}") from error
        points = sum(len(stroke.points) for stroke in strokes)
        if len(boxes) + len(strokes) > MOST_MARKS or points > MOST_POINTS:
            raise InvalidSample(
                f"{len(boxes)} boxes, {len(strokes)} strokes and {points} points are too many: at most {MOST_MARKS} "
                f"marks and {MOST_POINTS} points"
            )
        if any(stroke.radius <= 0 or not stroke.points for stroke in strokes):
            raise InvalidSample("a stroke needs a radius above 0 and a point")
        return cls(boxes, strokes, tuple(find for number, find in enumerate(known) if number in kept))

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`parse` reads."""
        return {
            "boxes": [list(box) for box in self.boxes],
            "strokes": [{"radius": s.radius, "points": [list(point) for point in s.points]} for s in self.strokes],
            "finds": list(range(len(self.finds))),
        }

    def mask(self, size: tuple[int, int]) -> Bool[np.ndarray, "height width"] | None:
        """The pixels of all marks in a picture of (width, height); None where boxes alone say it all."""
        outlines = [one.region.mask for one in self.finds if one.region.mask is not None]
        if not self.strokes and not outlines:
            return None
        canvas = Image.new("L", size)
        pen = ImageDraw.Draw(canvas)
        for stroke in self.strokes:
            r, points = stroke.radius, list(stroke.points)
            pen.line(points, fill=255, width=max(1, round(2 * r)))
            for x, y in points:
                pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
        mask = np.asarray(canvas) > 0
        for outline in outlines:
            mask = mask | outline
        boxes = (*self.boxes, *(one.region.box for one in self.finds if one.region.mask is None))
        return mask | boxes_mask(boxes, size) if boxes else mask


def numbers_of(values: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers that could be places in a picture. Raises TypeError or ValueError for anything else."""
    found = tuple(float(value) for value in values)
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"{found} is not {count} finite numbers")
    if any(abs(value) > 1e6 for value in found):
        raise ValueError(f"{found} is far outside any picture")
    return found
