"""Image tokens: the map against a coloured square, one image and several, two-stage scores, heat maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import ImageTokenMismatch, InvalidOption
from ...held import hooked
from ...models.inputs import ImageRow
from ...models.rounding import relative, tolerance
from ...tokens import ImageTokens, Tile
from ..vlm import VLM
from .common import NotApplicable, Outcome, noise_picture, unmapped

#: (width, height) of the pictures of a prompt that shows two.
_SIZES = ((96, 64), (48, 64))
#: Largest move of another image's tokens over the mean move of an image's own that rounding explains.
_UNMOVED = 1e-2
#: Of squares, one after another where one colour does not settle it.
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


class _Entered(Exception):
    """The first decoder layer was reached: nothing after it is needed, and most of a model's time is spent there."""


@dataclass(frozen=True)
class Squares:
    """What lone coloured squares moved, each painted where the map says that one token looks.

    Attributes:
        count: how many squares.
        above: share of the tokens elsewhere that move no more than the square's own; mean over the squares.
        off: how many tokens the map would have to be shifted to meet what moved best, along rows or columns, whichever
            is more; infinite where it would have to be turned or mirrored.
        fit: what moved where the map says, over what moved where the best map would have it; 1 for the best.
    """

    count: int
    above: float
    off: float
    fit: float

    @property
    def needed(self) -> float:
        """What `above` has to be: with a wrong map it is uniform over 0 to 1, of which this is three deviations."""
        return min(0.85, 0.5 + 3 * (1 / 12 / self.count) ** 0.5)

    @property
    def ok(self) -> bool:
        """Whether the map fits."""
        return self.above >= self.needed and self.best

    @property
    def best(self) -> bool:
        """Whether no other map does better: by a token, and a little, one may where a tower sees far.

        Of the families, and of the natural model, one has a better neighbour, and fits 0.87 as well; the maps of two
        pictures in each other's place fit 0.74.
        """
        return not self.off or (self.off <= 1 and self.fit >= 0.8)

    def __str__(self) -> str:
        line = (
            f"its token moves more than {self.above:.0%} of those elsewhere ({self.needed:.0%} in {self.count} needed)"
        )
        return line if self.best else f"{line}, and another map fits better"


def check_coloured_patch(vlm: VLM) -> Outcome:
    """Lone coloured squares move the image tokens that the map says they cover, and no other map fits better."""
    if reason := unmapped(vlm) or vlm.family.discrete:
        return NotApplicable(reason)
    (found,) = _squares(vlm, [_faint()])
    return str(found), found.ok


def check_several_images(vlm: VLM) -> Outcome:
    """In a prompt with two pictures each has its own tokens and its own map, and padding moves nothing.

    Another picture in place k changes the tokens of k and no others (the logits, where no token shows an image). Of
    coloured squares, one in each at a time, each moves the token that the map says it covers more than tokens of its
    picture that it does not. Rows of two pictures and of one, padded together, give what each gives alone.
    """
    if vlm.family.one_image:
        return NotApplicable(vlm.family.one_image)
    plain = [_faint(size, seed) for seed, size in enumerate(_SIZES)]
    try:
        tokens = vlm.prepare([[Image.fromarray(picture) for picture in plain]]).images[0]
    except (InvalidOption, ImageTokenMismatch) as error:
        if vlm.family.listed:
            raise
        return NotApplicable(str(error))  # general rules need not fit, and it is refused in so many words
    lines = [] if vlm.family.no_image else [f"{' + '.join(map(str, tokens.counts))} tokens"]
    problems = [f"picture {image} {what}" for image in range(2) if (what := astray(vlm, plain, image, tokens))]
    if not unmapped(vlm) and not vlm.family.discrete:
        found = _squares(vlm, plain)
        lines += [f"a square in picture {image}: {squares}" for image, squares in enumerate(found)]
        problems += [f"picture {image} has a wrong map" for image, squares in enumerate(found) if not squares.ok]
    if vlm.family.single or vlm.family.alone:
        lines.append(f"no batches: {vlm.family.single or vlm.family.alone}")
    else:
        others = [noise_picture(size, seed) for seed, size in enumerate(_SIZES)]
        difference = apart(vlm, [[Image.fromarray(p) for p in plain], noise_picture(), others])
        lines.append(f"in one batch {difference:.1e} from alone")
        problems += ["padding matters"] if difference > tolerance(vlm) else []
    return "; ".join([*problems, *lines]), not problems


