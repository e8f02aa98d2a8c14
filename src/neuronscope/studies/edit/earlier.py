"""What an earlier edit has written into a folder, of one word or of a list of them; the next one has other files."""

from __future__ import annotations

from pathlib import Path

from ...edit.adapter import FILES
from ...files import named_like
from ...report.kept import earlier_pictures

#: The page of a result, in its folder.
PAGE = "page.html"
_NUMBERED = r"edit-\d+\.safetensors|neurons-\d+\.json"


def earlier(folder: Path) -> list[str]:
    """Names of files, relative to the folder. What people call otherwise is theirs, and stays."""
    one = ("edit.safetensors", "neurons.json", PAGE, *(f"adapter/{name}" for name in FILES))
    return [*one, *named_like(folder, _NUMBERED), *earlier_pictures(folder)]
