"""Models that tests load again and again are read from their files once a process, as long as nobody changes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import nn

from neuronscope.architecture.digests import Unchanged
from neuronscope.models.identity import settings_of


class _Kept(NamedTuple):
    model: nn.Module
    processor: Any
    standing: Unchanged
    settings: str
    proofs: list[Any]

    @property
    def unchanged(self) -> bool:
        """Whether weights, hooks, mode, config and processor are as they were read."""
        return self.settings == _settings(self.model, self.processor) and bool(self.standing)


def _settings(model: nn.Module, processor: Any) -> str:
    modules = list(model.modules())
    hooks = [
        repr(hook)
        for module in modules
        for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        for hook in vars(module)[name].values()
        if "output_capturing" not in getattr(hook, "__module__", "")  # transformers' own, put on in the first pass
    ]
    own = [sorted(name for name in vars(module) if name == "forward") for module in modules]
    frozen = not any(value.requires_grad for value in model.parameters())
    return repr((settings_of(model, processor), hooks, own, frozen, any(module.training for module in modules)))


class LoadedOnce:
    """Models that come from one reading of their files, and are proved once.

    Everything else of loading goes on as always: the structure is looked up, and a VLM made, for every call.

    Attributes:
        paused: whether everything is read anew, for tests of the reading itself.
    """

    def __init__(self, read: Callable[..., tuple[nn.Module, Any]], prove: Callable[[Any], Any]) -> None:
        self.paused = False
        self._read, self._prove = read, prove
        self._kept: dict[tuple[Any, ...], _Kept] = {}

    def from_files(self, source: Any, *how: Any) -> tuple[nn.Module, Any]:
        """As `neuronscope.loading.load._from_files`."""
        files = _files(source)
        if self.paused or not files:
            return self._read(source, *how)
        key = (source, files, *map(repr, how))
        found = self._kept.get(key)
        if found is None or not found.unchanged:
            model, processor = self._read(source, *how)
            model.requires_grad_(False).eval()  # as `load` leaves it
            found = self._kept[key] = _Kept(model, processor, Unchanged(model), _settings(model, processor), [])
        return found.model, found.processor

    def proof(self, vlm: Any) -> Any:
        """As `neuronscope.loading.load._proof`."""
        for kept in self._kept.values():
            if kept.model is vlm.model and not self.paused:
                if not kept.proofs:
                    kept.proofs.append(self._prove(vlm))
                return kept.proofs[0]
        return self._prove(vlm)


def _files(source: Any) -> tuple[tuple[str, int, int], ...]:
    """What lies in a directory, or that it is one of the two with a name; nothing for hub ids and models in memory."""
    if source in ("demo", "natural"):
        return ((source, 0, 0),)
    if not isinstance(source, (str, Path)):
        return ()
    try:
        return tuple(sorted((one.name, (at := one.stat()).st_size, at.st_mtime_ns) for one in os.scandir(source)))
    except OSError:  # no directory, or one with links to nothing: loading says what is wrong
        return ()


@contextmanager
def loaded_once() -> Iterator[LoadedOnce]:
    """Within, `ns.load` reads the files of a model once, as long as neither they nor the model are changed."""
    load: Any = import_module("neuronscope.loading.load")  # the package has a function of that name
    once = LoadedOnce(load._from_files, load._proof)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_from_files", once.from_files)
        patch.setattr(load, "_proof", once.proof)
        yield once
