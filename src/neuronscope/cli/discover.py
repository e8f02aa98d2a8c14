"""`neuronscope discover`: neurons for every noun of captions, and the four measurements, as one resumable run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import Scorers, made
from ..studies.discover.settings import Discover, DiscoveryJob, DiscoveryPlan
from .output import LOG, JsonOption, after, emit, lines, open_model, written_to
from .steps import progress
from .takes import Given, takes

if TYPE_CHECKING:
    from ..studies.discover.work import DiscoveryRun


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

    Writes page.html, discovery.md, discovery.json, figures/ and neurons/.
    """
    from ..evaluate.captions import require_here
    from ..run.board import keeping
    from ..run.writers import open_writer
    from ..studies.discover.board import Board
    from ..studies.discover.study import discover_into

    asked, scorers = made(Discover, parsed), made(Scorers, parsed)
    plan = made(DiscoveryPlan, parsed, discovery=asked.discovery(), metrics=scorers.metrics)
    for name, options in scorers.metrics.items():
        require_here(name, **options)
    job, pictures = DiscoveryJob(asked=asked, plan=plan), asked.gather()
    with nullcontext() if log is None else closing(open_writer(log)) as writer:  # before anything is left behind

        @contextmanager
        def watch(work: DiscoveryRun) -> Generator[Callable[[str], None]]:
            board = None if writer is None else Board(work.run, writer)
            with progress(work.left(), "discovering") as told, keeping(board, told) as step:
                yield step

        document = discover_into(out, open_model(asked), job, pictures=pictures, watch=watch)
    verdict, page = document["verdict"], (out / "discovery.md").read_text(encoding="utf-8")
    emit(verdict, document, as_json, lambda: lines(after(verdict, page), written_to(out)))
