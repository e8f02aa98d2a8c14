"""What decides a model's answers beside its weights, as far as it can be asked before every caption.

Whoever keeps what a model said asks whether it would still say so:
:class:`~neuronscope.architecture.digests.Unchanged` tells of weights, this of settings, and of interventions that are
in force. It costs about a millisecond. Not seen: entries of the tokenizer's vocabulary that are exchanged, and hooks
and attributes that somebody sets on modules by hand, which often only watch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from torch import nn

from .greedy import own_ids
from .identity import settings_of

_OURS = __name__.partition(".")[0] + "."


class Surroundings:
    """Settings of a model and its processor, and interventions in force, as they were when this was made."""

    def __init__(self, model: nn.Module, processor: Any) -> None:
        self._model, self._processor = model, processor
        self._settings, self._hooks = self._said(), set(_hooks(model))

    def changed(self) -> str:
        """What is not as it was, in words; empty where all is."""
        if self._settings != self._said():
            return "settings of the model or its processor"
        return "interventions on the model" if self._hooks != set(_hooks(self._model)) else ""

    def _said(self) -> str:
        tokenizer = self._processor.tokenizer
        words = (len(tokenizer), {name: str(token) for name, token in tokenizer.special_tokens_map.items()})
        return json.dumps([settings_of(self._model, self._processor), own_ids(self._model), words], default=str)


def _hooks(model: nn.Module) -> Iterator[tuple[int, int]]:
    """Module and number of every hook of this package; a number is given once in a process."""
    for place, module in enumerate(model.modules()):
        own = vars(module)
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            for number, hook in own[name].items():
                if str(getattr(hook, "__module__", "")).startswith(_OURS):
                    yield place, number
