"""`neuronscope truth`: which method is right on this model and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import output_folder
from ..options import made
from ..studies.locate.truth import Truth
from .output import JsonOption, emit, lines, open_model, table, tell_notice
from .steps import progress
from .takes import Given, takes


@takes(Truth)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-truth"),
    as_json: JsonOption = False,
) -> None:
    """Exchange neurons one by one, and say which method finds those that matter.

    Writes page.html, truth.md, truth.json, recovered.png, and effects.json, from which the same command goes on.
    `neuronscope report FOLDER...` pools the results of several pictures.
    """
    from ..studies.locate.truth import truth_into

    asked = made(Truth, parsed)
    sample, folder = asked.sample(), output_folder(out)
    with progress(2 + len(asked.methods), "loading the model") as step:
        vlm = open_model(asked)
        notice = tell_notice(vlm, sample.load(), asked.image)
        pair, validity = asked.pair(vlm, sample)
        judged = truth_into(folder, vlm, pair, validity, asked, step=step)

    def show() -> None:
        names = list(next(iter(judged.figures.values()), {}))
        rows = [(method, *(str(of[name]) for name in names)) for method, of in judged.figures.items()]
        table(f"methods for {asked.concept!r}", ("method", *names), rows)
        lines(*judged.notes, f"written to {folder}; open {folder / 'page.html'}")

    emit(judged.sentence, {**judged.to_dict(), "folder": str(folder), "notice": notice}, as_json, show)
