"""Which files of a checkpoint are opened: safetensors inside its own folder, and nothing that is unpickled or run.

transformers goes where a checkpoint's JSON sends it: an index may name pytorch_model.bin, which `torch.load` unpickles,
or files elsewhere; `transformers_weights` in config.json may do the same; adapter_config.json leads to another model;
and an attention implementation that is written like a hub id is code from there. All of these are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

from ..errors import UnsupportedModel, first_line
from ..parsing import read_json

INDEX = "model.safetensors.index.json"
_SUFFIX = ".safetensors"


def require_safetensors(where: str | Path, revision: str = "main") -> None:
    """Raise UnsupportedModel, naming the file and what in it, unless a checkpoint is safetensors of its own only.

    Args:
        where: a checkpoint directory or a hub id.
        revision: hub revision.
    """
    folder = Path(where)
    place = str(where)
    if _found(where, "adapter_config.json", revision) is not None:
        raise UnsupportedModel(
            f"{place} is an adapter (adapter_config.json), which would lead to the model that it names: put it on that "
            "model with PEFT and give ns.load((model, processor)), or load what merge_and_unload().save_pretrained() "
            "writes"
        )
    config = document(where, "config.json", revision)
    for key, value in _implementations(config):
        raise UnsupportedModel(f"{place}: config.json wants {key}={value!r}, code from the hub, which is not run")
    named = config.get("transformers_weights")
    if named is not None and _outside(named, (_SUFFIX, f"{_SUFFIX}.index.json")):
        raise UnsupportedModel(f"{place}: config.json wants the weights {named!r}; {_ONLY}")
    indices = [INDEX] + ([named] if isinstance(named, str) and named.endswith(".index.json") else [])
    for name in indices:
        shards = _shards(_found(where, name, revision), f"{place}: {name}")
        if wrong := [shard for shard in shards if _outside(shard, (_SUFFIX,))]:
            raise UnsupportedModel(f"{place}: {name} names {wrong[0]!r} among its weight files; {_ONLY}")
        missing = [shard for shard in shards if folder.is_dir() and not (folder / shard).is_file()]
        if missing:
            raise UnsupportedModel(f"{place} lacks {len(missing)} of {len(shards)} weight files: {', '.join(missing)}")


_ONLY = "only *.safetensors inside the checkpoint's folder are read, nothing is unpickled"


def document(where: str | Path, file: str, revision: str = "main") -> dict[str, Any]:
    """A JSON object of a checkpoint; empty where the file is not there. Raises UnsupportedModel for a damaged one."""
    return _found(where, file, revision) or {}


def _found(where: str | Path, file: str, revision: str) -> dict[str, Any] | None:
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(
            where,
            file,
            revision=revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if not found:
            return None
        content: Any = read_json(found, finite=False)  # some have Infinity where there is no limit
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{where}: {file} cannot be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UnsupportedModel(f"{where}: {file} holds no JSON object")
    return cast("dict[str, Any]", content)


def _shards(index: dict[str, Any] | None, what: str) -> list[Any]:
    """The weight files that an index names, each once; none without an index."""
    if index is None:
        return []
    files: Any = index.get("weight_map")
    if not isinstance(files, dict) or not files:
        raise UnsupportedModel(f"{what} cannot be read as an index with a weight_map")
    if not isinstance(index.get("metadata", {}), dict):
        raise UnsupportedModel(f"{what}: metadata is no JSON object")
    texts = [name for name in cast("dict[str, Any]", files).values() if isinstance(name, str)]
    others = [name for name in cast("dict[str, Any]", files).values() if not isinstance(name, str)]
    return others[:1] or sorted(set(texts))


def _outside(name: Any, suffixes: tuple[str, ...]) -> bool:
    """Whether a name is anything but a file below the folder with one of the endings, on any system."""
    if not isinstance(name, str) or not name.endswith(suffixes) or "\0" in name:
        return True
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in paths)


def _implementations(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Settings called ..._implementation, at any depth, whose value is written like a hub id."""
    if isinstance(config, dict):
        for name, value in cast("dict[str, Any]", config).items():
            yield from _implementations(value, name if "_implementation" not in key else key)
    elif isinstance(config, str) and "/" in config and "_implementation" in key:
        yield key, config
