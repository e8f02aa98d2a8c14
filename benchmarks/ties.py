"""Are captions those of the plain path with one row at a time, and how many had to be decided by it?

    python -m benchmarks.ties [--models demo smol natural] [--groups 4] [--draws 30] [--level 10] [--size 20]

Groups of random neurons of the upper third of the layers, under noise; 32 new tokens. Every caption is written by
`generate_captions(batch_size=1)`, which is the specification, by one batch of Hugging Face's `generate` under hooks, as
scripts do it, and by ours. Smol has random weights and so near ties everywhere.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.caption import Caption, Captioner, generate_captions, near_ties

from .captions import DECODING, MODELS, Peer, scene, sets


def run(name: str, vlm: ns.VLM, args: argparse.Namespace) -> Table:
    """One table: the share of captions that are the specification's, and what became of near ties."""
    image = scene(vlm, name)
    noises = [ns.Noise(found, level=args.level, draws=args.draws) for found in sets(vlm, args.groups, args.size)]
    start = time.process_time()
    expected = [
        c for noise in noises for c in generate_captions(vlm, [image], noise, decoding=DECODING, batch_size=1)[0]
    ]
    table = Table("way", "as one at a time", "decided alone", "CPU s", title=f"{name}, noise {args.level:g}")
    table.add_row("one at a time", f"{len(expected)}", "", f"{time.process_time() - start:.1f}")
    captioner = Captioner(vlm, [image], decoding=DECODING)
    ways: dict[str, Callable[[], list[Caption]]] = {
        "a batch of a script": lambda: [c for noise in noises for c in Peer(vlm, image, noise).batch()],
        "generate_captions": lambda: [
            c for noise in noises for c in generate_captions(vlm, [image], noise, decoding=DECODING)[0]
        ],
        "Captioner": lambda: [c for group in captioner.captions_under(noises) for c in group[0]],
    }
    known = near_ties(vlm)
    for way, write in ways.items():
        start, before = time.process_time(), known.alone
        written = write()
        equal = sum(a == b for a, b in zip(written, expected, strict=True))
        alone = known.alone - before
        seconds = time.process_time() - start
        table.add_row(way, f"{equal} of {len(expected)}", f"{alone / len(expected):.1%}", f"{seconds:.1f}")
    rounding = "none" if known.rounding is None else f"{known.rounding:.1e}"
    table.caption = f"largest difference of gaps between two ways, over the logits' spread: {rounding}"
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--level", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=20)
    args = parser.parse_args(argv)
    for name in args.models:
        Console(width=100).print(run(name, MODELS[name](), args))


if __name__ == "__main__":
    main()
