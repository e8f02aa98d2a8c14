"""Indoor places: a wall with muted furniture along it and a floor in front."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..pen import RGB, Pen, jitter, shade
from ..registry import place
from .outdoors import Tone, daylight, fade, mix, pick, scatter, speckle

_WOODS: tuple[RGB, ...] = ((176, 144, 108), (152, 124, 98), (196, 170, 134), (164, 140, 120))


def _floor_boards(pen: Pen, rng: np.random.Generator, top: float, wood: RGB) -> None:
    """A skirting board and floor boards that run towards the wall, with some grain."""
    fade(pen, top, 1, shade(wood, 0.94), shade(wood, 1.08), 8)
    vanish = rng.uniform(0.3, 0.7)
    for i in range(-12, 13):
        pen.line([(vanish + i * 0.085, top), (vanish + i * 0.15, 1.02)], 0.005, shade(wood, 0.84))
    for x, y, s in scatter(rng, 40, top + 0.02):
        pen.line([(x, y), (x + (x - vanish) * 0.08, y + 0.03 * s)], 0.004, shade(wood, rng.uniform(0.85, 1.2)))
    pen.rect(0, top - 0.025, 1, top, shade(wood, 1.45))
    pen.rect(0, top - 0.004, 1, top + 0.006, shade(wood, 0.75))


def _window(pen: Pen, x: float, y: float, w: float, h: float, frame: RGB, sky: RGB) -> None:
    """A window with a cross bar and a sill."""
    pen.rect(x - 0.015, y - 0.015, x + w + 0.015, y + h + 0.015, frame)
    pen.rect(x, y, x + w, y + h, sky)
    pen.polygon(
        [(x, y + h), (x, y + h * 0.75), (x + w * 0.5, y + h * 0.62), (x + w, y + h * 0.8), (x + w, y + h)],
        mix(sky, (120, 150, 110), 0.5),
    )
    pen.rect(x + w / 2 - 0.007, y, x + w / 2 + 0.007, y + h, frame)
    pen.rect(x, y + h * 0.45, x + w, y + h * 0.45 + 0.012, frame)
    pen.rect(x - 0.03, y + h + 0.01, x + w + 0.03, y + h + 0.03, shade(frame, 0.9))


def _curtains(pen: Pen, rng: np.random.Generator, x: float, y: float, w: float, foot: float, cloth: RGB) -> None:
    """A rod with a curtain gathered at each side of a window at (x, y)."""
    pen.line([(x - 0.09, y - 0.04), (x + w + 0.09, y - 0.04)], 0.012, shade(cloth, 0.6))
    width = rng.uniform(0.09, 0.12)
    for left in (x - 0.07, x + w + 0.07 - width):
        pen.rect(left, y - 0.04, left + width, foot, cloth)
        for fold in range(1, 4):
            at = left + width * fold / 4
            pen.line(
                [(at, y - 0.03), (at + rng.uniform(-0.01, 0.01), foot)], 0.007, shade(cloth, 0.86 if fold % 2 else 1.2)
            )


def _picture(pen: Pen, rng: np.random.Generator, x: float, y: float, s: float, tone: Tone) -> None:
    """A framed landscape, without a subject."""
    frame, w = tone(pick(rng, _WOODS)), s * rng.uniform(0.9, 1.4)
    pen.rect(x, y, x + w, y + s, shade(frame, 0.85))
    pen.rect(x + 0.015, y + 0.015, x + w - 0.015, y + s - 0.015, tone((204, 212, 208)))
    hill = y + s * rng.uniform(0.5, 0.65)
    pen.polygon(
        [
            (x + 0.015, hill),
            (x + w * 0.4, hill - s * 0.15),
            (x + w - 0.015, hill),
            (x + w - 0.015, y + s - 0.015),
            (x + 0.015, y + s - 0.015),
        ],
        tone((150, 166, 146)),
    )


def _lampshade(pen: Pen, x: float, y: float, s: float, tone: Tone) -> None:
    """A conical lampshade whose lower edge is centred on (x, y)."""
    cloth = tone((232, 216, 178))
    pen.polygon([(x - s, y), (x - s * 0.55, y - s * 1.1), (x + s * 0.55, y - s * 1.1), (x + s, y)], cloth)
    pen.polygon(
        [(x + s * 0.3, y), (x + s * 0.2, y - s * 1.1), (x + s * 0.55, y - s * 1.1), (x + s, y)], shade(cloth, 0.9)
    )


def _plant(pen: Pen, rng: np.random.Generator, x: float, foot: float, s: float, tone: Tone) -> None:
    """Long leaves out of a square box."""
    leaf, box = tone((104, 138, 100)), tone((168, 156, 142))
    for lean in np.linspace(-0.9, 0.9, 7).tolist():
        tip, h = x + s * lean * rng.uniform(0.8, 1.1), s * (2.1 - abs(lean)) * rng.uniform(0.85, 1.1)
        y = foot - s * 0.8
        pen.polygon(
            [
                (x - 0.008, y),
                ((x + tip) / 2 - s * 0.12, y - h * 0.55),
                (tip, y - h),
                ((x + tip) / 2 + s * 0.12, y - h * 0.5),
            ],
            shade(leaf, rng.uniform(0.85, 1.15)),
        )
    pen.rect(x - s * 0.45, foot - s * 0.85, x + s * 0.45, foot, box)
    pen.rect(x + s * 0.2, foot - s * 0.85, x + s * 0.45, foot, shade(box, 0.88))


@place("kitchen", phrase="in a kitchen", bare="kitchen", horizon=0.72)
def kitchen(pen: Pen, rng: np.random.Generator) -> None:
    """Tiled wall, cupboards above and below a worktop, an extractor hood over pots, and a chequered floor."""
    tone = daylight(rng)
    tile = tone(pick(rng, ((222, 226, 222), (206, 218, 216), (226, 218, 202), (204, 214, 224))))
    front = tone(pick(rng, ((188, 170, 142), (196, 204, 198), (176, 190, 180), (206, 194, 178), (170, 182, 194))))
    counter, foot, hood = rng.uniform(0.46, 0.5), rng.uniform(0.7, 0.74), rng.uniform(0.22, 0.78)
    pen.rect(0, 0, 1, 1, tile)
    offset = rng.uniform(0, 0.06)
    for i in range(18):
        pen.line([(offset + i * 0.06, 0.2), (offset + i * 0.06, counter)], 0.004, shade(tile, 0.88))
    for y in np.arange(0.24, counter, 0.05).tolist():
        pen.line([(0, y), (1, y)], 0.004, shade(tile, 0.88))
    for _ in range(12):
        i, j = int(rng.integers(17)), int(rng.integers(4))
        pen.rect(
            offset + i * 0.06 + 0.004, 0.244 + j * 0.05, offset + i * 0.06 + 0.056, 0.286 + j * 0.05, shade(tile, 0.94)
        )
    step, start = rng.uniform(0.15, 0.19), rng.uniform(-0.15, 0.0)
    pen.rect(0, counter, 1, foot, front)
    pen.rect(0, 0, 1, 0.21, front)
    for i in range(9):  # paired doors with a panel and a knob, above and below
        x, knob = start + i * step, start + i * step + (step - 0.03 if i % 2 else 0.03)
        for top, bottom, at in ((-0.02, 0.2, 0.16), (counter + 0.05, foot - 0.03, counter + 0.085)):
            pen.line([(x, top), (x, bottom)], 0.006, shade(front, 0.72))
            pen.rect(x + 0.025, top + 0.025, x + step - 0.025, bottom - 0.025, shade(front, 1.12))
            pen.rect(knob - 0.008, at - 0.01, knob + 0.008, at + 0.01, shade(front, 0.55))
    pen.rect(0, 0.2, 1, 0.215, shade(front, 0.75))
    steel = tone((186, 190, 192))
    pen.rect(hood - 0.06, 0, hood + 0.06, 0.14, steel)
    pen.polygon(
        [(hood - 0.06, 0.14), (hood + 0.06, 0.14), (hood + 0.15, 0.23), (hood - 0.15, 0.23)], shade(steel, 0.92)
    )
    pen.rect(hood - 0.15, 0.23, hood + 0.15, 0.245, shade(steel, 0.78))
    for x in (hood - 0.07, hood + 0.06):
        _pot(pen, rng, x, counter, tone)
    top = tone(pick(rng, ((150, 138, 124), (128, 128, 130), (176, 166, 150))))
    pen.rect(0, counter, 1, counter + 0.03, top)
    pen.rect(0, counter + 0.03, 1, counter + 0.042, shade(front, 0.72))
    away = hood + (0.32 if hood < 0.5 else -0.32)
    if rng.random() < 0.45:
        _window(pen, away - 0.11, 0.25, 0.22, counter - 0.3, shade(tile, 1.5), tone((184, 206, 218)))
    else:
        _ladles(pen, rng, away, shade(steel, 0.7))
    _chequers(pen, rng, foot, tone)
    pen.rect(0, foot - 0.022, 1, foot, shade(front, 0.6))


def _ladles(pen: Pen, rng: np.random.Generator, x: float, steel: RGB) -> None:
    pen.line([(x - 0.11, 0.26), (x + 0.1, 0.26)], 0.008, steel)
    for at in (x - 0.08, x - 0.03, x + 0.02, x + 0.07):
        foot = 0.26 + rng.uniform(0.07, 0.1)
        pen.line([(at, 0.26), (at, foot)], 0.007, steel)
        pen.rect(at - 0.012, foot - 0.01, at + 0.012, foot + 0.02, steel, radius=0.008)


def _pot(pen: Pen, rng: np.random.Generator, x: float, foot: float, tone: Tone) -> None:
    metal, w, h = tone((150, 152, 154)), rng.uniform(0.035, 0.05), rng.uniform(0.035, 0.06)
    pen.line([(x, foot - h * 0.75), (x + pick(rng, (-1.0, 1.0)) * w * 2, foot - h * 0.9)], 0.012, shade(metal, 0.65))
    pen.rect(x - w, foot - h, x + w, foot, metal)
    pen.rect(x - w * 1.1, foot - h - 0.01, x + w * 1.1, foot - h, shade(metal, 0.8))
    pen.rect(x - 0.008, foot - h - 0.022, x + 0.008, foot - h - 0.008, shade(metal, 0.6))


def _chequers(pen: Pen, rng: np.random.Generator, top: float, tone: Tone) -> None:
    light = tone(pick(rng, ((212, 206, 192), (204, 208, 208), (214, 198, 178))))
    dark, vanish = shade(light, rng.uniform(0.8, 0.9)), rng.uniform(0.3, 0.7)
    pen.rect(0, top, 1, 1, light)
    rows = [top + (1.0 - top) * t for t in (0.0, 0.14, 0.34, 0.62, 1.02)]
    for row, (y0, y1) in enumerate(pairwise(rows)):
        w0, w1 = 0.1 + 0.2 * (y0 - top), 0.1 + 0.2 * (y1 - top)
        for i in range(-8 + row % 2, 9, 2):
            pen.polygon(
                [
                    (vanish + i * w0, y0),
                    (vanish + (i + 1) * w0, y0),
                    (vanish + (i + 1) * w1, y1),
                    (vanish + i * w1, y1),
                ],
                dark,
            )
    speckle(pen, rng, 24, top + 0.02, 0.008, (shade(light, 0.92), shade(light, 1.3)))


@place("bedroom", phrase="in a bedroom", bare="bedroom", horizon=0.7)
def bedroom(pen: Pen, rng: np.random.Generator) -> None:
    """Soft wallpaper, a curtained window, a panelled wardrobe, a nightstand with a lamp, slippers on an oval rug."""
    tone = daylight(rng)
    paper = tone(pick(rng, ((222, 204, 208), (206, 202, 222), (202, 216, 222), (226, 214, 194))))
    foot, side = rng.uniform(0.67, 0.72), pick(rng, (False, True))
    fade(pen, 0, foot, paper, shade(paper, 0.95), 6)
    stripes = rng.random() < 0.4
    for i in range(11):
        if stripes:
            pen.rect(i * 0.095, 0, i * 0.095 + 0.045, foot, shade(paper, 0.95))
        for j in range(7):
            x, y = 0.05 + i * 0.095 + (0.047 if j % 2 and not stripes else 0), 0.05 + j * 0.1
            pen.polygon([(x - 0.011, y), (x, y - 0.015), (x + 0.011, y), (x, y + 0.015)], shade(paper, 0.9))
    _floor_boards(pen, rng, foot, tone(pick(rng, _WOODS)))
    x, w = (rng.uniform(0.5, 0.56) if side else rng.uniform(0.2, 0.26)), rng.uniform(0.2, 0.25)
    white = tone((236, 232, 224))
    _window(pen, x, 0.13, w, 0.27, white, tone(pick(rng, ((186, 206, 220), (150, 160, 192), (222, 206, 196)))))
    _curtains(
        pen,
        rng,
        x,
        0.13,
        w,
        rng.uniform(0.46, 0.6),
        tone(pick(rng, ((202, 168, 180), (170, 164, 196), (168, 186, 190), (206, 184, 156)))),
    )
    wood = mix(tone(pick(rng, _WOODS)), paper, 0.3)
    left = rng.uniform(-0.03, 0.02) if side else rng.uniform(0.68, 0.73)
    _wardrobe(pen, left, left + 0.3, rng.uniform(0.1, 0.15), foot + 0.02, wood)
    at = rng.uniform(0.8, 0.9) if side else rng.uniform(0.08, 0.16)
    pen.rect(at - 0.08, foot - 0.16, at + 0.08, foot + 0.02, wood)
    for drawer in (foot - 0.135, foot - 0.06):
        pen.rect(at - 0.065, drawer, at + 0.065, drawer + 0.055, shade(wood, 1.15))
        pen.rect(at - 0.012, drawer + 0.02, at + 0.012, drawer + 0.03, shade(wood, 0.6))
    pen.rect(at - 0.09, foot - 0.175, at + 0.09, foot - 0.155, shade(wood, 0.85))
    pen.rect(at - 0.012, foot - 0.24, at + 0.012, foot - 0.17, shade(wood, 0.75))
    _lampshade(pen, at, foot - 0.23, 0.065, tone)
    rug, cx, cy = (
        tone(pick(rng, ((206, 186, 190), (180, 184, 204), (214, 204, 184)))),
        rng.uniform(0.35, 0.65),
        rng.uniform(0.85, 0.9),
    )
    for r, f in ((1.0, 0.88), (0.88, 1.1), (0.66, 0.97)):
        pen.ellipse(cx, cy, 0.32 * r, 0.09 * r, shade(rug, f))
    slip = cx + rng.uniform(-0.2, 0.15)
    for dx in (0.0, 0.05):
        pen.ellipse(slip + dx, cy, 0.016, 0.026, shade(rug, 0.72), angle=12)
        pen.ellipse(slip + dx, cy + 0.008, 0.01, 0.014, shade(rug, 1.2), angle=12)


def _wardrobe(pen: Pen, x0: float, x1: float, top: float, foot: float, wood: RGB) -> None:
    middle = (x0 + x1) / 2
    pen.rect(x0, top, x1, foot - 0.02, wood)
    pen.rect(x0 - 0.015, top - 0.03, x1 + 0.015, top, shade(wood, 0.85))
    for left, right in ((x0 + 0.02, middle - 0.01), (middle + 0.01, x1 - 0.02)):
        for upper, lower in ((top + 0.03, top + 0.2), (top + 0.22, foot - 0.14)):
            pen.rect(left, upper, right, lower, shade(wood, 0.88))
            pen.rect(left + 0.012, upper + 0.012, right - 0.012, lower - 0.012, shade(wood, 1.1))
        pen.rect(left, foot - 0.125, right, foot - 0.05, shade(wood, 0.88))
        pen.rect(
            left - 0.02 if left > middle - 0.005 else right - 0.012,
            0.42,
            left if left > middle else right + 0.0,
            0.45,
            shade(wood, 0.55),
        )
    pen.line([(middle, top), (middle, foot - 0.13)], 0.006, shade(wood, 0.7))
    for leg in (x0 + 0.01, x1 - 0.03):
        pen.rect(leg, foot - 0.02, leg + 0.02, foot, shade(wood, 0.7))


@place("living room", phrase="in a living room", bare="living room", horizon=0.7)
def living_room(pen: Pen, rng: np.random.Generator) -> None:
    """A wide sofa with cushions below framed pictures, a floor lamp, a plant in a square box, a fringed rug."""
    tone = daylight(rng)
    wall = tone(pick(rng, ((214, 206, 186), (196, 208, 198), (212, 196, 180), (198, 204, 212))))
    foot, side = rng.uniform(0.67, 0.72), pick(rng, (-1.0, 1.0))
    fade(pen, 0, foot, wall, shade(wall, 0.93), 8)
    for i in range(20):
        pen.line([(i * 0.053 + 0.01, 0), (i * 0.053 + 0.01, foot)], 0.006, shade(wall, 0.95))
    pen.rect(0, 0, 1, 0.025, shade(wall, 1.4))
    _floor_boards(pen, rng, foot, tone(pick(rng, _WOODS)))
    centre = 0.5 - side * rng.uniform(0.02, 0.08)
    for i in range(int(rng.integers(1, 4))):
        _picture(pen, rng, centre - 0.28 + i * 0.2, rng.uniform(0.1, 0.17), rng.uniform(0.1, 0.15), tone)
    rug = tone(pick(rng, ((190, 164, 146), (168, 176, 178), (196, 184, 156), (178, 158, 166))))
    top, bottom = rng.uniform(0.8, 0.83), rng.uniform(0.92, 0.96)
    pen.polygon([(0.2, top), (0.8, top), (0.9, bottom), (0.1, bottom)], rug)
    pen.polygon(
        [(0.24, top + 0.015), (0.76, top + 0.015), (0.84, bottom - 0.02), (0.16, bottom - 0.02)], shade(rug, 1.15)
    )
    for i in range(13):
        x = 0.16 + i * 0.055
        pen.polygon(
            [(x - 0.015, (top + bottom) / 2), (x, top + 0.04), (x + 0.015, (top + bottom) / 2), (x, bottom - 0.04)],
            shade(rug, 0.94),
        )
    _sofa(
        pen,
        rng,
        centre,
        foot + 0.03,
        mix(tone(pick(rng, ((150, 160, 168), (176, 152, 132), (160, 170, 146), (170, 154, 160)))), wall, 0.25),
    )
    pole, x = tone((140, 126, 110)), 0.5 + side * rng.uniform(0.4, 0.44)
    pen.line([(x, 0.3), (x, foot + 0.02)], 0.012, pole)
    pen.rect(x - 0.04, foot + 0.015, x + 0.04, foot + 0.028, pole)
    _lampshade(pen, x, 0.32, 0.075, tone)
    _plant(pen, rng, 0.5 - side * rng.uniform(0.42, 0.46), foot + 0.03, rng.uniform(0.1, 0.13), tone)


def _sofa(pen: Pen, rng: np.random.Generator, x: float, foot: float, cloth: RGB) -> None:
    half, seat = rng.uniform(0.27, 0.31), foot - 0.12
    for leg in (x - half + 0.02, x + half - 0.04):
        pen.rect(leg, foot - 0.03, leg + 0.02, foot, shade(cloth, 0.5))
    pen.rect(x - half + 0.03, foot - 0.24, x + half - 0.03, foot - 0.05, shade(cloth, 0.94), radius=0.03)
    pen.line([(x, foot - 0.235), (x, seat)], 0.006, shade(cloth, 0.8))
    pen.rect(x - half, seat, x + half, foot - 0.02, shade(cloth, 0.86))
    for left in (x - half + 0.05, x):
        pen.rect(left + 0.004, seat - 0.01, left + half - 0.054, seat + 0.045, shade(cloth, 1.1), radius=0.015)
    for left in (x - half - 0.02, x + half - 0.05):
        pen.rect(left, foot - 0.17, left + 0.07, foot - 0.02, cloth, radius=0.03)
    for at in (x - half + 0.11, x + half - 0.11):
        pen.polygon(
            [(at - 0.05, seat - 0.01), (at - 0.04, seat - 0.085), (at + 0.045, seat - 0.08), (at + 0.05, seat - 0.005)],
            shade(jitter(cloth, rng, 24), 1.15),
        )


@place("office", phrase="in an office", bare="tidy office", horizon=0.72)
def office(pen: Pen, rng: np.random.Generator) -> None:
    """Ceiling panels, a window with blinds, a pinboard, a long desk with drawers, a swivel chair, carpet tiles."""
    tone = daylight(rng)
    wall = tone(pick(rng, ((210, 214, 216), (204, 210, 202), (216, 210, 200), (198, 206, 216))))
    foot, flip = rng.uniform(0.69, 0.73), pick(rng, (False, True))

    def at(x: float) -> float:
        return 1 - x if flip else x

    fade(pen, 0.1, foot, wall, shade(wall, 0.94), 6)
    speckle(pen, rng, 40, 0.12, 0.008, (shade(wall, 0.96), shade(wall, 1.15)))
    pen.rect(0, 0, 1, 0.1, shade(wall, 0.86))
    for x in np.arange(rng.uniform(-0.1, 0.1), 1, 0.36).tolist():
        pen.polygon([(x + 0.03, 0.025), (x + 0.23, 0.025), (x + 0.25, 0.075), (x + 0.01, 0.075)], (244, 244, 236))
    x, w, low = at(0.72) - 0.21, 0.42, rng.uniform(0.4, 0.44)
    sky = tone((178, 198, 214))
    pen.rect(x - 0.015, 0.145, x + w + 0.015, low + 0.015, shade(wall, 1.5))
    pen.rect(x, 0.16, x + w, low, sky)
    for tower in range(6):  # a skyline behind the blinds
        pen.rect(
            x + tower * 0.07,
            rng.uniform(0.26, 0.37),
            x + tower * 0.07 + rng.uniform(0.04, 0.07),
            low,
            mix(sky, (120, 130, 144), 0.45),
        )
    for y in np.arange(0.165, rng.uniform(0.24, low), 0.022).tolist():
        pen.rect(x, y, x + w, y + 0.011, shade(wall, 1.35))
    board = tone((190, 166, 132))
    left = at(0.25) - 0.14
    pen.rect(left, 0.17, left + 0.28, 0.38, shade(board, 0.75))
    pen.rect(left + 0.012, 0.182, left + 0.268, 0.368, board)
    for i in range(5):
        note = tone(pick(rng, ((232, 228, 214), (222, 214, 160), (196, 214, 216))))
        nx, ny = left + 0.03 + (i % 3) * 0.078, 0.2 + (i // 3) * 0.085 + rng.uniform(0, 0.015)
        pen.rect(nx, ny, nx + rng.uniform(0.04, 0.06), ny + rng.uniform(0.04, 0.06), note)
    carpet = tone(pick(rng, ((142, 152, 164), (152, 150, 146), (140, 156, 150))))
    fade(pen, foot, 1, shade(carpet, 0.95), shade(carpet, 1.06), 6)
    for i in range(-8, 9):
        pen.line([(0.5 + i * 0.12, foot), (0.5 + i * 0.2, 1.02)], 0.004, shade(carpet, 0.9))
    for y in (0.14, 0.42, 0.78):
        pen.line([(0, foot + (1 - foot) * y), (1, foot + (1 - foot) * y)], 0.004, shade(carpet, 0.9))
    speckle(pen, rng, 60, foot + 0.02, 0.008, (shade(carpet, 0.9), shade(carpet, 1.15)))
    pen.rect(0, foot - 0.02, 1, foot, shade(wall, 0.8))
    _desk(pen, rng, at(rng.uniform(0.5, 0.56)), foot + 0.03, flip, tone)
    _plant(pen, rng, at(rng.uniform(0.05, 0.08)), foot + 0.04, 0.09, tone)


def _desk(pen: Pen, rng: np.random.Generator, x: float, foot: float, flip: bool, tone: Tone) -> None:
    wood, side, top = tone(pick(rng, _WOODS)), (-1.0 if flip else 1.0), foot - rng.uniform(0.2, 0.22)
    pen.rect(x - 0.34, top + 0.02, x + 0.34, foot - 0.09, shade(wood, 0.86))
    for leg in (x - 0.33, x + 0.31):
        pen.rect(leg, top, leg + 0.02, foot, shade(wood, 0.7))
    unit = x + side * 0.24
    pen.rect(unit - 0.09, top, unit + 0.09, foot - 0.005, wood)
    for i in range(3):
        y = top + 0.03 + i * 0.055
        pen.rect(unit - 0.078, y, unit + 0.078, y + 0.045, shade(wood, 1.14))
        pen.rect(unit - 0.02, y + 0.016, unit + 0.02, y + 0.025, shade(wood, 0.6))
    pen.rect(x - 0.37, top - 0.005, x + 0.37, top + 0.024, shade(wood, 1.1))
    lamp, metal = x + side * 0.27, tone((128, 136, 142))
    pen.rect(lamp - 0.035, top - 0.016, lamp + 0.035, top - 0.005, metal)
    pen.line([(lamp, top - 0.015), (lamp + side * 0.045, top - 0.09), (lamp - side * 0.03, top - 0.14)], 0.01, metal)
    pen.polygon(
        [(lamp - side * 0.02, top - 0.155), (lamp - side * 0.1, top - 0.115), (lamp - side * 0.045, top - 0.085)], metal
    )
    cup = x - side * rng.uniform(0.22, 0.3)
    for pencil in (-0.012, 0.0, 0.013):
        pen.line([(cup + pencil * 0.6, top - 0.03), (cup + pencil * 1.6, top - 0.07)], 0.006, tone((178, 158, 120)))
    pen.rect(cup - 0.018, top - 0.042, cup + 0.018, top - 0.004, tone((156, 160, 166)))
    seat, cx = tone(pick(rng, ((132, 142, 152), (146, 142, 140), (136, 146, 138)))), x - side * rng.uniform(0.02, 0.16)
    pen.line([(cx, foot - 0.09), (cx, foot + 0.015)], 0.014, shade(seat, 0.75))
    pen.line([(cx - 0.065, foot + 0.03), (cx, foot + 0.005), (cx + 0.065, foot + 0.03)], 0.014, shade(seat, 0.75))
    pen.rect(cx - 0.075, foot - 0.27, cx + 0.075, foot - 0.12, seat, radius=0.03)
    pen.rect(cx - 0.085, foot - 0.11, cx + 0.085, foot - 0.075, shade(seat, 0.88), radius=0.015)
