"""Every kind of pixel that Pillow knows as RGB of 8 bits, with the tones that were meant, or refused.

Pillow clips grey of more than 8 bits, so that is scaled here, by the range of its kind and never by the picture's own,
which would give a picture and its edit different tones: 16 bits are 0 to 65535, floats 0 to 1. Colour of 16 bits comes
from Pillow as its upper 8. Transparency shows white behind it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_TRANSPARENT = ("LA", "PA", "RGBA", "RGBa")


def to_rgb(picture: Image.Image) -> Image.Image:
    """The first frame of a picture as RGB. Raises ValueError for grey tones outside the range of their kind."""
    if picture.mode == "F":
        return _grey(_floats(picture) * np.float32(255))
    if picture.mode in _DEEP:
        return _grey(_integers(picture) / np.float32(257))
    if picture.mode == "La":  # Pillow turns this one into LA and nothing else
        picture = picture.convert("LA")
    if picture.mode in _TRANSPARENT or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _floats(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(f"its floating-point tones go from {low:g} to {high:g}, not from 0 to 1: save it with 8 bits")
    return values


def _integers(picture: Image.Image) -> np.ndarray:
    """Of 16 bits, also where Pillow widens them to 32."""
    values = np.asarray(picture)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"its tones go from {low} to {high}, not from 0 to 65535 (16 bits): save it with 8 bits")
    if 0 < high < 256:  # by its own scale it would be black
        raise ValueError(
            f"its tones of 16 bits go up to {high} of 65535, as if tones of 8 bits were stored in more: save it with 8"
        )
    return values.astype(np.float32)


def _grey(tones: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(tones).astype(np.uint8)).convert("RGB")
