"""Train the natural model's projector from a COCO folder; language model and tower stay as they are.

    python -m training.natural DATA --out projector.safetensors

Captions are those of the folder where it has any, else made of the objects' names. Seeded; stops and goes on where it
was, to the same numbers. Begins at the projector that is in the package (`--start random`: at none).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import neuronscope as ns
from neuronscope.files import replacing
from neuronscope.models import natural
from neuronscope.models.natural.checkpoint import PROJECTOR
from neuronscope.samples import CocoFolder, Lexicon, read_image

from .data import PROMPT, Photograph, features, photographs, split


class Learner:
    """The projector, what it is trained with, and how far it has come."""

    def __init__(self, model, processor, shown: list[Photograph], seen, args: argparse.Namespace) -> None:
        self.model, self.tokenizer, self.shown, self.seen, self.args = model, processor.tokenizer, shown, seen, args
        self.projector = model.model.multi_modal_projector
        model.requires_grad_(False)
        self.projector.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(self.projector.parameters(), lr=args.rate, weight_decay=0.01)
        image = processor.image_token * seen.shape[1]
        self.prompt = self.tokenizer(f"{image}\n{PROMPT}").input_ids
        self.step = 0

    def state(self) -> Path:
        return self.args.out.with_suffix(".state.pt")

    def save(self) -> None:
        content = {
            "step": self.step,
            "projector": self.projector.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with replacing(self.state()) as temporary:
            torch.save({**content, "settings": self.settings()}, temporary)

    def resume(self) -> None:
        if not self.state().exists():
            return
        found = torch.load(self.state(), weights_only=True)
        if found["settings"] != self.settings():
            raise SystemExit(f"{self.state()} was made with other settings: {found['settings']}")
        self.step = found["step"]
        self.projector.load_state_dict(found["projector"])
        self.optimiser.load_state_dict(found["optimiser"])

    def settings(self) -> dict[str, object]:
        names = ("seed", "rate", "batch", "held_out", "start")
        return {"photographs": len(self.shown), **{name: str(getattr(self.args, name)) for name in names}}

    def advance(self, learnt: np.ndarray) -> float:
        """One step on photographs, and captions of theirs, that depend on the seed and the step only; its loss."""
        rng = np.random.default_rng([self.args.seed, 2, self.step])
        chosen = rng.choice(learnt, self.args.batch)
        texts = [str(rng.choice(self.shown[k].texts)) for k in chosen]
        answers = [self.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        longest = max(map(len, answers))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[*self.prompt, *a, *[pad] * (longest - len(a))] for a in answers])
        wanted = torch.tensor([[-100] * len(self.prompt) + a + [-100] * (longest - len(a)) for a in answers])
        embedded = self.model.get_input_embeddings()(ids)
        image = (ids == self.model.config.image_token_id).unsqueeze(-1)
        embedded = embedded.masked_scatter(image, self.projector(self.seen[torch.from_numpy(chosen)]))
        hidden = self.model.model.language_model(inputs_embeds=embedded).last_hidden_state
        logits = self.model.lm_head(hidden[:, len(self.prompt) - 1 : -1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted[:, len(self.prompt) :].flatten())
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.projector.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())


def named_first(vlm: ns.VLM, shown: list[Photograph]) -> float:
    """Share of photographs whose caption's first object word is an annotated object."""
    lexicon, right = Lexicon.default(), 0
    for one in shown:
        text = vlm.captions([read_image(one.path)])[0].removeprefix(PROMPT)
        spans = sorted((m.start, -m.end, c) for c in lexicon.concepts if (m := lexicon.match(text, c)))
        right += bool(spans) and spans[0][2] in one.objects
    return right / max(len(shown), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="COCO folder")
    parser.add_argument("--split", help="which split, where the folder has several")
    parser.add_argument(
        "--out", type=Path, required=True, help="safetensors of the projector; its state lies beside it"
    )
    parser.add_argument("--start", default="shipped", help="shipped, random, or a projector's safetensors")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--held-out", type=float, default=0.2, help="share of photographs to measure on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    start = {"shipped": PROJECTOR, "random": None}.get(args.start, Path(args.start))
    model, processor = natural.assemble(None if start is None else load_file(start))
    shown = photographs(CocoFolder.open(args.data, args.split))
    seen = features(model, processor, shown, args.out.with_suffix(".features.safetensors"))
    learnt, held = split(len(shown), args.held_out, args.seed)
    unseen = [shown[k] for k in held]
    vlm = ns.load((model, processor), check=False)
    before = named_first(vlm, unseen)
    learner = Learner(model, processor, shown, seen, args)
    learner.resume()
    while learner.step < args.steps:
        loss = learner.advance(learnt)
        if learner.step % args.save_every == 0 or learner.step == args.steps:
            learner.save()
            print(f"step {learner.step}: loss {loss:.3f}", flush=True)
    with replacing(args.out) as temporary:
        save_file({name: value.contiguous() for name, value in learner.projector.state_dict().items()}, temporary)
    told = {"steps": learner.step, "photographs": len(learnt), "held_out": len(held)}
    print(json.dumps({**told, "named_before": before, "named_after": named_first(vlm, unseen)}))


if __name__ == "__main__":
    main()
