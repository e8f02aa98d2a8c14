"""Small copies of pictures in the folder of a result, so that its page can be made where the data are not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ..errors import InvalidSample, RunMismatch
from ..files import is_file, named_like, output_folder, replacing
from ..samples.image import read_image
from .data_uri import photo

_FOLDER = "thumbnails"
_FILE = r"[1-9]\d*\.jpg"
#: Longer side, in pixels.
SIDE = 320


def earlier_pictures(folder: Path) -> list[str]:
    """The copies that an earlier result has left in a folder, relative to it."""
    return [f"{_FOLDER}/{name}" for name in named_like(folder / _FOLDER, _FILE)]


def keep_pictures(folder: Path, paths: Iterable[Path]) -> dict[Path, str]:
    """Write small copies of some pictures; path -> name of the copy, relative to the folder.

    Raises InvalidSample for what is no picture, and InvalidOption where a copy cannot be written.
    """
    kept: dict[Path, str] = {}
    for path in dict.fromkeys(paths):
        kept[path] = f"{_FOLDER}/{len(kept) + 1}.jpg"
        shown = read_image(path).convert("RGB")
        shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        with replacing(output_folder(folder / _FOLDER) / f"{len(kept)}.jpg") as temporary:
            shown.save(temporary, format="JPEG", quality=88)
    return kept


def kept_photo(folder: Path, name: str) -> str:
    """A copy as an address for a page; empty where it is not there, or nothing of that name is written by us.

    Raises RunMismatch for one that is damaged.
    """
    if not re.fullmatch(f"{_FOLDER}/{_FILE}", name) or not is_file(folder / name):
        return ""
    return photo(kept_picture(folder / name), SIDE)


def kept_picture(path: Path) -> Image.Image:
    """A picture of a result. Raises RunMismatch for one that is damaged."""
    try:
        return read_image(path)
    except InvalidSample as error:
        raise RunMismatch(f"{path} is damaged: {error}") from error
