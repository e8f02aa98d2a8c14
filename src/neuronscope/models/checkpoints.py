"""Checkpoints of helpers beside the model that is studied: of caption metrics, detectors and segmenters.

A model is named by a hub id, a local directory, or "package:NAME": an installed Python package that carries a
checkpoint among its files. Only safetensors are read, no code that comes with a model is run, and nothing of a package
is imported.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from ..errors import MODEL_ERRORS, InvalidOption, UnsupportedModel, first_line
from ..fields import shown
from ..files import is_file, is_folder
from .hub import answering
from .weight_files import require_safetensors

_PACKAGE = "package:"
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_LONGEST_ID = 96  # characters, of the hub
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

#: Endings of what a checkpoint is loaded from.
_READ = (".json", ".safetensors", ".txt", ".model", ".jinja")


@dataclass(frozen=True)
class Source:
    """Where a checkpoint is.

    Attributes:
        name: what results call it: the hub id, "package:NAME", or the directory's own name. Never a path, so that the
            same model in two places has one name (its weights are compared by fingerprint).
        where: what transformers is given.
    """

    name: str
    where: str


def find(model: str | os.PathLike[str], argument: str = "model") -> Source:
    """Find a checkpoint by its name; a hub id is taken on trust until it is loaded.

    `argument` is what errors call the name.

    Raises InvalidOption for a directory that is not there, and for a package that is not installed or does not hold
    exactly one checkpoint.
    """
    name = os.fspath(model)
    if not name:
        raise InvalidOption(f"{argument}='' names nothing; give a hub id, a directory, or 'package:NAME'")
    if name.startswith(_PACKAGE):
        return Source(name, str(_in_package(name.removeprefix(_PACKAGE), argument)))
    folder = Path(name).expanduser()
    if is_folder(folder):
        return Source(folder.resolve().name, str(folder))
    if isinstance(model, os.PathLike) or folder.is_absolute() or name.startswith((".", "~")) or is_file(folder):
        raise InvalidOption(f"{argument}={shown(name)} is not a directory")
    if not _HUB_ID.fullmatch(name) or len(name) > _LONGEST_ID or "--" in name or ".." in name:
        raise InvalidOption(
            f"{argument}={shown(name)} is neither a directory nor a hub id: letters, digits, '-', '_' and '.', with "
            f"one '/' at most, in up to {_LONGEST_ID} characters"
        )
    return Source(name, name)


def require_there(source: Source) -> None:
    """Raise InvalidOption for a folder without a config, and for a hub id that neither hub nor cache have."""
    if is_folder(source.where):
        if not is_file(Path(source.where) / "config.json"):
            raise InvalidOption(f"model={source.name!r}: {source.where} has no config.json: it holds no model")
        return
    try:
        with answering(source.where):
            commit = _commit(source)
    except UnsupportedModel as error:
        raise InvalidOption(f"model={source.name!r}: {error}") from error
    if commit is None:
        raise InvalidOption(
            f"model={source.name!r} is no directory, and neither on the hub nor in this machine's cache"
        )


def _in_package(name: str, argument: str) -> Path:
    """The folder of an installed package that has config.json and safetensors side by side."""
    try:
        distribution = metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise InvalidOption(f"{argument}='{_PACKAGE}{name}': no package {name!r} is installed") from error
    files = {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
    folders = sorted({f.parent for f in files if f.name in _WEIGHTS and f.with_name("config.json") in files})
    if len(folders) != 1:
        listed = f": {', '.join(map(str, folders))}; give one of them" if folders else ""
        raise InvalidOption(
            f"{argument}='{_PACKAGE}{name}': the package holds {len(folders)} checkpoints, not one{listed}"
        )
    return folders[0]


@contextmanager
def loading(source: Source, purpose: str) -> Generator[None]:
    """Keep transformers quiet, and turn whatever it raises into one sentence (UnsupportedModel)."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    verbosity, progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with answering(source.where):
            require_safetensors(source.where)
            yield
    except (*MODEL_ERRORS, OSError, ImportError, SafetensorError, UnsupportedModel) as error:
        reason = first_line(error)
        raise UnsupportedModel(
            f"{purpose} cannot load the model {source.where!r} ({reason}); give a local directory with "
            "config.json, model.safetensors and the files of its processor, a hub id that can be reached from here, or "
            f"'{_PACKAGE}NAME' for an installed package that carries such files"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if progress_bar:
            logging.enable_progress_bar()


def load_weights(model_class: Any, source: Source, **options: Any) -> Any:
    """A model in float32, from safetensors only.

    Raises ValueError when the checkpoint lacks weights that scores depend on: transformers would fill them with random
    numbers and only warn.
    """
    import torch

    model, info = model_class.from_pretrained(
        source.where,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    # The pooler of a text encoder sits behind the token states that are compared; checkpoints often lack it.
    lacking = sorted(k for k in info["missing_keys"] if k not in tied and not k.startswith("pooler."))
    lacking += sorted(str(key) for key in info["mismatched_keys"])
    if lacking:
        raise ValueError(
            f"{len(lacking)} weights of {type(model).__name__} are not in the checkpoint, first {lacking[0]}"
        )
    return model.eval()


def content_digest(model: Any, *beside: Any) -> str:
    """A hash of all bytes of a model's weights, and of tokenizer and image processor."""
    from ..architecture.digests import digests
    from .identity import described

    digest = hashlib.sha256(b"".join(name.encode() + value for name, value in digests(model)))
    for part in beside:
        digest.update(described(part).encode())
    return digest.hexdigest()[:16]


def contents(source: Source) -> str | None:
    """A hash of every byte of a checkpoint's files, or the commit of a hub id; None where neither can be had.

    Nothing is loaded, so that work can be planned by it.
    """
    folder = Path(source.where)
    if not folder.is_dir():
        try:
            with answering(source.where):
                return _commit(source)
        except UnsupportedModel:  # which is told when the model is loaded
            return None
    digest = xxh3_128()
    for path in sorted(folder.iterdir()):
        if path.suffix in _READ and path.is_file():
            digest.update(f"{path.name}\n{path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while piece := file.read(2**24):
                    digest.update(piece)
    return digest.hexdigest()[:16]


def _commit(source: Source) -> str | None:
    from transformers.utils.hub import cached_file

    quietly = dict.fromkeys(("gated_repo", "missing_entries", "connection_errors"), False)
    options: Any = {f"_raise_exceptions_for_{name}": value for name, value in quietly.items()}
    found = cached_file(source.where, "config.json", **options)
    return None if found is None else Path(found).parent.name  # a snapshot's folder is called by its commit


def device_or_best(device: str | None) -> str:
    """The device asked for, else the GPU if there is one."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def put_on(model: Any, device: str, name: str) -> None:
    """Move a model to a device. Raises UnsupportedModel, which names both, where torch cannot."""
    try:
        model.to(device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # a device that torch has no part for
        raise UnsupportedModel(f"{name} cannot be put on {device!r}: {first_line(error)}") from error
