"""Proof, on load, that the model's neurons and image tokens are what the library says they are (DESIGN principle 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..architecture.devices import weights
from ..architecture.structure import FFN
from ..architecture.wrapped import in_the_way
from ..errors import HookNeverFired, NotFinite
from ..held import Changing, Undo, in_turn
from ..hooks import HookSession, Tap
from .vlm import VLM

#: Largest relative error of `neuron @ W_out + bias` against the FFN's output, by weight type.
_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
_QUANTISED = 5e-2


@dataclass(frozen=True)
class Check:
    """One line of the self-check."""

    name: str
    value: str
    ok: bool
    applies: bool = True


@dataclass(frozen=True)
class SelfCheck:
    """All lines, in order."""

    rows: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every line holds."""
        return all(row.ok for row in self.rows)


@in_turn
def self_check(vlm: VLM) -> SelfCheck:
    """Run the model on one synthetic image and compare.

    1. weights and logits are finite;
    2. in every layer, neuron @ W_out (+ bias) is the FFN block's output;
    3. every site is reached; a line of its own where one is not;
    4. logits with hooks that change nothing are equal to the bit to logits without;
    5. the image's positions and its grid agree (checked while the input is prepared).
    """
    rows: list[Check] = []
    bad = [name for name, value in weights(vlm.model) if not _finite(value)]
    rows.append(Check("finite weights", bad[0] if bad else "all", not bad))
    if bad:
        return SelfCheck(tuple(rows))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    inputs = vlm.prepare([picture])
    rows.append(Check("image tokens", inputs.images[0].layout, True))
    with torch.no_grad():
        try:
            plain = vlm.logits(inputs)
        except NotFinite as error:
            return SelfCheck((*rows, Check("finite logits", str(error), False)))
        rows.append(Check("finite logits", str(tuple(plain.shape)), bool(torch.isfinite(plain).all())))
        idle = [Tap(layer, site, lambda _: None) for layer, ffn in enumerate(vlm.structure.ffns) for site in ffn.sites]
        try:
            error = _reconstruction_error(vlm, lambda: vlm.logits(inputs))
            with HookSession(vlm.structure, idle):
                hooked = vlm.logits(inputs)
        except HookNeverFired as silent:
            return SelfCheck((*rows, Check("hooks at every site", str(silent), False)))
    fits, equal = error <= _tolerance(vlm), bool(torch.equal(plain, hooked))
    told = f"largest relative error {error:.1e}"
    rows.append(Check("neuron @ W_out = FFN output", told if fits else told + _suspects(vlm), fits))
    rows.append(Check("logits with empty hooks", "equal to the bit" if equal else "differ", equal))
    return SelfCheck(tuple(rows))


def _finite(values: Tensor) -> bool:
    """Whether all are numbers: the smallest and the largest are NaN where one is; one pass, and no copies."""
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    if values.is_floating_point() and values.element_size() == 1:
        values = values.float()  # of 8 bits torch finds no smallest
    return not values.numel() or all(bool(torch.isfinite(end)) for end in values.aminmax())


def _suspects(vlm: VLM) -> str:
    """What sits between the blocks and their weights and may be why, in the first layer that has anything."""
    for layer in vlm.structure.studied:
        ffn = vlm.structure.ffns[layer]
        parts = {ffn.name: ffn.output, ffn.name.rpartition(".")[0]: ffn.block}
        found = [phrase for name, part in parts.items() for phrase in in_the_way(name, part)]
        if found:
            return f"; {'; '.join(found)}: take it off, or merge it into the weight, and load the model again"
    return ""


def _tolerance(vlm: VLM) -> float:
    """Quantised layers round their inputs to 8 bits, or their outputs to 16."""
    if any(vlm.structure.ffns[layer].quantised for layer in vlm.structure.studied):
        return _QUANTISED
    return _TOLERANCE.get(vlm.dtype, _QUANTISED)


def _reconstruction_error(vlm: VLM, run: Callable[[], object]) -> float:
    """Largest |neuron @ W_out + b - FFN output| over the largest |FFN output|, over all layers."""
    studied = vlm.structure.studied
    neurons: dict[int, Tensor] = {}
    outputs: dict[int, Any] = {}

    def keep(layer: int) -> Callable[[Any, Any, Tensor], None]:
        def run_after(_module: Any, _inputs: Any, output: Tensor) -> None:
            outputs[layer] = output.clone()  # some layers add to it in place

        return run_after

    taps = [Tap(layer, "neuron", lambda z, i=layer: neurons.__setitem__(i, z)) for layer in studied]
    routes: dict[int, tuple[Tensor, Tensor]] = {}

    def watch(undo: Undo) -> None:
        for layer in studied:
            ffn = vlm.structure.ffns[layer]
            # Where the FFN is not a module of its own, its last linear map stands for it.
            undo.hook(ffn.output if ffn.block is vlm.structure.layers[layer] else ffn.block, "after", keep(layer))
            if ffn.experts:
                undo.hook(ffn.output, "before", partial(_note_routes, routes, layer))

    with Changing(watch), HookSession(vlm.structure, taps):
        run()
    worst = 0.0
    wide = torch.promote_types(vlm.dtype, torch.float32)
    for layer in studied:
        ffn = vlm.structure.ffns[layer]
        z = neurons[layer].to(wide)
        rebuilt = _mixed(ffn, z, routes[layer]) if ffn.experts else z @ ffn.value_vectors().to(wide).T
        bias = ffn.bias()
        if bias is not None:
            rebuilt = rebuilt + bias.to(wide)
        seen = outputs[layer].to(wide).view_as(rebuilt)
        error = float((rebuilt - seen).abs().max() / seen.abs().max().clamp_min(1e-12))
        worst = error if math.isnan(error) else max(worst, error)  # max() would pass a NaN over
    return worst


def _note_routes(routes: dict[int, tuple[Tensor, Tensor]], layer: int, _module: Any, args: tuple[Any, ...]) -> None:
    routes[layer] = (args[1], args[2])


def _mixed(ffn: FFN, z: Tensor, routes: tuple[Tensor, Tensor]) -> Tensor:
    """What routed experts give: each visited expert's neurons through its own value vectors, weighted by the router."""
    index, shares = (part.to(z.device) for part in routes)
    stacked = ffn.value_vectors().unflatten(1, (ffn.experts, -1)).transpose(0, 1)
    values = z.flatten(0, -2).unflatten(1, (ffn.experts, -1))
    total = torch.zeros(values.shape[0], stacked.shape[1], dtype=z.dtype, device=z.device)
    for k in range(index.shape[1]):
        own = values[torch.arange(len(values)), index[:, k]]
        total += torch.einsum("ti,thi->th", own, stacked[index[:, k]].to(z.dtype)) * shares[:, k, None].to(z.dtype)
    return total
