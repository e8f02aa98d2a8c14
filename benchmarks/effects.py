"""Exact effects of single neurons: ours against a loop of hooked passes, hooked batches, nnsight, and pyvene.

    python -m benchmarks.effects [--models demo natural] [--count 64] [--layers 5] [--rounds 3] [--threads 1]

The same neurons, `count` in each of some layers from the first to the last but one, are patched from another picture
at the image tokens, one at a time, and one log-probability is read. All ways give the same numbers, which is checked.
"loop" is one whole forward pass for each neuron, "batch" whole passes of 64 rows; nnsight and pyvene change the same
rows in their own ways, where they are installed. CPU seconds, rounds alternate, ratios are of medians.

Beside it the bare matrix products of the layers above each neuron at the positions that have to be run, on this
machine, in the same run: no exact method can do with less, and ours is compared with their rate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from rich.console import Console
from rich.table import Table
from torch import Tensor

import neuronscope as ns
from neuronscope.hooks import HookSession, Tap
from neuronscope.locate import Exchange
from neuronscope.locate.patching import word_scores
from neuronscope.locate.scores import Layout
from neuronscope.locate.target import Word
from neuronscope.models import Decoding

from .captions import forget_hooks, indexed, scene

BATCH = 64
WORD = Word((), ((1, 5),))


class Work:
    """Some neurons of a model, and every way to exchange them."""

    def __init__(self, vlm: ns.VLM, name: str, count: int, layers: int) -> None:
        self.vlm, self.layout = vlm, Layout(vlm.widths)
        picture = scene(vlm, name)
        self.exchange = Exchange.of(vlm, picture, ImageOps.mirror(picture), WORD, Decoding())
        rng = np.random.default_rng(0)
        chosen = sorted({round(x) for x in np.linspace(0, vlm.layers - 2, layers)})
        self.neurons = [
            (layer, int(unit))
            for layer in chosen
            for unit in rng.choice(vlm.widths[layer], min(count, vlm.widths[layer]), replace=False)
        ]
        self.at = torch.as_tensor(self.exchange.inputs.images[0].positions)

    def ours(self) -> np.ndarray:
        """Kept states, 64 at a time."""
        flat = [self.layout.starts[layer] + unit for layer, unit in self.neurons]
        found = [
            self.exchange.effects([np.arange(self.layout.total) == one for one in flat[start : start + BATCH]])
            for start in range(0, len(flat), BATCH)
        ]
        return np.concatenate(found)

    def hooked(self, size: int) -> np.ndarray:
        """Whole passes of some rows, each with its own neuron changed by a hook."""
        found: list[float] = []
        for start in range(0, len(self.neurons), size):
            some = self.neurons[start : start + size]
            taps = [self._tap(layer, some) for layer in sorted({layer for layer, _ in some})]
            with torch.no_grad(), HookSession(self.vlm.structure, taps):
                found += word_scores(self.vlm.logits(self.exchange.inputs.repeat(len(some)), last=1), WORD, "logprob")
        return self.exchange.clean - np.array(found)

    def _tap(self, layer: int, some: list[tuple[int, int]]) -> Tap:
        def run(z: Tensor) -> Tensor:
            z = z.clone()
            for row, (own, unit) in enumerate(some):
                if own == layer:
                    z[row, self.at, unit] = self.exchange.values[layer][:, unit]
            return z

        return Tap(layer, "neuron", run)

    def nnsight(self) -> np.ndarray:
        """The same rows by nnsight's tracing."""
        from nnsight import NNsight

        model: Any = NNsight(self.vlm.model)
        found: list[float] = []
        for start in range(0, len(self.neurons), BATCH):
            some = self.neurons[start : start + BATCH]
            tensors = self.exchange.inputs.repeat(len(some)).tensors
            with torch.no_grad(), model.trace(**tensors, use_cache=False):
                for layer in sorted({layer for layer, _ in some}):
                    module = self._envoy(model, self.vlm.structure.ffns[layer].output)
                    z = module.input.clone()
                    for row, (own, unit) in enumerate(some):
                        if own == layer:
                            z[row, self.at, unit] = self.exchange.values[layer][:, unit]
                    module.input = z
                logits = model.output.logits[:, -1:].save()
            found += word_scores(logits, WORD, "logprob")
        return self.exchange.clean - np.array(found)

    def pyvene(self) -> np.ndarray:
        """The same rows by pyvene's interventions."""
        import pyvene

        names = {id(module): name for name, module in self.vlm.model.named_modules()}
        found: list[float] = []
        for start in range(0, len(self.neurons), BATCH):
            some = self.neurons[start : start + BATCH]
            configuration = pyvene.IntervenableConfig(
                [
                    {
                        "component": indexed(names[id(self.vlm.structure.ffns[layer].output)]) + ".input",
                        "intervention_type": self._exchanging(layer, some),
                    }
                    for layer in sorted({layer for layer, _ in some})
                ]
            )
            wrapped = pyvene.IntervenableModel(configuration, model=self.vlm.model)
            forget_hooks(self.vlm.model)
            tensors = self.exchange.inputs.repeat(len(some)).tensors
            with torch.no_grad():
                _, output = wrapped({**tensors, "use_cache": False}, unit_locations=None)
            forget_hooks(self.vlm.model)
            found += word_scores(output.logits[:, -1:], WORD, "logprob")
        return self.exchange.clean - np.array(found)

    def _exchanging(self, layer: int, some: list[tuple[int, int]]) -> Any:
        import pyvene

        run = self._tap(layer, some).function

        class Exchanging(pyvene.ConstantSourceIntervention):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs, keep_last_dim=True)

            def forward(self, base: Tensor, source: Any = None, subspaces: Any = None) -> Tensor:
                return run(base)

        return Exchanging

    def _envoy(self, model: Any, module: torch.nn.Module) -> Any:
        path = next(name for name, one in self.vlm.model.named_modules() if one is module)
        for part in path.split("."):
            model = model[int(part)] if part.isdigit() else getattr(model, part)
        return model

    def products(self) -> float:
        """Floating-point operations that cannot be left out: the linear maps of the layers above, of each neuron."""
        row = self.exchange.inputs.rows[0]
        positions = row.length - int(self.at[0])
        each = [sum(p.numel() for p in layer.parameters() if p.ndim == 2) for layer in self.vlm.structure.layers]
        return float(sum(2 * positions * sum(each[layer + 1 :]) for layer, _ in self.neurons))

    def rate(self) -> float:
        """Operations a second of this machine's matrix products of such sizes."""
        ffn: Any = self.vlm.structure.ffns[0].output
        width, hidden = self.vlm.widths[0], self.vlm.structure.hidden
        positions = self.exchange.inputs.rows[0].length - int(self.at[0])
        a, b = torch.randn(BATCH * positions, width), ffn.weight.detach().float().reshape(hidden, width).T
        out = torch.empty(BATCH * positions, hidden)
        begun, times = time.process_time(), 0
        while time.process_time() - begun < 1.0:
            torch.mm(a, b, out=out)
            times += 1
        return 2.0 * times * a.numel() * hidden / (time.process_time() - begun)


