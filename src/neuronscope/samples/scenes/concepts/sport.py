"""Sports gear."""

from __future__ import annotations

import numpy as np

from ..pen import RGB, Pen, Point, arc, shade
from ..registry import concept


@concept("tennis racket", colours=("red", "blue", "green", "yellow", "black"), aspect=0.5, size=(0.46, 0.65), tilt=35.0)
def tennis_racket(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A tennis racket, head up: oval frame with a grid of strings, open V throat, wrapped grip, sometimes a ball."""
    string = ((244, 244, 238), (232, 232, 180), (190, 194, 200))[int(rng.integers(3))]
    grip = ((40, 40, 46), (236, 236, 230), (110, 70, 44))[int(rng.integers(3))]
    rx, ry, cy = rng.uniform(0.42, 0.45), 0.285, 0.31
    for k in range(-3, 4):
        t = k / 3.9
        half = (1 - t * t) ** 0.5
        pen.line([(0.5 + rx * t, cy - ry * half), (0.5 + rx * t, cy + ry * half)], 0.03, string)
        pen.line([(0.5 - rx * half, cy + ry * t), (0.5 + rx * half, cy + ry * t)], 0.03, string)
    for side in (-1, 1):
        pen.line([(0.5 + side * 0.3, 0.51), (0.5 + side * 0.07, 0.72)], 0.1, shade(body, 0.8))
    pen.ring(0.5, cy, rx, ry, 0.12, shade(body, 0.65))
    pen.ring(0.5, cy, rx, ry, 0.075, body)
    pen.rect(0.43, 0.68, 0.57, 0.8, shade(body, 0.8))
    pen.rect(0.41, 0.76, 0.59, 1.0, grip, radius=0.03)
    for y in (0.81, 0.86, 0.91):
        pen.line([(0.43, y + 0.02), (0.57, y)], 0.03, shade(grip, 0.6))
    pen.rect(0.39, 0.975, 0.61, 1.0, shade(body, 0.7))
    if rng.random() < 0.4:
        pen.ellipse(0.84, 0.88, 0.15, 0.075, (150, 170, 30))
        pen.ellipse(0.835, 0.875, 0.135, 0.067, (206, 226, 60))
        pen.curve([(0.74, 0.84), (0.83, 0.88), (0.84, 0.94)], 0.03, (246, 248, 230))


@concept("surfboard", colours=("yellow", "blue", "red", "white", "green"), aspect=0.36, size=(0.46, 0.65), tilt=22.0)
def surfboard(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A surfboard on end: pointed nose, widest in the middle, centre stringer, coloured bands, fins at the tail."""
    trim = ((250, 248, 240), shade(body, 0.5), (230, 90, 60), (40, 70, 130))[int(rng.integers(4))]
    tail, waist = rng.uniform(0.16, 0.24), rng.uniform(0.46, 0.56)
    for x in (0.17, 0.83):
        pen.polygon([(0.5, 0.84), (x - 0.04, 0.995), (x + 0.04, 0.995), (0.5 + (x - 0.5) * 0.8, 0.86)], (36, 40, 48))

    def outline(scale: float) -> list[Point]:
        right = [(0.5, 0.0), (0.68, 0.1), (0.88, 0.26), (0.985, waist), (0.88, 0.8), (0.5 + tail, 0.96)]
        points = [*right, *[(1 - x, y) for x, y in right[:0:-1]]]
        return [(0.5 + (x - 0.5) * scale, 0.49 + (y - 0.49) * (1 + (scale - 1) * 0.4)) for x, y in points]

    pen.blob(outline(1.0), shade(body, 0.5))
    pen.blob(outline(0.88), body)
    pen.blob([(0.5, 0.06), (0.36, 0.14), (0.24, 0.3), (0.2, 0.5), (0.28, 0.5), (0.34, 0.3)], shade(body, 1.4))  # gloss
    style = int(rng.integers(3))
    y = rng.uniform(0.3, 0.42)
    if style == 0:
        for k in range(2):
            pen.rect(0.09, y + 0.14 * k, 0.91, y + 0.07 + 0.14 * k, trim)
    elif style == 1:
        left, right = [(0.14, y + 0.3), (0.14, y + 0.2)], [(0.86, y + 0.2), (0.86, y + 0.3)]
        pen.polygon([(0.5, y), *right, (0.5, y + 0.1), *left], trim)
    else:
        pen.polygon([(0.5, 0.03), (0.68, 0.14), (0.8, 0.24), (0.5, 0.3), (0.2, 0.24), (0.32, 0.14)], trim)
    pen.line([(0.5, 0.05), (0.5, 0.94)], 0.06, shade(body, 0.42))  # the stringer
    if rng.random() < 0.5:
        pen.curve([(0.5, 0.92), (0.75, 0.88), (0.9, 0.93), (0.97, 0.99)], 0.06, (30, 30, 34))  # the leash


@concept("snowboard", colours=("blue", "red", "green", "black", "purple"), aspect=2.6, size=(0.48, 0.66), tilt=28.0)
def snowboard(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A snowboard lying across: waisted, both ends wide and round, two big strap bindings with high backs on top."""
    trim = ((248, 248, 244), shade(body, 1.55), (250, 200, 50), (60, 200, 210))[int(rng.integers(4))]
    gear = ((34, 34, 38), (226, 226, 226), (64, 66, 74))[int(rng.integers(3))]
    dark, strap = shade(gear, 0.65), shade(gear, 0.4) if gear[0] > 100 else (176, 178, 184)
    waist = rng.uniform(0.04, 0.08)

    def outline(inset: float) -> list[Point]:
        x, y0, y1 = 0.13, 0.24 + inset, 1.0 - inset
        ends = arc(1 - x, 0.62, x - inset / 2.5, 0.38 - inset, -90, 90)
        other = arc(x, 0.62, x - inset / 2.5, 0.38 - inset, 90, 270)
        return [*ends, (0.5, y1 - waist), *other, (0.5, y0 + waist)]

    pen.polygon(outline(0.0), shade(body, 0.45))
    pen.polygon(outline(0.07), body)
    if rng.random() < 0.5:
        for x in (0.06, 0.88):
            pen.polygon([(x, 0.45), (x + 0.06, 0.45), (x + 0.06, 0.8), (x, 0.8)], trim)
        pen.polygon([(0.44, 0.35), (0.5, 0.35), (0.56, 0.9), (0.5, 0.9)], trim)
    else:
        pen.curve([(0.04, 0.7), (0.2, 0.48), (0.4, 0.72), (0.6, 0.5), (0.8, 0.72), (0.96, 0.52)], 0.13, trim)
    for x, lean in ((0.3, -1), (0.7, 1)):
        turn = lean * rng.uniform(-0.01, 0.04)
        top = x + turn
        pen.blob([(x - 0.07, 0.5), (top - 0.065, 0.08), (top, 0.0), (top + 0.065, 0.08), (x + 0.07, 0.5)], dark)
        pen.rect(top - 0.03, 0.12, top + 0.03, 0.3, gear, radius=0.03)
        toe = x - turn / 2
        pen.polygon([(toe - 0.07, 0.9), (toe + 0.07, 0.9), (x + 0.075, 0.38), (x - 0.075, 0.38)], gear)
        for y in (0.48, 0.7):
            pen.curve([(x - 0.085, y + 0.07), (x, y), (x + 0.085, y + 0.07)], 0.12, strap)
