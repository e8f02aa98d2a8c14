"""`neuronscope reproduce`: the whole evaluation of Sato & Takagi on a COCO folder, as one resumable run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption, suggest
from .output import DeviceOption, DtypeOption, JsonOption, ModelOption, emit, lines, open_model, progress

if TYPE_CHECKING:
    from ..run.experiment import Experiment
    from ..run.reproduce import Cost
    from ..samples import CocoFolder


def run(
    data: Annotated[Path, typer.Option("--data", help="COCO folder, or one made by `neuronscope scenes`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run directory; an existing one is gone on with.")],
    methods: Annotated[
        str, typer.Option("--methods", help="Names separated by commas; NAME:OPTION=VALUE,... changes options.")
    ] = "two-stage,schwettmann,pan,random-layer-matched",
    split: Annotated[str | None, typer.Option("--split", help="Which split, where the folder has several.")] = None,
    preset: Annotated[str, typer.Option("--preset", help="recommended, or paper (levels 40,80,120).")] = "recommended",
    concepts: Annotated[
        str | None, typer.Option("--concepts", help="Names separated by commas, or how many of the paper's thirty.")
    ] = None,
    images: Annotated[int, typer.Option("--images", "-n", help="Samples of each concept.")] = 3,
    levels: Annotated[str | None, typer.Option("--levels", help="Separated by commas; none for none.")] = None,
    scale: Annotated[str | None, typer.Option("--scale", help="absolute, difference or deviation.")] = None,
    draws: Annotated[int | None, typer.Option("--draws", help="Noise draws of each level.")] = None,
    sharing: Annotated[str | None, typer.Option("--sharing", help="Noise vectors: per_neuron or shared.")] = None,
    ablations: Annotated[str | None, typer.Option("--ablations", help="zero,mean; none for none.")] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", help="OPTION=V1,V2,...: two-stage with each value; may be repeated."),
    ] = None,
    random_sets: Annotated[int, typer.Option("--random-sets", help="Random sets behind each empirical p.")] = 0,
    bertscore: Annotated[str | None, typer.Option("--bertscore", help="Hub id, directory, package:NAME.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="CLIP model: hub id or directory.")] = None,
    edit: Annotated[str, typer.Option("--edit", help="telea, navier_stokes, mean_fill or exact.")] = "telea",
    min_side: Annotated[float, typer.Option("--min-side", help="Smallest object, pixels as the model sees it.")] = 32,
    limit: Annotated[int | None, typer.Option("--limit", help="Candidates looked at per concept.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of image order, controls and noise.")] = 0,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Only write the tables of what is done.")] = False,
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Locate, perturb, caption and compare: Tables II and III and Figure 2, with intervals and controls."""
    from ..run.collect import collect
    from ..run.experiment import Experiment
    from ..run.reproduce import Reproduction, open_run
    from ..run.tables import render
    from ..samples import CocoFolder

    source = CocoFolder.open(data, split)
    changes: dict[str, Any] = {
        "methods": (*_methods(methods), *_swept(sweep or [])),
        "images": images,
        "levels": _numbers("--levels", levels),
        "scale": scale,
        "draws": draws,
        "sharing": sharing,
        "ablations": _words(ablations),
        "random_sets": random_sets,
        "metrics": _metrics(bertscore, clip),
        "edit": edit,
        "limits": _limits(min_side),
        "limit": limit,
        "seed": seed,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    chosen = _concepts(concepts, source)
    if preset not in ("recommended", "paper"):
        raise InvalidOption(f"--preset {preset!r} is not one of recommended, paper")
    plan: Experiment = Experiment.paper(chosen, **given) if preset == "paper" else Experiment(chosen, **given)
    vlm = open_model(model, device, dtype)
    directory = open_run(out, vlm, source.identity(), plan)
    with progress(len(plan.concepts) * plan.images, "building the data set") as step:
        work = Reproduction(vlm, source, plan, directory, step=step)
        left = work.left()
    if not tables_only:
        cost = work.cost()
        sys.stderr.write(f"{_told(cost)}\n")
        directory.require_space(cost.bytes)
        with progress(left, "locating, captioning, comparing") as step:
            work.step = step
            work.work()
    document = render(collect(work), out)
    emit(document, as_json, lambda: lines((out / "tables.md").read_text(encoding="utf-8"), f"written to {out}"))


def _told(cost: Cost) -> str:
    minutes, seconds = divmod(round(cost.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    time = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    return f"{cost.captions} captions left: about {time} for one process, {cost.bytes / 2**20:.1f} MiB on disk"


def _methods(text: str) -> list[str]:
    """Specifications hold commas themselves: a new one begins where a word is not OPTION=VALUE."""
    found: list[str] = []
    for word in text.replace(" ", ",").split(","):
        if not word:
            continue
        if "=" in word and ":" not in word:
            if not found:
                raise InvalidOption(f"--methods {text!r} begins with an option: {word!r}")
            found[-1] += f",{word}"
        else:
            found.append(word)
    return found


def _swept(texts: list[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        option, equals, values = text.partition("=")
        if not equals or not values:
            raise InvalidOption(f"--sweep {text!r} is not OPTION=V1,V2,...")
        found += [f"two-stage:{option}={value}" for value in values.split(",")]
    return found


def _words(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text == "none" else tuple(word.strip() for word in text.split(","))


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    words = _words(text)
    try:
        return None if words is None else tuple(float(word) for word in words)
    except ValueError as error:
        raise InvalidOption(f"{option} {text!r} is not a list of numbers separated by commas") from error


def _metrics(bertscore: str | None, clip: str | None) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {name: {} for name in ("bleu-1", "bleu-4", "rouge-1", "rouge-l")}
    for name, model in (("bertscore", bertscore), ("clipscore", clip)):
        if model is not None:
            found[name] = {"model": model}
    return found


def _limits(min_side: float) -> Any:
    from ..samples.conditions import Limits

    return Limits(min_side=min_side)


def _concepts(text: str | None, source: CocoFolder) -> tuple[str, ...]:
    """Names as given, or the first so many of the paper's concepts that the data have."""
    from ..samples import published_thresholds

    known = source.concepts()
    ours = [concept for concept in published_thresholds() if concept in known]
    if text is None or text.isdigit():
        wanted = len(ours) if text is None else int(text)
        if wanted > len(ours) or not ours:
            raise InvalidOption(f"--concepts {text}: the data have {len(ours)} of the paper's concepts")
        return tuple(ours[:wanted])
    names = tuple(word.strip() for word in text.split(","))
    for name in names:
        if name not in known:
            raise InvalidOption(f"--concepts: {name!r} is not in the data.{suggest(name, known)}")
    return names