def _faint(size: tuple[int, int] = (96, 64), seed: int = 0) -> np.ndarray:
    """Faint noise, [height, width, 3]: on one flat colour all patches look at one another alike."""
    return np.asarray(noise_picture(size, seed)) // 4 + 96


def _squares(vlm: VLM, plain: Sequence[np.ndarray]) -> list[Squares]:
    """What squares on some tokens of a prompt's pictures move; more colours and tokens where a few do not do."""
    found = _moved(vlm, plain, _probes, _COLOURS[:1])
    for probes in (_probes, _many_probes):
        if all(one.ok for one in found):
            break
        found = _moved(vlm, plain, probes, _COLOURS)
    return found


def _moved(
    vlm: VLM,
    plain: Sequence[np.ndarray],
    probes: Callable[[Sequence[Tile]], list[tuple[Tile, int, int]]],
    colours: Sequence[tuple[int, int, int]],
) -> list[Squares]:
    """Of each picture what its squares move of its own tokens; the others' are :func:`astray`'s matter."""
    tokens = vlm.prepare([[Image.fromarray(picture) for picture in plain]]).images[0]
    parts = [(tokens.of(image), tokens.part(image)) for image in range(len(plain))]
    places = [probes(own.mapped()) for own, _ in parts]
    squares = [
        [_square(tile, row, column, picture) for tile, row, column in where]
        for where, picture in zip(places, plain, strict=True)
    ]
    before = entering_states(vlm, plain)
    # One square in each picture: a prompt is read as often as the picture with most squares needs.
    moved = np.zeros((max(map(len, places)), tokens.count))
    for turn in range(len(moved)):
        for colour in colours:
            painted = [
                np.where(own[turn][..., None], colour, picture).astype(np.uint8) if turn < len(own) else picture
                for own, picture in zip(squares, plain, strict=True)
            ]
            moved[turn] += np.linalg.norm(entering_states(vlm, painted) - before, axis=1)
    found: list[Squares] = []
    for (own, at), where, painted in zip(parts, places, squares, strict=True):
        moves = [row[at] for row in moved[: len(where)]]
        found.append(_judged(list(zip(moves, where, painted, strict=True)), own))
    return found


def _square(tile: Tile, row: int, column: int, picture: np.ndarray) -> np.ndarray:
    """Where a cell lies in its picture, [height, width]."""
    x, y, w, h = tile.box(row, column)
    square = np.zeros(picture.shape[:2], dtype=bool)
    square[max(0, round(y)) : max(round(y + h), 1), max(0, round(x)) : max(round(x + w), 1)] = True
    return square


def _judged(squares: Sequence[tuple[np.ndarray, tuple[Tile, int, int], np.ndarray]], own: ImageTokens) -> Squares:
    """The verdict on one picture.

    Args:
        squares: of each how much every token of the picture moved, the cell that was painted, and its pixels.
        own: the picture's tokens.
    """
    above: list[float] = []
    seen: list[tuple[np.ndarray, int, int]] = []
    for moved, (tile, row, column), square in squares:
        around, elsewhere = moved[tile.tokens], moved[own.coverage(square) == 0]
        # Where each token looks at the whole square nothing is there to compare with, and nothing is vouched for.
        above.append(float((elsewhere <= around[row, column]).mean()) if len(elsewhere) else 0.0)
        seen.append((around / (around.max() or 1.0), row, column))
    return Squares(len(above), float(np.mean(above)), *_off(seen))