def known_to_pyvene(vlm: ns.VLM) -> bool:
    """Whether pyvene has the table of dimensions without which it wraps no model."""
    from pyvene.models.intervenable_modelcard import type_to_dimension_mapping

    return type(vlm.model) in type_to_dimension_mapping


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["demo", "natural"])
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console()
    for name in args.models:
        work = Work(ns.load(name), name, args.count, args.layers)
        ways: dict[str, Callable[[], np.ndarray]] = {
            "ours": work.ours,
            f"batch of {BATCH}": lambda work=work: work.hooked(BATCH),
            "loop": lambda work=work: work.hooked(1),
        }
        for peer, way in (("nnsight", work.nnsight), ("pyvene", work.pyvene)):
            if find_spec(peer) is None:
                console.print(f"{peer} is not installed: left out")
            elif peer == "pyvene" and not known_to_pyvene(work.vlm):
                console.print(f"pyvene knows no {type(work.vlm.model).__name__}: left out")
            else:
                ways[f"{peer}, batch of {BATCH}"] = way
        expected = work.ours()
        spent: dict[str, list[float]] = {way: [] for way in ways}
        rates: list[float] = []
        for _ in range(args.rounds):
            rates.append(work.rate())
            for way, run in ways.items():
                begun = time.process_time()
                found = run()
                spent[way].append(time.process_time() - begun)
                assert np.allclose(found, expected, atol=1e-3), way
        median = {way: statistics.median(of) for way, of in spent.items()}
        bare = work.products() / statistics.median(rates)
        table = Table("way", "CPU ms a neuron", "ours is faster", title=f"{name}: {len(work.neurons)} neurons")
        table.add_row("bare products", f"{1000 * bare / len(work.neurons):.1f}", f"{bare / median['ours']:.2f}")
        for way, value in median.items():
            table.add_row(way, f"{1000 * value / len(work.neurons):.1f}", f"{value / median['ours']:.2f}")
        console.print(table)


if __name__ == "__main__":
    main()
