"""JSON and whole numbers as files and people write them: whatever is wrong with a text is a ValueError, or None."""

from __future__ import annotations

import errno
import json
import math
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

#: Levels of lists and objects in each other; no document of ours has ten.
DEEPEST = 100
#: Up to this size of a text every value is visited to find its depth; larger documents are tables of flat rows.
_VISITED = 2**24  # characters
#: Digits of the largest whole number that is read: the ones that fit 64 bits.
_DIGITS = 18


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The document.

    Raises ValueError for text that is not JSON, for numbers that are not finite (NaN, which JSON does not have; 1e999,
    which is beyond any float), and for what is nested beyond :data:`DEEPEST`.

    Args:
        text: of the document.
        finite: False for documents of others whose numbers are looked at one by one, where they are used.
    """
    try:
        document = json.loads(text, parse_constant=_finite, parse_float=_finite) if finite else json.loads(text)
    except _NotFinite as error:
        where = _not_finite(json.loads(text)) or "the document"
        raise ValueError(f"{where} is {error}, not a finite number") from error
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    if len(text) <= _VISITED:
        _require_shallow(document)
    return document


def read_json(path: str | Path, *, finite: bool = True) -> Any:
    """The document in a file. Raises OSError where it cannot be read, ValueError as :func:`parse_json` does."""
    return parse_json(read_text(path), finite=finite)


def read_text(path: str | Path) -> str:
    """A file's text, without the mark that some programs put before it.

    Raises OSError where it cannot be read or is no regular file (a device would be read for ever, a pipe waited for),
    and ValueError where it is no UTF-8.
    """
    place = Path(path)
    if not stat.S_ISREG(place.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a folder" if place.is_dir() else "it is no regular file")
    return place.read_bytes().decode("utf-8-sig")


def digits(text: str) -> int | None:
    """A number from 0 to 10^18 - 1 as digits 0 to 9; None for other text, such as "²", "٣" or a sign."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


class _NotFinite(Exception):
    """A number of a document, as it is written there, that is none."""


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise _NotFinite(word)
    return value


def _not_finite(document: Any) -> str:
    """Where the first number that is not finite stands, such as images[3].height; empty for nowhere below a value."""
    left: list[tuple[str, Any]] = [("", document)]
    while left:
        where, value = left.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return where
        if isinstance(value, dict):
            rows = cast("dict[str, Any]", value).items()
            left += reversed([(f"{where}.{key}".removeprefix("."), inner) for key, inner in rows])
        elif isinstance(value, list):
            left += reversed([(f"{where}[{k}]", inner) for k, inner in enumerate(cast("list[Any]", value))])
    return ""


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
