"""What stage 1 keeps: O(L d_f) beside the forward pass, never the activations themselves, O(L P d_f).

    python -m benchmarks.memory [--hidden 64] [--width 256] [--depth 32] [--side 24]

Bytes are those of torch's own allocator, summed up event by event by its profiler; the peak is their largest sum during
a call. "extra" is the peak beyond that of the same forward pass without hooks, "kept" what is still there when the
pass ends. A script that keeps the activations at the image tokens of both images stands beside it. The slopes are those
of log(bytes) against log(P) and log(L): 0 is constant, 1 is linear. Random weights; shapes are what matters.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

import neuronscope as ns
from neuronscope.hooks import HookSession, Tap
from neuronscope.locate.scores import activation_differences

from .models import pictures

PATCH = 8
MIB = 2**20


@dataclass(frozen=True)
class Bytes:
    """Of one call: the most that was allocated beyond what was there before, and what was left at its end."""

    peak: int
    kept: int


def measure(run: Callable[[], object]) -> Bytes:
    """Memory of one call on the CPU, after a warm-up; its result is alive at the end."""
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        result = run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    sums = np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    del result
    return Bytes(int(sums.max()), int(sums[-1]))


def model(side: int, depth: int, hidden: int, width: int) -> ns.VLM:
    """The bundled model's architecture with side x side image tokens and other sizes, random weights."""
    bundled = ns.load("demo")
    config, processor = bundled.model.config, bundled.processor
    pixels = side * PATCH
    config.vision_config.image_size, config.vision_config.patch_size = pixels, PATCH
    text = config.text_config
    text.num_hidden_layers, text.hidden_size, text.intermediate_size = depth, hidden, width
    text.num_attention_heads = text.num_key_value_heads = 4
    text.head_dim, text.max_position_embeddings = hidden // 4, side * side + 64
    processor.patch_size = PATCH
    for name in ("size", "crop_size"):
        setattr(processor.image_processor, name, {"height": pixels, "width": pixels})
    torch.manual_seed(0)
    return ns.load((type(bundled.model)(config).eval(), processor), check=False)


@dataclass
class Point:
    """Extra and kept bytes of each way at one shape."""

    patches: int
    layers: int
    bare: int
    extra: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)


def point(side: int, depth: int, hidden: int, width: int) -> Point:
    """One original and one edited image."""
    vlm = model(side, depth, hidden, width)
    one, two = pictures(2, side * PATCH)
    inputs = vlm.prepare([one, two])
    at = torch.as_tensor(inputs.images[0].positions)
    assert len(at) == side * side

    def bare() -> object:
        with torch.no_grad():
            vlm.logits(inputs)

    def ours() -> object:
        return activation_differences(vlm, one, [two], site="neuron")

    def script() -> object:
        kept: list[torch.Tensor] = []
        taps = [Tap(layer, "neuron", lambda z: kept.append(z[:, at].clone())) for layer in range(depth)]
        with torch.no_grad(), HookSession(vlm.structure, taps):
            vlm.logits(inputs)
        return kept

    base = measure(bare)
    found = Point(side * side, depth, base.peak)
    for name, way in (("ours", ours), ("activations kept", script)):
        taken = measure(way)
        found.extra[name], found.kept[name] = max(0, taken.peak - base.peak), taken.kept
    return found


def slope(points: list[Point], of: Callable[[Point], int], axis: Callable[[Point], int]) -> str:
    """Least-squares slope of log(bytes) against log(axis)."""
    values = [of(each) for each in points]
    if min(values) <= 0:
        return "-"
    return f"{np.polyfit(np.log([axis(each) for each in points]), np.log(values), 1)[0]:.2f}"


def main() -> None:
    """Print the table and the slopes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--side", type=int, default=24, help="side**2 image tokens")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sides = (args.side // 2, args.side * 3 // 4, args.side)
    depths = (args.depth // 4, args.depth // 2, args.depth)
    by_patches = [point(side, args.depth, args.hidden, args.width) for side in sides]
    by_layers = [*(point(args.side, depth, args.hidden, args.width) for depth in depths[:-1]), by_patches[-1]]
    names = list(by_patches[0].extra)
    headers = ["P", "L", "forward, MiB", *(f"{what}: {name}, MiB" for name in names for what in ("extra", "kept"))]
    table = Table(*headers, title=f"Stage 1, d_f {args.width}: peak memory beside the forward pass")
    for each in [*by_patches[:-1], *by_layers]:
        cells = [value for name in names for value in (each.extra[name], each.kept[name])]
        table.add_row(str(each.patches), str(each.layers), *(f"{value / MIB:.3f}" for value in (each.bare, *cells)))
    for title, points, axis in (
        ("slope against P", by_patches, lambda each: each.patches),
        ("slope against L", by_layers, lambda each: each.layers),
    ):
        cells = [
            slope(points, lambda each, held=held, name=name: getattr(each, held)[name], axis)
            for name in names
            for held in ("extra", "kept")
        ]
        table.add_row(title, "", slope(points, lambda each: each.bare, axis), *cells)
    Console(width=140).print(table)
    per = by_patches[-1].kept["ours"] / (args.depth * args.width)
    print(f"ours keeps {per:.1f} bytes per neuron: a score in float32 and a patch in int64")


if __name__ == "__main__":
    main()
