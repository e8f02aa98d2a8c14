"""Where the image is in the sequence, and which pixels each image token covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import ImageTokenMismatch, InvalidOption, NoGrid
from .frame import Box, Frame


@dataclass(frozen=True)
class Tile:
    """A rectangular grid of image tokens that show one picture: the whole image, a tile of it, or a thumbnail.

    Attributes:
        tokens: [rows, columns] which image token is where, as an index into ImageTokens.positions.
        frame: the map between the picture's pixels and the user's.
        image: which of the prompt's images it shows, counted from 0.
    """

    tokens: Int[np.ndarray, "rows columns"]
    frame: Frame
    image: int = 0

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of one token's cell in processed pixels."""
        rows, columns = self.tokens.shape
        return (self.frame.processed[0] / columns, self.frame.processed[1] / rows)

    def box(self, row: int, column: int) -> Box:
        """The box (x, y, width, height) of the user's image that a cell covers, in pixels of that image."""
        w, h = self.cell
        return self.frame.to_source((column * w, row * h, w, h))

    def at(self, x: float, y: float) -> int | None:
        """The token that covers the source pixel position (x, y)."""
        px, py, _, _ = self.frame.to_processed((x, y, 0, 0))
        w, h = self.cell
        column, row = int(np.floor(px / w)), int(np.floor(py / h))
        rows, columns = self.tokens.shape
        return int(self.tokens[row, column]) if 0 <= row < rows and 0 <= column < columns else None


