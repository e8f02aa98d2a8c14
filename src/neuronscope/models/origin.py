"""Neurons belong to the weights they were found in: addresses exist in every model, and mean nothing in another.

A set is accepted if its fingerprint is what the weights are called now, or what they were called before an edit that is
in force. A set without a fingerprint, such as one written by hand, is taken at its word.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from torch import nn

from ..errors import InvalidOption, RunMismatch
from ..hooks import check_neurons
from ..types import Neurons, Part
from .identity import is_called
from .loaded import LoadedModel


class History(Protocol):
    """What the weights of a model were called before."""

    @property
    def former(self) -> tuple[str, ...]:
        """Fingerprints of the weights without the edits that are in force, or without some of them."""
        ...


_HISTORIES: WeakKeyDictionary[nn.Module, History] = WeakKeyDictionary()


def remember(model: nn.Module, history: History) -> None:
    """Have sets accepted that were found before edits that are in force. `history` must not hold the model."""
    _HISTORIES[model] = history


def require_own(vlm: LoadedModel, neurons: Neurons, part: Part | None = None) -> None:
    """Refuse neurons of another model.

    Args:
        vlm: the model.
        neurons: the set; :meth:`neuronscope.Neurons.anywhere` gives one that is not asked where it is from.
        part: the only part of the model whose neurons will do; None for any.

    Raises RunMismatch for a set that was found in other weights, InvalidOption for another part's, and NeuronOutOfRange
    for neurons that the model does not have.
    """
    if part is not None and neurons.part != part:
        raise InvalidOption(f"neurons.part={neurons.part!r}: only neurons of part {part!r} will do here")
    check_neurons(vlm.structure, neurons)
    found = neurons.model.get("fingerprint", "")
    if not found or is_called(vlm.model, found):
        return
    now, history = vlm.fingerprint, _HISTORIES.get(vlm.model)
    if found != now and (history is None or found not in history.former):
        raise RunMismatch(
            f"the neurons were found in {neurons.model.get('id', 'a model')!r} with fingerprint {found}, and this is "
            f"{vlm.id!r} with {now}: locate them again in this model. To use them all the same: force=True, "
            "neurons.anywhere(), or --any-model"
        )
