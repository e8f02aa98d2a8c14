"""`neuronscope truth`: which method is right on this model and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cluster.resources import Resources
from ..files import output_folder
from ..options import made
from ..studies.locate.truth import Truth
from .output import JsonOption, emit, lines, open_model, table, tell_notice, written_to
from .sharing import EngineOption, say, sharing
from .steps import progress
from .takes import Given, takes


@takes(Truth, Resources)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-truth"),
    engine: EngineOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Exchange neurons one by one, and say which method finds those that matter.

    Writes page.html, truth.md, truth.json, recovered.png, effects.json, and run/, from which the same command goes on.
    `neuronscope report FOLDER...` pools the results of several pictures.
    """
    from ..studies.locate.truth import truth_into

    asked = made(Truth, parsed)
    sample, folder = asked.sample(), output_folder(out)
    with sharing(engine, parsed) as resources, progress(0, "loading the model") as step:
        vlm = open_model(asked)
        notice = tell_notice(vlm, sample.load(), asked.image)
        pair, validity = asked.pair(vlm, sample)
        judged = truth_into(folder, vlm, pair, validity, asked, resources=resources, step=step, say=say)

    def show() -> None:
        names = list(next(iter(judged.figures.values()), {}))
        rows = [(method, *(str(of[name]) for name in names)) for method, of in judged.figures.items()]
        table(f"methods for {asked.concept!r}", ("method", *names), rows)
        lines(*judged.notes, written_to(folder))

    emit(judged.sentence, {**judged.to_dict(), "folder": str(folder), "notice": notice}, as_json, show)
