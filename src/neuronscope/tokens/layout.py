"""How image tokens lie on the pictures that the processor made: two rules for all families.

*Equal cells*: every token shows a cell of the same size, each picture's tokens follow one another row by row. With
pictures of areas A_1..A_n and P tokens the cell's area is (A_1 + .. + A_n) / P, and that fixes every grid: one grid,
merged patches, tiles with a thumbnail, slices of several sizes.

*Packing* (any-resolution models, which stitch tiles, cut padding off and put a separator after each row): the model's
own packing function is given features that hold source coordinates, and returns the coordinates of each token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ImageTokenMismatch
from .frame import Frame, cells_frame
from .image import Tile

_BASE, _DETAIL = 0.0, 1.0  # in the last channel of the coordinate features; separators have _BREAK
_BREAK = -1.0


def pictures(frames: Sequence[Frame], count: int, tensors: Mapping[str, Tensor]) -> list[Frame]:
    """One frame per picture, from what was measured: processors may return every patch as a picture of its own.

    Args:
        frames: as measured, tiles of padding included; patches of padding are left out.
        count: P; where there are at least as many frames as tokens, the frames are patches.
        tensors: the processed inputs. `target_sizes` (rows, columns of patches of each slice) and `image_grid_thw` (of
            the one picture, padding included) are used where they are there.
    """
    slices, whole = tensors.get("target_sizes"), tensors.get("image_grid_thw")
    shown = [frame for frame in frames if not frame.blank]
    if slices is not None:
        ends = np.cumsum([int(rows * columns) for rows, columns in slices.reshape(-1, 2).tolist()])
        if ends[-1] != len(shown):
            raise ImageTokenMismatch(f"the processor counts {ends[-1]} patches, of which {len(shown)} were found")
        return [_joined(part) for part in (shown[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))]
    patches = len(shown) >= count > 1
    joined = _joined(shown) if patches else frames[0]
    if whole is not None and (patches or len(frames) == 1):
        _, rows, columns = whole.reshape(-1, 3)[0].tolist()
        if joined.processed[0] <= columns and joined.processed[1] <= rows:  # in patches; padding is right and below
            joined = replace(joined, processed=(columns, rows))
    return [joined] if patches or len(frames) == 1 else list(frames)


def two_grids(frames: Sequence[Frame], sizes: Sequence[int]) -> tuple[Tile, ...]:
    """An overview and a stitched picture, where the processor gives both grids (rows, columns, rows, columns)."""
    rows, columns, fine_rows, fine_columns = sizes
    overview = Tile(np.arange(rows * columns).reshape(rows, columns), frames[0])
    if not fine_rows * fine_columns or len(frames) == 1:
        return (overview,)
    boxes = np.array([frame.to_source((0, 0, frame.processed[0], frame.processed[1])) for frame in frames[1:]])
    left, top = boxes[:, 0].min(), boxes[:, 1].min()
    width, height = (boxes[:, 0] + boxes[:, 2]).max() - left, (boxes[:, 1] + boxes[:, 3]).max() - top
    scale = (width / fine_columns, height / fine_rows)
    frame = Frame(frames[0].source, (fine_columns, fine_rows), scale, (left, top))
    tokens = np.arange(fine_rows * fine_columns).reshape(fine_rows, fine_columns) + rows * columns
    return (overview, Tile(tokens, frame))


@dataclass(frozen=True)
class Separators:
    """Image tokens that show nothing, where a family writes them with the image token's own id.

    Attributes:
        row: after each row.
        before, after: around each picture.
    """

    row: int = 0
    before: int = 0
    after: int = 0


NONE = Separators()


def equal_cells(
    frames: Sequence[Frame], count: int, cell: tuple[float, float] = (1, 1), separators: Separators = NONE
) -> tuple[Tile, ...]:
    """The grid of each picture when `count` tokens share them in cells of equal size.

    A picture outside the image, a tile of padding, gets no grid: in most families it has no tokens, in some it has as
    many as any other tile, which then show nothing. The number of tokens tells which.

    Args:
        frames: one per picture, in the order of the tokens.
        count: P, over all pictures.
        cell: height and width of a cell relative to each other; (1, 4) is four times as wide as high.
        separators: tokens that show nothing.

    Raises ImageTokenMismatch when no such grids exist, and when they exist with and without tokens of padding.
    """
    shown = [frame for frame in frames if not frame.blank]
    choices = [shown] if len(shown) == len(frames) else [shown, list(frames)]
    readings = [(kept, grids) for kept in choices if (grids := _grids(kept, count, cell, separators))]
    if len(readings) != 1:
        sizes = [f"{w} x {h}" for w, h in (f.processed for f in frames)]
        named = ", ".join(sizes[:4]) + (", ..." if len(sizes) > 4 else "")
        raise ImageTokenMismatch(
            f"{count} image tokens do not divide the processed picture(s) ({named}) into equal cells"
            if not readings
            else f"{count} image tokens divide the processed pictures ({named}) into equal cells with and without the "
            f"{len(frames) - len(shown)} of them that are padding: which token shows what cannot be told"
        )
    ((kept, grids),) = readings
    tiles: list[Tile] = []
    first = 0
    for frame, (rows, columns) in zip(kept, grids, strict=True):
        first += separators.before
        # Patch embeddings take whole pixels: 27 patches of 384 px are 14 px each, and 6 px are seen by none.
        across, down = frame.processed[0] // columns or 1, frame.processed[1] // rows or 1
        width = columns + separators.row
        tokens = np.arange(first, first + rows * width).reshape(rows, width)
        if not frame.blank:
            tiles.append(Tile(tokens[:, :columns], replace(frame, processed=(columns * across, rows * down))))
        first += rows * width + separators.after
    return tuple(tiles)


def _grids(
    frames: Sequence[Frame], count: int, cell: tuple[float, float], separators: Separators
) -> list[tuple[int, int]]:
    """(rows, columns) of each picture: the largest cells that make the token count right; empty if none do."""
    sizes = [(frame.processed[1] / cell[0], frame.processed[0] / cell[1]) for frame in frames]
    area = sum(h * w for h, w in sizes)
    around = (separators.before + separators.after) * len(frames)
    # Without separators the cell's size follows from the area; with row ends there are a little fewer cells.
    for cells in range(count - around, 0, -1):
        unit = (area / cells) ** 0.5
        grids = [(h / unit, w / unit) for h, w in sizes]
        whole = [(round(h), round(w)) for h, w in grids]
        exact = np.allclose(grids, whole, rtol=0, atol=1e-3) and min(map(min, whole)) > 0
        if exact and sum(rows * (columns + separators.row) for rows, columns in whole) == count - around:
            return whole
        if not separators.row:
            break
    if len(frames) == 1 and not around and cell == (1, 1):
        # Merging may leave an odd strip at the right and bottom out: whole cells of a whole number of pixels.
        width, height = frames[0].processed
        for side in range(min(width, height), 0, -1):
            if (height // side) * (width // side) == count:
                return [(height // side, width // side)]
    return []


def _joined(frames: Sequence[Frame]) -> Frame:
    """One frame for patches that were processed as pictures of their own."""
    centres = [f.to_source((f.processed[0] / 2, f.processed[1] / 2, 0, 0)) for f in frames]
    x, y = (np.array([c[axis] for c in centres]) for axis in (0, 1))
    return cells_frame(x, y, frames[0].source)


def packing_module(model: nn.Module) -> nn.Module | None:
    """The part of a model that owns `pack_image_features` and is called to pack; None where there is none."""
    owners = [m for m in model.modules() if callable(getattr(m, "pack_image_features", None))]
    return owners[-1] if owners else None  # the outer class only hands the call on


def packed_cells(
    packer: nn.Module, tensors: Mapping[str, Tensor], frames: Sequence[Sequence[Frame]], counts: Sequence[int]
) -> tuple[tuple[Tile, ...], ...]:
    """The tiles of each image after the model's own packing; their tokens are counted from the image's first one.

    Args:
        packer: from :func:`packing_module`; it owns `get_image_features` too.
        tensors: processed inputs of one prompt.
        frames: of each image, one per tile, the thumbnail first.
        counts: number of tokens of each image, separators included.

    Raises ImageTokenMismatch where the model packs another number of images, tiles or tokens.
    """
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    original: Any = packer.pack_image_features

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return original(*args, **kwargs)

    wanted = {k: v for k, v in tensors.items() if k in ("pixel_values", "image_sizes", "batch_num_images")}
    packer.pack_image_features = spy  # pyright: ignore[reportArgumentType]
    try:
        with torch.no_grad():
            owner: Any = packer
            owner.get_image_features(**wanted)
    finally:
        del packer.pack_image_features
    if not calls:
        raise ImageTokenMismatch(f"{type(packer).__name__} does not pack image features while it computes them")
    args, kwargs = calls[-1]
    features: Any = args[0] if args else kwargs["image_features"]
    if len(features) != len(frames):
        raise ImageTokenMismatch(f"the prompt holds {len(frames)} images, the model packs {len(features)}")
    coordinates = [_coordinates(f.shape, own).to(f.device) for f, own in zip(features, frames, strict=True)]
    rest = dict(kwargs)
    if rest.get("image_newline") is not None:
        rest["image_newline"] = torch.tensor([0.0, 0.0, _BREAK], device=coordinates[0].device)
    rest.pop("image_features", None)
    output: Any = original(coordinates, *args[1:], **rest)
    result: list[tuple[Tile, ...]] = []
    for values, own, count in zip(output[0] if isinstance(output, tuple) else output, frames, counts, strict=True):
        packed = np.asarray(values.detach().cpu(), dtype=np.float64)
        if packed.ndim != 2 or len(packed) != count:
            raise ImageTokenMismatch(
                f"the prompt holds {count} image tokens, the model packs {packed.shape[0]} features"
            )
        result.append(_tiles(packed, own[0].source))
    return tuple(result)


def _coordinates(shape: tuple[int, ...], frames: Sequence[Frame]) -> Float[Tensor, "tiles tokens 3"]:
    """Features [tiles, tokens, (x, y, kind)]: the source coordinates of each cell's centre."""
    tiles, tokens = shape[0], shape[1]
    side = round(tokens**0.5)
    if side * side != tokens or tiles != len(frames):
        raise ImageTokenMismatch(f"{len(frames)} tiles were processed, but features have shape {tuple(shape)}")
    result = torch.zeros(tiles, tokens, 3)
    for number, frame in enumerate(frames):
        width, height = frame.processed
        middle = torch.arange(side) + 0.5  # in cells of whole pixels, as in equal_cells
        result[number, :, 0] = (middle * (width // side) * frame.scale[0] + frame.offset[0]).repeat(side)
        result[number, :, 1] = (middle * (height // side) * frame.scale[1] + frame.offset[1]).repeat_interleave(side)
        result[number, :, 2] = _DETAIL if number else _BASE
    return result


def _tiles(packed: Float[np.ndarray, "tokens 3"], source: tuple[int, int]) -> tuple[Tile, ...]:
    tiles: list[Tile] = []
    for kind in (_BASE, _DETAIL):
        tokens = np.nonzero(packed[:, 2] == kind)[0]
        if len(tokens):
            frame = cells_frame(packed[tokens, 0], packed[tokens, 1], source)
            tiles.append(Tile(tokens.reshape(frame.processed[::-1]), frame))
    return tuple(tiles)
