"""A ledger of the tensors in the original files: each is used, or ignored for a reason, or the files are refused."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...errors import UnsupportedModel
from ...files import is_file

#: Buffers that a model makes of its config when it is built. Code that saves all but frozen *parameters* writes them,
#: and older releases of transformers kept them in checkpoints: under whatever name the module has, as in PEFT's models.
_RECOMPUTED = (
    r"(.+\.)?rotary_(pos_)?emb\.((original_)?inv_freq|(cos|sin)_cached?|cos_sin_cache)"
    r"|(.+\.)?(position_ids|relative_position_index)"
)


class Keys:
    """Named tensors of one or more files, and what became of each.

    Args:
        model: what errors call the model that is made of them.

    Attributes:
        used: names of the tensors that were taken, with their file.
        ignored: names of those that were not, and why.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._left: dict[str, tuple[str, Tensor]] = {}
        self.used: list[str] = []
        self.ignored: dict[str, str] = {}

    def add(self, file: str, tensors: Mapping[str, Tensor]) -> None:
        """Tensors of a file; they take the place of those of the same name that are there already."""
        for name, value in tensors.items():
            if name in self._left:
                self.ignored[f"{self._left[name][0]}: {name}"] = f"{file} has its own"
            self._left[name] = (file, value)

    def has(self, name: str) -> bool:
        """Whether a tensor is there and not yet used."""
        return name in self._left

    def matching(self, pattern: str) -> list[str]:
        """Names of the tensors left whose whole name matches."""
        return [name for name in self._left if re.fullmatch(pattern, name)]

    def peek(self, name: str) -> Tensor:
        """A tensor that stays unused."""
        if name not in self._left:
            files = ", ".join(sorted({file for file, _ in self._left.values()})) or "the files"
            near = name.rpartition(".")[0].partition(".")[0]
            others = sorted(key for key in self._left if key.startswith(near))[:3] or sorted(self._left)[:3]
            raise UnsupportedModel(f"{name} is missing from {files}; there is {', '.join(others) or 'nothing left'}")
        return self._left[name][1]

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """Use a tensor. Raises UnsupportedModel when it is missing or has another shape."""
        value = self.peek(name)
        file = self._left[name][0]
        if shape is not None and tuple(value.shape) != shape:
            raise UnsupportedModel(f"{name} of {file} has shape {tuple(value.shape)}, the model needs {shape}")
        del self._left[name]
        self.used.append(f"{file}: {name}")
        return value

    def move(self, prefix: str, target: Keys) -> None:
        """Hand the tensors below a prefix over to another ledger."""
        for name in [key for key in self._left if key.startswith(prefix)]:
            file, value = self._left.pop(name)
            target.add(file, {name.removeprefix(prefix): value})

    def ignore(self, pattern: str, reason: str) -> None:
        """Set the tensors aside whose whole name matches."""
        for name in self.matching(pattern):
            file, _ = self._left.pop(name)
            self.ignored[f"{file}: {name}"] = reason

    def finish(self) -> None:
        """Set aside what the model computes by itself; then raises UnsupportedModel when a tensor is left."""
        self.ignore(_RECOMPUTED, "a buffer that the model computes by itself")
        if self._left:
            first = sorted(self._left)[:3]
            file = self._left[first[0]][0]
            raise UnsupportedModel(
                f"{file} holds {len(self._left)} tensor(s) that have no place in {self._model}: {', '.join(first)}"
            )


def require_file(path: str | Path) -> None:
    """Raise UnsupportedModel where there is no regular file."""
    if not is_file(path):
        raise UnsupportedModel(f"{path} is not a file")


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file, without running anything that is in it.

    A training checkpoint holds them under "model", beside optimiser and settings.

    Raises UnsupportedModel for a file that cannot be read, or holds anything but named tensors.
    """
    file = Path(path)
    require_file(file)
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # damaged bytes fail in the unpickler with errors of every kind, IndexError and all
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(f"{file} cannot be read as a file of plain tensors: {reason}") from error
    if isinstance(content, dict) and isinstance(cast("dict[str, Any]", content).get("model"), dict):
        content = cast("dict[str, Any]", content)["model"]
    if not isinstance(content, dict) or not content:
        raise UnsupportedModel(f"{file} holds a {type(content).__name__}, not named tensors")
    named = cast("dict[Any, Any]", content)
    for name, value in named.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UnsupportedModel(f"{file} holds {name!r}, a {type(value).__name__}: only named tensors are read")
    return cast("dict[str, Tensor]", named)
