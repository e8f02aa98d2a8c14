"""Where the image is in the sequence, and which pixels each image token covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..errors import ImageTokenMismatch
from .frame import Box, Frame


@dataclass(frozen=True)
class ImageTokens:
    """The image tokens of one prompt.

    Attributes:
        positions: [P] sequence positions in the processed (padded) row.
        grid: (rows, columns); token t is at row t // columns, column t % columns. P = rows * columns.
        frame: the map between the model's pixels and the user's.
    """

    positions: Int[np.ndarray, "tokens"]
    grid: tuple[int, int]
    frame: Frame

    def __post_init__(self) -> None:
        rows, columns = self.grid
        if rows * columns != len(self.positions):
            raise ImageTokenMismatch(
                f"the prompt holds {len(self.positions)} image tokens, but the image gives a grid of "
                f"{rows} x {columns} = {rows * columns} features"
            )

    @property
    def count(self) -> int:
        """P, the number of image tokens."""
        return len(self.positions)

    def footprint(self, token: int) -> Box:
        """The box (x, y, width, height) of the user's image, in pixels, that an image token covers."""
        if not 0 <= token < self.count:
            raise ImageTokenMismatch(f"image token {token} does not exist; there are {self.count}")
        w, h = self._cell()
        row, column = divmod(token, self.grid[1])
        return self.frame.to_source((column * w, row * h, w, h))

    def at(self, x: float, y: float) -> int | None:
        """The token that covers the source pixel position (x, y); None where the processor cropped it away."""
        px, py, _, _ = self.frame.to_processed((x, y, 0, 0))
        w, h = self._cell()
        column, row = int(np.floor(px / w)), int(np.floor(py / h))
        inside = 0 <= row < self.grid[0] and 0 <= column < self.grid[1]
        return row * self.grid[1] + column if inside else None

    def coverage(self, region: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "tokens"]:
        """Share of each token's footprint that a region of the user's image fills, 0 to 1."""
        height, width = region.shape
        total = np.zeros((height + 1, width + 1))
        total[1:, 1:] = region.cumsum(0).cumsum(1)
        shares = np.zeros(self.count)
        for token in range(self.count):
            x, y, w, h = self.footprint(token)
            x0, x1 = (int(np.clip(round(v), 0, width)) for v in (x, x + w))
            y0, y1 = (int(np.clip(round(v), 0, height)) for v in (y, y + h))
            area = (x1 - x0) * (y1 - y0)
            if area:
                shares[token] = (total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]) / area
        return shares

    def _cell(self) -> tuple[float, float]:
        """Width and height of one token's cell in processed pixels."""
        return (self.frame.processed[0] / self.grid[1], self.frame.processed[1] / self.grid[0])
