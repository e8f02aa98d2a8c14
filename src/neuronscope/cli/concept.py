"""`neuronscope concept`: one set of neurons from several photographs of a concept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import output_folder
from ..options import made
from ..studies.locate.concept import ConceptOf, concept_into
from .output import JsonOption, emit, lines, open_model
from .steps import progress
from .takes import Given, takes


@takes(ConceptOf)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-concept"),
    as_json: JsonOption = False,
) -> None:
    """Find the neurons that hold a concept in several photographs of it.

    Writes neurons.json, layers.png and summary.txt.
    """
    asked, folder = made(ConceptOf, parsed), output_folder(out)
    with progress((asked.photographs + 1) * (1 + len(asked.against)) + 1, "loading the model") as step:
        vlm = open_model(asked)
        neurons, summary = concept_into(folder, vlm, asked, step)
    document = {**neurons.to_dict(), "summary": list(summary), "folder": str(folder)}
    emit(summary[0], document, as_json, lambda: lines(*summary[1:], f"written to {folder}"))
