"""`neuronscope check`: what the library sees in a checkpoint, and the proof that it sees right."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption, UnsupportedModel
from ..options import Loading
from ..types import one_of
from .estimate import estimated
from .output import DeviceOption, DtypeOption, JsonOption, counted, emit, lines, open_model, table
from .steps import progress
from .takes import flag

if TYPE_CHECKING:
    from ..loading import VLM
    from ..loading.selfcheck import Check


def flagged(name: str, told: str) -> Any:
    """An option of the estimate."""
    return typer.Option(name, help=told, rich_help_panel="What it needs")


def run(
    model: Annotated[str, typer.Argument(help='"demo", "natural", a checkpoint directory, or a hub id.')],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this check, and others named so.")
    ] = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    estimate: Annotated[bool, flagged("--estimate", "Memory and seconds of each verb, from the config alone.")] = False,
    measure: Annotated[bool, flagged("--measure", "Of --estimate: load the weights, and time one unit.")] = False,
    card: Annotated[str, flagged("--card", "Of --estimate: a card, such as rtx4090, or its GiB.")] = "",
    picture: Annotated[str, flagged("--picture", "Of --estimate: its width x height in pixels; 640x480.")] = "",
    image_tokens: Annotated[
        int | None, flagged("--image-tokens", "Of --estimate: of a picture, where no processor says it.")
    ] = None,
    attn: Annotated[str | None, flag(Loading, "attn")] = None,
    revision: Annotated[str | None, flag(Loading, "revision")] = None,
    as_json: JsonOption = False,
) -> None:
    """Load a model, run every check on it, and print what to paste into a bug report.

    With --estimate say what each verb needs of a card before anything is downloaded but the config.
    """
    loading = Loading(model=model, device=device, dtype=dtype, attn=attn, revision=revision)
    asked = {"--measure": measure, "--card": card, "--picture": picture, "--image-tokens": image_tokens is not None}
    if estimate:
        estimated(loading, measure, card, picture or "640x480", image_tokens, as_json)
        return
    if given := [name for name, value in asked.items() if value]:
        raise InvalidOption(f"{given[0]} belongs to --estimate")

    from ..check import conformance
    from ..check.suite import CHECKS

    for name in only or ():
        one_of("--only", name, tuple(CHECKS))
    with progress(1 + (len(set(only)) if only else len(CHECKS)), "loading the model") as step:
        vlm = open_model(loading)
        facts = _facts(vlm)
        if not as_json:
            lines(_seen(facts))
            table(f"neuronscope check {model}", ("", ""), _shown(facts))
        said = (lambda _: None) if as_json else _say
        report = conformance(vlm, only=tuple(only or ()), progress=step, done=said)
    failed = ", ".join(row.name for row in report.rows if not row.ok)
    applying = sum(row.applies for row in report.rows)
    held = "all hold." if report.ok else f"these do not hold: {failed}."
    verdict = f"Of {counted(applying, 'check')} that apply to {model} {held}"
    emit(verdict, {**facts, "checks": [asdict(r) for r in report.rows]}, as_json, lambda: None)
    if not report.ok:
        raise UnsupportedModel(f"{model} failed: {failed}")


def _facts(vlm: VLM) -> dict[str, Any]:
    """What the library sees in a model."""
    import platform

    import torch
    import transformers

    from ..version import __version__

    widths = sorted(set(vlm.widths))
    return {
        "model": vlm.id,
        "family": vlm.family.title,
        "fingerprint": vlm.fingerprint,
        "layers": vlm.layers,
        "d_f": widths[0] if len(widths) == 1 else list(vlm.widths),
        "hidden": vlm.structure.hidden,
        "sites": list(vlm.structure.ffns[vlm.structure.studied[0]].sites),
        "neurons at": vlm.structure.ffns[vlm.structure.studied[0]].name,
        "notes": vlm.family.notes,
        "image processor": type(vlm.processor.image_processor).__name__,
        "dtype": str(vlm.dtype).removeprefix("torch."),
        "device": str(vlm.device),
        "versions": {
            "neuronscope": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }


def _seen(facts: dict[str, Any]) -> str:
    """The same in a sentence."""
    width = f"{facts['d_f']:,}" if isinstance(facts["d_f"], int) else f"{min(facts['d_f']):,} to {max(facts['d_f']):,}"
    layers = counted(facts["layers"], "layer")
    return f"{facts['model']} is read as {facts['family']}: {layers} of {width} neurons each, at {facts['neurons at']}."


def _shown(facts: dict[str, Any]) -> list[tuple[object, object]]:
    rows: list[tuple[object, object]] = [(name, value) for name, value in facts.items() if name != "versions"]
    return rows + list(facts["versions"].items())


def _say(check: Check) -> None:
    """A check's line, as soon as it is known."""
    lines(f"{check.name}: {_line(check)}")
    sys.stdout.flush()


def _line(check: Check) -> str:
    if not check.applies:
        return check.value
    return f"{'ok' if check.ok else 'FAILED'}: {check.value}"
