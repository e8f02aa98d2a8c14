"""Things that people carry, wear or put on a shelf."""

from __future__ import annotations

import math

import numpy as np

from ..pen import PALETTE, RGB, Pen, arc, jitter, shade
from ..registry import concept


@concept(
    "scissors",
    colours=("red", "blue", "green", "black", "yellow"),
    aspect=0.72,
    size=(0.46, 0.64),
    tilt=25,
    noun="pair of scissors",
)
def scissors(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """Open scissors, points up: two crossed steel blades, a screw, two finger rings in the body colour."""
    gape = float(rng.uniform(0.08, 0.2))
    steel, edge = (206, 210, 216), (120, 126, 134)
    for side in (-1, 1):
        tip = 0.5 + side * (0.12 + gape)
        pen.polygon([(tip, 0.0), (0.5 + side * 0.09, 0.56), (0.5 - side * 0.07, 0.62), (0.5 - side * 0.05, 0.5)], edge)
        pen.polygon(
            [(tip, 0.02), (0.5 + side * 0.06, 0.54), (0.5 - side * 0.05, 0.58), (0.5 - side * 0.02, 0.5)], steel
        )
        pen.line([(0.5 + side * 0.04, 0.54), (0.5 - side * 0.18, 0.72)], 0.1, shade(body, 0.8))
        pen.ring(0.5 - side * 0.27, 0.83, 0.17, 0.13, 0.11, body)
    pen.ellipse(0.5, 0.55, 0.05, 0.036, (70, 74, 80))


@concept("book", colours=("red", "blue", "green", "brown", "purple"), aspect=1.25, size=(0.4, 0.58), tilt=8)
def book(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An open book: cover showing as a rim, two white pages curving to the spine, lines of text, a ribbon."""
    pen.polygon([(0.0, 0.16), (0.5, 0.22), (1.0, 0.16), (1.0, 0.94), (0.5, 1.0), (0.0, 0.94)], shade(body, 0.75))
    pen.polygon([(0.0, 0.13), (0.5, 0.2), (1.0, 0.13), (1.0, 0.9), (0.5, 0.97), (0.0, 0.9)], body)
    for side in (-1, 1):
        page = [(0.0, 0.16), (-0.12, 0.06), (-0.3, 0.02), (-0.45, 0.05), (-0.45, 0.82), (-0.3, 0.79), (-0.12, 0.83)]
        pen.polygon([(0.5 + side * x, y) for x, y in [*page, (0.0, 0.93)]], (250, 246, 232))
        pen.polygon([(0.5, 0.17), (0.5 + side * 0.07, 0.12), (0.5 + side * 0.07, 0.86), (0.5, 0.93)], (222, 214, 196))
        for row in range(6):
            y = 0.16 + row * 0.1
            length = float(rng.uniform(0.2, 0.3))
            pen.line([(0.5 + side * 0.11, y + 0.03), (0.5 + side * (0.11 + length), y)], 0.022, (110, 106, 110))
    if rng.random() < 0.6:
        pen.polygon([(0.49, 0.18), (0.54, 0.18), (0.56, 0.99), (0.52, 0.93), (0.48, 0.99)], PALETTE["yellow"])


@concept(
    "clock", colours=("red", "blue", "green", "brown", "black"), aspect=0.9, size=(0.38, 0.55), tilt=5, mirrors=False
)
def clock(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An alarm clock: two bells and a hammer above a white dial with twelve marks and two hands, on two feet."""
    for side in (-1, 1):
        pen.line([(0.5 + side * 0.28, 0.86), (0.5 + side * 0.38, 0.98)], 0.08, shade(body, 0.6))
        pen.polygon(arc(0.5 + side * 0.27, 0.2, 0.19, 0.17, 180, 360, side * 35), shade(body, 0.8))
    pen.line([(0.5, 0.14), (0.5, 0.03)], 0.05, (90, 94, 100))
    pen.rect(0.4, 0.0, 0.6, 0.06, (90, 94, 100), radius=0.02)
    pen.ellipse(0.5, 0.56, 0.46, 0.42, shade(body, 0.7))
    pen.ellipse(0.5, 0.56, 0.44, 0.4, body)
    pen.ellipse(0.5, 0.56, 0.35, 0.315, (252, 250, 244))
    for hour in range(12):
        t = hour * math.pi / 6
        x, y = math.sin(t), -math.cos(t)
        inner = 0.76 if hour % 3 == 0 else 0.86
        width = 0.04 if hour % 3 == 0 else 0.02
        pen.line(
            [(0.5 + 0.33 * inner * x, 0.56 + 0.3 * inner * y), (0.5 + 0.32 * x, 0.56 + 0.29 * y)], width, (30, 30, 34)
        )
    for length, width in ((0.17, 0.055), (0.26, 0.035)):
        t = float(rng.uniform(0, 2 * math.pi))
        pen.line([(0.5, 0.56), (0.5 + length * math.sin(t), 0.56 - length * 0.9 * math.cos(t))], width, (24, 24, 28))
    pen.ellipse(0.5, 0.56, 0.035, 0.032, PALETTE["red"])


@concept("vase", colours=("blue", "white", "green", "purple", "brown"), aspect=0.62, size=(0.46, 0.62), tilt=3)
def vase(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A bulging vase with a narrow neck, two bands, and three flowers on stems."""
    petals = [PALETTE[name] for name in ("red", "yellow", "pink", "purple", "white")]
    for x, y in ((0.2, 0.16), (0.5, 0.09), (0.8, 0.17)):
        y += float(rng.uniform(-0.02, 0.03))
        pen.curve([(0.5, 0.46), (0.5 + (x - 0.5) * 0.5, 0.32), (x, y)], 0.035, (60, 130, 60))
        colour = petals[int(rng.integers(len(petals)))]
        for k in range(5):
            t = k * 2 * math.pi / 5
            pen.ellipse(x + 0.1 * math.sin(t), y + 0.06 * math.cos(t), 0.085, 0.052, colour)
        pen.ellipse(x, y, 0.06, 0.037, (250, 220, 90) if colour[2] > 60 else (130, 80, 40))
    bulge = float(rng.uniform(0.0, 0.08))
    side = [(0.64, 0.4), (0.6, 0.48), (0.9 + bulge, 0.66), (0.84, 0.86), (0.66, 1.0)]
    outline = [*side, *[(1 - x, y) for x, y in reversed(side)]]
    pen.blob(outline, shade(body, 0.6))
    pen.blob([(0.5 + (x - 0.5) * 0.92, 0.7 + (y - 0.7) * 0.96) for x, y in outline], body)
    pen.rect(0.3, 0.38, 0.7, 0.43, shade(body, 0.7), radius=0.02)
    pen.rect(0.14, 0.66, 0.86, 0.7, shade(body, 1.6))
    pen.rect(0.14, 0.78, 0.86, 0.81, shade(body, 1.6))
    pen.ellipse(0.3, 0.62, 0.05, 0.04, shade(body, 1.8))


@concept("suitcase", colours=("brown", "red", "blue", "green", "black"), aspect=1.2, size=(0.4, 0.58), tilt=4)
def suitcase(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An old-fashioned case: handle on top, two leather straps with buckles, metal corners, a travel sticker."""
    pen.rect(0.34, 0.0, 0.66, 0.28, shade(body, 0.45), radius=0.08)
    pen.rect(0.4, 0.08, 0.6, 0.3, (150, 150, 150), radius=0.05)
    pen.rect(0.0, 0.2, 1.0, 1.0, shade(body, 0.5), radius=0.09)
    pen.rect(0.02, 0.22, 0.98, 0.97, body, radius=0.08)
    pen.rect(0.02, 0.45, 0.98, 0.49, shade(body, 0.6))
    strap = (216, 168, 96) if body[0] + body[1] < 260 else (92, 58, 34)
    for x in (0.2, 0.71):
        pen.rect(x, 0.21, x + 0.09, 0.98, strap)
        pen.rect(x - 0.015, 0.4, x + 0.105, 0.54, (226, 200, 90))
        pen.rect(x + 0.02, 0.43, x + 0.07, 0.51, strap)
    for x in (0.0, 0.88):
        for y in (0.2, 0.88):
            pen.rect(x, y, x + 0.12, y + 0.12, (214, 190, 110), radius=0.05)
    if rng.random() < 0.6:
        pen.ellipse(0.5, 0.74, 0.11, 0.13, PALETTE["white"])
        pen.ellipse(0.5, 0.74, 0.07, 0.085, PALETTE[("red", "blue", "green")[int(rng.integers(3))]])


@concept("backpack", colours=("red", "blue", "green", "purple", "black"), aspect=0.8, size=(0.42, 0.6), tilt=5)
def backpack(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A school backpack: dome top with a loop, straps at both sides, side pockets, a big front pocket with a zip."""
    dark = shade(body, 0.62)
    for side in (-1, 1):
        points = [(0.5 + side * 0.2, 0.2), (0.5 + side * 0.46, 0.34), (0.5 + side * 0.44, 0.8)]
        pen.curve(points, 0.09, shade(body, 0.42))
        pen.rect(0.5 + side * 0.4 - 0.1, 0.58, 0.5 + side * 0.4 + 0.1, 0.92, dark, radius=0.06)
    pen.ring(0.5, 0.08, 0.1, 0.07, 0.05, shade(body, 0.42))
    dome = [*arc(0.5, 0.4, 0.36, 0.32, 180, 360), (0.86, 0.94), (0.8, 1.0), (0.2, 1.0), (0.14, 0.94)]
    pen.polygon(dome, shade(body, 0.5))
    pen.polygon([(0.5 + (x - 0.5) * 0.94, 0.55 + (y - 0.55) * 0.96) for x, y in dome], body)
    pen.curve([(0.2, 0.42), (0.32, 0.26), (0.5, 0.2), (0.68, 0.26), (0.8, 0.42)], 0.035, (235, 220, 150))
    pen.rect(0.22, 0.54, 0.78, 0.95, shade(body, 0.5), radius=0.09)
    pen.rect(0.245, 0.56, 0.755, 0.93, shade(body, 1.22), radius=0.08)
    pen.line([(0.29, 0.63), (0.71, 0.63)], 0.035, (235, 220, 150))
    pen.rect(0.65, 0.63, 0.7, 0.74, (235, 220, 150), radius=0.01)
    if rng.random() < 0.6:
        pen.ellipse(0.5, 0.8, 0.09, 0.075, PALETTE["yellow"])


@concept("umbrella", colours=("red", "blue", "yellow", "green", "purple"), aspect=1.0, size=(0.44, 0.62), tilt=16)
def umbrella(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An open umbrella: a dome of alternating panels with a scalloped edge, a spike, a shaft and a hooked handle."""
    pen.line([(0.5, 0.0), (0.5, 0.1)], 0.04, (70, 70, 76))
    pen.line([(0.5, 0.3), (0.5, 0.88)], 0.045, (84, 60, 44))
    hook = -1 if rng.random() < 0.5 else 1
    pen.line(
        arc(0.5 + hook * 0.08, 0.88, 0.08, 0.1, 180 if hook > 0 else 0, 0 if hook > 0 else 180), 0.05, (84, 60, 44)
    )
    second = shade(body, 0.7) if rng.random() < 0.5 else jitter((244, 240, 230), rng)
    top = (0.5, 0.05)
    ribs = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for k in range(5):
        left, right = ribs[k], ribs[k + 1]
        rim = arc((left + right) / 2, 0.5, 0.1, 0.06, 180, 360)
        outer_left = (0.5 + (left - 0.5) * 0.8, 0.22)
        outer_right = (0.5 + (right - 0.5) * 0.8, 0.22)
        pen.polygon([top, outer_left, *rim, outer_right], body if k % 2 == 0 else second)
    for x in ribs[1:-1]:
        pen.curve([top, (0.5 + (x - 0.5) * 0.8, 0.22), (x, 0.5)], 0.015, shade(body, 0.5))
