"""Reading the same rows again and again while some value vectors change.

An edit of layers l and later leaves the vision tower and every layer before l as they were: what enters layer l is kept
from one pass, and the next ones begin there. Where a model does not allow it (its logits from kept states differ, or it
cannot be called so), rows are read from the beginning; `Reader.plain` then says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import MODEL_ERRORS
from ..held import Changing, Held, Undo
from ..hooks.skip import seeing_inputs, starting_at
from ..loading import VLM
from ..models.inputs import Inputs
from ..models.rounding import departs


class Reader:
    """Logits of one batch under changing parameters.

    Args:
        vlm: the model.
        inputs: the batch.
        last: how many positions at the end are wanted.
        first: the first layer whose parameters will change.

    Attributes:
        clean: [batch, last, vocabulary] logits of the model as it is.
        plain: why passes begin at the beginning; empty where they begin at layer `first`.
    """

    def __init__(self, vlm: VLM, inputs: Inputs, last: int, first: int) -> None:
        self._vlm, self._inputs, self._last, self._first = vlm, inputs, last, first
        apart = bool(vlm.family.no_image) or any(row.encoded for row in inputs.rows)
        seen: dict[int, Tensor] = {}
        with torch.no_grad(), seeing_inputs(() if apart else vlm.structure.layers, seen):
            self.clean = vlm.logits(inputs, last=last)
        self._entering = seen.get(first)
        self.plain = self._why_plain()
        if self.plain:
            self._entering = None

    def logits(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "batch last vocabulary"]:
        """Logits of the last positions with some parameters replaced; differentiable in them."""
        vlm, entering = self._vlm, self._entering
        tensors = self._inputs.tensors
        around: Any = nullcontext()
        if entering is not None:
            tensors = {name: value for name, value in tensors.items() if not value.is_floating_point()}
            around = starting_at(vlm.structure.layers, self._first, entering)
        with vlm.frozen(), around, parameters_replaced(vlm.model, parameters):
            output: Any = vlm.model(**tensors, **vlm.last_only(self._last), use_cache=False)
        return output.logits[:, -self._last :]

    def _why_plain(self) -> str:
        vlm = self._vlm
        if self._entering is None:
            return f"{vlm.family.title} does not read image and text in one decoder"
        try:
            with torch.no_grad():
                again = self.logits({})
        except MODEL_ERRORS as error:
            return f"it cannot begin at a later layer: {type(error).__name__}: {error}"
        return departs(vlm, again, self.clean, "kept")


def parameters_replaced(model: nn.Module, parameters: Mapping[str, Tensor]) -> Held[None]:
    """The model with some parameters replaced by tensors, by name, for the time of the block.

    As torch.func.functional_call, which an interrupt may leave with the replacements in the model.
    """

    def change(undo: Undo) -> None:
        for name, value in parameters.items():
            owner, _, leaf = name.rpartition(".")
            own: dict[str, Any] = vars(model.get_submodule(owner))["_parameters"]
            undo.note(partial(own.__setitem__, leaf, own[leaf]))
            own[leaf] = value

    return Changing(change)
