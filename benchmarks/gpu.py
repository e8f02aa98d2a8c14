"""All speed tables on a CUDA machine: types of weights x ways to attend; captions, attribution, exact effects, memory.

    python -m benchmarks.gpu [--model CHECKPOINT] [--image photo.jpg] [--dtypes float32 bfloat16 float16]
        [--attention sdpa flash_attention_2 eager] [--draws 30] [--neurons 256] [--rounds 3] [--batch 64]

On a machine with a CUDA device that is all there is to it; what is not installed there, or what a model or a type of
weights does not allow, is left out with a line that says why. Without a device nothing would be measured that
`--device cpu` does not measure as well, so this has to be asked for. Times are of the wall clock behind
`torch.cuda.synchronize`, medians of rounds that alternate between the ways, after one round of each that does not
count; memory is the allocator's peak of a round. For the demo model the picture is a scene, else noise, unless one is
given.

For a 7B in 24 GB or more:

    python -m benchmarks.gpu --model Qwen2.5-VL-7B-Instruct --image photo.jpg --dtypes bfloat16 --draws 10 --neurons 64
    python -m benchmarks.gpu --model llava-1.5-7b-hf --image photo.jpg --dtypes bfloat16 --draws 10 --neurons 64
    neuronscope check Qwen2.5-VL-7B-Instruct --dtype bfloat16
    neuronscope truth photo.jpg dog --box 40,30,200,180 --model Qwen2.5-VL-7B-Instruct --dtype bfloat16 --budget 3000
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions, near_ties
from neuronscope.caption.shortcuts import Engine
from neuronscope.errors import MODEL_ERRORS, NeuronscopeError
from neuronscope.hooks import HookSession, Tap
from neuronscope.locate import Exchange
from neuronscope.locate.scores import Layout, grad_times_activation
from neuronscope.locate.target import Word

from .captions import scene, sets

GIB = 2**30
TOKEN = 5
DTYPES, ATTENTION = ("float32", "bfloat16", "float16"), ("sdpa", "flash_attention_2", "eager")


@dataclass(frozen=True)
class Taken:
    """What one way took.

    Attributes:
        seconds: the median round.
        peak: bytes that the device's allocator held at most; None on the CPU.
        result: of the last round.
    """

    seconds: float
    peak: int | None
    result: Any


def measured(ways: dict[str, Callable[[], Any]], device: torch.device, rounds: int) -> dict[str, Taken]:
    """Every way, in turns; one round before the first does not count."""
    cuda = device.type == "cuda"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, int] = {}
    results: dict[str, Any] = {}
    for round_ in range(-1, rounds):
        for name, run in ways.items():
            if cuda:
                torch.cuda.synchronize(device)
                torch.cuda.reset_peak_memory_stats(device)
            begun = time.perf_counter()
            results[name] = run()
            if cuda:
                torch.cuda.synchronize(device)
                peaks[name] = torch.cuda.max_memory_allocated(device)
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return {name: Taken(statistics.median(seconds[name]), peaks.get(name), results[name]) for name in ways}


def captions(vlm: ns.VLM, image: Image.Image, args: argparse.Namespace) -> Table:
    """Captions under noise: one draw at a time, all in a batch, and from kept states."""
    decoding = ns.Decoding(max_new_tokens=args.tokens)
    noise = ns.Noise(sets(vlm, 1, 20)[0], level=10.0, draws=args.draws)
    captioner = Captioner(vlm, [image], decoding=decoding, engine=Engine(remember=0), batch_size=args.batch)

    def plain(size: int) -> Callable[[], Any]:
        return lambda: generate_captions(vlm, [image], noise, decoding=decoding, batch_size=size)[0]

    single, batch, kept = "one at a time", f"a batch of {args.batch}", "from kept states"
    ways = {single: plain(1), batch: plain(args.batch), kept: lambda: captioner.captions(noise)[0]}
    found = measured(ways, vlm.device, args.rounds)
    table = Table("way", "ms a caption", "over one at a time", "as one at a time", "peak GiB", title="captions")
    for name, one in found.items():
        same = np.mean([a == b for a, b in zip(one.result, found[single].result, strict=True)])
        faster = found[single].seconds / one.seconds
        table.add_row(name, f"{1000 * one.seconds / args.draws:.2f}", f"{faster:.2f}", f"{same:.0%}", _gib(one.peak))
    ties = near_ties(vlm)
    why = next((text for text in captioner.plain.values() if text), "")
    table.caption = f"decided alone: {ties.share:.1%}" + (f"; kept states are not used: {why}" if why else "")
    return table


def attribution(vlm: ns.VLM, image: Image.Image, args: argparse.Namespace) -> Table:
    """Scores of all neurons beside the bare forward and backward pass."""
    inputs = vlm.prepare([image])
    last = vlm.structure.studied[0]

    def bare() -> None:
        leaves: list[torch.Tensor] = []

        def leaf(z: torch.Tensor) -> torch.Tensor:
            leaves.append(z if z.requires_grad else z.detach().requires_grad_())
            return leaves[-1]

        with torch.enable_grad(), vlm.frozen(), HookSession(vlm.structure, [Tap(last, "neuron", leaf)]):
            logits = vlm.logits(inputs)
            torch.autograd.grad(logits[0, -1, TOKEN], leaves)

    ways: dict[str, Callable[[], Any]] = {
        "bare forward and backward pass": bare,
        "gradient x activation of all neurons": lambda: grad_times_activation(vlm, inputs, [[(1, TOKEN)]]),
    }
    found = measured(ways, vlm.device, args.rounds)
    first = next(iter(found.values()))
    table = Table("way", "ms", "over bare", "peak GiB", title=f"attribution, {sum(vlm.widths):,} neurons")
    for name, one in found.items():
        table.add_row(name, f"{1000 * one.seconds:.1f}", f"{one.seconds / first.seconds:.2f}", _gib(one.peak))
    return table


def effects(vlm: ns.VLM, image: Image.Image, args: argparse.Namespace) -> Table:
    """Single neurons exchanged: from kept states, and by whole passes of the same batches."""
    layout = Layout(vlm.widths)
    exchange = Exchange.of(vlm, image, ImageOps.mirror(image), Word((), ((1, TOKEN),)), ns.Decoding())
    flat = np.random.default_rng(0).choice(layout.total, min(args.neurons, layout.total), replace=False)
    masks = [np.arange(layout.total) == one for one in np.sort(flat)]
    ways: dict[str, Callable[[], Any]] = {
        "whole passes": lambda: exchange.plain_effects(masks),
        "only what lies above": lambda: exchange.effects(masks),
    }
    found = measured(ways, vlm.device, args.rounds)
    first = next(iter(found.values()))
    table = Table("way", "ms a neuron", "faster", "all of them, hours", "peak GiB", title="exact effects")
    for name, one in found.items():
        each = one.seconds / len(masks)
        hours = f"{each * layout.total / 3600:.2f}"
        table.add_row(name, f"{1000 * each:.2f}", f"{first.seconds / one.seconds:.2f}", hours, _gib(one.peak))
    apart = np.abs(first.result - found["only what lies above"].result).max()
    table.caption = f"largest difference between the two: {apart:.1e}; largest effect: {np.abs(first.result).max():.1e}"
    return table


TABLES: tuple[Callable[[ns.VLM, Image.Image, argparse.Namespace], Table], ...] = (captions, attribution, effects)


def opened(args: argparse.Namespace, dtype: str, attention: str) -> ns.VLM:
    """The model in one type of weights, attending in one way."""
    if args.model == "demo":  # bundled models are loaded as they are
        vlm = ns.load("demo", device=args.device, dtype=dtype)
        vlm.model.set_attn_implementation(attention)
        return vlm
    return ns.load(args.model, device=args.device, dtype=dtype, attn_implementation=attention)


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / GIB:.2f}"


def parser() -> argparse.ArgumentParser:
    """What can be asked."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("--model", default="demo")
    made.add_argument("--image", default=None)
    made.add_argument("--device", default="cuda")
    made.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    made.add_argument("--attention", nargs="+", default=list(ATTENTION), choices=ATTENTION)
    made.add_argument("--draws", type=int, default=30)
    made.add_argument("--tokens", type=int, default=32)
    made.add_argument("--neurons", type=int, default=256)
    made.add_argument("--batch", type=int, default=64)
    made.add_argument("--rounds", type=int, default=3)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    asked = parser()
    args = asked.parse_args(argv)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        asked.error("this PyTorch sees no CUDA device; --device cpu measures the CPU")
    console = Console(width=110)
    cuda = args.device.startswith("cuda")
    where = torch.cuda.get_device_name(args.device) if cuda else "CPU"
    console.print(f"{args.model} on {where}; torch {torch.__version__}, transformers {transformers.__version__}")
    for dtype in args.dtypes:
        for attention in args.attention:
            try:
                vlm = opened(args, dtype, attention)
                image = scene(vlm, args.model) if args.image is None else Image.open(args.image).convert("RGB")
                console.rule(f"{dtype}, {attention}")
                for table in TABLES:
                    console.print(table(vlm, image, args))
            except (NeuronscopeError, *MODEL_ERRORS, ImportError) as error:
                console.print(f"{dtype}, {attention}: left out, {type(error).__name__}: {str(error).splitlines()[0]}")
            vlm = None
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
