"""A neuron index of many pictures: memory of the whole command, and its time over that of bare forward passes.

    python -m benchmarks.index FOLDER... [--pictures 10000] [--model natural] [--work index] [--out FILE]

Photographs of the folders become as many pictures as are asked for: pieces of 40 to 100 % of their sides, every second
one mirrored, seeded. `neuronscope index` reads them as users start it, in a process of its own; counted are its CPU
seconds and the most memory that it ever held. Bare are forward passes of the same model over pictures that are prepared
already, in the same batches: `--sample` of them before the command, and the same after it. The time to read and prepare
the pictures, which any pass has, stands apart. One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from rich.console import Console

import neuronscope as ns
from neuronscope.files import write_text
from neuronscope.models.inputs import Inputs
from neuronscope.samples.image import read_image

#: Pictures in one forward pass, as the command reads them unless told otherwise.
BATCH = 8
GIB = 2**30


@dataclass(frozen=True)
class Figures:
    """Of one run, CPU seconds of one thread.

    Attributes:
        pictures: how many were looked at.
        neurons: how many were watched.
        command: seconds of the whole command: loading, the pass, joining its parts, writing index and pages.
        memory: the most bytes it held.
        prepare: seconds to read and prepare a picture, of a size that was not met before.
        bare: seconds of a bare forward pass, for one picture of a batch, before and after the command.
    """

    pictures: int
    neurons: int
    command: float
    memory: int
    prepare: float
    bare: tuple[float, float]

    @property
    def over_bare(self) -> float:
        """The command without reading and preparing pictures, over as many bare passes."""
        return (self.command / self.pictures - self.prepare) / float(np.mean(self.bare))

    @property
    def over_pass(self) -> float:
        """The command over bare passes that read and prepare their pictures."""
        return self.command / self.pictures / (self.prepare + float(np.mean(self.bare)))

    def __str__(self) -> str:
        before, after = (1000 * each for each in self.bare)
        return (
            f"{self.neurons:,} neurons over {self.pictures:,} pictures: {self.memory / GIB:.2f} GiB at the peak, "
            f"{1000 * self.command / self.pictures:.0f} CPU ms a picture, {1000 * self.prepare:.0f} of them to read "
            f"and prepare it; a bare pass takes {before:.0f} before and {after:.0f} after: {self.over_bare:.2f} times "
            f"the bare passes, {self.over_pass:.2f} times passes that prepare their pictures"
        )


def pieces(photographs: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """As many pictures out of some photographs; those that are in the folder stay."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [folder / f"{number:06}.jpg" for number in range(count)]
    for number, path in enumerate(found):
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        picture = read_image(photographs[number % len(photographs)])
        width, height = (round(side * rng.uniform(0.4, 1.0)) for side in picture.size)
        left, top = (
            int(rng.integers(0, full - part + 1)) for full, part in zip(picture.size, (width, height), strict=True)
        )
        piece = picture.crop((left, top, left + width, top + height))
        piece = ImageOps.mirror(piece) if number % 2 else piece
        piece.save(path.with_suffix(".part"), "JPEG", quality=90)
        path.with_suffix(".part").rename(path)
    return found


def bare(vlm: ns.VLM, pictures: Sequence[Path]) -> tuple[float, float]:
    """CPU seconds a picture: to read and prepare it, and of a forward pass that nothing is read from."""
    preparing = passing = 0.0
    for start in range(0, len(pictures), BATCH):
        begun = time.process_time()
        rows = [vlm.prepare([path]).rows[0] for path in pictures[start : start + BATCH]]
        preparing += time.process_time() - begun
        for group in vlm.batches(rows, BATCH):
            inputs = Inputs(tuple(rows[k] for k in group))
            begun = time.process_time()
            with torch.no_grad():
                vlm.logits(inputs)
            passing += time.process_time() - begun
    return preparing / len(pictures), passing / len(pictures)


def indexed(model: str, folder: Path, out: Path) -> tuple[dict[str, int], float, int]:
    """What the command says, its CPU seconds, and the most bytes it held."""
    line = [sys.executable, "-m", "neuronscope", "index", str(folder), "--model", model, "--out", str(out), "--json"]
    line += ["--batch-size", str(BATCH), "--pages", "4"]
    said = out.with_suffix(".said.json")
    with said.open("wb") as heard:
        process = subprocess.Popen(line, stdout=heard, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)} ended with {os.waitstatus_to_exitcode(status)}")
    return json.loads(said.read_text(encoding="utf-8")), used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss


def photographs_of(folders: Sequence[Path]) -> list[Path]:
    """Pictures anywhere in some folders."""
    found = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    if not found:
        raise SystemExit(f"no photographs in {', '.join(map(str, folders))}")
    return found


def measure(model: str, pictures: Sequence[Path], out: Path, sample: int) -> Figures:
    """The command over a folder of pictures, between two times the bare passes."""
    torch.set_num_threads(1)
    vlm = ns.load(model)
    bare(vlm, pictures[:BATCH])  # the first pass is slower
    prepare, before = bare(vlm, pictures[:sample])
    said, seconds, memory = indexed(model, pictures[0].parent, out)
    _, after = bare(vlm, pictures[:sample])
    # Where a size is met again its map is known, which the command finds out for each of them: the first time counts.
    return Figures(said["pictures"], said["neurons"], seconds, memory, prepare, (before, after))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--sample", type=int, default=256)
    parser.add_argument("--model", default="natural")
    parser.add_argument("--work", type=Path, default=Path("index"), help="New or empty but for its pictures.")
    parser.add_argument("--out", type=Path, default=None, help="JSON file.")
    args = parser.parse_args()
    out = args.work / "index"
    if out.exists():
        raise SystemExit(f"{out} is there: parts that are made already would not be counted")
    pictures = pieces(photographs_of(args.folders), args.pictures, args.work / "pictures")
    found = measure(args.model, pictures, out, args.sample)
    Console().print(str(found))
    if args.out is not None:
        write_text(args.out, json.dumps(asdict(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
