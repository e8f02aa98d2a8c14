"""A repair with everything that is kept of it.

edit.safetensors       all accepted edits as one, where there are any
tables.json, tables.md all numbers, and the same for people
page.html, thumbnails  a page to share, and the pictures that it shows
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...files import clear_result, output_folder, write_text
from ...held import in_turn
from ...loading import VLM
from ...report.kept import earlier_pictures, keep_pictures
from ...report.result import SHOWN
from ...run.settings import environment
from ...samples.objects import AnnotatedFolder
from .page import SCHEMA, write_page
from .settings import RepairJob
from .tables import document, tables
from .work import repair

_EDIT, _PAGE = "edit.safetensors", "page.html"


@in_turn
def repair_into(
    folder: str | Path,
    vlm: VLM,
    job: RepairJob,
    *,
    data: AnnotatedFolder | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Repair the hallucinations of a folder, and write what `neuronscope repair` does, which `report` takes.

    Args:
        folder: made if need be.
        vlm: the model, without an edit; `job` names one, too, which is not loaded.
        job: what is asked for.
        data: the pictures, where they are read already.
        step: told what is being done, for progress displays.

    Returns the document of tables.json. Raises InvalidOption for a folder that cannot be written to, and what reading
    the data and :func:`neuronscope.studies.repair.work.repair` raise.
    """
    how, target = job.how, output_folder(folder)
    lists, data = job.lists(), job.data() if data is None else data
    found = repair(vlm, data, how, only=job.source, done=step)
    clear_result(target, "tables.json", "tables.md", _EDIT, _PAGE, *earlier_pictures(target))
    shown = [one.path for one in found.single if one.path is not None]
    result = {"schema": SCHEMA} | document(found, lists, keep_pictures(target, shown[:SHOWN]))
    result |= {
        "model": vlm.identity(),
        "sent": vlm.sent(how.decoding),
        "beginning": how.decoding.beginning,
        "recipe": job.recipe(),
        "environment": environment(),
    }
    if found.together.edit is not None:
        found.together.edit.save(target / _EDIT)
    write_text(target / "tables.md", tables({how.by: result}))
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_page(target, target / _PAGE)
    return result