def _off(seen: Sequence[tuple[np.ndarray, int, int]]) -> tuple[float, float]:
    """`off` and `fit` of :class:`Squares`.

    Args:
        seen: of each square what moved in its tile, [rows, columns], over the largest, and the square's row and column.
    """
    rows, columns = seen[0][0].shape

    def met(place: Callable[[int, int], tuple[int, int]]) -> float:
        return float(np.mean([around[place(row, column)] for around, row, column in seen]))

    shifts = {
        (down, across): met(lambda row, column, by=(down, across): ((row + by[0]) % rows, (column + by[1]) % columns))
        for down in range(rows)
        for across in range(columns)
    }
    best = max(shifts, key=lambda by: (shifts[by], -sum(by)))
    turned = [
        met(lambda row, column: (rows - 1 - row, column)),
        met(lambda row, column: (row, columns - 1 - column)),
        met(lambda row, column: (rows - 1 - row, columns - 1 - column)),
    ]
    if rows == columns:
        turned += [
            met(lambda row, column: (column, row)),
            met(lambda row, column: (rows - 1 - column, rows - 1 - row)),
            met(lambda row, column: (column, rows - 1 - row)),
            met(lambda row, column: (columns - 1 - column, row)),
        ]
    down, across = (min(by, side - by) for by, side in zip(best, (rows, columns), strict=True))
    fit = shifts[0, 0] / shifts[best] if shifts[best] else 1.0
    return float("inf") if max(turned) > shifts[best] else float(max(down, across)), fit


def astray(vlm: VLM, plain: Sequence[np.ndarray], image: int, tokens: ImageTokens) -> str:
    """What is wrong with the tokens of one of a prompt's pictures when another picture is shown; empty if nothing."""
    height, width = plain[image].shape[:2]
    other = [*plain[:image], np.asarray(noise_picture((width, height), 9)), *plain[image + 1 :]]
    if vlm.family.no_image:
        before, after = (vlm.prepare([[Image.fromarray(picture) for picture in row]]) for row in (plain, other))
        return "moves no logit" if torch.equal(vlm.logits(before), vlm.logits(after)) else ""
    moved = np.linalg.norm(entering_states(vlm, other) - entering_states(vlm, plain), axis=1)
    own = np.zeros(tokens.count, dtype=bool)
    own[tokens.part(image)] = True
    if not moved[own].mean() > 0:
        return "moves none of its tokens"
    return "moves the other's tokens" if moved[~own].max() > _UNMOVED * moved[own].mean() else ""


def apart(vlm: VLM, rows: Sequence[ImageRow]) -> float:
    """Largest relative difference between the next-token logits of rows that share batches and of each alone."""
    prepared = vlm.prepare(rows)
    worst = 0.0
    for group in prepared.batches():
        together = vlm.logits(prepared.select(group))
        alone = torch.cat([vlm.logits(prepared.select([row])) for row in group])
        worst = max(worst, *(relative(a, b) for a, b in zip(together, alone, strict=True)))
    return worst


def _probes(tiles: Sequence[Tile]) -> list[tuple[Tile, int, int]]:
    """A few cells of the finest tile: near the corners and the middle."""
    tile = _finest(tiles)
    rows, columns = tile.tokens.shape
    places = {(r, c) for r in (rows // 4, rows // 2, 3 * rows // 4) for c in (columns // 4, columns // 2)}
    return [(tile, min(r, rows - 1), min(c, columns - 1)) for r, c in sorted(places)]


def _many_probes(tiles: Sequence[Tile]) -> list[tuple[Tile, int, int]]:
    """Cells all over the finest tile, up to six rows of six."""
    tile = _finest(tiles)
    down, across = (sorted({round(at) for at in np.linspace(0, side - 1, 6)}) for side in tile.tokens.shape)
    return [(tile, row, column) for row in down for column in across]


def _finest(tiles: Sequence[Tile]) -> Tile:
    return min(tiles, key=lambda t: t.box(0, 0)[2] * t.box(0, 0)[3])


def entering_states(vlm: VLM, shown: Sequence[np.ndarray]) -> np.ndarray:
    """What enters the first decoder layer at the image tokens of a prompt with some pictures, [P, streams x hidden]."""
    everywhere, positions = entering_everywhere(vlm, shown)
    return everywhere[positions]


def entering_everywhere(vlm: VLM, shown: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What enters the first decoder layer, [positions, streams x hidden], and the image tokens' positions, [P]."""
    inputs = vlm.prepare([[Image.fromarray(pixels) for pixels in shown]])
    taken: list[Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        taken.append(args[0] if args else kwargs["hidden_states"])
        raise _Entered

    with hooked(vlm.structure.layers[0], "before", keep), torch.no_grad(), suppress(_Entered):
        vlm.logits(inputs)
    # Some decoders carry several residual streams, which here count as one.
    return taken[0][0].float().flatten(1).cpu().numpy(), inputs.images[0].positions
