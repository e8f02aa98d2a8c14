"""`neuronscope demo`: the main job on the bundled model, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption, suggest
from ..files import output_folder
from ..options import Loading
from .output import DeviceOption, JsonOption, emit, lines, open_model
from .steps import progress


def run(
    concept: Annotated[str, typer.Option("--concept", help="Which of the 30 concepts.")] = "bear",
    images: Annotated[int, typer.Option("--images", "-n", min=1, max=1000, help="Images of the concept.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which held-out scenes.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for page and data.")] = Path("neuronscope-demo"),
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Locate, look at and test the neurons of one concept in the bundled model; write one HTML page."""
    from ..samples.scenes import CONCEPTS
    from ..studies.demo.page import save, write_page
    from ..studies.demo.scenes import bystanders, scenes_of
    from ..studies.demo.study import steps_of, study

    if concept not in CONCEPTS:
        raise InvalidOption(f"--concept {concept!r} is not drawn.{suggest(concept, sorted(CONCEPTS))}")
    folder = output_folder(out)
    with progress(steps_of(images) + 1, "loading the model") as step:
        vlm = open_model(Loading(device=device))
        step("drawing scenes")
        result = study(vlm, scenes_of(concept, images, seed), bystanders(concept, seed), draws=3, step=step)
    save(result, folder)
    page = write_page(folder, folder / "index.html")
    document: dict[str, Any] = {**result.to_dict(), "page": str(page.resolve())}

    def show() -> None:
        first = result.findings[0]
        lines(
            f"before   {document['caption_before']}",
            f"after    {document['caption_after']}   ({len(first.located.neurons)} located neurons)",
            f"control  {document['caption_control']}   (as many random neurons of the same layers)",
            f"J {_number(document['J'])} under noise, {_number(document['J_zero'])} set to zero, "
            f"{_number(document['J_random'])} for random neurons; precision {_number(document['precision'])}, "
            f"recall {_number(document['recall'])} against the planted truth; {result.seconds:.0f} s",
            f"page     {page}",
        )

    emit(result.findings[0].evidence.verdict, document, as_json, show)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
