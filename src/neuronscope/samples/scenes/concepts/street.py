"""Things that stand in a street."""

from __future__ import annotations

import math

import numpy as np

from ..pen import RGB, Pen, arc, shade
from ..registry import concept

_POLE: RGB = (128, 132, 138)


@concept("fire hydrant", colours=("red", "yellow", "blue", "green", "white"), aspect=0.68)
def fire_hydrant(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """A fire hydrant: domed bonnet with a nut, stout barrel between flanges, a cap in front and one on each side."""
    dark, light = shade(body, 0.62), shade(body, 1.35)
    cap = ((196, 198, 204), light, shade(body, 0.5))[int(rng.integers(3))]
    arms, wide = rng.uniform(0.4, 0.46), rng.uniform(0.24, 0.28)
    for side in (-1, 1):
        x0, x1 = sorted((0.5 + side * 0.2, 0.5 + side * 0.44))
        pen.rect(x0, arms - 0.07, x1, arms + 0.07, dark)
        x0, x1 = sorted((0.5 + side * 0.4, 0.5 + side * 0.5))
        pen.rect(x0, arms - 0.1, x1, arms + 0.1, shade(cap, 0.85), radius=0.03)
    pen.rect(0.5 - wide, 0.26, 0.5 + wide, 0.92, body)
    pen.rect(0.5 + wide * 0.35, 0.26, 0.5 + wide, 0.92, dark)
    pen.rect(0.5 - wide * 0.75, 0.28, 0.5 - wide * 0.45, 0.9, light)
    pen.rect(0.43, 0.0, 0.57, 0.1, cap, radius=0.02)  # the nut
    pen.polygon(arc(0.5, 0.26, wide + 0.02, 0.2, 180, 360), body)
    pen.polygon([(0.5 + wide * 0.35, 0.26), *arc(0.5, 0.26, wide + 0.02, 0.2, 292, 360)], dark)
    for y, reach in ((0.23, 0.08), (0.7, 0.05), (0.9, 0.14)):  # the flanges
        pen.rect(0.5 - wide - reach, y, 0.5 + wide + reach, y + (0.1 if y > 0.8 else 0.065), dark, radius=0.02)
        pen.rect(0.5 - wide - reach, y, 0.5 + wide * 0.5, y + 0.04, body, radius=0.02)
    pen.ellipse(0.5, arms + 0.06, 0.2, 0.136, dark)
    pen.ellipse(0.5, arms + 0.055, 0.155, 0.105, cap)
    pen.polygon(arc(0.5, arms + 0.055, 0.07, 0.048, 0, 360)[::6], shade(cap, 0.55))
    if rng.random() < 0.5:
        pen.curve([(0.62, arms + 0.12), (0.7, arms + 0.24), (0.86, arms + 0.09)], 0.035, (70, 72, 78))  # the chain


@concept("stop sign", colours=("red", "blue", "yellow"), aspect=0.7, size=(0.44, 0.62), mirrors=False)
def stop_sign(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An octagon with a white rim and the letters STOP on a pole."""
    ink: RGB = (30, 30, 34) if body[1] > 150 else (246, 246, 242)
    pole, thick, cy = shade(_POLE, rng.uniform(0.6, 1.2)), rng.uniform(0.035, 0.06), 0.36
    pen.rect(0.5 - thick, 0.5, 0.5 + thick, 1.0, pole)
    pen.rect(0.5 + thick * 0.3, 0.5, 0.5 + thick, 1.0, shade(pole, 0.65))
    for scale, tone in ((1.0, shade(body, 0.5)), (0.955, ink), (rng.uniform(0.84, 0.89), body)):
        corners = [math.radians(22.5 + 45 * k) for k in range(8)]
        pen.polygon([(0.5 + 0.541 * scale * math.cos(t), cy + 0.39 * scale * math.sin(t)) for t in corners], tone)
    tall = rng.uniform(0.085, 0.115)
    y0, y1, w = cy - tall, cy + tall, rng.uniform(0.048, 0.06)
    a, b, c, d = 0.15, 0.34, 0.51, 0.725
    mid = (y0 + y1) / 2
    pen.line([(a + 0.13, y0), (a, y0), (a, mid), (a + 0.13, mid), (a + 0.13, y1), (a, y1)], w, ink)
    pen.line([(b, y0), (b + 0.12, y0)], w, ink)
    pen.line([(b + 0.06, y0), (b + 0.06, y1)], w, ink)
    pen.line([(c, y0), (c + 0.13, y0), (c + 0.13, y1), (c, y1), (c, y0)], w, ink)
    pen.line([(d, y1), (d, y0), (d + 0.12, y0), (d + 0.12, mid), (d, mid)], w, ink)


@concept("traffic light", colours=("black", "yellow", "green", "gray"), aspect=0.42, size=(0.44, 0.64), tilt=4.0)
def traffic_light(pen: Pen, rng: np.random.Generator, body: RGB) -> None:
    """An upright box with red, yellow and green lamps under hoods, one of them shining, on a pole."""
    dark, bottom, lit = shade(body, 0.55), rng.uniform(0.76, 0.86), int(rng.integers(3))
    pen.rect(0.42, bottom - 0.02, 0.58, 1.0, shade(_POLE, 0.6))
    pen.rect(0.42, bottom - 0.02, 0.49, 1.0, _POLE)
    pitch = (bottom - 0.06) / 3
    if rng.random() < 0.5:
        for k in range(3):  # fins on both sides
            y = 0.05 + k * pitch
            pen.polygon([(0.0, y), (1.0, y), (0.8, y + pitch * 0.75), (0.2, y + pitch * 0.75)], dark)
    else:
        pen.rect(0.0, 0.0, 1.0, bottom, (236, 236, 230) if body[0] < 90 else (30, 30, 34), radius=0.08)  # the backplate
    pen.rect(0.13, 0.0, 0.87, bottom, dark, radius=0.06)
    pen.rect(0.17, 0.012, 0.83, bottom - 0.012, body, radius=0.05)
    for k, lamp in enumerate(((232, 40, 36), (250, 196, 40), (40, 200, 84))):
        y, r = 0.03 + (k + 0.5) * pitch, pitch * 0.4
        pen.ellipse(0.5, y, r / 0.42 + 0.04, r + 0.017, (18, 18, 20))
        pen.ellipse(0.5, y, r / 0.42, r, lamp if k == lit else shade(lamp, 0.5))
        if k == lit:
            pen.ellipse(0.44, y - r * 0.15, r / 0.42 * 0.45, r * 0.45, shade(lamp, 1.6))
        hood = [*arc(0.5, y, r / 0.42 + 0.06, r + 0.025, 190, 350), *arc(0.5, y + 0.02, r / 0.42, r, 345, 195)]
        pen.polygon(hood, (18, 18, 20))
