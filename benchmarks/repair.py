"""Repair the bundled model's hallucinations in several ways, side by side.

    neuronscope scenes --out repair-scenes -n 1000 --seed 50000000
    python -m benchmarks.repair --images repair-scenes [--work neuronscope-repair] [--out docs/results/repair]

Every way searches the same half of the pictures and is measured on the other; see studies/repair/work.py. A way's
document is kept in the work folder: a broken run goes on from there. `neuronscope repair` does one of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

import neuronscope as ns
from neuronscope.caption import generate_captions
from neuronscope.files import output_folder, write_text
from neuronscope.run.settings import environment
from neuronscope.samples.objects import AnnotatedFolder
from neuronscope.studies.repair.settings import Repair
from neuronscope.studies.repair.tables import document, tables
from neuronscope.studies.repair.work import repair

WAYS: Mapping[str, Repair] = {
    "ablate, word": Repair(),
    "ablate, word, difference": Repair(against=True),
    "ablate, image": Repair(position="image"),
    "swap, word": Repair(by="swap"),
    "swap, image": Repair(by="swap", position="image"),
    "swap for what is shown, word": Repair(by="swap", toward="shown"),
    "ablate, image, unguarded": Repair(position="image", right=0),
}


def main() -> None:
    """Repair in the ways that are not in the work folder yet, and write the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("neuronscope-repair"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/repair"))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    vlm, folder, work = ns.load(args.model), AnnotatedFolder.read(args.images), output_folder(args.work)
    captions = None
    found: dict[str, Any] = {}
    for name in args.ways:
        path = work / f"{name.replace(', ', '-').replace(' ', '_')}.json"
        if not path.is_file():
            if captions is None:
                paths = [one.path for one in folder.pictures]
                captions = [row[0] for row in generate_captions(vlm, paths)]
            made = document(repair(vlm, folder, WAYS[name], captions=captions, done=partial(print, name)))
            write_text(path, json.dumps({**made, "model": vlm.identity()}, indent=1) + "\n")
        found[name] = json.loads(path.read_text(encoding="utf-8"))
        if found[name]["model"] != vlm.identity():
            raise SystemExit(f"{path} was measured with other weights: name another folder with --work")
    target = output_folder(args.out)
    result = {"ways": {name: {k: v for k, v in one.items() if k != "pictures"} for name, one in found.items()}}
    result |= {"pictures": len(folder.pictures), "environment": environment()}
    write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_text(target / "tables.md", tables(found))
    print(tables(found))


if __name__ == "__main__":
    main()
