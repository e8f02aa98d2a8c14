"""`neuronscope reproduce`: the whole evaluation of Sato & Takagi on a COCO folder, as one resumable run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cluster.resources import Resources
from ..errors import InvalidOption, suggest
from ..files import write_text
from ..options import Asking, Loading, Reading, Scorers, given, made
from ..parsing import digits
from ..studies.reproduce.job import AGAIN, ReproductionJob
from ..studies.reproduce.settings import ASKED, BOUNDS, PRESETS, REFERENCE, Experiment, Limits
from ..types import one_of
from .output import LOG, JsonOption, after, emit, lines, open_model
from .sharing import EngineOption, say, shared
from .steps import progress, tell
from .takes import Given, takes

if TYPE_CHECKING:
    from ..samples import CocoFolder
    from ..studies.reproduce.engine import Executor
    from ..studies.reproduce.units import Cost


@takes(ReproductionJob, Experiment, Asking, Scorers, Limits, Resources)
def run(
    asked: Given,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run directory; an existing one is gone on with.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", help="OPTION=V1,V2,...: two-stage with each value; may be repeated."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--plan", help="Only say what would be done; needs neither a model nor data.")
    ] = False,
    measured: Annotated[
        bool, typer.Option("--measure", help="With --plan: what one unit takes on this machine, and so the whole.")
    ] = False,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Only write the tables of what is done.")] = False,
    engine: EngineOption = "local",
    log: Annotated[Path | None, typer.Option("--log", help=LOG)] = None,
    as_json: JsonOption = False,
) -> None:
    """Locate, perturb, caption and compare: Tables II and III and Figure 2, with intervals and controls."""
    from ..cluster.schedule import UnitsFailed
    from ..run.writers import open_writer
    from ..studies.reproduce.board import following
    from ..studies.reproduce.conditions import TooFewSamples
    from ..studies.reproduce.tables import render

    if log is not None and (dry or tables_only):
        raise InvalidOption("--log follows what is done: nothing is with --plan or --tables-only")
    if dry:
        verdict, document, show = _planned(asked, _swept(sweep or []), measured=measured)
        emit(verdict, document, as_json, show)
        return
    if measured:
        raise InvalidOption("--measure says what a plan takes: give --plan too")
    _require(asked, "data")
    if out is None:
        raise typer.BadParameter("missing: the run directory", param_hint="--out")
    source = _source(asked)
    plan = experiment(asked, source, _swept(sweep or []))
    job = ReproductionJob(plan, **given(ReproductionJob, asked))
    resources = shared(engine, asked)
    with (
        redirect_stdout(sys.stderr),  # Ray has its say there
        nullcontext() if log is None else closing(open_writer(log)) as writer,
        closing(_local(job, out) if resources is None else _ray(job, out, resources)) as doing,
    ):
        with progress(len(plan.concepts) * plan.images, "building the data set") as step:
            try:
                doing.prepare(step)
            except TooFewSamples:  # a refused run can be read, too
                _record(job, out)
                raise
            left = doing.left()
        _record(job, out)
        failures = ()
        if not tables_only:
            cost = doing.cost()
            tell(_told(cost))
            doing.run.require_space(cost.bytes)
            with (
                progress(left, "locating, captioning, comparing") as told,
                following(doing.run, writer, told) as step,
            ):
                failures = doing.work(step)
        document = render(doing.results(), out)
    if failures:
        raise UnitsFailed.of(failures, "the tables leave out what is not complete")
    verdict, page = document["verdict"], (out / "tables.md").read_text(encoding="utf-8")
    emit(verdict, document, as_json, lambda: lines(after(verdict, page), f"written to {out}"))


def _source(asked: Given) -> CocoFolder:
    from ..samples import annotated

    return annotated(asked["data"], split=asked.get("split"), allow_outside=made(Reading, asked).allow_outside)


def _require(asked: Given, *names: str) -> None:
    for name in names:
        if name not in asked:
            raise typer.BadParameter("missing", param_hint=f"--{name}")


def _planned(asked: Given, swept: Sequence[str], *, measured: bool) -> tuple[str, dict[str, Any], Callable[[], None]]:
    """What would be done: in a sentence, as a document, and for people."""
    from ..studies.reproduce.plan import Plan, measure

    if measured:
        _require(asked, "data")
    source = _source(asked) if "data" in asked else None
    plan = Plan(experiment(asked, source, swept))
    document, told = plan.to_dict(), plan.lines()
    if measured and source is not None:
        loading = made(Loading, asked)
        found = measure(plan, open_model(loading), source)
        document["measured"] = asdict(found)
        told += found.lines()
    return plan.verdict, document, lambda: lines(*told)


def experiment(asked: Given, source: CocoFolder | None, swept: Sequence[str] = ()) -> Experiment:
    """The settings that were asked for: what was not given is the preset's. Without data any concept is taken."""
    preset = asked.get("preset", "recommended")
    one_of("--preset", preset, list(PRESETS))
    chosen: dict[str, Any] = {**PRESETS[preset], **given(Experiment, asked)}
    chosen["concepts"] = _concepts(chosen.get("concepts"), source)
    from ..models.decoding import Decoding

    chosen["decoding"] = Decoding(**{**ASKED[preset], **given(Asking, asked)})
    plan = Experiment(**chosen, limits=Limits(**{**BOUNDS[preset], **given(Limits, asked)}))
    scored = {**plan.metrics, **made(Scorers, asked).metrics}
    _require_metrics(scored)
    return replace(plan, methods=(*plan.methods, *swept), metrics=scored)


