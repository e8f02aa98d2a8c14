"""`neuronscope check`: what the library sees in a checkpoint, and the proof that it sees right."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption, UnsupportedModel
from ..options import Loading
from .estimate import estimated
from .output import DeviceOption, DtypeOption, JsonOption, emit, open_model, table
from .steps import progress
from .takes import flag

if TYPE_CHECKING:
    from ..loading.selfcheck import Check


def flagged(name: str, told: str) -> Any:
    """An option of the estimate."""
    return typer.Option(name, help=told, rich_help_panel="What it needs")


def run(
    model: Annotated[str, typer.Argument(help='"demo", "natural", a checkpoint directory, or a hub id.')],
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
    import platform

    import torch
    import transformers

    from ..check import conformance
    from ..check.suite import CHECKS
    from ..version import __version__

    with progress(1 + len(CHECKS), "loading the model") as step:
        vlm = open_model(loading)
        report = conformance(vlm, progress=step)
    widths = sorted(set(vlm.widths))
    facts: dict[str, Any] = {
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
    document = {**facts, "checks": [asdict(r) for r in report.rows]}

    def show() -> None:
        rows: list[tuple[object, object]] = [(name, value) for name, value in facts.items() if name != "versions"]
        rows += [(name, version) for name, version in facts["versions"].items()]
        rows += [(r.name, _line(r)) for r in report.rows]
        table(f"neuronscope check {model}", ("", ""), rows)

    emit(document, as_json, show)
    if not report.ok:
        failed = ", ".join(row.name for row in report.rows if not row.ok)
        raise UnsupportedModel(f"{model} failed: {failed}")


def _line(check: Check) -> str:
    if not check.applies:
        return check.value
    return f"{'ok' if check.ok else 'FAILED'}: {check.value}"
