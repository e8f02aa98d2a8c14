"""`neuronscope check --estimate`: what each verb needs of a card, and how long it takes."""

from __future__ import annotations

import re
from dataclasses import replace

from ..errors import InvalidOption
from ..options import Loading
from ..types import whole_number
from .output import emit, lines, open_model, table
from .steps import progress

_SIZE = re.compile(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})")


def estimated(
    loading: Loading,
    measure: bool,
    card: str,
    picture: str,
    image_tokens: int | None,
    as_json: bool,
) -> None:
    """Print the table. Raises InvalidOption for a card or a size that is none."""
    model, dtype = loading.model, loading.dtype
    found = _SIZE.fullmatch(picture)
    if found is None:
        raise InvalidOption(f"--picture {picture!r} is no width x height in pixels, such as 640x480")
    size = int(found[1]), int(found[2])
    if image_tokens is not None:
        whole_number("--image-tokens", image_tokens, 0)
    from ..check.estimate import BYTES, GIB, CostEstimate, measured
    from ..check.estimate import card as card_of
    from ..check.shape import shape_of
    from ..types import one_of

    one_of("--dtype", dtype, ("auto", *BYTES))
    chosen = card_of(card) if card else None
    with progress(2 + 2 * measure, "reading the config") as step:
        shape = shape_of(model, size, loading.revision or "main")
        if image_tokens is not None:
            others = shape.positions - (shape.image_tokens or 0)
            shape = replace(shape, image_tokens=image_tokens, positions=image_tokens + others)
        result = CostEstimate(
            shape, shape.dtype if dtype == "auto" else dtype, attn=loading.attn or "sdpa", card=chosen
        )
        if measure:
            step("loading the model")
            vlm = open_model(loading)
            step("timing one prompt, one gradient and one caption")
            result = measured(vlm, result, size)

    def show() -> None:
        rows = [
            (row.verb, f"{row.gib:.2f}", {None: "", True: "yes", False: "no"}[row.fits], _time(row.seconds))
            for row in result.rows()
        ]
        lines(
            f"{result.weights / GIB:.2f} GiB are weights in {result.dtype}; a picture of {size[0]} x {size[1]} px has "
            f"{result.shape.image_tokens} image tokens"
        )
        table(f"neuronscope check {model} --estimate", ("verb", "GiB", f"fits {card}".strip(), "time"), rows)
        if result.unit is not None:
            unit = result.unit
            lines(f"measured  prompt {unit.prompt:.3g} s, gradient {unit.gradient:.3g} s, caption {unit.caption:.3g} s")
            if unit.peak:
                lines(f"measured  {unit.peak / GIB:.3f} GiB beside the weights; computed {result.gradient() / GIB:.3f}")
        lines(*(f"note      {note}" for note in result.notes))

    emit(result.verdict(card), result.to_dict(), as_json, show)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return (
        f"{seconds:.2g} s"
        if seconds < 100
        else f"{seconds / 60:.2g} min"
        if seconds < 6000
        else f"{seconds / 3600:.2g} h"
    )
