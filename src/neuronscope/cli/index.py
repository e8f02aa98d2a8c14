"""`neuronscope index`: one pass over a folder of pictures, after which every neuron has a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cluster.resources import Resources
from ..options import Asking, made
from ..studies.index.settings import IndexOf, IndexPlan, SitePages
from .output import AnyModelOption, JsonOption, emit, lines, open_model
from .sharing import EngineOption, say, sharing
from .steps import progress
from .takes import Given, takes


@takes(IndexOf, IndexPlan, SitePages, Resources)
def run(
    parsed: Given,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; an existing index in it is gone on with.")] = Path(
        "neuronscope-index"
    ),
    any_model: AnyModelOption = False,
    engine: EngineOption = "local",
    as_json: JsonOption = False,
) -> None:
    """Look through pictures once and note what moves every neuron: top pictures, density, a page for each.

    Writes index.npz, index.html and pages of neurons; `neuronscope neuron` makes the page of any other.
    """
    from ..index.described import require_like
    from ..models.decoding import Decoding
    from ..samples.picture_files import gather
    from ..studies.index.pages import chosen, read_sets, require_export, write_pages
    from ..studies.index.work import IndexRun

    asked, plan, pages = made(IndexOf, parsed), made(IndexPlan, parsed), made(SitePages, parsed)
    with sharing(engine, parsed) as resources:
        sets = read_sets(pages.sets)
        require_export(pages.export)
        pictures = gather(
            asked.sources, asked.images, split=asked.split, allow_outside=asked.allow_outside, checked=False
        )
        vlm = open_model(asked)
        require_like(vlm, sets, force=any_model)
        work = IndexRun(vlm, pictures, plan, Decoding.asked(Asking.of(asked)), out, loaded=asked.model)
        with progress(work.left(), "looking through the pictures") as step:
            work.step = step
            if resources is None:
                work.work()
            else:
                work.share(asked, resources, say)
    index = work.finish()
    neurons, hidden = chosen(index, sets, pages.most)
    with progress(0, "pages of neurons") as step:
        found = write_pages(vlm, index, neurons, sets, pages, out, hidden=hidden, force=any_model, step=step)
    verdict = (
        f"{sum(index.widths):,} neurons were watched over {len(index.pictures):,} pictures; "
        f"{len(found)} of them have a page."
    )
    document = {
        "index": str(index.path),
        "page": str(out / "index.html"),
        "model": dict(index.model),
        "sent": index.sent,
        "neurons": sum(index.widths),
        "pictures": len(index.pictures),
        "refused": list(index.refused),
        "pages": [str(one.found.neuron) for one in found],
        "export": None if pages.export is None else str(pages.export),
    }
    left_out = [f"{len(index.refused)} files were left out, the first: {one['reason']}" for one in index.refused[:1]]
    emit(verdict, document, as_json, lambda: lines(*left_out, f"written to {out / 'index.html'}"))