def _record(job: ReproductionJob, out: Path) -> None:
    write_text(out / AGAIN, f"{job.command()}\n")


def _local(job: ReproductionJob, out: Path) -> Executor:
    from ..evaluate.captions import require_here
    from ..studies.reproduce.engine import Local

    plan = job.experiment
    job.require_candidates()
    for name, options in plan.metrics.items():
        require_here(name, **options)
    vlm = open_model(job) if job.device_map is None else job.load()
    return Local(job, out, vlm)


def _ray(job: ReproductionJob, out: Path, resources: Resources) -> Executor:
    from ..studies.reproduce.cluster import Cluster

    return Cluster(job, out, resources, say=say)


def _told(cost: Cost) -> str:
    size = f"{cost.bytes / 2**20:.1f} MiB on disk"
    if cost.seconds is None:
        return f"{cost.captions} captions left: {size}"
    minutes, seconds = divmod(round(cost.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    duration = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
    return f"{cost.captions} captions left: about {duration} for one process, {size}"


def _swept(texts: list[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        option, equals, values = text.partition("=")
        if not (option and equals and values):
            raise InvalidOption(f"--sweep {text!r} is not OPTION=V1,V2,...")
        found += [f"{REFERENCE}:{option}={value}" for value in values.split(",")]
    return found


def _require_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InvalidOption at once, before the model is loaded, where a metric's package or model is not there."""
    from ..evaluate.captions import require

    plain = [name for name, options in metrics.items() if not options]
    try:
        for name in plain:
            require(name)
    except InvalidOption as error:
        raise InvalidOption(f"--metrics {','.join(plain)}: {error}; --metrics none leaves them out") from error
    for name in sorted(metrics.keys() - plain):
        require(name, **metrics[name])


def _concepts(names: tuple[str, ...] | None, source: CocoFolder | None) -> tuple[str, ...]:
    """Names as given, or the first so many of the paper's concepts that the data have; of all without data."""
    from ..samples import published_thresholds

    known = list(published_thresholds()) if source is None else source.concepts()
    ours = [concept for concept in published_thresholds() if concept in known]
    wanted = len(ours) if names is None else digits(names[0]) if len(names) == 1 else None
    if wanted is not None:
        if wanted > len(ours) or not ours:
            raise InvalidOption(f"--concepts {wanted}: the data have {len(ours)} of the paper's concepts")
        return tuple(ours[:wanted])
    for name in names or ():
        if source is not None and name not in known:
            raise InvalidOption(f"--concepts: {name!r} is not in the data.{suggest(name, list(known))}")
    return names or ()
