"""Edits and edited models as files.

An edit is one safetensors file. Its header holds a JSON document under "neuronscope.edit": schema, model, neurons with
their scores, editor, settings, words, what the model said before, and the versions that made it. Its tensors are, for
each edited layer, `L.old` and `L.new`, [hidden, units] in the weights' own type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .. import __version__
from ..errors import InvalidOption, RunMismatch
from ..files import output_folder, refusing, write_bytes
from ..models.load import checkpoint_directory
from ..models.vlm import EDITS
from ..types import Neurons
from .columns import require_editable
from .edit import Edit
from .ledger import ledger_of
from .observe import Observation
from .words import WordPair

if TYPE_CHECKING:
    from ..models.vlm import VLM

SCHEMA = "neuronscope.edit/1"
_KEY = "neuronscope.edit"


def save_edit(edit: Edit, path: str | Path) -> None:
    """Write an edit (to a temporary name first, then renamed). Raises InvalidOption where that cannot be done."""
    document = {
        "schema": SCHEMA,
        "versions": {"neuronscope": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "model": dict(edit.model),
        "editor": edit.editor,
        "settings": dict(edit.settings),
        "words": None if edit.words is None else asdict(edit.words),
        "neurons": edit.neurons.to_dict(),
        "before": [one.to_dict() for one in edit.before],
        "report": dict(edit.report),
        "digest": edit.digest,
    }
    tensors: dict[str, Tensor] = {}
    for layer in edit.neurons.by_layer():
        tensors[f"{layer}.old"] = edit.old[layer].cpu().contiguous()
        tensors[f"{layer}.new"] = edit.new[layer].cpu().contiguous()
    write_bytes(path, save(tensors, {_KEY: json.dumps(document, allow_nan=False)}))


def load_edit(path: str | Path, vlm: VLM) -> Edit:
    """Read an edit that was made from this model's weights.

    Raises RunMismatch for a file that is missing, damaged, no edit or of other weights, and what
    columns.require_editable raises.
    """
    document, tensors = _read(Path(path))
    ledger = ledger_of(vlm)
    made_from: Any = document.get("model")
    if not isinstance(made_from, dict) or made_from.get("fingerprint") not in ledger.fingerprints:
        of = made_from.get("fingerprint") if isinstance(made_from, dict) else None
        named = made_from.get("id") if isinstance(made_from, dict) else None
        raise RunMismatch(
            f"{path} is an edit of {named!r} with fingerprint {of}, and this is {vlm.id!r} with "
            f"{ledger.fingerprints[-1]}: load the weights that it was made from"
        )
    try:
        neurons = Neurons.from_dict(document["neurons"])
        layers = neurons.by_layer()
        edit = Edit(
            vlm,
            neurons,
            {layer: tensors[f"{layer}.old"] for layer in layers},
            {layer: tensors[f"{layer}.new"] for layer in layers},
            document["editor"],
            document["settings"],
            _words(document["words"]),
            tuple(Observation.from_dict(one) for one in document["before"]),
            made_from,
            document["report"],
        )
        intact = edit.digest == document["digest"]
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOption) as error:
        raise RunMismatch(f"{path} is a damaged edit: {type(error).__name__}: {error}") from error
    if not intact:
        raise RunMismatch(f"{path} is a damaged edit: its columns are not those that were saved")
    require_editable(vlm, Neurons.of((neuron.layer, neuron.unit) for neuron in neurons), ledger)
    return edit


def save_model(edit: Edit, folder: str | Path) -> None:
    """Write the model with the edit in force, and every other edit that is, and its processor as a checkpoint.

    Raises InvalidOption for a folder that cannot be written, or that holds the model's own files.
    """
    vlm = edit.vlm
    own = checkpoint_directory(vlm.id)
    if own is not None and own.resolve() == Path(folder).resolve():
        raise InvalidOption(f"{folder} holds the unedited model: choose another folder")
    place = output_folder(folder)
    if not edit.applied:
        with edit:
            _write(vlm, place)
    else:
        _write(vlm, place)


def _write(vlm: VLM, place: Path) -> None:
    """The checkpoint's config names the edits that are in it, so that its fingerprint is another (models/vlm.py)."""
    model: Any = vlm.model
    before = list(getattr(model.config, EDITS, None) or [])
    setattr(model.config, EDITS, sorted({*before, *(entry.digest for entry in ledger_of(vlm).entries)}))
    try:
        with refusing(place):
            model.save_pretrained(place, safe_serialization=True)
    finally:
        setattr(model.config, EDITS, before)
        if not before:
            delattr(model.config, EDITS)
    with refusing(place):
        vlm.processor.save_pretrained(place)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
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


def _words(data: Mapping[str, Any] | None) -> WordPair | None:
    if data is None:
        return None
    return WordPair(
        data["source"],
        data["target"],
        tuple(data["source_ids"]),
        tuple(data["target_ids"]),
        tuple((int(s), int(t)) for s, t in data["pairs"]),
    )
