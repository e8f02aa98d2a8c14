"""`neuronscope reproduce`: the whole evaluation of Sato & Takagi on a COCO folder, as one resumable run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption, suggest
from .output import DeviceOption, DtypeOption, JsonOption, ModelOption, emit, lines, open_model, progress

if TYPE_CHECKING:
    from ..samples import CocoFolder
    from ..studies.reproduce.engine import Engine
    from ..studies.reproduce.job import Job
    from ..studies.reproduce.settings import Experiment
    from ..studies.reproduce.units import Cost


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
    metrics: Annotated[
        str, typer.Option("--metrics", help="Captions against those of the edited images; none for none.")
    ] = "bleu-1,bleu-4,rouge-1,rouge-l",
    bertscore: Annotated[str | None, typer.Option("--bertscore", help="Hub id, directory, package:NAME.")] = None,
    clip: Annotated[str | None, typer.Option("--clip", help="CLIP model: hub id or directory.")] = None,
    edit: Annotated[str, typer.Option("--edit", help="telea, navier_stokes, mean_fill or exact.")] = "telea",
    reach: Annotated[
        str | None, typer.Option("--reach", help="Inpainted: grown (mask, larger where the word stays), boxes or mask.")
    ] = None,
    max_other_share: Annotated[
        float | None,
        typer.Option("--max-other-share", help="Refuse samples of which more of another object goes, too."),
    ] = None,
    min_side: Annotated[float, typer.Option("--min-side", help="Smallest object, pixels as the model sees it.")] = 32,
    limit: Annotated[int | None, typer.Option("--limit", help="Candidates looked at per concept.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without concepts that have too few samples.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of image order, controls and noise.")] = 0,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Only write the tables of what is done.")] = False,
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    device_map: Annotated[
        str | None, typer.Option("--device-map", help="auto, balanced ...: a model larger than one device.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local: this process; ray: a cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray: of the cluster, auto, or local for one of our own.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Ray: how many; as many as fit.")] = None,
    cpus: Annotated[float, typer.Option("--cpus-per-worker", help="Ray: cores that each worker takes.")] = 1,
    gpus: Annotated[
        float | None, typer.Option("--gpus-per-worker", help="Ray: GPUs, or a part of one; one where there are any.")
    ] = None,
    storage: Annotated[
        str, typer.Option("--storage", help="Ray: shared run directory, results to the driver, or auto.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Locate, perturb, caption and compare: Tables II and III and Figure 2, with intervals and controls."""
    from ..samples import CocoFolder
    from ..studies.reproduce.engine import UnitsFailed
    from ..studies.reproduce.job import Job
    from ..studies.reproduce.settings import Experiment
    from ..studies.reproduce.tables import render

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
        "metrics": _metrics(metrics, bertscore, clip),
        "edit": edit,
        "reach": reach,
        "max_other_share": max_other_share,
        "limits": _limits(min_side),
        "limit": limit,
        "allow_missing": allow_missing,
        "seed": seed,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    chosen = _concepts(concepts, source)
    if preset not in ("recommended", "paper"):
        raise InvalidOption(f"--preset {preset!r} is not one of recommended, paper")
    plan: Experiment = Experiment.paper(chosen, **given) if preset == "paper" else Experiment(chosen, **given)
    job = Job(plan, data, split, model=model, device=device, dtype=dtype, device_map=device_map)
    cluster = {"address": address, "workers": workers, "cpus": cpus, "gpus": gpus, "storage": storage}
    if engine not in _ENGINES:
        raise InvalidOption(f"--engine {engine!r} is not one of {', '.join(_ENGINES)}")
    with redirect_stdout(sys.stderr), closing(_ENGINES[engine](job, out, cluster)) as doing:  # Ray has its say there
        with progress(len(plan.concepts) * plan.images, "building the data set") as step:
            doing.prepare(step)
            left = doing.left()
        failures = ()
        if not tables_only:
            cost = doing.cost()
            say(_told(cost))
            doing.run.require_space(cost.bytes)
            with _watched(engine, left, "locating, captioning, comparing") as step:
                failures = doing.work(step)
        document = render(doing.results(), out)
    if failures:
        raise UnitsFailed.of(failures)
    emit(document, as_json, lambda: lines((out / "tables.md").read_text(encoding="utf-8"), f"written to {out}"))


def _local(job: Job, out: Path, cluster: Mapping[str, Any]) -> Engine:
    from ..studies.reproduce.dataset import require_candidates
    from ..studies.reproduce.engine import Local

    given = [option for name, (option, default) in _CLUSTER.items() if cluster[name] != default]
    if given:
        raise InvalidOption(f"{', '.join(given)}: only --engine ray has a cluster")
    plan = job.experiment
    if not plan.allow_missing:
        require_candidates(job.source(), plan.concepts, plan.images, seed=plan.seed)
    vlm = open_model(job.model, job.device, job.dtype) if job.device_map is None else job.load()
    return Local(job, out, vlm)


def _ray(job: Job, out: Path, cluster: Mapping[str, Any]) -> Engine:
    from ..studies.reproduce.cluster.ray import Cluster
    from ..studies.reproduce.cluster.resources import Resources

    return Cluster(job, out, Resources(**cluster), say=say)


#: Engine -> how it is made.
_ENGINES: Mapping[str, Callable[[Job, Path, Mapping[str, Any]], Engine]] = {"local": _local, "ray": _ray}
#: What only a cluster has: setting -> option and default.
_CLUSTER = {
    "address": ("--address", None),
    "workers": ("--workers", None),
    "cpus": ("--cpus-per-worker", 1),
    "gpus": ("--gpus-per-worker", None),
    "storage": ("--storage", "auto"),
}


@contextmanager
def _watched(engine: str, total: int, first: str) -> Generator[Callable[[str], None]]:
    """A progress bar; of a cluster also a line now and then where there is no terminal, as in the log of a queue."""
    with progress(total, first) as step:
        if engine == "local" or sys.stderr.isatty():
            yield step
            return
        told = time.monotonic()

        def now_and_then(description: str) -> None:
            nonlocal told
            if time.monotonic() - told >= _EVERY:
                told = time.monotonic()
                say(description)

        yield now_and_then


_EVERY = 60.0  # seconds


def say(line: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _told(cost: Cost) -> str:
    size = f"{cost.bytes / 2**20:.1f} MiB on disk"
    if cost.seconds is None:
        return f"{cost.captions} captions left: {size}"
    minutes, seconds = divmod(round(cost.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    duration = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    return f"{cost.captions} captions left: about {duration} for one process, {size}"


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


def _metrics(names: str, bertscore: str | None, clip: str | None) -> dict[str, dict[str, str]]:
    """Raises InvalidOption at once, before the model is loaded, where a metric's package or model is not there."""
    from ..evaluate.captions import require

    found: dict[str, dict[str, str]] = {name: {} for name in ([] if names == "none" else names.split(","))}
    try:
        for name in found:
            require(name)
    except InvalidOption as error:
        raise InvalidOption(f"--metrics {names}: {error}; --metrics none leaves them out") from error
    for name, model in (("bertscore", bertscore), ("clipscore", clip)):
        if model is not None:
            found[name] = {"model": model}
            require(name, model=model)
    return found


def _limits(min_side: float) -> Any:
    from ..studies.reproduce.conditions import Limits

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
