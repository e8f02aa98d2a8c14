"""What the norms behind a neuron divide by at some positions, read while the model runs.

    y = gain * c(x) / scale + bias      c: takes the mean away, or nothing
    1/scale = <gain * c(x), y - bias> / <gain * c(x), gain * c(x)>

Measured from a norm's own input and output, so it holds for every kind of norm and whatever its epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..architecture.structure import gain, takes_mean
from ..errors import HookNeverFired, UnsupportedModel
from .loaded import LoadedModel


class Scales:
    """While it is entered, watches the final norm and the norms after FFNs in forward passes of one row.

    Args:
        model: the model.
        back: positions, counted from the end of the sequence (1 is the last).

    Raises UnsupportedModel on entering a model without a final norm.
    """

    def __init__(self, model: LoadedModel, back: Sequence[int]) -> None:
        self._model = model
        self._back = tuple(back)
        self._stack = ExitStack()
        self._fed: Tensor | None = None
        self._seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Scales:
        structure = self._model.structure
        if structure.norm is None:
            raise UnsupportedModel(f"norm='scale' needs a final norm, and {self._model.id} has none; use norm='none'")
        self._stack.callback(structure.unembedding.register_forward_pre_hook(self._feed).remove)
        for norm in (structure.norm, *(ffn.after for ffn in structure.ffns if ffn.after is not None)):
            self._stack.callback(norm.register_forward_hook(self._read).remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def divide(self, layer: int, values: Float[Tensor, "positions width"]) -> Float[Tensor, "positions width"]:
        """Values of a layer's neurons at the positions, divided by all norms between them and the logits.

        To be called when the passes are over. Raises HookNeverFired where a norm did not run, and UnsupportedModel
        where the unembedding reads something else than the final norm's output.
        """
        structure = self._model.structure
        self._check()
        after = structure.ffns[layer].after
        for norm in (structure.norm, after):
            if norm is not None:
                values = values * self._inverse(norm)[:, None].to(values.device)
        return values

    def _check(self) -> None:
        norm = self._model.structure.norm
        if norm not in self._seen or self._fed is None:
            return
        written = self._seen[norm][1].float().to(self._fed.device)
        if self._fed.shape != written.shape or not torch.allclose(self._fed.float(), written, rtol=1e-2, atol=1e-3):
            raise UnsupportedModel(
                f"norm='scale': the unembedding of {self._model.id} does not read the output of {type(norm).__name__}, "
                "so contributions have no scale; use norm='none'"
            )

    def _feed(self, _head: nn.Module, given: tuple[Any, ...]) -> None:
        rows = given[0].detach().reshape(-1, given[0].shape[-1])
        if len(rows) >= max(self._back):
            self._fed = rows[[len(rows) - back for back in self._back]]

    def _inverse(self, norm: nn.Module) -> Float[Tensor, "positions"]:
        """1/scale of a norm, see the module."""
        if norm not in self._seen:
            raise HookNeverFired(f"a norm of {self._model.id} did not run, so its scale is not known")
        x, y = self._seen[norm]
        hidden = self._model.structure.hidden
        with torch.no_grad():
            bias = norm(torch.zeros_like(x[:1])).float()
            x = x.float() - x.float().mean(dim=-1, keepdim=True) if takes_mean(norm, hidden) else x.float()
            x = x * gain(norm, hidden).to(x.device)
            return ((x * (y.float() - bias)).sum(-1) / (x * x).sum(-1)).cpu()

    def _read(self, norm: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        stream: Tensor = given[0]
        rows, written = (t.detach().reshape(-1, t.shape[-1]) for t in (stream, output))
        at = torch.tensor([len(rows) - back for back in self._back], device=rows.device)
        self._seen[norm] = rows[at], written[at]
