"""`neuronscope locate`: two-stage filtering, or any other method, on the user's own image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..files import output_folder
from ..options import made
from ..studies.locate.settings import Locate
from .output import JsonOption, emit, lines, open_model, table, tell_notice
from .steps import progress
from .takes import Given, takes
from .words import WORDS, word_cells

#: What the columns of the table are called where the score's own name says too little.
_HEADINGS = {"activation": "difference", "gradient": "grad x act", "original": "activation"}


@takes(Locate)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-locate"),
    as_json: JsonOption = False,
) -> None:
    """Find the neurons that hold a concept in an image.

    Writes neurons.json, edited.png, heatmap.png, overlay.png, layers.png, summary.txt, and the folder evidence, which
    `neuronscope report` makes a page of.
    """
    from ..studies.locate.study import locate_into

    asked = made(Locate, parsed)
    method, sample, folder = asked.locator(), asked.sample(), output_folder(out)
    with progress(6 if asked.test else 4, "loading the model") as step:
        vlm = open_model(asked)
        notice = tell_notice(vlm, sample.load(), asked.image)
        pair, validity = asked.pair(vlm, sample)
        draws, origin = asked.draws if asked.test else None, asked.origin()
        result = locate_into(folder, vlm, method, pair, validity=validity, draws=draws, origin=origin, step=step)

    def show() -> None:
        lines(*result.summary[1:])
        neurons = result.located.neurons
        words = result.evidence.words
        names = [name for name in neurons.scores if not name.endswith("_patch")]
        rows = [
            (address, *(f"{neurons.scores[name][i]:.3g}" for name in names), *word_cells(words, i))
            for i, address in enumerate(neurons.addresses)
        ]
        if rows:
            headings = ("neuron", *(_HEADINGS.get(name, name) for name in names), *WORDS)
            table(f"neurons of {asked.concept!r}", headings, rows, cut=WORDS)
        lines(f"written to {folder}")

    emit(result.summary[0], {**result.to_dict(), "folder": str(folder), "notice": notice}, as_json, show)
