"""A model as operations run it, and the modules through which it can be called."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from ..architecture.devices import explain, present
from ..held import Held, Undo
from ..held.turns import take


class Frozen(Held[None]):
    """Evaluation mode and no parameter gradients for the time of the block, then as before.

    What the model holds itself is there meanwhile, also for a `generate` that reads it directly. Raises
    UnsupportedModel where the model's code reads a weight of a part that is not running, and that accelerate has not
    brought.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def _wait(self, undo: Undo) -> None:
        take(undo, self._model, "`with vlm.frozen()`")

    def _change(self, undo: Undo) -> None:
        modules = list(self._model.modules())
        training = [m for m in modules if m.training]
        held: list[dict[str, nn.Parameter | None]] = [vars(m)["_parameters"] for m in modules]  # asked by name is slow
        # By names: where accelerate brings weights for a call, the objects change.
        wanted = [(own, name) for own in held for name, p in own.items() if p is not None and p.requires_grad]

        def restore() -> None:
            for module in training:  # one by one: a part may have been in evaluation mode by itself
                module.training = True
            for own, name in wanted:
                _require_grad(own[name], True)

        if training or wanted:
            undo.note(restore)
            undo.hook(self._model, "before", _nothing)  # a training step in another thread would be another one
        for own, name in wanted:
            _require_grad(own[name], False)
        if training:
            self._model.eval()
        undo.enter(present(self._model))

    def _left(self, error: BaseException | None) -> None:
        explain(self._model, error)


def entries(model: nn.Module, first: nn.Module) -> tuple[tuple[nn.Module, str], ...]:
    """The modules around a model's first decoder layer that can be called, outermost first, with their name for ids."""
    names = next(name for name, module in model.named_modules() if module is first).split(".")
    around = [model.get_submodule(".".join(names[:depth])) for depth in range(len(names))]
    callable_ = [module for module in around if not isinstance(module, (nn.ModuleList, nn.ModuleDict))]
    return tuple((module, _ids(module)) for module in callable_)


def _ids(module: nn.Module) -> str:
    config: Any = getattr(module, "config", None)
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    takes = encoder_decoder and "decoder_input_ids" in inspect.signature(module.forward).parameters
    return "decoder_input_ids" if takes else "input_ids"


def _nothing(*_: object) -> None:
    """A hook that does nothing: hooks refuse calls of other threads."""


def _require_grad(parameter: nn.Parameter | None, wanted: bool) -> None:
    assert parameter is not None
    parameter.requires_grad_(wanted)
