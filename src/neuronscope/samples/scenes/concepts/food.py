"""Food."""

from __future__ import annotations

import math

import numpy as np

from ..pen import RGB, Pen, Point, arc, shade
from ..registry import concept

_CREAM: RGB = (250, 240, 218)
_CHOCOLATE: RGB = (84, 46, 30)


@concept("banana", colours=("yellow", "green"), aspect=1.45, tilt=20.0)
def banana(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """One to three crescent bananas fanning out from a brown stem at the upper left, ridged, with dark tips."""
    brown, count = shade((92, 62, 30), rng.uniform(0.7, 1.1)), int(rng.integers(1, 4))
    fans = [(0.42, rng.uniform(1.34, 1.42), 0.95, 0.12, 0.2)]  # bend x and y, tip x and y, half thickness
    if count > 1:
        fans = [(0.56, 0.5, 0.95, 0.09, 0.15), (0.52, 0.94, 0.97, 0.32, 0.155), (0.3, 1.24, 0.82, 0.62, 0.165)]
        fans = fans if count == 3 else [(0.5, 0.68, 0.95, 0.12, 0.175), (0.36, 1.26, 0.9, 0.46, 0.185)]
    for k, (bx, by, tx, ty, half) in enumerate(fans):
        tone = shade(body, 1.0 - 0.07 * (len(fans) - 1 - k))
        stem, bend, tip = (0.09, 0.1), (bx, by), (tx, ty)
        for share, colour in ((1.12, shade(body, 0.5)), (1.0, tone)):  # the outline, then the fruit
            sides = _offset(stem, bend, tip, half, share), _offset(stem, bend, tip, half, -share)
            pen.polygon([*sides[0], *sides[1][::-1]], colour)
        pen.line(_offset(stem, bend, tip, half, -0.2)[1:], 0.03, shade(tone, 0.7))
        pen.ellipse(tx, ty, 0.035, 0.05, brown)
    pen.polygon([(0.04, 0.02), (0.13, 0.0), (0.17, 0.2), (0.06, 0.2)], brown)


def _offset(stem: Point, bend: Point, tip: Point, half: float, share: float) -> list[Point]:
    """A line along a banana (a quadratic curve, box 1.45 wide), `share` of its half thickness beside the middle."""
    points: list[Point] = []
    for step in range(13):
        t = step / 12
        dx, dy = (((1 - t) * (b - a) + t * (c - b)) for a, b, c in zip(stem, bend, tip, strict=True))
        x, y = (((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c) for a, b, c in zip(stem, bend, tip, strict=True))
        width = share * half * math.sin(math.pi * (0.1 + 0.82 * t)) ** 0.7 / math.hypot(1.45 * dx, dy)
        points.append((x - width * dy / 1.45, y + width * dx * 1.45))
    return points


@concept("pizza", colours=("yellow", "red", "white"), aspect=1.0, tilt=25.0)
def pizza(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A round pizza with a slice missing or a single slice: thick brown crust, cheese, salami, basil, olives."""
    crust = shade((196, 128, 62), rng.uniform(0.85, 1.15))
    salami = (176, 40, 34) if body[1] > 90 else (250, 222, 150)  # on tomato sauce: mozzarella
    if rng.random() < 0.6:
        start, gap = rng.uniform(-80, -20), rng.uniform(40, 60)
        for r, tone in ((0.5, shade(crust, 0.7)), (0.485, crust), (0.41, shade(body, 0.85)), (0.395, body)):
            pen.polygon([(0.5, 0.5), *arc(0.5, 0.5, r, r, start + gap, start + 360)], tone)
        centres: list[Point] = []
        spots = ((0.29, 22), (0.27, 77), (0.3, 125), (0.28, 175), (0.3, 228), (0.27, 280), (0.13, 60), (0.14, 220))
        for r, turn in spots:
            t = math.radians(start + gap + turn * (360 - gap) / 310)
            centres.append((0.5 + r * math.cos(t), 0.5 + r * math.sin(t)))
        for k in range(1, 5):  # the cuts
            t = math.radians(start + gap + k * (360 - gap) / 5)
            pen.line([(0.5, 0.5), (0.5 + 0.44 * math.cos(t), 0.5 + 0.44 * math.sin(t))], 0.018, shade(crust, 0.62))
        radius = rng.uniform(0.062, 0.078)
    else:
        bend = rng.uniform(-0.06, 0.06)
        pen.polygon([(0.04, 0.16), (0.96, 0.16), (0.53 + bend, 1.0), (0.47 + bend, 1.0)], shade(crust, 0.7))
        pen.polygon([(0.09, 0.16), (0.91, 0.16), (0.5 + bend, 0.96)], body)
        for x in (0.28, 0.68):  # dripping cheese
            pen.ellipse(x, 0.6 + abs(x - 0.5) * -0.3, 0.045, 0.1, shade(body, 0.93))
        rim = [(0.0, 0.12), (0.2, 0.02), (0.5, 0.0), (0.8, 0.02), (1.0, 0.12)]
        pen.blob([*rim, (0.96, 0.24), (0.5, 0.2), (0.04, 0.24)], crust)
        pen.curve([(0.08, 0.1), (0.5, 0.05), (0.9, 0.1)], 0.03, shade(crust, 1.3))
        centres, radius = [(0.3, 0.33), (0.66, 0.36), (0.48, 0.58), (0.51 + bend / 2, 0.78)], rng.uniform(0.075, 0.1)
    leaf, olive = (44, 110, 40), (34, 34, 38)
    for k, (x, y) in enumerate(centres):
        pen.ellipse(x, y, radius, radius, shade(salami, 0.72))
        pen.ellipse(x - 0.006, y - 0.008, radius * 0.82, radius * 0.82, salami)
        if k % 2:
            pen.ellipse(x + 0.1, y + 0.02, 0.04, 0.02, leaf if k % 4 == 1 else olive, rng.uniform(0, 180))


@concept("cake", colours=("pink", "white", "brown", "yellow", "purple"), aspect=1.05)
def cake(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A one- or two-tier birthday cake on a plate: dripping icing, burning candles, sometimes beads of cream."""
    icing = _CREAM if body[0] + body[1] + body[2] < 560 and rng.random() < 0.7 else _CHOCOLATE
    if body[0] < 150 and body[2] < 80:
        icing = _CREAM
    tiers = [(0.06, 0.5, 0.92)] if rng.random() < 0.45 else [(0.04, 0.6, 0.92), (0.2, 0.34, 0.66)]
    pen.ellipse(0.5, 0.93, 0.5, 0.07, (150, 156, 168))
    pen.ellipse(0.5, 0.915, 0.48, 0.055, (226, 228, 232))
    for left, top, bottom in tiers:
        right, mid = 1 - left, (top + bottom) / 2
        pen.polygon([(left, top), (right, top), *arc(0.5, bottom - 0.04, 0.5 - left, 0.06, 0, 180)], body)
        pen.polygon([(0.7, top), (right, top), *arc(0.5, bottom - 0.04, 0.5 - left, 0.06, 0, 66)], shade(body, 0.82))
        pen.curve([(left + 0.01, mid + 0.05), (0.5, mid + 0.11), (right - 0.01, mid + 0.05)], 0.035, icing)
        drips = max(4, round((right - left) / 0.13))
        for k in range(drips):
            x, width = left + (k + 0.5) * (right - left) / drips, (right - left) / drips
            end = top + rng.uniform(0.08, 0.17)
            pen.rect(x - width * 0.4, top - 0.02, x + width * 0.4, end, icing, radius=width * 0.4)
        pen.ellipse(0.5, top, 0.5 - left, 0.065, icing)
        pen.ellipse(0.5, top - 0.01, 0.47 - left, 0.045, shade(icing, 1.15))
    left, top, _ = tiers[-1]
    stick = ((70, 130, 210), (220, 70, 80), (250, 250, 250), (90, 170, 90))[int(rng.integers(4))]
    count = int(rng.integers(2, 5)) if len(tiers) > 1 else int(rng.integers(3, 6))
    for k in range(count):
        x = 0.5 + (k - (count - 1) / 2) * (0.86 - 2 * left) / count
        pen.rect(x - 0.022, 0.11 + (top - 0.34) * 0.6, x + 0.022, top, stick)
        pen.ellipse(x, 0.065 + (top - 0.34) * 0.6, 0.034, 0.065, (244, 138, 30))
        pen.ellipse(x, 0.08 + (top - 0.34) * 0.6, 0.017, 0.035, (255, 232, 120))
