"""Edits and edited models as files.

An edit is one safetensors file. Its header holds a JSON document under "neuronscope.edit": schema, model, neurons with
their scores, editor, settings, words, what the model said before, and the versions that made it. Its tensors are, for
each edited layer, `L.old` and `L.new`, [hidden, units] in the weights' own type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import MODEL_ERRORS, InvalidOption, RunMismatch, first_line
from ..files import is_file, replacing_folder, require_absent, write_bytes
from ..held import Changing, Held
from ..loading import VLM
from ..models.identity import EDITS
from ..parsing import parse_json
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
    if not is_file(path):
        raise RunMismatch(f"{path} cannot be read as an edit: it is not a file")
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            header: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        document: Any = parse_json(header[_KEY]) if _KEY in header else None
    except (OSError, SafetensorError, ValueError) as error:
        raise RunMismatch(f"{path} cannot be read as an edit: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise RunMismatch(f"{path} is no edit: its header's schema is {found!r}, not {SCHEMA!r}")
    return document, tensors


def write_model(vlm: VLM, place: Path, digests: Iterable[str]) -> None:
    """Write model and processor as a checkpoint whose config names the edits that are in its weights.

    Raises InvalidOption where it cannot be written, and for a folder that holds files already, which could be weights
    that are read in the place of these.
    """
    require_absent(place)
    with replacing_folder(place, "config.json") as temporary, named_edits(vlm, digests):
        try:
            cast("Any", vlm.model).save_pretrained(temporary, safe_serialization=True)
            vlm.processor.save_pretrained(temporary)
        except (*MODEL_ERRORS, SafetensorError) as error:
            raise InvalidOption(f"{vlm.id} cannot be written to {place}: {first_line(error)}") from error


def named_edits(vlm: VLM, digests: Iterable[str]) -> Held[None]:
    """The model's config names edits, for the time of the block."""
    config: Any = vlm.model.config
    before: list[str] = list(getattr(config, EDITS, None) or [])
    return Changing(lambda undo: undo.replace(config, EDITS, sorted({*before, *digests})))
