"""`neuronscope repair`: edit away the objects that captions name and pictures do not show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import clear_result, output_folder, write_text
from ..options import ANNOTATED, SETTING, Asking, Loading, Reading, made
from ..studies.repair.settings import Measuring, Repair
from ..types import one_of
from .output import JsonOption, after, emit, lines, open_model
from .steps import progress
from .takes import Given, takes

#: Settings of `Repair` that --set may give; the others have options of their own.
_SETTINGS = {name: type(getattr(Repair, name)) for name in ("toward", "right", "against")}


@takes(Repair, Measuring, Asking, Loading, Reading)
def run(
    parsed: Given,
    images: Annotated[str, typer.Option("--images", help=ANNOTATED)],
    source: Annotated[str | None, typer.Option("--source", help="The one object to repair; else any.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help=f"Of {', '.join(_SETTINGS)}; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-repair"),
    as_json: JsonOption = False,
) -> None:
    """Edit away the objects that captions name and annotated pictures do not show, measured by CHAIR.

    Writes edit.safetensors (all accepted edits as one), tables.md and tables.json. The model is left as it was.
    """
    one_of("--editor", parsed.get("by", Repair.by), ("ablate", "swap"))
    from ..models.decoding import Decoding
    from ..run.settings import environment
    from ..samples.objects import AnnotatedFolder
    from ..samples.synonyms import Synonyms
    from ..studies.repair.tables import document, tables
    from ..studies.repair.work import repair

    decoding = Decoding.asked(made(Asking, parsed))
    how = made(Repair, parsed, **_settings(option or []), decoding=decoding)
    reading, loading, measuring = made(Reading, parsed), made(Loading, parsed), made(Measuring, parsed)
    lists = None if measuring.synonyms is None else Synonyms.read(measuring.synonyms)
    folder = AnnotatedFolder.read(images, reading.split, allow_outside=reading.allow_outside)
    if lists is not None:  # an object that they lack is refused before anything is done
        lists.shown({name for one in folder.pictures for name in one.annotated}, ())
    target = output_folder(out)
    with progress(0, "captioning the pictures") as step:
        vlm = open_model(loading)
        found = repair(vlm, folder, how, only=source, done=step)
    measured = document(found, lists)
    verdict: str = measured["verdict"]
    result = measured | {
        "model": vlm.identity(),
        "sent": vlm.sent(decoding),
        "environment": environment(),
    }
    text = tables({how.by: result})
    clear_result(target, "tables.json", "tables.md", "edit.safetensors")
    if found.together.edit is not None:
        found.together.edit.save(target / "edit.safetensors")
    write_text(target / "tables.md", text)
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    emit(verdict, result, as_json, lambda: lines(after(verdict, text), f"written to {out}"))


def _settings(options: list[str]) -> dict[str, Any]:
    found = dict(map(SETTING.read, options))
    for name, value in found.items():
        one_of("--set", name, list(_SETTINGS))
        if type(value) is not _SETTINGS[name]:
            raise InvalidOption(f"--set {name}={value} is not of type {_SETTINGS[name].__name__}")
    return found
