"""Reading a picture from wherever the user has it: always RGB, 8 bits, upright, first frame."""

from __future__ import annotations

import os
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
        picture, name = Image.fromarray(source), "image array"
    elif isinstance(source, Image.Image):
        picture, name = source, "image"
    else:
        name = os.fspath(source)
        picture = _open(Path(name))
    picture = _to_rgb(picture)
    if min(picture.size) < MIN_SIDE:
        raise InvalidSample(f"{name} is {picture.width} x {picture.height} px; at least {MIN_SIDE} on a side are needed")
    return picture


def _open(path: Path) -> Image.Image:
    if not path.exists():
        raise InvalidSample(f"image {path} does not exist")
    if path.is_dir():
        raise InvalidSample(f"image {path} is a directory")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
            picture.load()
    except UnidentifiedImageError as error:
        raise InvalidSample(f"image {path} is not in a format that can be read") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidSample(f"image {path} is too large: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidSample(f"image {path} cannot be read: {error}") from error
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """First frame, upright, RGB."""
    if getattr(picture, "n_frames", 1) > 1:
        picture.seek(0)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "RGB":
        return picture.copy()
    if picture.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _from_deep(picture)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return picture.convert("RGB")


def _from_deep(picture: Image.Image) -> Image.Image:
    """Grey pictures of more than 8 bits: Pillow would clip them, so they are scaled by their own full range."""
    values = np.asarray(picture, dtype=np.float64)
    if picture.mode == "F":
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    else:  # 16-bit data, also where Pillow widens it to 32-bit integers
        scaled = values / 257
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
