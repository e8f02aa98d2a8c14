"""Reading a picture from wherever the user has it: always RGB, 8 bits, upright, first frame.

Whoever made a file decides what is in it. So only the formats of :data:`FORMATS` are opened, told by their content and
not by their name (Pillow knows others whose reading starts a program), and a picture's size is looked at before it is
decoded.
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..cures import address_cure, picture_cure
from ..errors import InvalidSample
from .tones import to_rgb

ImageSource: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any]

#: What is opened, by Pillow's names. MPO, in which telephones write several views, is read as its first JPEG.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
#: Smaller pictures cannot show anything that a patch of a vision tower could hold.
MIN_SIDE = 8
#: Longer side over shorter. Processors that scale the shorter side up to theirs make much of a long strip: a file of
#: 24 kB with 8 x 1,000,000 pixels would become 336 x 42,000,000.
MAX_RATIO = 200

#: Of pictures that were opened elsewhere and may not be decoded yet: these too, and pictures without a format.
_OPENED = (*FORMATS, "MPO", None)
#: What a picture may be besides an array. Typed as anything: whoever calls may not have looked at annotations.
_KINDS: Any = (str, os.PathLike, Image.Image)
_TURN = 0x0112  # the EXIF tag
_NAMED = "filename"  # where Pillow itself notes the name of a file that it opened


@dataclass(frozen=True)
class Upright:
    """A picture as it is seen.

    Attributes:
        picture: RGB, 8 bits, turned as its EXIF tag says.
        stored: (width, height) before it was turned.
        turn: the tag, 1 to 8; 1 for none.
    """

    picture: Image.Image
    stored: tuple[int, int]
    turn: int


def read_image(source: ImageSource) -> Image.Image:
    """A picture as RGB, 8 bits per channel, turned upright by its EXIF tag, transparency on white, first frame.

    Raises InvalidSample naming the file and the reason: missing, not in one of the :data:`FORMATS`, truncated, more
    pixels than `PIL.Image.MAX_IMAGE_PIXELS`, a side below :data:`MIN_SIDE`, more than :data:`MAX_RATIO` times as long
    as wide, or tones that cannot be told (tones.py); and for arrays that are not uint8 [height, width, 3].
    """
    return read_upright(source).picture


def read_upright(source: ImageSource) -> Upright:
    """The same with what is known of the file. Raises what :func:`read_image` raises."""
    name = _called(source)
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise InvalidSample(f"{name} is {picture_cure(source)}")
        require_size((source.shape[1], source.shape[0]), name)
        return _told(Upright(Image.fromarray(source), (source.shape[1], source.shape[0]), 1), source)
    if not isinstance(source, _KINDS):
        raise InvalidSample(f"{name} is {picture_cure(source) or type(source).__name__}")
    try:
        if isinstance(source, Image.Image):
            return _told(_upright(source, name), source)
        with _open(Path(source), name) as opened:
            return _told(_upright(opened, name), source)
    except InvalidSample:
        raise
    except Exception as error:  # whatever Pillow makes of a damaged file; a picture given as such is decoded here too
        raise InvalidSample(f"{name} cannot be read: {_words(error)}") from error


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(width, height) by a file's header, nothing decoded. Raises InvalidSample where there is no usable picture."""
    name = _called(path)
    with _open(Path(path), name) as opened:
        require_size(opened.size, name)
        return opened.size


def upright_size(source: str | os.PathLike[str] | Image.Image) -> tuple[int, int]:
    """(width, height) as a picture is seen, by its header. Raises InvalidSample where there is no usable picture."""
    name = _called(source)
    picture = source if isinstance(source, Image.Image) else _open(Path(source), name)
    require_size(picture.size, name)
    try:
        turn = picture.getexif().get(_TURN, 1)
    except Exception as error:  # whatever a damaged header leads to
        raise InvalidSample(f"{name} cannot be read: {_words(error)}") from error
    finally:
        if picture is not source:
            picture.close()
    width, height = picture.size
    return (height, width) if turn in range(5, 9) else (width, height)


