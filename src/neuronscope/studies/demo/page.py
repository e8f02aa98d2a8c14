"""A study as a folder, and its page: its scores, then every image as :mod:`neuronscope.report` shows a located concept.

FOLDER/study.json   the document of `neuronscope demo --json`
FOLDER/image-K      the evidence of image K, as `neuronscope locate` leaves it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import RunMismatch
from ...files import clear_result, named_like, output_folder, refusing, write_text
from ...index.file import NeuronIndex
from ...parsing import read_json
from ...report.evidence import Evidence, clear_evidence
from ...report.located import section
from ...report.page import telling_damage
from ...report.page import write_page as write_template
from ...version import __version__
from .study import Study

NAME = "study.json"
SCHEMA = "neuronscope.study/1"

_CONDITIONS = {
    "noise": "noise on the located neurons",
    "zero": "located neurons set to zero",
    "random noise": "noise on as many random neurons of the same layers",
    "random zero": "those random neurons set to zero",
}

#: What the template shows of study.json.
_SHOWN = ("concept", "model", "seconds", "precision", "recall", "refused")


def save(study: Study, folder: str | Path) -> None:
    """Write a study, from which :func:`write_page` makes its page. Raises InvalidOption where it cannot be written."""
    target = output_folder(folder)
    clear_result(target, NAME)
    for name in named_like(target, r"image-\d+"):
        if int(name.removeprefix("image-")) > len(study.findings):  # of an earlier study, which had more
            clear_evidence(target / name)
            with refusing(target / name):
                _ = any((target / name).iterdir()) or (target / name).rmdir()
    for k, finding in enumerate(study.findings, 1):
        finding.evidence.save(output_folder(target / f"image-{k}"))
    document = {"schema": SCHEMA, **study.to_dict()}
    write_text(target / NAME, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_page(folder: str | Path, path: str | Path, *, index: NeuronIndex | None = None) -> Path:
    """Write a saved study as one self-contained HTML page and return its path; with an index, neurons link to theirs.

    Raises RunMismatch for a folder without a study, with one of another schema, or damaged, and for an index of other
    weights; InvalidOption where the page cannot be written.
    """
    place = Path(folder) / NAME
    try:
        document: Any = read_json(place)
    except (OSError, ValueError) as error:
        raise RunMismatch(f"{place} cannot be read: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise RunMismatch(f"{place} is not of schema {SCHEMA!r}: run `neuronscope demo` again")
    with telling_damage(place):
        return _write(document, place, path, index)


def _write(document: dict[str, Any], place: Path, path: str | Path, index: NeuronIndex | None) -> Path:
    scores = [{"label": label, **document["scores"][name]} for name, label in _CONDITIONS.items()]
    images = range(1, document["images"] + 1)
    _ = [document[name] for name in _SHOWN]
    found = [Evidence.load(place.parent / f"image-{k}") for k in images]
    if not found:
        raise RunMismatch(f"{place} is damaged: it has no image")
    context: dict[str, Any] = {
        "study": document,
        "widths": found[0].widths,
        "scores": scores,
        "sections": [section(one, f"image-{k}", index=index, page=Path(path)) for k, one in enumerate(found, 1)],
        "version": __version__,
    }
    return write_template("study.html", path, context)
