"""`neuronscope scenes`: procedural scenes as a COCO folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import JsonOption, counted, emit, lines
from .steps import progress


def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many scenes.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first scene; the next ones follow.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw scenes of 30 concepts in 10 places and write them as a COCO folder."""
    from ..samples.scenes import CONCEPTS, write_coco

    with progress(count, "drawing scenes") as step:
        root = write_coco(out, count, seed, lambda: step("drawing scenes"))
    document = {"folder": str(root), "count": count, "seed": seed}
    verdict = f"{counted(count, 'scene')} of {len(CONCEPTS)} concepts, with what each shows."
    emit(verdict, document, as_json, lambda: lines(f"written to {root} (images, exact, annotations)"))
