"""What an edit comes to, in one sentence; table, terminal and JSON begin with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def words_verdict(found: Mapping[str, Any]) -> str:
    """How many captions say none of several words any more, with all edits in force at once.

    Args:
        found: of the document of a list of words `words`, `left_out` and `together`.
    """
    count, left = len(found["words"]), len(found["left_out"])
    head = f"{count} word{'' if count == 1 else 's'} taken out, {left} left as they are"
    own, random = ([_changed(one) for one in found["together"][of]] for of in ("edited", "random"))
    share, beside = (_pooled(cells) for cells in (own, random))
    if share is None:
        return f"{head}. No picture was left to measure them on."
    control = "" if beside is None else f" ({beside:.0%} with random neurons)"
    return f"{head}. With all edits in force {share:.0%} of the captions that said one of them no longer do{control}."


def _changed(measured: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Captions that are as they were meant to be, by the first measure that a word has."""
    return next((measured[name] for name in ("gone", "generality", "success") if measured.get(name) is not None), None)


def _pooled(cells: Sequence[Mapping[str, float] | None]) -> float | None:
    known = [one for one in cells if one is not None]
    items = sum(one["items"] for one in known)
    return sum(one["value"] * one["items"] for one in known) / items if items else None


def _percent(cell: Mapping[str, float]) -> str:
    return f"{100 * cell['value']:.0f} %"
