"""What a discovery comes to, in one sentence; the page and JSON begin with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .concepts import generic


def verdict(found: Mapping[str, Any]) -> str:
    """How many nouns have a best neuron that is not that of any noun.

    Args:
        found: of a discovery's document `images`, `nouns` and `best_for`.
    """
    nouns, images = len(found["nouns"]), found["images"]
    where = "the caption of 1 image" if images == 1 else f"the captions of {images} images"
    if not nouns:
        return f"No noun was found in {where}."
    shared = {name: count for name, count in found["best_for"].items() if generic(count, nouns)}
    head = f"1 noun in {where}" if nouns == 1 else f"{nouns} different nouns in {where}"
    own = nouns - sum(shared.values())
    if not shared:
        return f"{head}; no neuron is the best for more than half of them."
    names = ", ".join(shared)
    return (
        f"{head}; {own} have a best neuron of their own, the others {names}, which is best for more than half of all "
        "nouns and so belongs to none."
    )
