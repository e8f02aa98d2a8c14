"""The full protocol of one method on the bundled model, projected from a part of it: captions per second.

    python -m benchmarks.protocol [--images 30] [--groups 6] [--draws 10] [--clock wall]

90 samples are 90 groups of neurons; each is disturbed at 3 levels with `draws` draws (METHODS d) and captions all 90
images: 243,000 captions at 10 draws. Measured: some groups, all levels, on some scenes; neurons are two-stage
filtering's. Also printed: how many captions differ from the clean ones, and how many were equal to the plain path's.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

import neuronscope as ns
from neuronscope.caption import Captioner, generate_captions
from neuronscope.intervene.operations import recommended_level
from neuronscope.samples.scenes import CONCEPTS

from .captions import CLOCKS
from .truth import valid_pair

SAMPLES, LEVELS = 90, (0.5, 1.0, 1.5)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--groups", type=int, default=6)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--checked", type=int, default=1, help="groups that the plain path captions as well")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    args = parser.parse_args()
    clock = CLOCKS[args.clock]
    vlm = ns.load("demo")
    pairs = [valid_pair(vlm, concept, 7)[0] for concept in sorted(CONCEPTS)[: args.images]]
    images = [pair.original for pair in pairs]
    sets = [found for pair in pairs if len(found := ns.TwoStage().locate(vlm, pair).neurons)][: args.groups]
    noises = [
        ns.Noise(found, level=share * recommended_level(found), draws=args.draws) for found in sets for share in LEVELS
    ]
    start = clock()
    captioner = Captioner(vlm, images)
    clean = [row[0] for row in captioner.captions()]
    once = clock() - start
    start = clock()
    found = captioner.captions_under(noises)
    taken = clock() - start
    written = sum(len(row) for group in found for row in group)
    changed = np.mean([c != clean[i] for group in found for i, row in enumerate(group) for c in row])
    checked = noises[: len(LEVELS) * args.checked]
    start = clock()
    plain = [generate_captions(vlm, images, noise) for noise in checked]
    slow = clock() - start
    pairs_of = [
        (a, b)
        for p, f in zip(plain, found, strict=False)
        for r, q in zip(p, f, strict=True)
        for a, b in zip(r, q, strict=True)
    ]
    full = SAMPLES * len(LEVELS) * args.draws * SAMPLES
    rate = written / taken
    table = Table("figure", "value", title=f"demo: {len(images)} scenes, {len(sets)} groups, {args.draws} draws")
    for name, value in {
        "captions written": f"{written}",
        "changed by noise": f"{changed:.1%}",
        "equal to the plain path": f"{sum(a == b for a, b in pairs_of)} of {len(pairs_of)}",
        "once per image, s": f"{once / len(images):.3f}",
        "captions/s": f"{rate:.0f}",
        "captions/s of the plain path, batched": f"{len(pairs_of) / slow:.0f}",
        f"projected: {full} captions, minutes": f"{(full / rate + once * SAMPLES / len(images)) / 60:.1f}",
    }.items():
        table.add_row(name, value)
    Console().print(table)


if __name__ == "__main__":
    main()
