"""Which pictures of a job a model cannot be shown, found before the job begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ImageTokenMismatch, InvalidSample
from .loaded import LoadedModel


def unprocessable(vlm: LoadedModel, paths: Sequence[Path]) -> dict[Path, str]:
    """Of some pictures those that the model's processor cannot make image tokens of, each with the reason."""
    return {path: reason for path in paths if (reason := _why_not(vlm, path))}


def _why_not(vlm: LoadedModel, path: Path) -> str:
    try:
        vlm.prepare([path])
    except (InvalidSample, ImageTokenMismatch) as error:
        return str(error)
    return ""
