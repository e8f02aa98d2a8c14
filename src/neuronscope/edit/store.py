"""Edits and edited models as files.

An edit is one safetensors file. Its header holds a JSON document under "neuronscope.edit": schema, model, neurons with
their scores, editor, settings, words, what the model said before, and the versions that made it. Its tensors are, for
each edited layer, `L.old` and `L.new`, [hidden, units] in the weights' own type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import RunMismatch
from ..files import refusing, write_bytes
from ..held import Changing, Held
from ..loading import VLM
from ..models.loaded import EDITS
from ..version import __version__

SCHEMA = "neuronscope.edit/1"
_KEY = "neuronscope.edit"


def write_edit(path: str | Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write what an edit is (to a temporary name first, then renamed). Raises InvalidOption where it cannot be done."""
    versions = {"neuronscope": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    header = {"schema": SCHEMA, "versions": versions, **document}
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, {_KEY: json.dumps(header, allow_nan=False)}))


def read_edit(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the tensors of a file. Raises RunMismatch for one that is missing, damaged or no edit."""
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            header: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        document: Any = json.loads(header[_KEY]) if _KEY in header else None
    except (OSError, SafetensorError, ValueError) as error:
        raise RunMismatch(f"{path} cannot be read as an edit: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise RunMismatch(f"{path} is no edit: its header's schema is {found!r}, not {SCHEMA!r}")
    return document, tensors


def write_model(vlm: VLM, place: Path, digests: Iterable[str]) -> None:
    """Write model and processor as a checkpoint whose config names the edits that are in its weights.

    So its fingerprint is another (models/loaded.py). Raises InvalidOption where it cannot be written.
    """
    with _naming(vlm.model, digests), refusing(place):
        saved: Any = vlm.model
        saved.save_pretrained(place, safe_serialization=True)
    with refusing(place):
        vlm.processor.save_pretrained(place)


def _naming(model: nn.Module, digests: Iterable[str]) -> Held[None]:
    """Name edits in the model's config for the time of the block."""
    config: Any = model.config
    before: list[str] = list(getattr(config, EDITS, None) or [])
    return Changing(lambda undo: undo.replace(config, EDITS, sorted({*before, *digests})))
