"""What a conversion says of the original files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What became of the tensors of the original files.

    Attributes:
        kind: what the files make.
        layout: the image tokens.
        template: what the model is asked by, which the checkpoint's chat template writes.
        used: the tensors that went into the model, with their file.
        ignored: the others, and why.
    """

    kind: str
    layout: str
    template: str
    used: tuple[str, ...]
    ignored: Mapping[str, str]
