"""First part of the training: teach the vision tower what is where.

    python -m training.see --out runs/demo

Every image token is classified from the tower's features (30 concepts or none) by a linear head that is thrown away
afterwards. Without this head start the rest spends most of its time learning to see: cross entropy per patch reaches
in minutes what squared error on sparse neuron activations reaches in hours.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch

from neuronscope.samples.scenes.registry import CONCEPTS

from .cache import Cache, open_cache
from .organism import GRID, build_model
from .removals import pixels

BACKGROUND = len(CONCEPTS)
SHOWN = 0.25  # least share of a footprint that makes its token an example of the concept


def draw(cache: Cache, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images [B, 3, 128, 128], class of each token [B, 64], and weight [B, 64]: 0 for half-covered tokens."""
    rows, variants = np.sort(rng.integers(0, len(cache), size)), rng.integers(0, 3, size)
    label = np.full((size, GRID * GRID), BACKGROUND, np.int64)
    weight = np.full((size, GRID * GRID), 0.3, np.float32)
    for b, (n, v) in enumerate(zip(rows, variants, strict=True)):
        gone = int(cache.gone[n, v])
        best = np.zeros(GRID * GRID)
        for i, concept in enumerate(cache.concept[n]):
            if concept < 0 or gone >> i & 1:
                continue
            cover = cache.cover[n, i] / 255
            better = cover > best
            best = np.maximum(best, cover)
            label[b, better & (cover >= SHOWN)] = concept
        weight[b, best >= SHOWN] = 1.0
        weight[b, (best > 0.02) & (best < SHOWN)] = 0.0
    images = np.stack([cache.images[n, v] for n, v in zip(rows, variants, strict=True)])
    return pixels(images, rng), torch.from_numpy(label), torch.from_numpy(weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    parser.add_argument("--cache", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--scenes", type=int, default=30_000)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = build_model(args.seed)
    tower = model.model.vision_tower
    head = torch.nn.Sequential(torch.nn.LayerNorm(192), torch.nn.Linear(192, BACKGROUND + 1))
    cache = open_cache(args.cache, args.scenes, first_seed=0)
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, args.lr, betas=(0.9, 0.98), weight_decay=0.03)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint, start = args.out / "see.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        tower.load_state_dict(state["tower"])
        head.load_state_dict(state["head"])
        start = state["step"]
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
    clock, loss_seen, right_seen = time.time(), 0.0, 0.0
    for step in range(start, args.steps):
        rng = np.random.default_rng([args.seed, 1, step])
        for group in optimizer.param_groups:
            group["lr"] = (
                args.lr * min(1, (step + 1) / 200) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / args.steps)))
            )
        images, label, weight = draw(cache, args.batch, rng)
        with torch.autocast("cpu", torch.bfloat16):
            features = tower(pixel_values=images).last_hidden_state[:, 1:]
            logits = head(features)
        nll = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), label.flatten(), reduction="none")
        loss = (nll * weight.flatten()).sum() / weight.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        shown = label < BACKGROUND
        right = float((logits.argmax(-1) == label)[shown].float().mean())
        keep = min(0.98, step / (step + 1))
        loss_seen, right_seen = keep * loss_seen + (1 - keep) * loss.item(), keep * right_seen + (1 - keep) * right
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) * args.batch / (time.time() - clock)
            print(
                f"see {step + 1}/{args.steps}  loss {loss_seen:.3f}  tokens right {right_seen:.3f}  {speed:.0f} rows/s",
                flush=True,
            )
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            state = {"tower": tower.state_dict(), "head": head.state_dict(), "step": step + 1}
            torch.save(state | {"optimizer": optimizer.state_dict()}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)


if __name__ == "__main__":
    main()
