"""Where the image is in the sequence, and which pixels each image token covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import ImageTokenMismatch, NoGrid
from .frame import Box, Frame


@dataclass(frozen=True)
class Tile:
    """A rectangular grid of image tokens that show one picture: the whole image, a tile of it, or a thumbnail.

    Attributes:
        tokens: [rows, columns] which image token is where, as an index into ImageTokens.positions.
        frame: the map between the picture's pixels and the user's.
    """

    tokens: Int[np.ndarray, "rows columns"]
    frame: Frame

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of one token's cell in processed pixels."""
        rows, columns = self.tokens.shape
        return (self.frame.processed[0] / columns, self.frame.processed[1] / rows)

    def box(self, row: int, column: int) -> Box:
        """The box (x, y, width, height) of the user's image that a cell covers."""
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
        tiles: how they lie on the image. Tokens in no tile (row breaks, separators) cover nothing.
        no_grid: why there are no tiles, where there are none.
    """

    positions: Int[np.ndarray, "tokens"]
    tiles: tuple[Tile, ...] = ()
    no_grid: str = ""

    def __post_init__(self) -> None:
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

    @property
    def count(self) -> int:
        """P, the number of image tokens."""
        return len(self.positions)

    @property
    def layout(self) -> str:
        """How the tokens lie, for people: "64 = 8 x 8", or why there is no grid."""
        if not self.tiles:
            return f"{self.count} without a grid: {self.no_grid}"
        shapes = [f"{rows} x {columns}" for rows, columns in (tile.tokens.shape for tile in self.tiles)]
        parts = [f"{shapes.count(s)} of {s}" if shapes.count(s) > 1 else s for s in dict.fromkeys(shapes)]
        loose = self.count - sum(tile.tokens.size for tile in self.tiles)
        return f"{self.count} = {' + '.join(parts)}" + (f" + {loose} separators" if loose else "")

    def mapped(self) -> tuple[Tile, ...]:
        """The tiles. Raises NoGrid where the tokens do not lie on the image."""
        if not self.tiles:
            raise NoGrid(f"the {self.count} image tokens of this model have no place on the image: {self.no_grid}")
        return self.tiles

    def footprint(self, token: int) -> Box | None:
        """The box (x, y, width, height) of the user's image, in pixels, that an image token covers; None if none.

        Raises ImageTokenMismatch for a token that does not exist and NoGrid where the tokens have no place at all.
        """
        if not 0 <= token < self.count:
            raise ImageTokenMismatch(f"image token {token} does not exist; there are {self.count}")
        for tile in self.mapped():
            found = np.argwhere(tile.tokens == token)
            if len(found):
                return tile.box(int(found[0, 0]), int(found[0, 1]))
        return None

    def at(self, x: float, y: float) -> int | None:
        """The token that covers the source pixel position (x, y), the finest where several do; None where none does."""
        finest = sorted(self.mapped(), key=lambda tile: tile.box(0, 0)[2] * tile.box(0, 0)[3])
        return next((token for tile in finest if (token := tile.at(x, y)) is not None), None)

    def coverage(self, region: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "tokens"]:
        """Share of each token's footprint that a region of the user's image fills, 0 to 1."""
        height, width = region.shape
        total = np.zeros((height + 1, width + 1))
        total[1:, 1:] = region.cumsum(0).cumsum(1)
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
