"""Reading a picture from wherever the user has it: always RGB, 8 bits, upright, first frame."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import InvalidSample

ImageSource: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any]

#: Smaller pictures cannot show anything that a patch of a vision tower could hold.
MIN_SIDE = 8

#: What Pillow's decoders raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error)


def read_image(source: ImageSource) -> Image.Image:
    """A picture as RGB, 8 bits per channel, turned upright by its EXIF tag, transparency on white, first frame.

    Raises InvalidSample naming the file and the reason: missing, not an image, truncated, too large to be safe, or
    smaller than 8 pixels on a side; and for arrays that are not uint8 [height, width, 3].
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise InvalidSample(
                f"image array has shape {source.shape} and type {source.dtype}; expected uint8 [height, width, 3]"
            )
        name = "image array"
    else:
        name = "image" if isinstance(source, Image.Image) else f"image {os.fspath(source)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = _to_rgb(_open(source, name))  # Pillow decodes late, so a picture given as such can fail here too
    except UnidentifiedImageError as error:
        raise InvalidSample(f"{name} is not in a format that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidSample(f"{name} is too large: {error}") from error
    except _DAMAGED as error:
        raise InvalidSample(f"{name} cannot be read: {error}") from error
    if min(picture.size) < MIN_SIDE:
        size = f"{picture.width} x {picture.height} px"
        raise InvalidSample(f"{name} is {size}; at least {MIN_SIDE} on a side are needed")
    return picture


def _open(source: ImageSource, name: str) -> Image.Image:
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    if isinstance(source, Image.Image):
        return source
    path = Path(source)
    if path.is_dir():
        raise InvalidSample(f"{name} is a directory")
    if not path.is_file():
        raise InvalidSample(f"{name} {'is not a regular file' if path.exists() else 'does not exist'}")
    if not path.stat().st_size:
        raise InvalidSample(f"{name} is empty")
    picture = Image.open(path)
    picture.load()
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """First frame, upright, RGB."""
    frame = picture.tell()
    if frame:
        picture.seek(0)
    upright = ImageOps.exif_transpose(picture)  # a copy in every case
    if frame:
        picture.seek(frame)  # the caller's picture stays where it was
    picture = upright
    if picture.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _from_deep(picture)
    if picture.mode == "La":  # Pillow turns this one into LA and nothing else
        picture = picture.convert("LA")
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return picture.convert("RGB")


def _from_deep(picture: Image.Image) -> Image.Image:
    """Grey pictures of more than 8 bits: Pillow would clip them, so they are scaled by their own full range."""
    values = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    if picture.mode == "F":
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    else:  # 16-bit data, also where Pillow widens it to 32-bit integers
        scaled = values / 257
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
