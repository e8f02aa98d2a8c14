"""What every step of a caption was chosen from: a caption from logits that are no numbers is refused.

A row of NaN has a largest entry all the same, often the end of the caption: what comes out is an empty caption, which
names nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from ..errors import NotFinite
from ..models.finite import remedy
from ..models.loaded import LoadedModel
from .ties import Trail, chosen


class Watch(LogitsProcessor):
    """Sees every step's logits in a call of `generate`, changes none; remembers what was chosen, and rows not finite.

    What a row has after its end is padding, and is not looked at.
    """

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = set(ends)
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The scores as they are."""
        self._steps.append(chosen(scores))
        return scores

    def __len__(self) -> int:
        """How many steps there were."""
        return len(self._steps)

    @property
    def trails(self) -> list[Trail]:
        """What each row was chosen by, its end included."""
        if not self._steps:
            return []
        ids = torch.stack([ids for ids, _, _ in self._steps], 1).tolist()
        gaps = torch.stack([gaps for _, _, gaps in self._steps], 1).tolist()
        result: list[Trail] = []
        for row, steps in zip(gaps, ids, strict=True):
            best = tuple(step[0] for step in steps)
            trail = Trail(best, tuple(step[1] for step in steps), tuple(row))
            result.append(trail.cut(self._until(best)))
        return result

    @property
    def bad(self) -> list[int]:
        """Rows that were not finite before their end."""
        if not self._steps:
            return []
        best = torch.stack([ids[:, 0] for ids, _, _ in self._steps], 1).tolist()
        finite = torch.stack([values[:, 0].isfinite() for _, values, _ in self._steps], 1).tolist()
        return [row for row, ids in enumerate(best) if not all(finite[row][: self._until(ids)])]

    def _until(self, ids: Sequence[int]) -> int:
        """Steps of a row up to its end."""
        return next((n + 1 for n, token in enumerate(ids) if token in self._ends), len(ids))


class Begun(StoppingCriteria):
    """Ends a caption of one row that begins with some tokens: what would come behind them is known.

    Tokens are those that were written: of two that tie exactly the larger of `chosen` may be the other one.
    """

    def __init__(self, watch: Watch, tokens: Sequence[int]) -> None:
        self._watch = watch
        self._tokens = tuple(tokens)

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Whether that is so, of each row."""
        written = input_ids[0, input_ids.shape[1] - len(self._watch) :].tolist()
        begun = tuple(written[: len(self._tokens)]) == self._tokens
        return torch.full((len(input_ids),), begun, device=input_ids.device)


def refuse(vlm: LoadedModel, images: Sequence[int], change: object | None) -> None:
    """Raise NotFinite naming the images of the rows that were not finite, if there are any."""
    if images:
        shown = ", ".join(str(image) for image in sorted(set(images)))
        under = "" if change is None else f" under {type(change).__name__}"
        raise NotFinite(
            f"the logits of {vlm.id} that a caption of image {shown} would be written from{under} are not finite: "
            f"{remedy(vlm.dtype)}"
        )
