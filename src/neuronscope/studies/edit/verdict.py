"""What an edit comes to, in one sentence; table, terminal and JSON begin with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def verdict(found: Mapping[str, Any]) -> str:
    """How many captions an edit changes as it was meant to, and how many others it leaves.

    Args:
        found: of an evaluation's document `source`, `target` (None where a word is only to go), `neurons`, and the
            measures `edited` and `random`.
    """
    gone = found["target"] is None
    head = "1 neuron was edited." if found["neurons"] == 1 else f"{found['neurons']} neurons were edited."
    meant = [("gone", "")] if gone else [("generality", "held-out "), ("success", "")]
    name, which = next(((n, w) for n, w in meant if found["edited"].get(n) is not None), ("", ""))
    said: list[str] = []
    if name:
        cell, beside = found["edited"][name], found["random"].get(name)
        now = f"no longer say “{found['source']}”" if gone else f"now say “{found['target']}”"
        control = "" if beside is None else f" ({_percent(beside)} with random neurons)"
        of = "captions of one picture" if cell["items"] == 1 else f"captions of {cell['items']} {which}pictures"
        said.append(f"{_percent(cell)} of the {of} that said “{found['source']}” {now}{control}")
    if (same := found["edited"].get("locality")) is not None:
        said.append(f"{_percent(same)} of {same['items']} captions of other pictures are as before")
    return f"{head} {'; '.join(said)}." if said else f"{head} No picture was left to measure it on."


def _percent(cell: Mapping[str, float]) -> str:
    return f"{100 * cell['value']:.0f} %"
