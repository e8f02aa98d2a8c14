"""The pictures that the explorer offers, and those that people bring.

Whoever uploads a picture decides what is in the file, so its size is read from its header before anything is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image

from ..errors import InvalidSample
from ..report.data_uri import photo
from ..samples.image import read_image, size_of
from ..samples.lists import ImageList

#: Limits of an uploaded picture.
MOST_BYTES, MOST_PIXELS = 20 * 2**20, 24_000_000
#: Longer side of a picture that is worked with; maps of larger ones take long and show no more.
LARGEST = 1024
#: Thumbnails on a page.
PAGE = 12
_THUMBNAIL = 112


@dataclass(frozen=True)
class ListedPicture:
    """A picture that can be chosen.

    Attributes:
        name: what people see; it may be any text.
        load: reads the picture. Raises InvalidSample where it cannot.
        path: its file, where a command can name it.
    """

    name: str
    load: Callable[[], Image.Image]
    path: str | None = None


@dataclass(frozen=True)
class Thumbnail:
    """A thumbnail: its place on the shelf, and a data URI, or the reason why there is none."""

    number: int
    name: str
    picture: str = ""
    error: str = ""


class Shelf:
    """Pictures in a fixed order, looked at page by page."""

    def __init__(self, entries: Sequence[ListedPicture]) -> None:
        self.entries = tuple(entries)
        self._thumbnail = lru_cache(maxsize=512)(self._draw)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-len(self.entries) // PAGE))

    def page(self, number: int) -> list[Thumbnail]:
        """The thumbnails of a page, counted from 0; beyond the last there are none."""
        first = max(0, number) * PAGE
        return [self.tile(k) for k in range(first, min(first + PAGE, len(self.entries)))]

    def tile(self, number: int) -> Thumbnail:
        """One thumbnail: of the picture that would be loaded now, also where its file has changed."""
        path = self.entry(number).path
        return self._thumbnail(number, _state(path) if path is not None else ())

    def entry(self, number: int) -> ListedPicture:
        """One picture. Raises InvalidSample where there is no such number."""
        if not 0 <= number < len(self.entries):
            raise InvalidSample(f"picture {number} is not one of {len(self.entries)}")
        return self.entries[number]

    def find(self, name: str) -> int:
        """The place of a picture. Raises InvalidSample for a name that none has."""
        for number, entry in enumerate(self.entries):
            if entry.name == name:
                return number
        raise InvalidSample(f"no picture here is called {name!r}; a picture that was uploaded is in no link: upload it")

    def _draw(self, number: int, state: tuple[int, ...]) -> Thumbnail:
        entry = self.entries[number]
        try:
            return Thumbnail(number, entry.name, photo(entry.load(), _THUMBNAIL, quality=80))
        except InvalidSample as error:
            return Thumbnail(number, entry.name, error=str(error))


def _state(path: str) -> tuple[int, ...]:
    """What changes when a file does; nothing where there is none, which drawing it says."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def shrunk(image: Image.Image) -> Image.Image:
    """The picture itself, or a copy whose longer side is :data:`LARGEST` where it is larger."""
    if max(image.size) <= LARGEST:
        return image
    smaller = image.copy()
    smaller.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return smaller


def folder(path: str | Path, *, allow_outside: bool = False) -> list[ListedPicture]:
    """The pictures of a folder, by name; links out of it only where that is allowed.

    Raises InvalidSample where it is none or holds none.
    """
    files = [Path(item.image) for item in ImageList.folder(path, allow_outside=allow_outside)]
    return [ListedPicture(file.name, partial(limited, file), str(file)) for file in files]


def limited(path: str | Path) -> Image.Image:
    """A picture that is not too large. Raises InvalidSample for one that is, or that cannot be read."""
    file = Path(path)
    name = file.name
    try:
        size = file.stat().st_size
    except (OSError, ValueError) as error:
        raise InvalidSample(f"{name} cannot be read as a picture: {error}") from error
    if size > MOST_BYTES:
        raise InvalidSample(f"{name} has {size / 2**20:.1f} MiB; at most {MOST_BYTES // 2**20} MiB are read")
    width, height = size_of(file)
    if width * height > MOST_PIXELS:
        raise InvalidSample(
            f"{name} has {width} x {height} pixels; at most {MOST_PIXELS // 10**6} million are read: make it smaller"
        )
    return read_image(file)
