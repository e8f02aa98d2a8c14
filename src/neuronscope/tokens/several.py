"""Several images in one prompt: how many tokens belong to each, and whether each lies as it does alone.

Processors treat most prompts of several images as so many prompts of one: then image k has as many tokens as alone, and
its pixels are found where they are when it is processed alone. Both are measured, never assumed. What else happens:

*Padding.* Pictures of different sizes share one array, so the smaller ones are padded at the right and at the bottom.
The model cuts that off again, so the frame measured alone holds.

*Fewer tiles.* Some processors do not tile where there are several images. Then the token counts do not add up, and
n copies of one image tell: they have n times its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ImageTokenMismatch
from .frame import Frame


def share_out(alone: Sequence[int], total: int, copies: Callable[[int, int], int]) -> tuple[int, ...]:
    """How many of a prompt's image tokens belong to each of its images.

    Args:
        alone: number of tokens of each image in a prompt of its own.
        total: P, of the prompt with all of them.
        copies: (image, times) -> number of image tokens of a prompt with that image so many times.

    Raises ImageTokenMismatch when neither the counts alone nor those among n copies add up to P.
    """
    if sum(alone) == total:
        return tuple(alone)
    images = len(alone)
    shared = [copies(image, images) for image in range(images)]
    counts = tuple(tokens // images for tokens in shared)
    even = not any(tokens % images for tokens in shared) and sum(counts) == total
    # A processor that writes the tokens of one image whatever it is given would pass as sharing them out.
    if not even or copies(0, images + 1) <= shared[0]:
        raise ImageTokenMismatch(
            f"the prompt holds {total} image tokens for {images} images, which alone have "
            f"{' + '.join(map(str, alone))} = {sum(alone)}: which token belongs to which image cannot be told"
        )
    return counts


def as_alone(alone: Sequence[Frame], among: Sequence[Frame]) -> bool:
    """Whether an image's pixels lie, among others, where they lie alone, but for padding at the right and bottom."""
    return len(alone) == len(among) and all(
        np.allclose([*a.scale, *a.offset], [*b.scale, *b.offset], rtol=1e-4, atol=1e-2)
        and a.processed[0] <= b.processed[0]
        and a.processed[1] <= b.processed[1]
        for a, b in zip(alone, among, strict=True)
    )


def require_unpadded(alone: Sequence[Frame], among: Sequence[Frame]) -> None:
    """Raise ImageTokenMismatch unless an image has, among others, pictures of the sizes that it has alone.

    Where it is processed in another way, its pictures may be padded by an amount that nothing tells. A picture of a
    size that occurs alone is not.
    """
    known = {frame.processed for frame in alone}
    other = next((frame.processed for frame in among if frame.processed not in known), None)
    if other is not None or not among:
        shown = f"a picture of {other[0]} x {other[1]} px" if other else "no picture"
        raise ImageTokenMismatch(
            f"the processor makes {shown} of an image of size {alone[0].source} that stands among others, and other "
            "pictures of it alone: its tokens cannot be placed"
        )
