"""`neuronscope edit --repair`: edit away the objects that captions name and pictures do not show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from ..files import output_folder, write_text
from ..types import one_of
from .output import emit, lines, progress

if TYPE_CHECKING:
    from ..loading import VLM
    from ..studies.repair.settings import Repair

#: Settings of `Repair` that --set may give; the others have options of their own.
_SETTINGS: Mapping[str, type] = {"toward": str, "right": int, "against": bool}


def repair_folder(
    folders: Sequence[str],
    *,
    only: str | None,
    editor: str,
    count: int,
    position: str,
    seed: int,
    settings: dict[str, Any],
    out: Path,
    load: Callable[[], VLM],
    as_json: bool,
) -> None:
    """Repair the hallucinations of a COCO folder, and write what came of it.

    Raises InvalidOption for more than one folder, an editor that repairs nothing, and unknown settings.
    """
    if len(folders) != 1:
        raise InvalidOption(f"--repair takes one --images, a COCO folder with annotated objects; got {len(folders)}")
    how = _how(editor, count, position, seed, settings)
    from ..run.settings import environment
    from ..samples.objects import AnnotatedFolder
    from ..studies.repair.tables import document, tables
    from ..studies.repair.work import repair

    folder = AnnotatedFolder.read(folders[0])
    target = output_folder(out)
    with progress(0, "captioning the pictures") as step:
        vlm = load()
        found = repair(vlm, folder, how, only=only, done=step)
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