def held_picture(data: bytes, name: str) -> Image.Image:
    """A picture whose file is in a table, not decoded yet. Raises InvalidSample, with the name, where it is none."""
    found = _opened(io.BytesIO(data), f"image {name}")
    setattr(found, _NAMED, name)
    return found


def name_of(source: ImageSource) -> str:
    """The file that a picture came from, also where it was read before; empty for an array and a drawn picture."""
    if isinstance(source, np.ndarray) or not isinstance(source, _KINDS):
        return ""
    return str(getattr(source, _NAMED, "") or "") if isinstance(source, Image.Image) else os.fspath(source)


def require_size(size: tuple[int, int], name: str) -> None:
    """Raise InvalidSample for a picture of (width, height) that cannot be worked with."""
    width, height = size
    told = f"{name} is {width} x {height} px"
    limit = Image.MAX_IMAGE_PIXELS  # Pillow's, which a user may know and raise
    if limit is not None and width * height > limit:
        raise InvalidSample(f"{name} is too large: {width} x {height} px, at most {limit:,} pixels are read")
    if min(size) < MIN_SIDE:
        raise InvalidSample(f"{told}; at least {MIN_SIDE} on a side are needed")
    if max(size) > MAX_RATIO * min(size):
        raise InvalidSample(f"{told}: more than {MAX_RATIO} times as long as wide; cut it into pieces")


def _called(source: ImageSource) -> str:
    if not isinstance(source, _KINDS):
        return "image"
    return f"image {found}" if (found := name_of(source)) else "image"


def _told(read: Upright, source: ImageSource) -> Upright:
    """Note the file's name where Pillow does, so that later errors can say which picture they are about."""
    if found := name_of(source):
        setattr(read.picture, _NAMED, found)
    return read


def _open(path: Path, name: str) -> Image.Image:
    """A file's header. Raises InvalidSample."""
    try:
        if path.is_dir():
            raise InvalidSample(f"{name} is a directory")
        if not path.exists() and (cure := address_cure(str(path))):
            raise InvalidSample(f"{name} {cure}")
        if not path.is_file():
            raise InvalidSample(f"{name} {'is not a regular file' if path.exists() else 'does not exist'}")
        if not path.stat().st_size:
            raise InvalidSample(f"{name} is empty")
    except (OSError, ValueError) as error:  # a name may hold a NUL
        raise InvalidSample(f"{name} cannot be read: {_words(error)}") from error
    return _opened(path, name)


def _opened(file: Path | io.BytesIO, name: str) -> Image.Image:
    """The header of a file that is there. Raises InvalidSample."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by require_size
            return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InvalidSample(
            f"{name} is not in a format that can be read; these are opened: {', '.join(FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise InvalidSample(f"{name} is too large: {_words(error)}") from error
    except Exception as error:  # decoders raise whatever a damaged header leads to
        raise InvalidSample(f"{name} cannot be read: {_words(error)}") from error


def _upright(picture: Image.Image, name: str) -> Upright:
    """First frame, upright, RGB."""
    if picture.format not in _OPENED:  # not decoded yet, perhaps, and decoding EPS starts Ghostscript
        raise InvalidSample(
            f"{name} is in the format {picture.format}; these are decoded: {', '.join(FORMATS)}. If you trust it, give "
            "picture.convert('RGB')"
        )
    require_size(picture.size, name)
    frame = picture.tell()
    if frame:
        picture.seek(0)
    tag = picture.getexif().get(_TURN, 1)
    turn = cast("int", tag) if tag in range(1, 9) else 1
    upright = ImageOps.exif_transpose(picture)  # a copy in every case; of TIFF Pillow itself turns what it decodes
    stored = upright.size if turn < 5 else upright.size[::-1]
    if frame:
        picture.seek(frame)  # the caller's picture stays where it was
    return Upright(to_rgb(upright), (stored[0], stored[1]), turn)


def _words(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
