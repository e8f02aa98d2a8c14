"""Original checkpoints on disk: folders of .bin or .safetensors files, read without running anything in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ...errors import UnsupportedModel, first_line
from ...parsing import read_json
from .keys import read_tensors

#: Names under which a checkpoint of transformers holds its tensors, the safer first.
_WHOLE = ("model.safetensors", "pytorch_model.bin")


def read_settings(place: Path) -> dict[str, Any]:
    """The config.json of a folder. Raises UnsupportedModel without one."""
    file = place / "config.json"
    if not file.is_file():
        raise UnsupportedModel(f"{place} is not a checkpoint directory (no config.json)")
    try:
        found: Any = read_json(file)
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{file} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise UnsupportedModel(f"{file} holds no JSON object")
    return cast("dict[str, Any]", found)


def read_folder(place: Path) -> dict[str, Tensor]:
    """All tensors of a folder, whole or in the shards of an index; or of one file.

    Raises UnsupportedModel where there are none, where an index leads out of the folder, and for files that hold
    anything but tensors.
    """
    if place.is_file():
        return read_tensors(place)
    for name in _WHOLE:
        if (place / f"{name}.index.json").is_file():
            return _shards(place, f"{name}.index.json")
        if (place / name).is_file():
            return read_tensors(place / name)
    raise UnsupportedModel(f"{place} holds none of {', '.join(_WHOLE)}, and no index of one")


def _shards(place: Path, index: str) -> dict[str, Tensor]:
    try:
        document: Any = read_json(place / index)
        names: list[Any] = sorted(set(document["weight_map"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"{place / index} cannot be read as an index with a weight_map") from error
    found: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith((".bin", ".safetensors")):
            raise UnsupportedModel(f"{place / index} names {name!r} among its weight files, which is none beside it")
        found |= read_tensors(place / name)
    return found
