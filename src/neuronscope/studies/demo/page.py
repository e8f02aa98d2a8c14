"""The page of a study: its scores, then every image as :mod:`neuronscope.report` shows a located concept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...loading import VLM
from ...report.gather import Origin, Test, gather
from ...report.located import Section, section
from ...report.page import write_page as write_template
from ...version import __version__
from .study import Finding, Study

_CONDITIONS = (
    ("noise", "noise on the located neurons"),
    ("zero", "located neurons set to zero"),
    ("random noise", "noise on as many random neurons of the same layers"),
    ("random zero", "those random neurons set to zero"),
)


def write_page(study: Study, vlm: VLM, path: Path) -> Path:
    """Write a study as one self-contained HTML page and return its path; `vlm` is the model of the study."""
    truths = [finding.truth for finding in study.findings if finding.truth is not None]
    context: dict[str, Any] = {
        "study": study,
        "model": vlm,
        "scores": [_score_row(study, key, label) for key, label in _CONDITIONS],
        "sections": [_section(finding, vlm, k) for k, finding in enumerate(study.findings)],
        "precision": _mean([truth.precision for truth in truths]),
        "recall": _mean([truth.recall for truth in truths]),
        "version": __version__,
    }
    return write_template("study.html", path, context)


def _score_row(study: Study, condition: str, label: str) -> dict[str, Any]:
    return {"label": label, **{s: study.mean(condition, s) for s in ("s_se", "s_re", "j")}}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _section(finding: Finding, vlm: VLM, number: int) -> Section:
    """The image with the captions of the study's own noise, which its seed gives again."""
    noise = None if finding.tested is None else finding.tested.noise
    test = None if noise is None else Test(noise.level, noise.draws, noise.seed)
    origin = Origin(finding.pair.sample.image_id)
    return section(gather(vlm, finding.pair, finding.located, {}, test=test, origin=origin), f"image-{number + 1}")
