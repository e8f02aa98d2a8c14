"""`neuronscope discover`: neurons for every noun of captions, and the four measurements, as one resumable run."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ..options import Scorers, made
from ..studies.discover.settings import Discover, DiscoveryPlan
from .output import LOG, JsonOption, after, emit, lines, open_model
from .steps import progress
from .takes import Given, takes


@takes(Discover, DiscoveryPlan, Scorers)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run directory; an existing one is gone on with.")] = Path(
        "neuronscope-discover"
    ),
    log: Annotated[Path | None, typer.Option("--log", help=LOG)] = None,
    as_json: JsonOption = False,
) -> None:
    """Discover the neurons behind every noun of the captions of images, and measure them (Pan et al.).

    Writes discovery.md, discovery.json, figures/ and neurons/.
    """
    from ..evaluate.captions import require_here
    from ..models.usable import unprocessable
    from ..run.board import keeping, open_writer
    from ..samples.picture_files import gather
    from ..studies.discover.board import Board
    from ..studies.discover.collect import collect_discoveries
    from ..studies.discover.directory import open_discovery
    from ..studies.discover.tables import render_discoveries
    from ..studies.discover.work import DiscoveryRun

    asked, scorers = made(Discover, parsed), made(Scorers, parsed)
    plan = made(DiscoveryPlan, parsed, discovery=asked.discovery(), metrics=scorers.metrics)
    for name, options in scorers.metrics.items():
        require_here(name, **options)
    pictures = gather(asked.sources, asked.images, split=asked.split, allow_outside=asked.allow_outside)
    with nullcontext() if log is None else closing(open_writer(log)) as writer:  # before anything is left behind
        vlm = open_model(asked)
        decoding = plan.discovery.decoding
        directory = open_discovery(out, vlm, plan)
        new = {key["image"] for key in directory.missing("captions", [picture.key for picture in pictures.items])}
        pictures = pictures.without(
            unprocessable(vlm, [one.path for one in pictures.items if one.name in new], decoding)
        )
        work = DiscoveryRun(vlm, pictures.items, plan, directory)
        with (
            progress(work.left(), "discovering") as told,
            keeping(None if writer is None else Board(directory, writer), told) as work.step,
        ):
            work.work()
    document = render_discoveries(work, collect_discoveries(work), out, pictures.refused)
    verdict, page = document["verdict"], (out / "discovery.md").read_text(encoding="utf-8")
    emit(verdict, document, as_json, lambda: lines(after(verdict, page), f"written to {out}"))
