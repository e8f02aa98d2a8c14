"""A study as one HTML file that needs nothing else: pictures inside, no scripts, no network."""

from __future__ import annotations

import base64
import io
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from ..files import write_text
from ..models.vlm import VLM
from .layers import layer_distribution, plot_layers

if TYPE_CHECKING:
    from ..run.study import Finding, Study

_SHOWN_NEURONS = 24
_CONDITIONS = (
    ("noise", "noise on the located neurons"),
    ("zero", "located neurons set to zero"),
    ("random noise", "noise on as many random neurons of the same layers"),
    ("random zero", "those random neurons set to zero"),
)


def write_page(study: Study, vlm: VLM, path: Path) -> Path:
    """Write a study as one self-contained HTML page and return its path."""
    from jinja2 import Environment, StrictUndefined

    source = (files("neuronscope.view") / "templates" / "study.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
    html = template.render(
        study=study,
        model=vlm,
        scores=[_score_row(study, key, label) for key, label in _CONDITIONS],
        findings=[_finding(f, vlm) for f in study.findings],
        precision=_mean([f.truth.precision for f in study.findings if f.truth is not None]),
        recall=_mean([f.truth.recall for f in study.findings if f.truth is not None]),
    )
    write_text(path, html)
    return path


def _score_row(study: Study, condition: str, label: str) -> dict[str, Any]:
    return {"label": label, **{s: study.mean(condition, s) for s in ("s_se", "s_re", "j")}}


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _finding(finding: Finding, vlm: VLM) -> dict[str, Any]:
    neurons, pair = finding.located.neurons, finding.pair
    boxes = list(pair.sample.boxes)
    pictures = [("original", _with_boxes(pair.original, boxes)), (f"edited ({pair.method})", pair.edited)]
    if finding.heat is not None:
        pictures.append(("heat map of the 5 strongest neurons", finding.heat.overlay(boxes)))
    rows = [
        {
            "address": str(d.neuron),
            "difference": neurons.scores["activation"][i],
            "gradient": neurons.scores["gradient"][i],
            "tokens": d.tokens,
        }
        for i, d in enumerate(finding.decoded[:_SHOWN_NEURONS])
    ]
    return {
        "finding": finding,
        "captions": finding.located.validity,
        "pictures": [(label, _data_uri(_enlarged(picture))) for label, picture in pictures],
        "layers": _layer_plot(finding, vlm),
        "rows": rows,
        "hidden": len(finding.decoded) - len(rows),
        "thresholds": neurons.provenance["thresholds"],
    }


def _layer_plot(finding: Finding, vlm: VLM) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layers.png"
        plot_layers({"located": layer_distribution(finding.located.neurons, vlm.widths)}, path)
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _with_boxes(image: Image.Image, boxes: list[tuple[float, float, float, float]]) -> Image.Image:
    drawn = image.copy()
    for x, y, w, h in boxes:
        ImageDraw.Draw(drawn).rectangle([x, y, x + w - 1, y + h - 1], outline=(255, 255, 255))
    return drawn


def _enlarged(image: Image.Image, side: int = 256) -> Image.Image:
    factor = side / max(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
