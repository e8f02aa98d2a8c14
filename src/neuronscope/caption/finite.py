"""A caption that is written from logits that are no numbers is refused, not returned as it happens to be.

A row of NaN has a largest entry all the same, often the end of the caption: what comes out is an empty caption, which
names nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from ..errors import NotFinite
from ..models.finite import finite_rows, remedy
from ..models.loaded import LoadedModel


class Watch(LogitsProcessor):
    """Sees every step's logits in a call of `generate`, changes none, and remembers rows that were not finite.

    What a row has after its end is padding, and is not looked at.
    """

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = ends
        self._bad: Tensor | None = None
        self._over: Tensor | None = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The scores as they are."""
        bad = ~finite_rows(scores)
        if self._bad is None or self._over is None:
            self._bad, self._over = bad, torch.zeros_like(bad)
            return scores
        ends = torch.tensor(list(self._ends), device=input_ids.device)
        self._over = self._over | torch.isin(input_ids[:, -1], ends).to(bad.device)
        self._bad = self._bad | (bad & ~self._over)
        return scores

    @property
    def bad(self) -> list[int]:
        """Rows that were not finite before their end."""
        return [] if self._bad is None else torch.nonzero(self._bad)[:, 0].tolist()


def refuse(vlm: LoadedModel, images: Sequence[int], change: object | None) -> None:
    """Raise NotFinite naming the images of the rows that were not finite, if there are any."""
    if images:
        shown = ", ".join(str(image) for image in sorted(set(images)))
        under = "" if change is None else f" under {type(change).__name__}"
        raise NotFinite(
            f"the logits of {vlm.id} that a caption of image {shown} would be written from{under} are not finite: "
            f"{remedy(vlm.dtype)}"
        )
