"""Numbers that come out of a model, refused where they are none.

Of logits only the largest of each row is looked at: NaN and +infinity are their own largest, and a vocabulary entry at
minus infinity is one that the model never says. That is a thousandth of what computing a row of logits costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import NotFinite

#: What helps, by type of the weights.
_HELP = {torch.float16: "float16 ends at 65504: load the model with dtype='bfloat16' or 'float32'"}
_ELSE = "its weights, the picture or an intervention drive it out of range"


def finite_rows(logits: Float[Tensor, "*rows vocabulary"]) -> Bool[Tensor, "*rows"]:
    """Which rows of logits hold neither NaN nor +infinity, and not minus infinity alone."""
    return logits.detach().amax(-1).isfinite()


def finite_logits(
    logits: Float[Tensor, "batch last vocabulary"], model: str, dtype: torch.dtype
) -> Float[Tensor, "batch last vocabulary"]:
    """The logits as they are. Raises NotFinite, naming the rows, where they are none."""
    good = finite_rows(logits)
    if not bool(good.all()):
        rows = torch.nonzero(~good.all(-1))[:, 0].tolist()
        raise NotFinite(f"the logits of {model} are not finite for row(s) {rows} of {len(good)}: {remedy(dtype)}")
    return logits


def remedy(dtype: torch.dtype) -> str:
    """What may be the reason for a number that is not finite, and what helps."""
    return _HELP.get(dtype, _ELSE)


def finite_scores(scores: Mapping[str, Any]) -> None:
    """Raise NotFinite for an array of numbers, by name, that holds one that is not finite."""
    for name, values in scores.items():
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise NotFinite(
                f"{name} is not finite in {bad} of {np.size(values)} places: in float16 numbers end at 65504, so load "
                "the model with dtype='bfloat16' or 'float32'; else look at its weights"
            )


def within(name: str, value: float, dtype: torch.dtype) -> None:
    """Raise NotFinite for a number that a floating-point type cannot hold."""
    if abs(value) > torch.finfo(dtype).max:
        kind = str(dtype).removeprefix("torch.")
        raise NotFinite(f"{name}={value:g} is beyond {kind}, whose largest number is {torch.finfo(dtype).max:g}")
