"""What a person marked on a picture with the mouse or a finger: boxes, and strokes of a brush.

In pixels of the picture. A stroke covers every pixel within its radius of the line through its points. Marks come from
a browser, so nothing about them is taken on trust.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from ..errors import InvalidSample
from ..parsing import parse_json
from ..samples.boxes import Box, boxes_mask

#: More than anybody draws by hand.
MOST_MARKS, MOST_POINTS = 200, 20_000


@dataclass(frozen=True)
class Stroke:
    """A line of the brush: points (x, y) and the radius, in pixels."""

    radius: float
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Marks:
    """All marks on one picture."""

    boxes: tuple[Box, ...] = ()
    strokes: tuple[Stroke, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.boxes or self.strokes)

    @classmethod
    def parse(cls, text: object) -> Marks:
        """Marks as the browser sends them: {"boxes": [[x, y, w, h]], "strokes": [{"radius": r, "points": [[x, y]]}]}.

        Raises InvalidSample for anything else, for numbers that are not finite, and for too many of them.
        """
        try:
            data: dict[str, Any] = parse_json(cast("str", text))
            boxes = tuple(cast("Box", _numbers(box, 4)) for box in data["boxes"])
            strokes = tuple(
                Stroke(
                    _numbers([stroke["radius"]], 1)[0],
                    tuple(cast("tuple[float, float]", _numbers(point, 2)) for point in stroke["points"]),
                )
                for stroke in data["strokes"]
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidSample(f"the marks cannot be read: {type(error).__name__}: {error}") from error
        points = sum(len(stroke.points) for stroke in strokes)
        if len(boxes) + len(strokes) > MOST_MARKS or points > MOST_POINTS:
            raise InvalidSample(
                f"{len(boxes)} boxes, {len(strokes)} strokes and {points} points are too many: at most {MOST_MARKS} "
                f"marks and {MOST_POINTS} points"
            )
        if any(stroke.radius <= 0 or not stroke.points for stroke in strokes):
            raise InvalidSample("a stroke needs a radius above 0 and a point")
        return cls(boxes, strokes)

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`parse` reads."""
        return {
            "boxes": [list(box) for box in self.boxes],
            "strokes": [{"radius": s.radius, "points": [list(point) for point in s.points]} for s in self.strokes],
        }

    def mask(self, size: tuple[int, int]) -> Bool[np.ndarray, "height width"] | None:
        """The pixels of boxes and strokes in a picture of (width, height); None where boxes alone say it all."""
        if not self.strokes:
            return None
        canvas = Image.new("L", size)
        pen = ImageDraw.Draw(canvas)
        for stroke in self.strokes:
            r, points = stroke.radius, list(stroke.points)
            pen.line(points, fill=255, width=max(1, round(2 * r)))
            for x, y in points:
                pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
        mask = np.asarray(canvas) > 0
        return mask | boxes_mask(self.boxes, size) if self.boxes else mask


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) != count or not all(map(math.isfinite, found)):
        raise ValueError(f"{found} is not {count} finite numbers")
    if any(abs(value) > 1e6 for value in found):
        raise ValueError(f"{found} is far outside any picture")
    return found
