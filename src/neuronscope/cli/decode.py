"""`neuronscope decode`: the words that neurons promote."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import InvalidOption
from ..parsing import digits
from ..types import Neurons
from .output import AnyModelOption, DeviceOption, DtypeOption, JsonOption, ModelOption, emit, open_model, table


def run(
    neurons: Annotated[list[str], typer.Argument(help="LAYER.UNIT addresses such as 3.417, or one neurons.json.")],
    model: ModelOption = "demo",
    top: Annotated[int, typer.Option("--top", help="Tokens per neuron.")] = 5,
    norm: Annotated[str, typer.Option("--norm", help="none (the papers), gain, or full.")] = "gain",
    any_model: AnyModelOption = False,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Read neurons' value vectors through the unembedding."""
    from ..view import decode

    chosen = parse_neurons(neurons)
    kind: Any = norm
    found = decode(open_model(model, device, dtype), chosen, top=top, norm=kind, force=any_model)
    rows = [{"layer": d.neuron.layer, "unit": d.neuron.unit, "tokens": d.tokens, "logits": d.logits} for d in found]

    def show() -> None:
        cells = [(d.neuron, "  ".join(f"{t} {v:+.2f}" for t, v in zip(d.tokens, d.logits, strict=True))) for d in found]
        table(f"promoted tokens (norm: {norm})", ("neuron", "token, logit per unit of activation"), cells)

    emit({"model": model, "norm": norm, "neurons": rows}, as_json, show)


def parse_neurons(texts: list[str]) -> Neurons:
    """Addresses or a neurons.json. Raises InvalidOption for anything else."""
    if len(texts) == 1 and texts[0].endswith(".json"):
        return Neurons.load(texts[0])
    pairs: list[tuple[int, int]] = []
    for text in texts:
        layer, dot, unit = text.partition(".")
        at, number = digits(layer), digits(unit)
        if not dot or at is None or number is None:
            raise InvalidOption(f"{text!r} is neither a neuron address LAYER.UNIT nor a neurons.json")
        pairs.append((at, number))
    return Neurons.of(pairs)
