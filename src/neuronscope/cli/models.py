"""`neuronscope models`: the family table, and what applies to each."""

from __future__ import annotations

from dataclasses import asdict

from .output import JsonOption, emit, table


def run(as_json: JsonOption = False) -> None:
    """List the model families and what applies to each. Others get the general rules; `check` says how they do."""
    from ..models.families import FAMILIES, applies

    rows = sorted(FAMILIES.values(), key=lambda row: row.title.lower())
    document = {"families": [{**asdict(row), "applies": applies(row)} for row in rows]}

    def show() -> None:
        lines: list[tuple[object, ...]] = []
        for row in rows:
            marks = " ".join(name for name, holds in applies(row).items() if holds)
            lines.append((row.model_type, marks, row.refused or row.no_image or row.no_grid or row.notes))
        table("model families", ("type", "what applies", "remarks"), lines)

    emit(document, as_json, show)
