"""grad x activation of every neuron of one image: ours against captum, nnsight, a hook script and the bare passes.

    python -m benchmarks.attribution [--models demo smol] [--rounds 9] [--clock cpu|wall] [--threads 1]

All give the same numbers: n * dy/dn summed over the image tokens, of all layers, y being one logit at the last
position. "bare" is what no method can do without: one forward pass, logits at that position only, and one backward pass
to the neurons of the first layer, with no parameter asking for a gradient; it gives no score. The peers get the same
head start (frozen parameters, logits where needed); captum is run from the embeddings, so that its graph leaves the
vision tower out. Rounds alternate between the ways; ratios are those of medians. Memory is the peak of torch's
allocations during a call, without weights. A peer that is not installed is left out with a line.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.hooks.skip import Enough
from neuronscope.locate.scores import ALL_WANTED, Wanted, attributions

from .captions import CLOCKS, MODELS, scene
from .memory import MIB, measure

TOKEN = 5
BARE, OURS = "bare passes", "ours"
ONE = Wanted("gradcam", "sum")


class Work:
    """One image's attribution, in every way."""

    def __init__(self, vlm: ns.VLM, name: str) -> None:
        self.vlm = vlm
        self.model: Any = vlm.model.requires_grad_(False)
        self.inputs = vlm.prepare([scene(vlm, name)])
        self.call = {**self.inputs.rows[0].tensors, "use_cache": False}
        self.at = torch.as_tensor(self.inputs.images[0].positions)
        self.outputs = [ffn.output for ffn in vlm.structure.ffns]

    def pooled(self, z: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Summed over the image tokens."""
        return (z * slope)[0, self.at].sum(0)

    def bare(self) -> None:
        """The two passes alone."""
        leaf: list[torch.Tensor] = []

        def before(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            leaf.append(args[0].detach().requires_grad_())
            return (leaf[0],)

        with self.outputs[0].register_forward_pre_hook(before):
            y = self.model(**self.call, logits_to_keep=1).logits[0, -1, TOKEN]
        torch.autograd.grad(y, leaf)

    def ours(self, wanted: Sequence[Wanted] = (ONE,)) -> np.ndarray:
        """Our one pass."""
        (found,) = attributions(self.vlm, self.inputs, [[(1, TOKEN)]], wanted)
        return found[ONE].values

    def hooks(self) -> np.ndarray:
        """A hook on every layer that keeps its neurons; then one call for all gradients."""
        kept: list[torch.Tensor] = []

        def before(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            kept.append(args[0] if args[0].requires_grad else args[0].requires_grad_())
            return (kept[-1],)

        with ExitStack() as stack:
            for output in self.outputs:
                stack.enter_context(output.register_forward_pre_hook(before))
            y = self.model(**self.call, logits_to_keep=1).logits[0, -1, TOKEN]
        slopes = torch.autograd.grad(y, kept)
        return torch.cat([self.pooled(z.detach(), g) for z, g in zip(kept, slopes, strict=True)]).numpy()

    def embeddings(self) -> torch.Tensor:
        """What enters the decoder; the decoder itself does not run."""
        seen: list[torch.Tensor] = []

        def before(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
            seen.append(kwargs["inputs_embeds"])
            raise Enough

        decoder = self.model.model.language_model
        with torch.no_grad(), decoder.register_forward_pre_hook(before, with_kwargs=True), suppress(Enough):
            self.model(**self.call)
        return seen[0]

    def captum(self) -> np.ndarray:
        """LayerGradientXActivation of all layers together."""
        from captum.attr import LayerGradientXActivation

        def forward(embeddings: torch.Tensor) -> torch.Tensor:
            hidden = self.model.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
            return self.model.lm_head(hidden[:, -1])

        method: Any = LayerGradientXActivation(forward, self.outputs)
        found = method.attribute(self.embeddings(), target=TOKEN, attribute_to_layer_input=True)
        layers = [each[0] if isinstance(each, tuple) else each for each in found]
        return torch.cat([each[0, self.at].sum(0) for each in layers]).detach().numpy()

    def nnsight(self) -> np.ndarray:
        """One trace, gradients in a backward trace."""
        import nnsight

        wrapped: Any = nnsight.NNsight(self.model)
        names = {id(module): name for name, module in self.model.named_modules()}
        envoys = [wrapped.get(names[id(output)]) for output in self.outputs]
        call, pooled = {**self.call, "logits_to_keep": 1}, self.pooled
        with wrapped.trace(**call):
            found = nnsight.save([])
            kept = []
            for envoy in envoys:
                z = envoy.input
                if not z.requires_grad:
                    z.requires_grad_()
                kept.append(z)
            y = wrapped.output.logits[0, -1, TOKEN]
            with y.backward():
                for z in reversed(kept):
                    found.append(pooled(z.detach(), z.grad))
        return torch.cat(found[::-1]).numpy()


def working(ways: dict[str, Callable[[], Any]], expected: np.ndarray) -> dict[str, str]:
    """Largest difference of each way over the largest value; those that are not installed are left out."""
    result: dict[str, str] = {}
    for name, run in ways.items():
        try:
            found = run()
        except ImportError as error:
            print(f"{name}: left out, {error}")
            continue
        result[name] = "-" if found is None else f"{np.abs(found - expected).max() / np.abs(expected).max():.1e}"
    return result


def run(name: str, rounds: int, clock: Callable[[], float]) -> Table:
    """One table."""
    work = Work(MODELS[name](), name)
    every: dict[str, Callable[[], Any]] = {
        BARE: work.bare,
        OURS: work.ours,
        f"ours, {len(ALL_WANTED)} scores": lambda: work.ours(ALL_WANTED),
        "hook script": work.hooks,
        "captum": work.captum,
        "nnsight": work.nnsight,
    }
    differences = working(every, work.hooks())
    taken: dict[str, list[float]] = {way: [] for way in differences}
    for _ in range(rounds):
        for way, seconds in taken.items():
            start = clock()
            every[way]()
            seconds.append(clock() - start)
    medians = {way: statistics.median(seconds) for way, seconds in taken.items()}
    peaks = {way: measure(every[way]).peak for way in taken}
    title = f"{name}: {work.vlm.layers} layers, d_f {work.vlm.widths[0]}, {len(work.at)} image tokens, {rounds} rounds"
    table = Table("way", "ms", "over bare", "peak MiB", "over bare", "largest relative difference", title=title)
    for way, value in medians.items():
        table.add_row(
            way,
            f"{1000 * value:.1f}",
            f"{value / medians[BARE]:.3f}",
            f"{peaks[way] / MIB:.2f}",
            f"{peaks[way] / peaks[BARE]:.3f}",
            differences[way],
        )
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["demo", "smol"], choices=list(MODELS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=list(CLOCKS), default="cpu", help="cpu: for a shared machine, one thread")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    for name in args.models:
        Console(width=120).print(run(name, args.rounds, CLOCKS[args.clock]))


if __name__ == "__main__":
    main()
