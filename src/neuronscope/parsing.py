"""JSON and whole numbers as files and people write them: whatever is wrong with a text is a ValueError, or None."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

#: Levels of lists and objects in each other; no document of ours has ten.
DEEPEST = 100
#: Up to this size of a text every value is visited to find its depth; larger documents are tables of flat rows.
_VISITED = 2**24  # characters
#: Digits of the largest whole number that is read: the ones that fit 64 bits.
_DIGITS = 18


def parse_json(text: str | bytes) -> Any:
    """The document. Raises ValueError for text that is not JSON, and for what is nested beyond :data:`DEEPEST`."""
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    if len(text) <= _VISITED:
        _require_shallow(document)
    return document


def read_json(path: str | Path) -> Any:
    """The document in a file. Raises OSError where it cannot be read, ValueError as :func:`parse_json` does."""
    return parse_json(Path(path).read_text(encoding="utf-8"))


def digits(text: str) -> int | None:
    """A number from 0 to 10^18 - 1 as digits 0 to 9; None for other text, such as "²", "٣" or a sign."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _require_shallow(document: Any) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()
