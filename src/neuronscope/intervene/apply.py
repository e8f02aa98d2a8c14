"""Interventions around any Hugging Face call: positions are worked out anew for every forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import HookNeverFired, InvalidOption
from ..held import Held, Undo
from ..held.turns import take
from ..hooks import HookSession, Tap
from ..models.loaded import LoadedModel
from ..models.origin import require_own
from ..models.spans import require_span
from ..types import ALONG_PROMPT, Part
from .batching import one_row_at_a_time
from .operations import Intervention, Moment, Noise
from .positions import Positions


class Intervening(Held[None]):
    """Applies interventions to every call of a model inside the `with` block, in this thread.

    Args:
        vlm: the model.
        changes: what to do, applied in this order where they overlap.
        draws: draw number of each batch row; every row is draw 0 when not given.

    Raises at construction RunMismatch for neurons of other weights, NeuronOutOfRange for neurons the model does not
    have, InvalidOption for draws that the noise does not have, and NoImagePositions for image positions where the
    decoder has none. On a clean exit HookNeverFired when the model ran without reaching a span position in some hooked
    layer, or did not run at all. Inside the block a call in another thread raises ModelInUse, and operations of other
    threads wait for its end.
    """

    def __init__(self, vlm: LoadedModel, changes: Sequence[Intervention], draws: Sequence[int] | None = None) -> None:
        super().__init__()
        _check_draws(changes, draws)
        for change in changes:
            if change.neurons.part in ALONG_PROMPT:
                require_span(vlm.family, change.span or vlm.picture_span)
            else:
                _check_before_decoder(change)
            require_own(vlm, change.neurons)
        self._vlm = vlm
        parts: list[Part] = [change.neurons.part for change in changes if change.neurons]
        self._towers: list[Part] = [part for part in dict.fromkeys(parts) if part not in ALONG_PROMPT]
        # Hooks hold the taps, not this object: when it is gone, and its block was not left, hooks go too.
        self._taps = _Taps(vlm, None if draws is None else torch.tensor(list(draws)))
        taps = [tap for index, change in enumerate(changes) for tap in self._taps.of(index, change)]
        self._session = HookSession(vlm.structure, taps, must_fire=False)

    def _wait(self, undo: Undo) -> None:
        take(undo, self._vlm.model, "`with vlm.intervene(...)`")
        for part in self._towers:  # tried out before hooks go in: a pass inside a pass would be changed and followed
            one_row_at_a_time(self._vlm, part)

    def _change(self, undo: Undo) -> None:
        undo.enter(self._taps.positions.watching(towers=bool(self._towers)))
        undo.enter(self._session)

    def _left(self, error: BaseException | None) -> None:
        silent = sorted({layer for _, layer in self._taps.expected - self._taps.touched})
        if error is None and silent:
            raise HookNeverFired(
                f"the intervention reached no position in layer(s) {silent}: the model was not run inside the block, "
                "or no position of the prompt belongs to the span"
            )


class _Taps:
    """What the hooks of a block do.

    Attributes:
        positions: of the call that is running.
        expected, touched: (number of an intervention, layer) that is to be reached, and that was.
    """

    def __init__(self, vlm: LoadedModel, draws: Int[Tensor, "rows"] | None) -> None:
        self._vlm = vlm
        self._draws = draws
        self.positions = Positions(vlm)
        self.expected: set[tuple[int, int]] = set()
        self.touched: set[tuple[int, int]] = set()

    def of(self, index: int, change: Intervention) -> list[Tap]:
        """The taps of one intervention."""
        taps: list[Tap] = []
        part = change.neurons.part
        for layer, units in change.neurons.by_layer().items():
            self.expected.add((index, layer))
            make = self._function if part in ALONG_PROMPT else self._tower_function
            taps.append(Tap(layer, change.site, make(index, change, layer, tuple(units)), part))
        return taps

    def _function(
        self, index: int, change: Intervention, layer: int, units: tuple[int, ...]
    ) -> Callable[[Tensor], Tensor | None]:
        span = change.span or self._vlm.picture_span

        def apply(z: Float[Tensor, "batch positions width"]) -> Tensor | None:
            rank = self.positions.ranks(span, change.phase, z.shape[1]).to(z.device)
            if not bool((rank >= 0).any()):
                return None
            self.touched.add((index, layer))
            return _changed(change, z, Moment(layer, units, rank, self._row_draws(len(z))))

        return apply

    def _tower_function(
        self, index: int, change: Intervention, layer: int, units: tuple[int, ...]
    ) -> Callable[[Tensor], Tensor]:
        """Before the decoder every position belongs to the image; a row's rank runs through all its pictures."""

        def apply(z: Float[Tensor, "pictures positions width"]) -> Tensor:
            rows = self.positions.rows()
            if rows > 1 and one_row_at_a_time(self._vlm, change.neurons.part):
                raise InvalidOption(
                    f"{self._vlm.id} runs its {change.neurons.part} part once per picture: give rows one by one"
                )
            queue = z.reshape(rows, -1, z.shape[-1])
            rank = torch.arange(queue.shape[1], device=z.device).expand(rows, -1)
            self.touched.add((index, layer))
            return _changed(change, queue, Moment(layer, units, rank, self._row_draws(rows))).reshape(z.shape)

        return apply

    def _row_draws(self, rows: int) -> Int[Tensor, "batch"]:
        if self._draws is None:
            return torch.zeros(rows, dtype=torch.long)
        if rows % len(self._draws):
            raise InvalidOption(f"the model was called with {rows} rows, the draws are given for {len(self._draws)}")
        return self._draws.repeat_interleave(rows // len(self._draws))


def _changed(change: Intervention, z: Float[Tensor, "batch positions width"], at: Moment) -> Tensor:
    """The activations with an operation's new values inside the span."""
    chosen = torch.tensor(at.units, device=z.device)
    values = z.index_select(-1, chosen)
    return z.index_copy(-1, chosen, torch.where(at.rank[..., None] >= 0, change.change(values, at), values))


def _check_before_decoder(change: Intervention) -> None:
    """Raise InvalidOption for a span or phase that vision tower and projector do not have."""
    if change.span in ("text", "media") or change.phase == "decode":
        raise InvalidOption(
            f"{change.neurons.part} neurons see the image only, while the prompt is read: span={change.span!r}, "
            f"phase={change.phase!r} is out of their reach"
        )


def _check_draws(changes: Sequence[Intervention], draws: Sequence[int] | None) -> None:
    """Raise InvalidOption unless every row's draw is one of each noise's."""
    if draws is None:
        return
    available = min((change.draws for change in changes if isinstance(change, Noise)), default=None)
    bad = [draw for draw in draws if draw < 0 or (available is not None and draw >= available)]
    if bad or not draws:
        limit = "" if available is None else f" and less than the noise's draws={available}"
        raise InvalidOption(f"draws={list(draws)} must list one number per row, each at least 0{limit}")
