"""The page of a repair, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...report.kept import kept_photo
from ...report.result import SHOWN, Card, Group, Line, ResultPage, said, told_rest, write_again
from .tables import sections

SCHEMA = "neuronscope.repair/1"
#: What a page tells apart, or has in its tables.
_SHOWN_ELSEWHERE = {"schema", "verdict", "captions", "recipe", "hallucinations", "single", "together", "sent"}


def write_page(folder: str | Path, path: str | Path) -> Path:
    """Write the page of a repair's folder and return its path.

    Raises RunMismatch as :func:`neuronscope.report.result.write_again` does.
    """
    return write_again(Path(folder) / "tables.json", (SCHEMA,), _page, path)


def _page(folder: Path, document: Mapping[str, Any]) -> ResultPage:
    model, wrong = document["model"], document["hallucinations"]
    cards = [
        Card(
            f"{one['picture']}: there is no {one['source']}",
            kept_photo(folder, one["thumbnail"]),
            _lines(one, document["beginning"]),
        )
        for one in wrong[:SHOWN]
    ]
    shown = Group("Captions that name what is not there", cards, told_rest(len(cards), len(wrong), "the table below"))
    return ResultPage(
        title="Objects that captions name and pictures do not show",
        about=f"Model {model.get('id')}, weights {model.get('fingerprint')}.",
        groups=[shown] if cards else [],
        sections=sections({document["settings"]["by"]: document}),
        recipe=document["recipe"],
        settings={name: value for name, value in document.items() if name not in _SHOWN_ELSEWHERE},
        sent=str(document["sent"]),
    )


def _lines(one: Mapping[str, Any], begins: str) -> list[Line]:
    source, found, luck = one["source"], one["found"], one["luck"]["after"]
    before = said("before", one["before"], (source,), begins=begins)
    if found["after"] is None:
        why = "some took the word out and changed too much else" if found["gone"] else "the word stays under every edit"
        return [before, said("with an edit of its own", f"No edit was accepted: {why}.", kind="changed")]
    count = len(found["neurons"])
    named = f"{count} neuron{'' if count == 1 else 's'}"
    random = "with an edit of random neurons of the same layers"
    return [
        before,
        said(f"with an edit of {named}", found["after"], (one["target"], source), "changed", begins=begins),
        said(random, "No edit was accepted.", kind="control")
        if luck is None
        else said(random, luck, (source,), "control", begins=begins),
    ]
