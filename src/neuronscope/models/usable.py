"""Which pictures of a job a model cannot be shown, found before the job begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..errors import ImageTokenMismatch, InvalidSample
from .decoding import Decoding
from .loaded import LoadedModel


def require_prompt(vlm: LoadedModel, decoding: Decoding) -> None:
    """Raise InvalidOption for a prompt or template that the model cannot be asked with, tried on a grey picture.

    For jobs that leave something behind from their beginning on, such as the settings of a run.
    """
    vlm.prepare([Image.new("RGB", (64, 64), (128, 128, 128))], decoding)


def unprocessable(vlm: LoadedModel, paths: Sequence[Path], decoding: Decoding = Decoding()) -> dict[Path, str]:
    """Of some pictures those that the model's processor cannot make image tokens of, each with the reason."""
    return {path: reason for path in paths if (reason := _why_not(vlm, path, decoding))}


def _why_not(vlm: LoadedModel, path: Path, decoding: Decoding) -> str:
    try:
        vlm.prepare([path], decoding)
    except (InvalidSample, ImageTokenMismatch) as error:
        return str(error)
    return ""
