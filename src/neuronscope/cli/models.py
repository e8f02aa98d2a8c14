"""`neuronscope models`: the family table, and what applies to each."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from .output import JsonOption, emit, table


def run(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the model families and what applies to each. Others get the general rules; `check` says how they do."""
    from ..models.families import FAMILIES
    from ..models.family_table import applies, remark
    from ..models.family_table import markdown as page

    if markdown:
        sys.stdout.write(page())
        return
    rows = sorted(FAMILIES.values(), key=lambda row: row.model_type)
    document = {"families": [{**asdict(row), "applies": applies(row)} for row in rows]}

    def show() -> None:
        lines: list[tuple[object, ...]] = []
        for row in rows:
            marks = " ".join(name for name, holds in applies(row).items() if holds)
            lines.append((row.model_type, marks, remark(row)))
        table("model families", ("type", "what applies", "remarks"), lines)

    verdict = f"{len(rows)} families are known by name; others get the general rules, and `check` says how they do."
    emit(verdict, document, as_json, show)
