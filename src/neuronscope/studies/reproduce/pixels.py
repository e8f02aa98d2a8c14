"""Pictures and masks as a data set's record keeps them: hashes of pixels, run lengths, and what a model drew."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from ...samples.image import held_picture


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> str:
    """A mask as COCO's compressed run lengths."""
    from pycocotools import mask as coco_mask

    encoded: Any = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return encoded["counts"].decode("ascii")


def decode_mask(counts: str, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of a picture of (width, height) from its run lengths."""
    from pycocotools import mask as coco_mask

    return np.asarray(coco_mask.decode({"size": [size[1], size[0]], "counts": counts.encode("ascii")})).astype(bool)


def encode_inside(picture: Image.Image, mask: Bool[np.ndarray, "height width"]) -> str:
    """The part of a picture in which a mask lies, as PNG in base64."""
    held = io.BytesIO()
    picture.convert("RGB").crop(_around(mask)).save(held, format="PNG")
    return base64.b64encode(held.getvalue()).decode("ascii")


def put_inside(picture: Image.Image, mask: Bool[np.ndarray, "height width"], encoded: str) -> Image.Image:
    """A picture with the masked pixels of :func:`encode_inside`. Raises ValueError where they are another mask's."""
    inside = held_picture(base64.b64decode(encoded), "what a model drew").convert("RGB")
    left, upper, right, lower = _around(mask)
    if inside.size != (right - left, lower - upper):
        raise ValueError(f"{inside.size} px are kept of an edit of {right - left} x {lower - upper}")
    made = picture.convert("RGB")
    shown = Image.fromarray(mask[upper:lower, left:right])
    made.paste(inside, (left, upper), shown)
    return made


def _around(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int, int, int]:
    """Left, upper, right and lower side of what a mask covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pixel_hash(content: Image.Image | Bool[np.ndarray, "height width"]) -> str:
    """SHA-256 of "height x width" and the pixels: three bytes each of a picture, one of a mask."""
    data = np.asarray(content.convert("RGB") if isinstance(content, Image.Image) else content, dtype=np.uint8)
    return hashlib.sha256(f"{data.shape[0]}x{data.shape[1]}".encode() + data.tobytes()).hexdigest()
