"""The noise protocol: captions of one image under 30 draws of noise, ours against what people write today.

    python -m benchmarks.captions [--models demo smol natural] [--rounds 3] [--draws 30] [--groups 4] [--levels 1 10]
        [--first LAYER] [--alone 30] [--clock wall|cpu] [--threads 1]
    python -m benchmarks.captions --agree bfloat16 [--models demo smol] [--draws 30] [--groups 4] [--levels 1 10]

All write the same captions, greedily, 32 new tokens; what differs is how. Sets lie in the upper third of the layers,
or, with `--first 0`, in all of them and one neuron in the first, as natural sets do.
Noise tables are drawn beforehand for the peers; ours finds its own in its cache after the warm-up. Rounds alternate
between the methods, and the ratios are those of medians. Peers that are not installed are left out with a line.

With `--agree TYPE` nothing is timed: rows of a batch round differently from rows alone in few bits, in transformers as
here, so the shares of captions that are equal to those of (a) and (b) are printed, and how far (a) and (b) agree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.caption import Caption, Captioner, near_ties
from neuronscope.caption.captions import caption_of, generate_settings
from neuronscope.caption.shortcuts import Engine

from .models import pictures, smol

DECODING = ns.Decoding(max_new_tokens=32)
MODELS: dict[str, Callable[[], ns.VLM]] = {
    "demo": lambda: ns.load("demo"),
    "smol": smol,
    "natural": lambda: ns.load("natural"),
}
ENGINES = {
    "ours": Engine(remember=0),
    "ours, no drafts": Engine(draft=False, remember=0),
    "ours, all switches off": Engine.off(),
}
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
ALONE, BATCH = "a: one draw at a time", "b: one batch"


@dataclass(frozen=True)
class Way:
    """A way to write captions: what runs, and how many times as much work there is."""

    run: Callable[[], list[Caption]]
    scale: float = 1.0


def sets(vlm: ns.VLM, groups: int, size: int, first: int | None = None) -> list[ns.Neurons]:
    """Random sets of neurons of the upper third of the layers, or of those from `first` on, which has one at least."""
    rng = np.random.default_rng(1)
    layers = range(vlm.layers - vlm.layers // 3 if first is None else first, vlm.layers)
    lowest = [] if first is None else [first]
    return [
        ns.Neurons.of(
            (layer, int(rng.integers(vlm.widths[0])))
            for layer in (lowest + [int(rng.choice(layers)) for _ in range(size)])[:size]
        )
        for _ in range(groups)
    ]


def scene(vlm: ns.VLM, name: str) -> Image.Image:
    """A picture that the model can say something about."""
    if name != "demo":
        return pictures(1)[0]
    from neuronscope.samples.scenes import scene_sample
    from neuronscope.studies.demo.scenes import scene_stream

    return ns.counterfactual(scene_sample(next(iter(scene_stream("bear", 7))), "bear")).original


class Peer:
    """The same work as scripts do it: noise tables in hand, hooks on `down_proj`, Hugging Face's `generate`."""

    def __init__(self, vlm: ns.VLM, image: Image.Image, noise: ns.Noise) -> None:
        self.vlm = vlm
        self.noise = noise
        self.row = vlm.prepare([image], DECODING).rows[0]
        positions = self.row.image.positions
        self.begin, self.end = int(positions[0]), int(positions[-1]) + 1
        self.tables = {
            layer: torch.as_tensor(
                np.stack([noise.epsilon(n, layer, units, len(positions)) for n in range(noise.draws)]) * noise.level,
                dtype=vlm.dtype,
            )
            for layer, units in noise.neurons.by_layer().items()
        }
        self.units = {layer: torch.tensor(units) for layer, units in noise.neurons.by_layer().items()}

    def inputs(self, rows: int) -> dict[str, torch.Tensor]:
        """The prompt, as many times as there are rows."""
        return {name: value.repeat(rows, *[1] * (value.ndim - 1)) for name, value in self.row.tensors.items()}

    def written(self, output: torch.Tensor) -> list[Caption]:
        """The captions of what `generate` returned."""
        return [caption_of(self.vlm, ids, DECODING) for ids in output[:, self.row.length :].tolist()]

    def added(self, z: torch.Tensor, layer: int, rows: slice) -> torch.Tensor:
        """Activations with the noise of some draws."""
        z = z.clone()
        at = torch.arange(self.begin, self.end)[:, None]
        z[:, at, self.units[layer]] += self.tables[layer][rows]
        return z

    def hooked(self, rows: slice, count: int) -> list[Caption]:
        """`generate` with a hook on each layer."""
        with ExitStack() as stack, torch.no_grad():
            for layer in self.tables:

                def before(_module: Any, args: tuple[torch.Tensor, ...], layer: int = layer) -> Any:
                    return (self.added(args[0], layer, rows), *args[1:]) if args[0].shape[1] > 1 else None

                module = self.vlm.structure.ffns[layer].output
                stack.callback(module.register_forward_pre_hook(before).remove)
            return self.written(self.vlm.model.generate(**self.inputs(count), **generate_settings(self.vlm, DECODING)))

    def one_by_one(self, draws: int) -> list[Caption]:
        """(a) some draws, one at a time."""
        return [self.hooked(slice(n, n + 1), 1)[0] for n in range(draws)]

    def batch(self) -> list[Caption]:
        """(b) all draws in one batch."""
        return self.hooked(slice(None), self.noise.draws)

    def pyvene(self) -> list[Caption]:
        """(c) pyvene, all draws in one batch."""
        import pyvene

        peer = self

        def make(layer: int) -> Any:
            class AddNoise(pyvene.ConstantSourceIntervention):
                def __init__(self, **kwargs: Any) -> None:
                    super().__init__(**kwargs, keep_last_dim=True)

                def forward(self, base: torch.Tensor, source: Any = None, subspaces: Any = None) -> torch.Tensor:
                    return peer.added(base, layer, slice(None)) if base.shape[1] > 1 else base

            return AddNoise

        names = {id(module): name for name, module in self.vlm.model.named_modules()}
        configuration = pyvene.IntervenableConfig(
            [
                {
                    "component": indexed(names[id(self.vlm.structure.ffns[layer].output)]) + ".input",
                    "intervention_type": make(layer),
                }
                for layer in self.tables
            ]
        )
        wrapped = pyvene.IntervenableModel(configuration, model=self.vlm.model)
        forget_hooks(self.vlm.model)
        with torch.no_grad():
            _, output = wrapped.generate(
                self.inputs(self.noise.draws),
                unit_locations=None,
                intervene_on_prompt=True,
                **generate_settings(self.vlm, DECODING),
            )
        forget_hooks(self.vlm.model)
        return self.written(output)

    def nnsight(self) -> list[Caption]:
        """(d) nnsight, all draws in one batch."""
        import nnsight

        wrapped: Any = nnsight.NNsight(self.vlm.model)
        names = {id(module): name for name, module in self.vlm.model.named_modules()}
        modules = {layer: names[id(self.vlm.structure.ffns[layer].output)] for layer in self.tables}
        inputs, settings, added = self.inputs(self.noise.draws), generate_settings(self.vlm, DECODING), self.added
        with torch.no_grad():  # noqa: SIM117  (nnsight reads the source of the block below)
            with wrapped.trace(**inputs, **settings, fn=self.vlm.model.generate) as tracer:
                for layer in modules:
                    envoy = wrapped.get(modules[layer])
                    envoy.input = added(envoy.input, layer, slice(None))
                output = tracer.result.save()
        return self.written(output)


