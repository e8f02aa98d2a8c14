"""`neuronscope discover`: neurons for every noun of captions, and the four measurements, as one resumable run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from .output import DeviceOption, DtypeOption, JsonOption, ModelOption, emit, lines, open_model, progress


def run(
    sources: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, or tables (.csv, .tsv, .jsonl).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run directory; an existing one is gone on with.")] = Path(
        "neuronscope-discover"
    ),
    images: Annotated[Path | None, typer.Option("--images", help="Folder that tables' file names are in.")] = None,
    preset: Annotated[str, typer.Option("--preset", help="recommended, or published.")] = "recommended",
    top: Annotated[int | None, typer.Option("--top", "-k", help="Neurons kept for each noun; 100.")] = None,
    nouns: Annotated[
        str | None, typer.Option("--nouns", help="tagger, compounds, lexicon, or auto: the tagger if installed.")
    ] = None,
    exclude: Annotated[str | None, typer.Option("--exclude", help="Nouns to leave out, separated by commas.")] = None,
    query: Annotated[str | None, typer.Option("--query", help="What is asked before the answer begins.")] = None,
    answer: Annotated[str | None, typer.Option("--answer", help="What the answer begins with.")] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="With {image}, {prompt} for the answer, {query} for the query.")
    ] = None,
    norm: Annotated[str | None, typer.Option("--norm", help="none, or gain of the final norm.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="neuron, or act as published.")] = None,
    ks: Annotated[str | None, typer.Option("--ks", help="Sizes of the k sweeps, separated by commas.")] = None,
    group: Annotated[int, typer.Option("--group", help="Images of a concept that are compared.")] = 5,
    shuffles: Annotated[int, typer.Option("--shuffles", help="Permutations of image tokens; 0 for none.")] = 1,
    bertscore: Annotated[str | None, typer.Option("--bertscore", help="Hub id, directory, package:NAME.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="CLIP model: hub id or directory.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of permutations, controls and intervals.")] = 0,
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Discover the neurons behind every noun of the captions of images, and measure them (Pan et al.).

    Writes discovery.md, discovery.json, figures/ and neurons/.
    """
    from ..samples.picture_files import gather
    from ..studies.discover.collect import collect_discoveries
    from ..studies.discover.settings import DiscoveryPlan, open_discovery
    from ..studies.discover.tables import render_discoveries
    from ..studies.discover.work import DiscoveryRun

    options: dict[str, Any] = {
        "top": top,
        "nouns": nouns,
        "exclude": None if exclude is None else tuple(word.strip().lower() for word in exclude.split(",")),
        "query": query,
        "answer": answer,
        "template": template,
        "norm": norm,
        "site": site,
    }
    plan = DiscoveryPlan(
        discovery=_discovery(preset, {name: value for name, value in options.items() if value is not None}),
        ks=_sizes(ks),
        group=group,
        shuffles=shuffles,
        metrics={name: {"model": given} for name, given in (("bertscore", bertscore), ("clipscore", clip)) if given},
        seed=seed,
    )
    pictures = gather(sources, images)
    vlm = open_model(model, device, dtype)
    directory = open_discovery(out, vlm, plan)
    work = DiscoveryRun(vlm, pictures.items, plan, directory)
    with progress(work.left(), "discovering") as step:
        work.step = step
        work.work()
    document = render_discoveries(work, collect_discoveries(work), out, pictures.refused)
    emit(document, as_json, lambda: lines((out / "discovery.md").read_text(encoding="utf-8"), f"written to {out}"))


def _discovery(preset: str, options: dict[str, Any]) -> Any:
    from ..locate.discovery import Discovery

    presets = {"recommended": Discovery, "published": Discovery.as_published}
    if preset not in presets:
        raise InvalidOption(f"--preset {preset!r} is not one of {', '.join(presets)}")
    return presets[preset](**options)


def _sizes(text: str | None) -> tuple[int, ...]:
    try:
        return () if text is None else tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise InvalidOption(f"--ks {text!r} is not a list of whole numbers separated by commas") from error
