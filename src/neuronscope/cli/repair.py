"""`neuronscope repair`: edit away the objects that captions name and pictures do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import output_folder
from ..options import SETTING, Asking, made
from ..studies.repair.settings import SETTINGS, Repair, RepairJob
from ..types import one_of
from .output import JsonOption, after, emit, lines, open_model, written_to
from .steps import progress
from .takes import Given, takes


@takes(RepairJob, Repair, Asking)
def run(
    parsed: Given,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"Of {', '.join(SETTINGS)}; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-repair"),
    as_json: JsonOption = False,
) -> None:
    """Edit away the objects that captions name and annotated pictures do not show, measured by CHAIR.

    Writes edit.safetensors (all accepted edits as one), page.html, tables.md and tables.json. The model is left as it
    was.
    """
    one_of("--editor", parsed.get("by", Repair.by), ("ablate", "swap"))
    from ..models.decoding import Decoding
    from ..studies.repair.study import repair_into
    from ..studies.repair.tables import tables

    decoding = Decoding.asked(made(Asking, parsed))
    how = made(Repair, parsed, **_settings(option or []), decoding=decoding)
    job = made(RepairJob, parsed, how=how)
    data, target = job.data(), output_folder(out)  # before anything is loaded
    with progress(0, "captioning the pictures") as step:
        result = repair_into(target, open_model(job), job, data=data, step=step)
    verdict, text = result["verdict"], tables({how.by: result})
    emit(verdict, result, as_json, lambda: lines(after(verdict, text), written_to(out)))


def _settings(options: list[str]) -> dict[str, Any]:
    kinds = {name: type(getattr(Repair, name)) for name in SETTINGS}
    found = dict(map(SETTING.read, options))
    for name, value in found.items():
        one_of("--set", name, SETTINGS)
        if type(value) is not kinds[name]:
            raise InvalidOption(f"--set {name}={value} is not of type {kinds[name].__name__}")
    return found
