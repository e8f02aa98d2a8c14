"""Vehicles."""

from __future__ import annotations

import math

import numpy as np

from ..pen import RGB, Pen, arc, shade
from ..registry import concept

_TYRE: RGB = (32, 32, 36)
_METAL: RGB = (176, 180, 188)


@concept("bus", colours=("red", "yellow", "blue", "green", "white"), aspect=1.75, size=(0.4, 0.6))
def bus(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A long boxy bus from the side, driving right: a row of big windows, a door, two wheels, sometimes two decks."""
    dark, glass = shade(body, 0.62), shade((60, 84, 104), rng.uniform(0.8, 1.4))
    double, count = rng.random() < 0.3, int(rng.integers(4, 7))
    top = 0.0 if double else 0.12
    pen.rect(0.0, top, 1.0, 0.87, dark, radius=0.06)
    pen.rect(0.012, top + 0.03, 0.988, 0.82, body, radius=0.05)
    rows = ((0.1, 0.3), (0.42, 0.62)) if double else ((0.22, 0.5),)
    for row, (y0, y1) in enumerate(rows):
        end = 0.72 if row == len(rows) - 1 else 0.95
        pitch = (end - 0.05) / count
        for k in range(count):
            pen.rect(0.05 + k * pitch, y0, 0.05 + (k + 0.85) * pitch, y1, glass, radius=0.012)
        pen.polygon([(0.93, y0), (1.0, y0), (1.0, y1 + 0.04), (0.93, y1 + 0.04)], shade(glass, 1.25))  # the windscreen
    y0 = rows[-1][0]
    pen.rect(0.76, y0 - 0.02, 0.9, 0.83, dark)  # the door
    for x in (0.77, 0.835):
        pen.rect(x, y0 + 0.01, x + 0.055, 0.79, glass)
    stripe = rng.random()
    if stripe < 0.6:
        pen.rect(0.012, 0.65, 0.755, 0.71, shade(body, 1.7) if stripe < 0.3 else shade(body, 0.45))
    if not double and rng.random() < 0.5:
        pen.rect(0.2, 0.06, 0.5, 0.13, shade(body, 0.8), radius=0.02)  # the roof unit
    pen.rect(0.95, 0.68, 1.0, 0.75, (255, 240, 170), radius=0.02)
    pen.rect(0.0, 0.64, 0.025, 0.74, (190, 30, 30))
    for x in (0.2, 0.66):
        pen.polygon(arc(x, 0.86, 0.098, 0.17, 180, 360), shade(body, 0.35))
        pen.ellipse(x, 0.86, 0.08, 0.14, _TYRE)
        pen.ellipse(x, 0.86, 0.04, 0.07, _METAL)


@concept(
    "airplane",
    colours=("white", "red", "blue", "gray", "yellow"),
    aspect=1.9,
    size=(0.42, 0.62),
    stands="air",
    tilt=14.0,
)
def airplane(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A jet airliner flying right: tube with a row of windows, swept wings with engines, a tall tail fin."""
    dark, glass = shade(body, 0.62), (44, 62, 90)
    accent = (shade(body, 0.5), (206, 52, 46), (40, 84, 180), (30, 120, 110))[int(rng.integers(4))]
    reach = rng.uniform(0.9, 1.0)
    pen.polygon([(0.5, 0.42), (0.36, 0.1), (0.43, 0.1), (0.66, 0.42)], dark)  # the far wing
    pen.polygon([(0.03, 0.0), (0.13, 0.0), (0.29, 0.42), (0.08, 0.46)], accent)  # the fin
    pen.polygon([(0.08, 0.4), (0.0, 0.22), (0.06, 0.22), (0.2, 0.4)], dark)
    tube = [(0.02, 0.4), (0.2, 0.36), (0.6, 0.34), (0.84, 0.36), (0.95, 0.44), (1.0, 0.53), (0.94, 0.6), (0.8, 0.64)]
    pen.blob([*tube, (0.4, 0.64), (0.16, 0.54)], dark)
    pen.blob([*tube[:5], (0.985, 0.5), (0.9, 0.56), (0.75, 0.59), (0.4, 0.59), (0.16, 0.51)], body)
    count = int(rng.integers(7, 11))
    for k in range(count):
        pen.ellipse(0.24 + 0.58 * k / count, 0.45, 0.014, 0.032, glass)
    pen.polygon([(0.87, 0.41), (0.925, 0.42), (0.955, 0.485), (0.88, 0.48)], glass)  # the cockpit
    pen.rect(0.46, 0.68, 0.6, 0.82, accent, radius=0.06)  # the engine
    pen.ellipse(0.59, 0.75, 0.018, 0.07, (36, 36, 42))
    wing = [(0.44, 0.55), (0.66, 0.55), (0.36, reach), (0.27, reach)]
    pen.polygon([(x - 0.012, y + 0.025) for x, y in wing], shade(body, 0.45))
    pen.polygon(wing, shade(body, 0.82))
    pen.polygon([(0.06, 0.46), (0.2, 0.46), (0.07, 0.66), (0.0, 0.66)], shade(body, 0.75))  # the tailplane


@concept("bicycle", colours=("red", "blue", "green", "yellow", "pink"), aspect=1.5, size=(0.46, 0.65))
def bicycle(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A bicycle facing right: spoked wheels, coloured frame, saddle, pedals, one of two handlebars, maybe a basket."""
    back, front, crank, seat = (0.21, 0.68), (0.79, 0.68), (0.46, 0.72), (0.37, 0.32)
    turn = rng.uniform(0, math.pi)
    for x, y in (back, front):
        for k in range(4):
            dx, dy = 0.19 * math.cos(turn + k * math.pi / 4), 0.285 * math.sin(turn + k * math.pi / 4)
            pen.line([(x - dx, y - dy), (x + dx, y + dy)], 0.012, (150, 152, 158))
        pen.ring(x, y, 0.187, 0.28, 0.065, _TYRE)
        pen.ellipse(x, y, 0.03, 0.045, (90, 92, 98))
    step = rng.random() < 0.35  # a low step-through frame
    top = [(0.41, 0.52), (0.69, 0.36)] if step else [seat, (0.69, 0.34)]
    for points in ([crank, back, seat], [seat, crank], [crank, (0.7, 0.4)], top, [(0.665, 0.22), front]):
        pen.line(points, 0.07, shade(body, 0.75) if points[0] == crank and len(points) == 3 else body)
    pen.line([seat, (0.35, 0.22)], 0.045, _METAL)
    pen.blob([(0.26, 0.15), (0.36, 0.14), (0.46, 0.19), (0.36, 0.23), (0.27, 0.23)], _TYRE)  # the saddle
    if rng.random() < 0.5:
        pen.curve([(0.66, 0.2), (0.77, 0.13), (0.83, 0.2), (0.79, 0.29), (0.73, 0.29)], 0.06, _TYRE)  # drop bars
    else:
        pen.curve([(0.67, 0.22), (0.66, 0.08), (0.58, 0.06)], 0.06, _TYRE)
        if rng.random() < 0.6:
            pen.polygon([(0.72, 0.12), (0.95, 0.12), (0.91, 0.36), (0.75, 0.36)], (150, 104, 58))  # a basket
            pen.line([(0.73, 0.2), (0.94, 0.2)], 0.02, (104, 68, 36))
            pen.line([(0.74, 0.28), (0.92, 0.28)], 0.02, (104, 68, 36))
    pen.ellipse(*crank, 0.06, 0.09, (70, 72, 78))
    swing = rng.uniform(-0.06, 0.06)
    pen.line([(0.46 - swing, 0.58), (0.46 + swing, 0.88)], 0.035, _METAL)
    for x, y in ((0.46 - swing, 0.58), (0.46 + swing, 0.88)):
        pen.line([(x - 0.035, y), (x + 0.035, y)], 0.05, _TYRE)