@dataclass(frozen=True)
class ImageTokens:
    """The image tokens of one prompt.

    Attributes:
        positions: [P] sequence positions in the processed (padded) row.
        tiles: how they lie on the image. Tokens in no tile (row breaks, separators, padding) cover
            nothing.
        no_grid: why there are no tiles, where there are none.
        counts: how many tokens each of several images has, in their order; empty for one image. :meth:`of` gives the
            tokens of one of them.
    """

    positions: Int[np.ndarray, "tokens"]
    tiles: tuple[Tile, ...] = ()
    no_grid: str = ""
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.counts and sum(self.counts) != len(self.positions):
            raise ImageTokenMismatch(
                f"the prompt holds {len(self.positions)} image tokens, but its {len(self.counts)} images have "
                f"{' + '.join(map(str, self.counts))} = {sum(self.counts)}"
            )
        used = np.concatenate([tile.tokens.ravel() for tile in self.tiles]) if self.tiles else np.zeros(0, int)
        if len(np.unique(used)) != len(used) or (len(used) and used.max() >= len(self.positions)):
            shapes = " + ".join(f"{t.tokens.shape[0]} x {t.tokens.shape[1]}" for t in self.tiles)
            raise ImageTokenMismatch(
                f"the prompt holds {len(self.positions)} image tokens, but the image gives a grid of "
                f"{shapes} = {len(used)} features"
            )

    @classmethod
    def single(cls, positions: Int[np.ndarray, "tokens"], grid: tuple[int, int], frame: Frame) -> ImageTokens:
        """One grid (rows, columns) of all tokens. Raises ImageTokenMismatch when it does not hold them."""
        rows, columns = grid
        if rows * columns != len(positions):
            raise ImageTokenMismatch(
                f"the prompt holds {len(positions)} image tokens, but the image gives a grid of "
                f"{rows} x {columns} = {rows * columns} features"
            )
        return cls(positions, (Tile(np.arange(rows * columns).reshape(grid), frame),))

    @classmethod
    def together(cls, parts: Sequence[ImageTokens], positions: Int[np.ndarray, "_tokens"]) -> ImageTokens:
        """The tokens of several images of one prompt, which follow one another, from the tokens of each."""
        starts = np.cumsum([0, *(part.count for part in parts)])
        tiles = tuple(
            replace(tile, tokens=tile.tokens + start, image=image)
            for image, (part, start) in enumerate(zip(parts, starts[:-1], strict=True))
            for tile in part.tiles
        )
        return cls(positions, tiles, parts[0].no_grid, tuple(part.count for part in parts))

    @property
    def count(self) -> int:
        """P, the number of image tokens."""
        return len(self.positions)

    @property
    def images(self) -> int:
        """How many images the prompt holds."""
        return len(self.counts) or 1

    def part(self, image: int) -> slice:
        """Which of the P image tokens belong to an image, counted from 0.

        Raises InvalidOption for an image that the prompt does not hold.
        """
        if not 0 <= image < self.images:
            raise InvalidOption(f"image={image} does not exist; the prompt holds {self.images}, counted from 0")
        start = sum(self.counts[:image])
        return slice(start, start + self.counts[image] if self.counts else self.count)

    def of(self, image: int) -> ImageTokens:
        """The tokens of one image alone: its positions in the row, its tiles.

        Raises InvalidOption for an image that the prompt does not hold.
        """
        if not self.counts:
            self.part(image)
            return self
        own = self.part(image)
        tiles = (replace(t, tokens=t.tokens - own.start, image=0) for t in self.tiles if t.image == image)
        return ImageTokens(self.positions[own], tuple(tiles), self.no_grid)

    @property
    def layout(self) -> str:
        """How the tokens lie, for people: "64 = 8 x 8", or why there is no grid."""
        if not self.tiles:
            shared = f" = {' + '.join(map(str, self.counts))}" if self.counts else ""
            return f"{self.count}{shared} without a grid: {self.no_grid}"
        if self.counts:
            return f"{self.count} in {self.images} images: {'; '.join(self.of(i).layout for i in range(self.images))}"
        shapes = [f"{rows} x {columns}" for rows, columns in (tile.tokens.shape for tile in self.tiles)]
        parts = [f"{shapes.count(s)} of {s}" if shapes.count(s) > 1 else s for s in dict.fromkeys(shapes)]
        loose = self.count - sum(tile.tokens.size for tile in self.tiles)
        return f"{self.count} = {' + '.join(parts)}" + (f" + {loose} that show nothing" if loose else "")

    def mapped(self) -> tuple[Tile, ...]:
        """The tiles. Raises NoGrid where the tokens do not lie on the image."""
        if not self.tiles:
            raise NoGrid(f"the {self.count} image tokens of this model have no place on the image: {self.no_grid}")
        return self.tiles

    def footprint(self, token: int) -> Box | None:
        """The box (x, y, width, height) of the user's image, in pixels, that an image token covers; None if none.

        Of several images it is the one that the token belongs to. Raises ImageTokenMismatch for a token that does not
        exist and NoGrid where the tokens have no place at all.
        """
        if not 0 <= token < self.count:
            raise ImageTokenMismatch(f"image token {token} does not exist; there are {self.count}")
        for tile in self.mapped():
            found = np.argwhere(tile.tokens == token)
            if len(found):
                return tile.box(int(found[0, 0]), int(found[0, 1]))
        return None

    def at(self, x: float, y: float) -> int | None:
        """The token that covers the source pixel position (x, y), the finest where several do; None where none does.

        Raises InvalidOption where the prompt holds several images: ask :meth:`of` one of them.
        """
        self._require_one_image("at(x, y)")
        finest = sorted(self.mapped(), key=lambda tile: tile.box(0, 0)[2] * tile.box(0, 0)[3])
        return next((token for tile in finest if (token := tile.at(x, y)) is not None), None)

    def coverage(self, region: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "tokens"]:
        """Share of each token's footprint that a region of the user's image fills, 0 to 1.

        Raises InvalidOption where the prompt holds several images: ask :meth:`of` one of them.
        """
        self._require_one_image("coverage(region)")
        height, width = region.shape
        total = np.zeros((height + 1, width + 1), np.int32)
        total[1:, 1:] = region.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)
        shares = np.zeros(self.count)
        for tile in self.mapped():
            for (row, column), token in np.ndenumerate(tile.tokens):
                x, y, w, h = tile.box(row, column)
                x0, x1 = (int(np.clip(round(v), 0, width)) for v in (x, x + w))
                y0, y1 = (int(np.clip(round(v), 0, height)) for v in (y, y + h))
                area = (x1 - x0) * (y1 - y0)
                if area:
                    shares[token] = (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) / area
        return shares

    def _require_one_image(self, asked: str) -> None:
        if self.images > 1:
            raise InvalidOption(
                f"the prompt holds {self.images} images: pixels belong to one of them, so ask of(image).{asked}"
            )
