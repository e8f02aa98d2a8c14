"""What a caption costs: fitted slopes against draws, neurons, images and layers, and the engine's share of the machine.

    python -m benchmarks.scaling [--model smol|demo] [--rounds 3] [--clock cpu] [--threads 1]

Slopes are least-squares fits of log(seconds) against log(number): 1 is linear, 0 is free. Drafts are off and nothing is
remembered, so that every caption is written in full. The roofline compares floating-point operations per second of the
pass over the image positions with those of a matrix product of the FFN's shape on the same thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.caption import Captioner
from neuronscope.caption.prefill import CaptionRow, NoticedChange, Pass
from neuronscope.caption.shortcuts import Engine

from .captions import CLOCKS, MODELS
from .models import pictures

ENGINE = Engine(draft=False, remember=0)


@dataclass(frozen=True)
class Setting:
    """One point: how many of everything, and the first changed layer from the top."""

    draws: int = 8
    neurons: int = 20
    images: int = 1
    depth: int = 8


AXES: dict[str, tuple[int, ...]] = {
    "draws": (4, 8, 16, 32),
    "neurons": (5, 20, 80, 320),
    "images": (1, 2, 4),
    "depth": (2, 4, 8),
}


def noise(vlm: ns.VLM, at: Setting) -> ns.Noise:
    """Noise on neurons of the upper layers, the lowest of them included."""
    rng = np.random.default_rng(0)
    first = vlm.layers - at.depth
    pairs = [(first, 0), *((int(rng.integers(first, vlm.layers - 1)), int(u)) for u in rng.permutation(vlm.widths[0]))]
    return ns.Noise(ns.Neurons.of(pairs[: at.neurons]), level=1.0, draws=at.draws)


def seconds(run: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    """Median after one warm-up."""
    run()
    taken: list[float] = []
    for _ in range(rounds):
        start = clock()
        run()
        taken.append(clock() - start)
    return float(np.median(taken))


def slopes(vlm: ns.VLM, rounds: int, steps: int, clock: Callable[[], float]) -> Table:
    """Cost along each axis, the others held."""
    decoding = ns.Decoding(max_new_tokens=steps)
    shown = pictures(max(AXES["images"]))
    captioner = Captioner(vlm, shown, decoding=decoding, engine=ENGINE)
    table = Table("axis", "numbers", "s", "slope", title=f"{vlm.id}, {steps} new tokens")
    for axis, numbers in AXES.items():
        taken: list[float] = []
        for number in numbers:
            at = Setting(**{axis: number})
            change = noise(vlm, at)
            taken.append(seconds(lambda c=change, n=at.images: captioner.captions(c, rows=range(n)), rounds, clock))
        slope = np.polyfit(np.log(numbers), np.log(taken), 1)[0]
        table.add_row(axis, " ".join(map(str, numbers)), " ".join(f"{t:.2f}" for t in taken), f"{slope:.2f}")
    return table


def roofline(vlm: ns.VLM, rounds: int, clock: Callable[[], float]) -> str:
    """Floating-point operations per second of the pass over the image, and of a bare matrix product."""
    captioner = Captioner(vlm, pictures(1), engine=ENGINE)
    change = noise(vlm, Setting())
    captioner.captions(change)
    state = captioner.states[0]
    layers = {layer: tuple(units) for layer, units in change.neurons.by_layer().items()}
    batch = Pass(vlm, ENGINE, tuple(CaptionRow(state, NoticedChange(change, layers), n) for n in range(change.draws)))
    positions = state.row.length - 1 - int(state.row.image.positions[0])
    full = vlm.layers - 1 - batch.start
    weights = sum(p.numel() for p in vlm.structure.layers[0].parameters() if p.ndim == 2)
    operations = 2.0 * change.draws * positions * weights * full
    reached = operations / seconds(batch.read, rounds, clock)
    a = torch.randn(change.draws * positions, vlm.structure.hidden)
    b = torch.randn(vlm.structure.hidden, max(vlm.widths))
    bare = 2.0 * a.shape[0] * b.numel() / seconds(lambda: torch.mm(a, b), 20, clock)
    return (
        f"prefill of {change.draws} rows x {positions} positions x {full} layers: {reached / 1e9:.1f} GFLOP/s, "
        f"matrix product of its shape {bare / 1e9:.1f} GFLOP/s: {reached / bare:.2f} of it"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="smol", choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    vlm = MODELS[args.model]()
    Console().print(slopes(vlm, args.rounds, args.steps, CLOCKS[args.clock]))
    print(roofline(vlm, args.rounds, CLOCKS[args.clock]))


if __name__ == "__main__":
    main()
