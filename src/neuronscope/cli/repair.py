"""`neuronscope repair`: edit away the objects that captions name and pictures do not show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import output_folder, write_text
from ..types import one_of
from .output import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    emit,
    lines,
    open_model,
    parse_settings,
    progress,
)

if TYPE_CHECKING:
    from ..studies.repair.settings import Repair

#: Settings of `Repair` that --set may give; the others have options of their own.
_SETTINGS: Mapping[str, type] = {"toward": str, "right": int, "against": bool}


def run(
    images: Annotated[str, typer.Option("--images", help="A COCO folder with annotated objects.")],
    source: Annotated[str | None, typer.Option("--source", help="The one object to repair; else any.")] = None,
    editor: Annotated[str, typer.Option("--editor", help="ablate, or swap.")] = "ablate",
    option: Annotated[
        list[str] | None, typer.Option("--set", help=f"NAME=VALUE, of {', '.join(_SETTINGS)}; may be repeated.")
    ] = None,
    count: Annotated[int, typer.Option("--count", help="How many neurons are edited, at most.")] = 100,
    position: Annotated[str, typer.Option("--position", help="Where they are ranked: predict, or image.")] = "predict",
    seed: Annotated[int, typer.Option("--seed", help="Of the random sets.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-repair"),
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Edit away the objects that captions name and a COCO folder's pictures do not show, measured by CHAIR.

    Writes edit.safetensors (all accepted edits as one), tables.md and tables.json. The model is left as it was.
    """
    how = _how(editor, count, position, seed, parse_settings(option or []))
    from ..run.settings import environment
    from ..samples.objects import AnnotatedFolder
    from ..studies.repair.tables import document, tables
    from ..studies.repair.work import repair

    folder = AnnotatedFolder.read(images)
    target = output_folder(out)
    with progress(0, "captioning the pictures") as step:
        vlm = open_model(model, device, dtype)
        found = repair(vlm, folder, how, only=source, done=step)
    result = document(found) | {"model": vlm.identity(), "environment": environment()}
    text = tables({how.by: result})
    if found.together.edit is not None:
        found.together.edit.save(target / "edit.safetensors")
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_text(target / "tables.md", text)
    emit(result, as_json, lambda: lines(text, f"written to {out}"))


def _how(editor: str, count: int, position: str, seed: int, settings: dict[str, Any]) -> Repair:
    from ..studies.repair.settings import COUNTS, Repair

    one_of("--editor", editor, ("ablate", "swap"))
    for name, value in settings.items():
        one_of("--set", name, list(_SETTINGS))
        if type(value) is not _SETTINGS[name]:
            raise InvalidOption(f"--set {name}={value} is not of type {_SETTINGS[name].__name__}")
    by: Any = editor
    at: Any = position
    counts = (*(n for n in COUNTS if n < count), count)
    return Repair(by=by, position=at, counts=counts, seed=seed, **settings)
