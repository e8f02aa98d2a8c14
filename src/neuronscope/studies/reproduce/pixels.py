"""Pictures and masks as a data set's record keeps them: hashes of pixels, and run lengths."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> str:
    """A mask as COCO's compressed run lengths."""
    from pycocotools import mask as coco_mask

    encoded: Any = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return encoded["counts"].decode("ascii")


def decode_mask(counts: str, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of a picture of (width, height) from its run lengths."""
    from pycocotools import mask as coco_mask

    return np.asarray(coco_mask.decode({"size": [size[1], size[0]], "counts": counts.encode("ascii")})).astype(bool)


def pixel_hash(content: Image.Image | Bool[np.ndarray, "height width"]) -> str:
    """SHA-256 of "height x width" and the pixels: three bytes each of a picture, one of a mask."""
    data = np.asarray(content.convert("RGB") if isinstance(content, Image.Image) else content, dtype=np.uint8)
    return hashlib.sha256(f"{data.shape[0]}x{data.shape[1]}".encode() + data.tobytes()).hexdigest()
