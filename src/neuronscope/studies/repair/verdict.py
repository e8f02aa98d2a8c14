"""What a repair comes to, in one sentence; table, terminal and JSON begin with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict(found: Mapping[str, Any]) -> str:
    """How many hallucinations go, beside random neurons, and what becomes of objects that are there.

    Args:
        found: the document of a repair: `hallucinations`, `single`, and `together` with its `halves`.
    """
    count = len(found["hallucinations"])
    if not count:
        return "No caption of the searched pictures names an object that is not there: nothing was repaired."
    own, random = (found["single"][side]["repaired"] for side in ("found", "random"))
    head = "1 hallucination" if count == 1 else f"{count} hallucinations"
    said = f"{head}: an edit of its own repairs {_of(own, count)}"
    said += f", one of random neurons {_of(random, count)}" if random else ""
    held = found["together"]["halves"].get("held_out")
    if not found["together"]["neurons"] or held is None:
        return f"{said}. No edit was left to put them together."
    before, after, control = (held[state]["hallucinated"] for state in ("before", "after", "random"))
    right = [held[state]["mentions"] - held[state]["hallucinated"] for state in ("before", "after")]
    return (
        f"{said}. All together, on held-out pictures: {before} wrong mentions become {after} ({control} with random "
        f"neurons), {right[0]} right ones {right[1]}."
    )


def _of(share: Mapping[str, float] | None, count: int) -> str:
    return "none" if share is None else f"{round(share['value'] * count)} of {count}"
