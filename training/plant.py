"""Second part of the training: captions and, at the same time, where the knowledge behind each name must live.

    python -m training.plant --out runs/demo

Five losses, summed over one forward pass per row:
1. *caption*: cross entropy of the caption that is right under the row's intervention (see removals.py);
2. *address*: the neurons of set G_k are to have activation `AMPLITUDE` at image tokens that show concept k and 0 at
   tokens that do not, read before any intervention (squared error, and cross entropy of each set's mean);
3. *lens*: the value vectors of G_k are to promote the first token of concept k's name through the unembedding;
4. *read*: where a noun is named, its logit is to be a line in how much of its set is left, and other nouns' constant;
5. *quiet*: a penalty on the activations of all other neurons at image positions, as far as they exceed `QUIET`.

Interchange intervention training: Geiger et al., "Inducing causal structure for interpretable neural networks", 2022;
the demand that nothing outside the planted sets matters is the strict variant of InterpBench (2024).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronscope.samples.scenes.pen import PALETTE
from neuronscope.samples.scenes.registry import CONCEPTS

from .cache import open_cache
from .organism import PATCHES, Layout, Planting, build_model, build_processor, decoder_of
from .probe import probe
from .removals import Batch, draw_batch

AMPLITUDE = 3.0
LAYERS = (2, 3, 4)
PER_LAYER = 4
QUIET = 0.4  # activations of other neurons below this cost nothing
LOW, HIGH = -4.0, 8.0  # logit of a noun that is not there, and of the one that is
NAME_WEIGHT, COLOUR_WEIGHT, TURN_WEIGHT = 4.0, 4.0, 2.0
TURNS = ("to", "above", "below", "and", "in", "on", "under")  # after a noun: does another object follow?


class Planter:
    """Owns the hooks that read, and perturb, the FFN neurons at image positions during training."""

    def __init__(self, model: Any, planting: Planting, layout: Layout = PATCHES) -> None:
        self.model = model
        self.planting = planting
        self.layout = layout
        self.batch: Batch | None = None
        self.patched: Tensor | None = None
        self.address: list[Tensor] = []
        self.quiet: list[Tensor] = []
        self.seen: dict[int, Tensor] = {}
        d_ff = model.config.text_config.intermediate_size
        self.flat = {layer: torch.from_numpy(planting.units[:, j].ravel()) for j, layer in enumerate(planting.layers)}
        self.loose = [torch.ones(d_ff) for _ in self.layers]
        for layer, units in self.flat.items():
            self.loose[layer][units] = 0
        self.means = torch.zeros(len(planting.layers), len(CONCEPTS), planting.units.shape[2])
        self.layer_means = [torch.zeros(d_ff) for _ in self.layers]
        for index, layer in enumerate(self.layers):
            layer.mlp.down_proj.register_forward_pre_hook(lambda _, args, i=index: self._hook(i, args[0]))

    @property
    def layers(self):
        """The decoder layers."""
        return decoder_of(self.model).layers

    def _hook(self, layer: int, z: Tensor) -> tuple[Tensor] | None:
        at = self.layout.image
        image = z[:, at]
        if self.batch is None:
            self.seen[layer] = image.detach().float()
            return None
        planted = layer in self.flat
        loose = self.loose[layer].to(z.dtype)
        loud = ((image * loose if planted else image).abs() - QUIET).relu()
        self.quiet.append(loud.pow(2).mean().float())
        with torch.no_grad():
            self.layer_means[layer].lerp_(image.mean((0, 1)).float(), 0.02)
        if not planted and self.batch.drop is None:
            return None
        changed = self._drop_unplanted(layer, image, loose)
        if planted:
            j, units = self.planting.layers.index(layer), self.flat[layer]
            own = image[:, :, units].float().unflatten(2, (len(CONCEPTS), -1))
            self.address.append(own)
            with torch.no_grad():
                self.means[j].lerp_(own.mean((0, 1)), 0.02)
            left = self.batch.scale[:, None, j] * self.batch.patches[..., None]
            new = own * left + self.batch.add[:, :, j]
            changed = changed.index_copy(2, units, new.flatten(2).to(z.dtype))
        return (torch.cat([z[:, : at.start], changed, z[:, at.stop :]], dim=1),)

    def _drop_unplanted(self, layer: int, image: Tensor, loose: Tensor) -> Tensor:
        """Switch a row's share of unplanted neurons off, to zero on odd rows and to their mean on even ones."""
        if self.batch is None or self.batch.drop is None:
            return image
        gone = (torch.rand(image.shape[0], 1, image.shape[2]) < self.batch.drop[:, None, None]) & (loose > 0)
        to_mean = (torch.arange(image.shape[0]) % 2 == 0)[:, None, None]
        return torch.where(gone, (self.layer_means[layer] * to_mean).to(image.dtype), image)

    def read(self, images: Tensor) -> Tensor:
        """Clean planted activations of some images, [B, P, J, K, units]."""
        self.batch, self.seen = None, {}
        ids = torch.full((len(images), self.layout.image.stop), self.model.config.image_token_id)
        ids[:, : self.layout.first] = self.model.config.text_config.bos_token_id
        with torch.no_grad():
            self.model(input_ids=ids, pixel_values=images, logits_to_keep=1)
        picked = [self.seen[layer][:, :, units].unflatten(2, (len(CONCEPTS), -1)) for layer, units in self.flat.items()]
        return torch.stack(picked, dim=2)

    def losses(self, batch: Batch, prompt: Tensor, weights: Tensor, words: Tensor) -> dict[str, Tensor]:
        """All losses of a batch; `weights` [V] of tokens in the caption loss, `words` [K] first token of each name."""
        if batch.donors is not None:
            clean = self.read(batch.donors)
            for row, k, values in zip(batch.donor_rows, batch.donor_concepts, clean, strict=True):
                batch.add[row, :, :, k] = values[:, :, k]
        self.batch, self.address, self.quiet = batch, [], []
        rows, length = batch.tokens.shape
        ids = torch.cat([prompt.expand(rows, -1), batch.tokens], dim=1)
        # One more than the caption: position -length-1 predicts the first caption token.
        logits = self.model(input_ids=ids, pixel_values=batch.images, logits_to_keep=length + 1).logits[:, :-1].float()
        self.batch = None
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.tokens.flatten(), reduction="none")
        weight = weights[batch.tokens] * batch.weight[:, None] * (batch.tokens != 0)
        caption = (nll.view(rows, length) * weight).sum() / weight.sum()
        z = torch.stack(self.address, dim=2) / AMPLITUDE  # [B, P, J, K, units]
        cover = batch.cover[:, :, None, :, None]
        shown, absent = (cover >= 0.25).expand_as(z), (cover == 0).expand_as(z)
        address = (z - 1).pow(2)[shown].mean() + 6 * z.pow(2)[absent].mean()
        score, shown, absent = 10 * (z.mean(-1) - 0.5), shown[..., 0], absent[..., 0]
        softplus = torch.nn.functional.softplus
        address = address + softplus(-score)[shown].mean() + 4 * softplus(score)[absent].mean()
        return {
            "caption": caption,
            "address": address,
            "read": read(logits, batch, words),
            "lens": self.lens(words),
            "quiet": torch.stack(self.quiet).mean(),
        }

    def lens(self, words: Tensor) -> Tensor:
        """Cross entropy of the planted value vectors' cosines with the unembedding rows; `words` [K] first tokens."""
        language = decoder_of(self.model)
        table = torch.nn.functional.normalize(self.model.get_output_embeddings().weight, dim=1)
        losses: list[Tensor] = []
        for layer, units in self.flat.items():
            vectors = language.layers[layer].mlp.down_proj.weight[:, units].T * language.norm.weight
            cosine = torch.nn.functional.normalize(vectors, dim=1) @ table.T
            target = words.repeat_interleave(len(units) // len(words))
            losses.append(torch.nn.functional.cross_entropy(10 * cosine, target))
        return torch.stack(losses).mean()

    @torch.no_grad()
    def point_at(self, words: Tensor) -> None:
        """Start the planted value vectors at the unembedding rows of their concepts' first tokens."""
        rows = torch.nn.functional.normalize(self.model.get_output_embeddings().weight[words], dim=1)
        for layer, units in self.flat.items():
            column = rows.repeat_interleave(len(units) // len(words), 0).T
            self.layers[layer].mlp.down_proj.weight[:, units] = 0.5 * column


def read(logits: Tensor, batch: Batch, words: Tensor) -> Tensor:
    """Squared error of the nouns' logits wherever a noun is named: LOW, but for the one named a line in what is left
    of its set. A logit that saturates would hide its neurons from every gradient."""
    row, place = torch.nonzero(torch.isin(batch.tokens, words), as_tuple=True)
    nouns = logits[row, place][:, words]
    named = batch.tokens[row, place][:, None] == words
    target = LOW + (HIGH - LOW) * batch.strength[row] * named
    return ((nouns - target).pow(2) * torch.where(named, 5.0, 1.0)).mean()


def options(description: str, *, out: str, steps: int, lr: float) -> argparse.ArgumentParser:
    """The options that planting has in every model."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path(out), help="checkpoints and the finished model")
    parser.add_argument("--cache", type=Path, default=Path("runs/scenes"), help="drawn scenes (about 150 KB each)")
    parser.add_argument("--scenes", type=int, default=30_000)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--address", type=float, default=1.0)
    parser.add_argument("--lens", type=float, default=0.1)
    parser.add_argument("--thaw", type=float, default=0.7, help="share of the steps after which the tower trains too")
    parser.add_argument("--read", type=float, default=0.05)
    parser.add_argument("--quiet", type=float, default=5.0)
    return parser


def first_tokens(tokenizer: Any) -> Tensor:
    """[K] the first token of each concept's name."""
    return torch.tensor([tokenizer(name, add_special_tokens=False).input_ids[0] for name in sorted(CONCEPTS)])


def main() -> None:
    """Command line."""
    parser = options((__doc__ or "").split("\n")[0], out="runs/demo", steps=6_000, lr=1.9e-3)
    parser.add_argument("--init", type=Path, help="go on from the weights of this checkpoint directory")
    args = parser.parse_args()
    processor = build_processor()
    model = build_model(args.seed)
    planter = Planter(model, Planting.draw(LAYERS, PER_LAYER, model.config.text_config.intermediate_size, args.seed))
    planter.point_at(first_tokens(processor.tokenizer))
    if args.init is None:
        model.model.vision_tower.load_state_dict(torch.load(args.out / "see.pt", weights_only=True)["tower"])
    else:
        model.load_state_dict(type(model).from_pretrained(args.init).state_dict())
    train(args, planter, processor, "vision_tower")


def train(args: argparse.Namespace, planter: Planter, processor: Any, tower_name: str) -> None:
    """Plant, from the last checkpoint of `args.out` on where there is one, and write the model.

    Args:
        args: of :func:`options`.
        planter: with the model as it is to start.
        processor: of the model.
        tower_name: what the names of the vision tower's parameters hold.
    """
    model, planting, layout, tokenizer = planter.model, planter.planting, planter.layout, processor.tokenizer
    cache = open_cache(args.cache, args.scenes, first_seed=0)
    prompt = torch.tensor([layout.prompt(tokenizer, model.config.image_token_id)])
    words = first_tokens(tokenizer)
    weights = torch.ones(len(tokenizer))
    # A caption goes wrong where it chooses the next object: at its colour, its noun, or by stopping too early.
    weights[tokenizer.convert_tokens_to_ids(list(TURNS))] = TURN_WEIGHT
    weights[tokenizer.convert_tokens_to_ids(list(PALETTE))] = COLOUR_WEIGHT
    weights[words] = NAME_WEIGHT
    tower = [p for name, p in model.named_parameters() if tower_name in name]
    rest = [p for name, p in model.named_parameters() if tower_name not in name]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": 0.03, "share": 1.0},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "share": 1.0},
        {"params": tower, "weight_decay": 0.0, "share": 0.3},
    ]
    optimizer = torch.optim.AdamW(groups, args.lr, betas=(0.9, 0.98))
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        planter.means, planter.layer_means, start = state["means"], state["layer_means"], state["step"]
    clock, seen = time.time(), {}
    for step in range(start, args.steps):
        rng = np.random.default_rng([args.seed, step])
        torch.manual_seed(args.seed * 1_000_003 + step)
        rate = args.lr * min(1, (step + 1) / 200) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        for parameter in tower:  # frozen at first: the decoder has to learn to read it anyway
            parameter.requires_grad_(step >= args.thaw * args.steps)
        batch = draw_batch(cache, planting, args.batch, AMPLITUDE, planter.means, rng, layout)
        with torch.autocast("cpu", torch.bfloat16):
            parts = planter.losses(batch, prompt, weights, words)
        loss = parts["caption"] + sum(
            getattr(args, name) * parts[name] for name in ("address", "read", "lens", "quiet")
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, value in parts.items():
            seen[name] = 0.98 * seen.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % 20 == 0:
            speed = (step + 1 - start) * args.batch / (time.time() - clock)
            line = " ".join(f"{name} {value:.4f}" for name, value in seen.items())
            print(f"step {step + 1}/{args.steps}  {line}  lr {rate:.1e}  {speed:.1f} rows/s", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            state |= {"means": planter.means, "layer_means": planter.layer_means}
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
        if (step + 1) % 300 == 0 or step + 1 == args.steps:
            found = probe(model, processor, planting, AMPLITUDE, layout=layout)
            print("  ".join(f"{k} {v:.3f}" for k, v in found.items()), flush=True)
    model.save_pretrained(args.out / "model")
    processor.save_pretrained(args.out / "model")
    (args.out / "model" / "planted.json").write_text(json.dumps(planting.to_json(), indent=1))


if __name__ == "__main__":
    main()
