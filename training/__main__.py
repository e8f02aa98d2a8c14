"""Train the demo model from nothing: draw the scenes, teach the tower, plant the knowledge.

    python -m training --out runs/demo

Seeded; stops and goes on where it was. The finished checkpoint is OUT/model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--cache", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for part in ("training.see", "training.plant"):
        shared = ["--out", str(args.out), "--cache", str(args.cache), "--seed", str(args.seed)]
        subprocess.run([sys.executable, "-m", part, *shared], check=True)


if __name__ == "__main__":
    main()