def forget_hooks(model: torch.nn.Module) -> None:
    """Have transformers install its own hooks anew: pyvene takes all hooks of a model away, also those of others."""
    for module in model.modules():
        vars(module).pop("_output_capturing_hooks_installed", None)


def indexed(name: str) -> str:
    """`layers.3.mlp` as pyvene writes it: `layers[3].mlp`."""
    parts: list[str] = []
    for part in name.split("."):
        if part.isdigit():
            parts[-1] += f"[{part}]"
        else:
            parts.append(part)
    return ".".join(parts)


def medians(ways: dict[str, Way], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of each way, taken in turns, scaled to all of its work."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            way.run()
            taken[name].append((clock() - start) * way.scale)
    return {name: statistics.median(values) for name, values in taken.items()}


def working(vlm: ns.VLM, ways: dict[str, Way], expected: list[Caption]) -> dict[str, Way]:
    """The ways that are installed and write the expected captions, but for near ties; a line for each of the others.

    A batch of a script may fall the other way at a near tie, where ours are those of one row at a time.
    """
    result: dict[str, Way] = {}
    for name, way in ways.items():
        before = near_ties(vlm).alone
        try:
            written = way.run()
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        equal = sum(a == b for a, b in zip(written, expected, strict=False))
        alone = near_ties(vlm).alone - before
        print(
            f"{name}: {equal} of {len(written)} captions equal to {BATCH}, {alone} near ties decided alone", flush=True
        )
        if equal + alone >= len(written):
            result[name] = way
    return result


def run(name: str, vlm: ns.VLM, args: argparse.Namespace, level: float) -> Table:
    """One table: one group, then all groups of one image."""
    image = scene(vlm, name)
    noises = [ns.Noise(found, level=level, draws=args.draws) for found in sets(vlm, args.groups, args.size, args.first)]
    peers = [Peer(vlm, image, noise) for noise in noises]
    ours = {
        key: Captioner(vlm, [image], decoding=DECODING, batch_size=args.batch, engine=engine)
        for key, engine in ENGINES.items()
    }
    clean = ours["ours"].captions()[0][0]
    expected = [peer.batch() for peer in peers]
    same = np.mean([caption == clean for group in expected for caption in group])
    alone = min(args.alone, args.draws)
    first = Way(lambda: peers[0].one_by_one(alone), args.draws / alone)
    one = {
        ALONE: first,
        BATCH: Way(peers[0].batch),
        "c: pyvene": Way(peers[0].pyvene),
        "d: nnsight": Way(peers[0].nnsight),
        **{key: Way(lambda c=c: c.captions(noises[0])[0]) for key, c in ours.items()},
    }
    every = {
        ALONE: Way(first.run, first.scale * args.groups),
        BATCH: Way(lambda: [c for peer in peers for c in peer.batch()]),
        **{
            key: Way(lambda c=c: [x for group in c.captions_under(noises) for x in group[0]]) for key, c in ours.items()
        },
    }
    table = Table(
        "work",
        "way",
        "s",
        "ms/caption",
        "over a",
        "over b",
        title=f"{name}, noise {level}: {vlm.layers} layers, "
        f"{args.draws} draws, {args.size} neurons, {same:.0%} of captions as without noise",
    )
    clock = CLOCKS[args.clock]
    for title, ways, groups in (("one group", one, 1), (f"{args.groups} groups", every, args.groups)):
        seconds = medians(working(vlm, ways, [c for group in expected[:groups] for c in group]), args.rounds, clock)
        for way, value in seconds.items():
            ratios = [f"{seconds[base] / value:.2f}" for base in (ALONE, BATCH)]
            table.add_row(title, way, f"{value:.3f}", f"{1000 * value / (groups * args.draws):.2f}", *ratios)
        table.add_section()
    return table


def agreement(name: str, vlm: ns.VLM, args: argparse.Namespace, level: float) -> Table:
    """Shares of equal captions between the ways that are at hand everywhere."""
    image = scene(vlm, name)
    noises = [ns.Noise(found, level=level, draws=args.draws) for found in sets(vlm, args.groups, args.size, args.first)]
    peers = [Peer(vlm, image, noise) for noise in noises]
    written = {
        ALONE: [c for peer in peers for c in peer.one_by_one(args.draws)],
        BATCH: [c for peer in peers for c in peer.batch()],
    }
    for key, engine in ENGINES.items():
        captioner = Captioner(vlm, [image], decoding=DECODING, batch_size=args.batch, engine=engine)
        written[key] = [c for group in captioner.captions_under(noises) for c in group[0]]
    table = Table("way", "as a", "as b", title=f"{name}, {args.agree}, noise {level}: equal captions")
    for key, captions in written.items():
        shares = [np.mean([x == y for x, y in zip(captions, written[base], strict=True)]) for base in (ALONE, BATCH)]
        table.add_row(f"{key} ({len(captions)})", *(f"{share:.1%}" for share in shares))
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["demo", "smol"], choices=list(MODELS))
    parser.add_argument("--first", type=int, metavar="LAYER", help="sets begin here, and lie in all layers from it on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--levels", type=float, nargs="+", default=(1.0, 10.0))
    parser.add_argument("--alone", type=int, default=30, help="draws that are written one at a time; scaled to all")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: for a shared machine, one thread")
    parser.add_argument("--threads", type=int, default=0, help="of torch; as it chooses when 0")
    parser.add_argument("--agree", metavar="TYPE", help="print agreement in this type of weights; nothing is timed")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    for name in args.models:
        vlm = MODELS[name]()
        if args.agree:
            vlm.model.to(getattr(torch, args.agree))
        for level in args.levels:
            Console(width=120).print((agreement if args.agree else run)(name, vlm, args, level))


if __name__ == "__main__":
    main()
