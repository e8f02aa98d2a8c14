"""One line that tells what an object is, for those whose fields hold pictures, arrays and lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

#: Letters that one field may take.
_FIELD = 60


def short_repr(self: Any) -> str:
    """The `__repr__` of a dataclass: its fields, each short, without those that are empty or hidden."""
    shown = [(one.name, getattr(self, one.name)) for one in dataclasses.fields(self) if one.repr]
    said = [f"{name}={_short(value)}" for name, value in shown if not _empty(value)]
    return f"<{' '.join([type(self).__name__, ', '.join(said)]).rstrip()}>"


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, Collection) and not hasattr(value, "shape") and not len(value))


def _short(value: Any) -> str:
    if hasattr(value, "shape"):  # of numpy or torch
        return f"[{' x '.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}]"
    if hasattr(value, "getpixel"):
        return f"{value.width} x {value.height} px"
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, Mapping):
        names = ", ".join(str(name) for name in cast("Mapping[Any, Any]", value))
        return f"{{{names}}}" if len(names) <= _FIELD else f"{{{len(cast('Mapping[Any, Any]', value))} entries}}"
    text = repr(value) if isinstance(value, (str, int, float)) or dataclasses.is_dataclass(value) else ""
    if not text and isinstance(value, (tuple, list)):
        parts = cast("list[Any]", value)
        text = repr(value) if all(isinstance(one, (str, int, float, tuple)) for one in parts) else ""
        return text if text and len(text) <= _FIELD else f"{len(parts)} of {type(parts[0]).__name__}"
    text = text or type(value).__name__
    line = " ".join(text.split())
    return line if len(line) <= 2 * _FIELD else f"{line[: 2 * _FIELD - 3]}..."
