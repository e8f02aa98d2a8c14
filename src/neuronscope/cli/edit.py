"""`neuronscope edit`: rewrite a word in the weights, measure it beside random neurons, and save the edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidOption
from ..files import output_folder
from ..options import made
from ..studies.edit.settings import Rewrite
from .output import JsonOption, after, emit, lines, open_model, written_to
from .steps import progress
from .takes import Given, takes


def _moved(given: bool) -> None:
    """Say where `edit --repair` went, and exit with 2: bad usage."""
    if given:
        raise typer.BadParameter("edit --repair is a verb of its own now: neuronscope repair --images DATA")


@takes(Rewrite)
def run(
    parsed: Given,
    repair: Annotated[bool, typer.Option("--repair", hidden=True, is_eager=True, callback=_moved)] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="Also write a LoRA adapter (needs PEFT).")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-edit"),
    as_json: JsonOption = False,
) -> None:
    """Make the model say one word where it said another, and measure what else changed.

    Images whose caption names the source are edited with or held out, the rest must stay. Writes edit.safetensors,
    neurons.json, page.html, tables.md and tables.json, and with --adapter the folder adapter. With --suppress FILE
    every word of the file is suppressed or swapped, alone and all together; files are numbered. The model is left as
    it was.
    """
    del repair
    from ..studies.edit.study import EditJob
    from ..studies.edit.tables import one_table

    asked = made(Rewrite, parsed)
    if asked.suppress is not None:
        _words(asked, out, adapter, as_json)
        return
    job, folder = EditJob.of(asked), output_folder(out)
    with progress(5 + asked.controls, "loading the model") as step:
        found = job.run(open_model(asked), step)
    result = found.save(folder, adapter=adapter)
    verdict = result["verdict"]
    emit(verdict, result, as_json, lambda: lines(after(verdict, one_table(result)), written_to(out)))


def _words(asked: Rewrite, out: Path, adapter: bool, as_json: bool) -> None:
    """Several words."""
    from ..studies.edit.word_tables import save_words
    from ..studies.edit.words import WordsJob
    from ..studies.edit.words_report import words_tables

    if adapter:
        raise InvalidOption("--adapter is for one word, not for those of --suppress")
    job, folder = WordsJob.of(asked), output_folder(out)
    with progress(3 + len(job.listed), "loading the model") as step:
        found = job.run(open_model(asked), step)
    result = save_words(found, folder)
    verdict = result["verdict"]
    emit(verdict, result, as_json, lambda: lines(after(verdict, words_tables(result)), written_to(out)))
