"""Pictures that a table itself holds, as files: for everything that goes through paths."""

from __future__ import annotations

import re
import tempfile
from functools import lru_cache
from itertools import count
from pathlib import Path

from ...files import replacing, temporary_folder
from ..image import held_picture

_SUFFIXES = {"BMP": ".bmp", "GIF": ".gif", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}
_NUMBERS = count()


class Unpacked:
    """A folder that lives as long as the process, one for each source; files are written when they are asked for."""

    def __init__(self) -> None:
        self._folder = Path(_root().name) / str(next(_NUMBERS))

    def path(self, name: str, data: bytes) -> Path:
        """The file of a picture. Raises InvalidSample where it is none."""
        suffix = _SUFFIXES.get(held_picture(data, name).format or "", ".jpg")
        target = self._folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('.-')}{suffix}"
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with replacing(target) as temporary:
                temporary.write_bytes(data)
        return target


@lru_cache(maxsize=1)
def _root() -> tempfile.TemporaryDirectory[str]:
    return temporary_folder("neuronscope-pictures")
