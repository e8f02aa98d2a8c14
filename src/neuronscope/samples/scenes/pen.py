"""Drawing in a unit square: every concept is drawn in its own [0, 1] x [0, 1] box, y pointing down.

A :class:`Pen` maps that box onto a supersampled RGBA layer of the frame (position, size, rotation, mirror), so a
concept's code never mentions pixels. All shapes become polygons, which rotate and mirror for free; the layer is
reduced to frame size once, which is what smooths the edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw

Point: TypeAlias = tuple[float, float]
RGB: TypeAlias = tuple[int, int, int]

#: The colour words that captions use, and the colour each stands for.
PALETTE: dict[str, RGB] = {
    "red": (204, 44, 40),
    "green": (52, 148, 62),
    "blue": (42, 92, 200),
    "yellow": (242, 204, 42),
    "brown": (128, 82, 44),
    "black": (38, 38, 44),
    "white": (240, 240, 236),
    "gray": (140, 144, 150),
    "pink": (236, 134, 172),
    "purple": (124, 68, 168),
}

_ARC_STEPS = 28


def shade(colour: RGB, factor: float) -> RGB:
    """`colour` darkened (factor < 1) or lightened towards white (factor > 1; 2 is white)."""
    if factor <= 1:
        return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))
    t = min(factor - 1.0, 1.0)
    return (
        int(colour[0] + (255 - colour[0]) * t),
        int(colour[1] + (255 - colour[1]) * t),
        int(colour[2] + (255 - colour[2]) * t),
    )


def jitter(colour: RGB, rng: np.random.Generator, amount: int = 14) -> RGB:
    """`colour` with every channel moved by at most `amount` (0..255 units)."""
    moved = np.clip(np.asarray(colour) + rng.integers(-amount, amount + 1, size=3), 0, 255)
    return (int(moved[0]), int(moved[1]), int(moved[2]))


class Pen:
    """Draws shapes given in unit coordinates of a box onto an RGBA layer of the frame.

    Args:
        frame: side of the square frame in pixels.
        box: the box (x, y, width, height) in frame pixels that [0, 1] x [0, 1] is mapped to.
        angle: rotation about the centre of the box, degrees, clockwise on screen.
        mirror: flip left and right.
        supersample: the layer is this many times larger than the frame.
    """

    def __init__(
        self,
        frame: int,
        box: tuple[float, float, float, float] | None = None,
        *,
        angle: float = 0.0,
        mirror: bool = False,
        supersample: int = 3,
    ) -> None:
        x, y, width, height = box if box is not None else (0.0, 0.0, float(frame), float(frame))
        self.frame = frame
        self.layer = Image.new("RGBA", (frame * supersample, frame * supersample), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)
        self._width = width * supersample
        self._height = height * supersample
        self._centre = ((x + width / 2) * supersample, (y + height / 2) * supersample)
        self._mirror = -1.0 if mirror else 1.0
        self._cos, self._sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def polygon(self, points: Sequence[Point], fill: RGB) -> None:
        """A filled polygon."""
        self._draw.polygon([self._to_layer(p) for p in points], fill=fill)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, fill: RGB, angle: float = 0.0) -> None:
        """A filled ellipse with centre (cx, cy) and radii rx, ry, turned by `angle` degrees."""
        self.polygon(arc(cx, cy, rx, ry, 0, 360, angle), fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: RGB, radius: float = 0.0) -> None:
        """A filled rectangle, its corners rounded by `radius`."""
        if radius <= 0:
            self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)
            return
        r = min(radius, (x1 - x0) / 2, (y1 - y0) / 2)
        corners = [(x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180)]
        self.polygon([p for cx, cy, start in corners for p in arc(cx, cy, r, r, start, start + 90)], fill)

    def line(self, points: Sequence[Point], width: float, fill: RGB) -> None:
        """A polyline with round ends; `width` in units of the box's smaller side."""
        pixels = [self._to_layer(p) for p in points]
        w = max(1.0, width * min(self._width, self._height))
        self._draw.line(pixels, fill=fill, width=round(w), joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            self._draw.ellipse([x - w / 2, y - w / 2, x + w / 2, y + w / 2], fill=fill)

    def curve(self, points: Sequence[Point], width: float, fill: RGB) -> None:
        """A smooth open curve through the points."""
        self.line(smooth(points, closed=False), width, fill)

    def blob(self, points: Sequence[Point], fill: RGB) -> None:
        """A filled smooth closed shape through the points."""
        self.polygon(smooth(points, closed=True), fill)

    def ring(self, cx: float, cy: float, rx: float, ry: float, width: float, fill: RGB) -> None:
        """The outline of an ellipse."""
        outline = arc(cx, cy, rx, ry, 0, 360)
        self.line([*outline, outline[0]], width, fill)

    def image(self) -> Image.Image:
        """The layer at frame size (RGBA, edges smoothed)."""
        return self.layer.resize((self.frame, self.frame), Image.Resampling.BOX)

    def _to_layer(self, point: Point) -> Point:
        x = (point[0] - 0.5) * self._width * self._mirror
        y = (point[1] - 0.5) * self._height
        return (self._centre[0] + x * self._cos - y * self._sin, self._centre[1] + x * self._sin + y * self._cos)


def arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float, angle: float = 0.0) -> list[Point]:
    """Points along an ellipse from `start` to `end` degrees (0 is right, 90 is down), turned by `angle`."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    steps = max(3, round(_ARC_STEPS * abs(end - start) / 360))
    points: list[Point] = []
    for step in range(steps + (abs(end - start) < 360)):
        t = math.radians(start + (end - start) * step / steps)
        x, y = rx * math.cos(t), ry * math.sin(t)
        points.append((cx + x * cos - y * sin, cy + x * sin + y * cos))
    return points


def smooth(points: Sequence[Point], closed: bool, steps: int = 6) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    n = len(points)
    result: list[Point] = []
    for i in range(n if closed else n - 1):
        p0, p1, p2, p3 = (points[j % n] if closed else points[min(max(j, 0), n - 1)] for j in (i - 1, i, i + 1, i + 2))
        for step in range(steps):
            t = step / steps
            result.append((_spline(p0[0], p1[0], p2[0], p3[0], t), _spline(p0[1], p1[1], p2[1], p3[1], t)))
    if not closed:
        result.append(points[-1])
    return result


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
