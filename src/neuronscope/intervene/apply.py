"""Interventions around any Hugging Face call: positions are worked out anew for every forward pass.

The model's own inputs say where the image is, so the same context works for a plain forward, for `generate` with or
without a KV cache, and for beams (which repeat rows before the prompt is read).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..errors import HookNeverFired, InvalidOption
from ..hooks import HookSession, Tap, check_unit
from ..types import Span
from .operations import Intervention, Moment, Noise, Phase

if TYPE_CHECKING:
    from ..models.vlm import VLM


class Positions:
    """Which positions of the running forward pass belong to a span, and their ranks.

    Installed as a pre-hook of the whole model, it reads `input_ids` of each call. A cached decoding step brings only
    the new tokens; their ranks go on where the prompt's ended.
    """

    def __init__(self, image_token: int) -> None:
        self._image_token = image_token
        self._ids: Int[Tensor, "batch positions"] | None = None
        self._inside: dict[Span, Bool[Tensor, "batch positions"]] = {}
        self._before: dict[Span, Int[Tensor, "batch 1"]] = {}
        self._prompt = 0
        self._offset = 0
        self._reached = 0  # offset of the call before this one

    def before_forward(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook (with kwargs) of the whole model."""
        ids = kwargs.get("input_ids", args[0] if args else None)
        if not isinstance(ids, Tensor):
            raise InvalidOption("an intervention needs input_ids to find the image; the model was called without them")
        past = kwargs.get("past_key_values")
        self._offset = int(past.get_seq_length()) if past is not None else 0
        image = ids == self._image_token
        mask = kwargs.get("attention_mask")
        real = torch.ones_like(image)
        if isinstance(mask, Tensor) and mask.ndim == 2:
            real = mask[:, -ids.shape[1] :].bool()
        text = real & (image.flip(1).cumsum(1).flip(1) == 0)  # after the last image token
        inside: dict[Span, Bool[Tensor, "batch positions"]] = {"image": image, "text": text, "all": real}
        if not self._offset:
            if not self._continues(ids):
                self._prompt = ids.shape[1]
            self._before = {span: torch.zeros_like(ids[:, :1]) for span in inside}
        elif self._inside and self._ids is not None and self._ids.shape[1] + self._reached == self._offset:
            self._before = {span: self._before[span] + self._inside[span].sum(1, keepdim=True) for span in inside}
        else:
            raise InvalidOption("a KV cache that was filled outside the intervention cannot be continued inside it")
        self._ids, self._inside, self._reached = ids, inside, self._offset

    def ranks(self, span: Span, phase: Phase) -> Int[Tensor, "batch positions"]:
        """Rank of each position of this call within the span, -1 outside the span or the phase."""
        inside = self._inside[span]
        rank = inside.cumsum(1) - 1 + self._before[span]
        decoding = torch.arange(inside.shape[1], device=inside.device) + self._offset >= self._prompt
        when = {"prefill": ~decoding, "decode": decoding, "both": torch.ones_like(decoding)}[phase]
        return torch.where(inside & when, rank, -1)

    def _continues(self, ids: Tensor) -> bool:
        """Uncached generation calls the model with the same prompt and a few more ids; beams may trade theirs."""
        last = self._ids
        if last is None or self._reached or ids.shape[0] != last.shape[0] or ids.shape[1] <= last.shape[1]:
            return False
        return bool((ids[:, : self._prompt] == last[:, : self._prompt]).all())


class Intervening(AbstractContextManager["Intervening"]):
    """Applies interventions to every call of a model inside the `with` block.

    Args:
        vlm: the model.
        changes: what to do, applied in this order where they overlap.
        draws: draw number of each batch row; every row is draw 0 when not given.

    Raises NeuronOutOfRange at construction for neurons the model does not have and InvalidOption for draws that the
    noise does not have, and HookNeverFired on a clean exit when the model ran without reaching a span position in some
    hooked layer, or did not run at all.
    """

    def __init__(self, vlm: VLM, changes: Sequence[Intervention], draws: Sequence[int] | None = None) -> None:
        self._vlm = vlm
        _check_draws(changes, draws)
        self._draws = None if draws is None else torch.tensor(list(draws))
        self._positions = Positions(vlm.image_token)
        self._touched: set[tuple[int, int]] = set()
        self._expected: set[tuple[int, int]] = set()
        taps: list[Tap] = []
        for index, change in enumerate(changes):
            for layer, units in change.neurons.by_layer().items():
                for unit in units:
                    check_unit(vlm.structure, layer, unit)
                self._expected.add((index, layer))
                taps.append(Tap(layer, change.site, self._function(index, change, layer, tuple(units))))
        self._session = HookSession(vlm.structure, taps, must_fire=False)
        self._watch: RemovableHandle | None = None

    def __enter__(self) -> Intervening:
        self._watch = self._vlm.model.register_forward_pre_hook(self._positions.before_forward, with_kwargs=True)
        try:
            self._session.__enter__()
        except BaseException:
            self._watch.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.remove()
        self._session.__exit__(kind, value, trace)
        silent = sorted({layer for _, layer in self._expected - self._touched})
        if kind is None and silent:
            raise HookNeverFired(
                f"the intervention reached no position in layer(s) {silent}: the model was not run inside the block, "
                "or no position of the prompt belongs to the span"
            )

    def _function(self, index: int, change: Intervention, layer: int, units: tuple[int, ...]):
        def apply(z: Float[Tensor, "batch positions width"]) -> Tensor | None:
            rank = self._positions.ranks(change.span, change.phase).to(z.device)
            inside = rank >= 0
            if not bool(inside.any()):
                return None
            self._touched.add((index, layer))
            chosen = torch.tensor(units, device=z.device)
            values = z.index_select(-1, chosen)
            new = change.change(values, Moment(layer, units, rank, self._row_draws(len(z))))
            return z.index_copy(-1, chosen, torch.where(inside[..., None], new, values))

        return apply

    def _row_draws(self, rows: int) -> Int[Tensor, "batch"]:
        if self._draws is None:
            return torch.zeros(rows, dtype=torch.long)
        if rows % len(self._draws):
            raise InvalidOption(f"the model was called with {rows} rows, the draws are given for {len(self._draws)}")
        return self._draws.repeat_interleave(rows // len(self._draws))


def _check_draws(changes: Sequence[Intervention], draws: Sequence[int] | None) -> None:
    """Raise InvalidOption unless every row's draw is one of each noise's."""
    if draws is None:
        return
    available = min((change.draws for change in changes if isinstance(change, Noise)), default=None)
    bad = [draw for draw in draws if draw < 0 or (available is not None and draw >= available)]
    if bad or not draws:
        limit = "" if available is None else f" and less than the noise's draws={available}"
        raise InvalidOption(f"draws={list(draws)} must list one number per row, each at least 0{limit}")
