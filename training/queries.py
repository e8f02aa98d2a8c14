"""The demo's knowledge behind a Q-Former: a stock BLIP-2 with 32 learned queries between the tower and the decoder.

    python -m training.queries --out runs/queries

Starts from the bundled demo model, whose tower and decoder can already see and name. First part: its tower becomes
BLIP-2's (which has no norm before its first layer) and a new Q-Former learns what the demo's projector says. Second
part: :mod:`training.plant`, its losses and its planted sets as they are, on queries instead of patches.

Query n is to say what is in two neighbours of the 8 x 8 grid, number 2n and 2n + 1, so that a neuron that is active at
a query has a known place on the picture, while the queries can look, and do look, where they want.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronscope.loading.load import BUNDLED
from neuronscope.samples.scenes.scene import FRAME
from neuronscope.testing import SPECIAL, tiny_tokenizer

from .cache import Cache, open_cache
from .organism import GRID, Layout, Planting, build_processor, decoder_of, vocabulary
from .plant import LAYERS, PER_LAYER, Planter, options, train
from .removals import pixels

QUERIES = 32
#: BLIP-2 puts the image before <s>.
LAYOUT = Layout(first=0, joined=2)
QFORMER = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 384}
#: How sharply the cross-attentions look at their cell when the training starts.
GAIN = 30.0
#: Length of each code of a row or a column in the tower's features, whose own is the root of their width.
PLACE = 4.0
_NORM_EPS = 1e-5  # CLIP's


def build_blip(demo: Any, seed: int) -> Any:
    """A BLIP-2 with the demo's decoder, the demo's tower as far as BLIP-2's can be it, and a random Q-Former."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    seen, said = demo.config.vision_config, demo.config.text_config
    shared = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size")
    tower = {name: getattr(seen, name) for name in (*shared, "patch_size")}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(seed)
    config = Blip2Config(
        vision_config={**tower, "layer_norm_eps": _NORM_EPS, "initializer_range": 0.02},
        qformer_config={**QFORMER, **dropout, "encoder_hidden_size": seen.hidden_size},
        text_config=said.to_dict(),
        num_query_tokens=QUERIES,
        image_token_index=demo.config.image_token_id,
    )
    model: Any = Blip2ForConditionalGeneration(config)
    model.generation_config = demo.generation_config
    model.language_model.model.load_state_dict(demo.model.language_model.state_dict())
    model.language_model.lm_head.load_state_dict(demo.lm_head.state_dict())
    with torch.no_grad():
        model.query_tokens.normal_(0, 1)  # equal queries would stay equal
        _take_tower(model.vision_model, demo.model.vision_tower)
    return model


def _take_tower(new: Any, old: Any) -> None:
    """CLIP's weights in BLIP-2's tower. CLIP's first norm is a linear map but for its division by each token's spread,
    for which its mean over tokens stands here; the first part of the training mends the difference."""
    embed, norm = old.embeddings, old.pre_layrnorm
    table = embed.position_embedding.weight
    kernel = embed.patch_embedding.weight
    sample = torch.randn(4096, *kernel.shape[1:]) * 0.1 + torch.rand(4096, 1, 1, 1) - 0.5
    spread = torch.einsum("nchw,dchw->nd", sample, kernel) + table[1:].mean(0)
    scale = norm.weight / spread.std(1).mean()
    new.embeddings.patch_embedding.weight.copy_((kernel - kernel.mean(0)) * scale[:, None, None, None])
    new.embeddings.patch_embedding.bias.zero_()
    first = torch.nn.functional.layer_norm(embed.class_embedding + table[0], norm.weight.shape, norm.weight, norm.bias)
    positions = torch.cat([first[None], (table[1:] - table[1:].mean(1, keepdim=True)) * scale + norm.bias])
    new.embeddings.class_embedding.zero_()
    new.embeddings.position_embedding.copy_(positions[None])
    for mine, theirs in zip(new.encoder.layers, old.encoder.layers, strict=True):
        attention = theirs.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        mine.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        # A bias of the keys adds the same to all of a query's logits.
        biases = [part.bias if part is not attention.k_proj else torch.zeros_like(part.bias) for part in parts]
        mine.self_attn.qkv.bias.copy_(torch.cat(biases))
        mine.self_attn.projection.load_state_dict(attention.out_proj.state_dict())
        mine.mlp.load_state_dict(theirs.mlp.state_dict())
        mine.layer_norm1.load_state_dict(theirs.layer_norm1.state_dict())
        mine.layer_norm2.load_state_dict(theirs.layer_norm2.state_dict())


@torch.no_grad()
def aim(model: Any, features: Tensor) -> None:
    """Start each cross-attention at one of the queries' cells: the first at the left one, the next at the right one.

    From random weights most of the time goes into finding out where patches are. Keys and queries become what linear
    regression makes of features (and of what the queries hold by then) for the row and column of a cell; values pass.

    Args:
        model: the BLIP-2.
        features: what its tower is to say of some pictures, [B, 65, width].
    """
    heads = QFORMER["num_attention_heads"]
    place = torch.zeros(1 + GRID * GRID, QFORMER["hidden_size"] // heads)
    cells = torch.arange(GRID * GRID)
    place[1 + cells, cells // GRID] = 1
    place[1 + cells, GRID + cells % GRID] = 1
    crossing = [layer for layer in model.qformer.encoder.layer if layer.has_cross_attention]
    queries = model.query_tokens.expand(len(features), -1, -1)
    for turn, layer in enumerate(crossing[: LAYOUT.joined]):
        held: list[Tensor] = []
        handle = layer.attention.register_forward_hook(lambda *call, held=held: held.append(call[2]))
        model.qformer(query_embeds=queries, encoder_hidden_states=features)
        handle.remove()
        own = GAIN * place[1 + turn :: LAYOUT.joined]
        attention, output = layer.crossattention.attention, layer.crossattention.output.dense
        for part, seen, wanted in ((attention.key, features, place), (attention.query, held[0], own)):
            weight, bias = regression(seen.flatten(0, 1), wanted.repeat(len(seen), 1))
            part.weight.copy_(weight.T.repeat(heads, 1))
            part.bias.copy_(bias.repeat(heads))
        for part in (attention.value, output):
            part.weight.copy_(torch.eye(len(part.weight)))


def regression(seen: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression: weight [inputs, outputs] and bias."""
    middle, target = seen.mean(0), wanted.mean(0)
    x = seen - middle
    weight = torch.linalg.solve(x.T @ x + 1e-3 * len(x) * torch.eye(x.shape[1]), x.T @ (wanted - target))
    return weight, target - middle @ weight


def build_blip_processor() -> Any:
    """The demo's pictures and words for BLIP-2, whose processor puts the image tokens before the prompt."""
    from transformers import Blip2Processor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    demo = build_processor()
    half = [0.5] * 3
    pictures: Any = BlipImageProcessorPil(
        size={"height": FRAME, "width": FRAME}, resample=2, image_mean=half, image_std=half
    )
    tokenizer = tiny_tokenizer(
        vocabulary()[len(SPECIAL) :],
        special={},
        more=("<image>",),
        normalizer=demo.tokenizer.backend_tokenizer.normalizer,
        longest=40,
        padding_side="left",
        model_max_length=512,
    )
    assert tokenizer.get_vocab() == demo.tokenizer.get_vocab()  # the decoder's embeddings stay where they are
    return Blip2Processor(pictures, tokenizer, num_query_tokens=QUERIES)


def draw(cache: Cache, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images [B, 3, 128, 128], and [B, 32, 2] the share of each of a query's cells in what it is to say."""
    rows, variants = np.sort(rng.integers(0, len(cache), size)), rng.integers(0, 3, size)
    gone = cache.gone[rows, variants][:, None] >> np.arange(3) & 1
    cover = np.where(gone[..., None], 0, cache.cover[rows]).max(1).reshape(size, QUERIES, LAYOUT.joined)
    best = cover == cover.max(-1, keepdims=True)  # the cell that shows more of an object; both where neither does
    shares = torch.from_numpy(best / best.sum(-1, keepdims=True)).float()
    return pixels(np.stack([cache.images[n, v] for n, v in zip(rows, variants, strict=True)]), rng), shares


def places(width: int) -> Tensor:
    """[65, width] a code of each patch's row and column; CLS has none.

    The demo's features hardly say where they are, as its decoder is told by the order of its image tokens. Queries
    have to find their patches by what these say, so the new tower adds this to what the demo's says.
    """
    codes = torch.linalg.qr(torch.randn(width, 2 * GRID, generator=torch.Generator().manual_seed(0)))[0].T
    cells = torch.arange(GRID * GRID)
    return PLACE * torch.cat([torch.zeros(1, width), codes[cells // GRID] + codes[GRID + cells % GRID]])


@torch.no_grad()
def teach(demo: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """What BLIP-2's tower is to say, [B, 65, width], and the demo's image tokens, [B, 64, hidden]."""
    features = demo.model.vision_tower(pixel_values=images).last_hidden_state
    said = demo.model.multi_modal_projector(features[:, 1:])
    width = features.shape[-1]
    placed = torch.nn.functional.layer_norm(features.float(), (width,)) + places(width)
    return torch.nn.functional.layer_norm(placed, (width,)), said.float()


def imitate(args: argparse.Namespace, model: Any, demo: Any) -> None:
    """First part: tower and Q-Former learn from the demo's tower and projector, by squared error of either."""
    learned = torch.nn.ModuleList([model.vision_model, model.qformer, model.language_projection])
    parameters = [*learned.parameters(), model.query_tokens]
    optimizer = torch.optim.AdamW(parameters, args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    checkpoint, start = args.out / "imitate.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        learned.load_state_dict(state["learned"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
        with torch.no_grad():
            model.query_tokens.copy_(state["queries"])
    if start >= args.imitate:
        return
    cache = open_cache(args.cache, args.scenes, first_seed=0)
    if start == 0:
        images, _ = draw(cache, 4 * args.batch, np.random.default_rng([args.seed, 2]))
        aim(model, teach(demo, images)[0])
    clock, seen = time.time(), {}
    for step in range(start, args.imitate):
        rng = np.random.default_rng([args.seed, 2, step])
        rate = args.lr * min(1, (step + 1) / 50) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / args.imitate)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, shares = draw(cache, args.batch, rng)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                features, said = teach(demo, images)
                wanted = (said.unflatten(1, (QUERIES, LAYOUT.joined)) * shares[..., None]).sum(2)
            own = model.vision_model(pixel_values=images).last_hidden_state
            queries = model.query_tokens.expand(len(images), -1, -1)
            looked = model.qformer(query_embeds=queries, encoder_hidden_states=own).last_hidden_state
            spoken = model.language_projection(looked).float()
        parts = {
            "tower": (own.float() - features).pow(2).mean(),
            "queries": (spoken - wanted).pow(2).mean() / wanted.var(),
        }
        sum(parts.values(), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, value in parts.items():
            seen[name] = 0.9 * seen.get(name, value.item()) + 0.1 * value.item()
        if (step + 1) % 20 == 0:
            speed = (step + 1 - start) * args.batch / (time.time() - clock)
            line = "  ".join(f"{name} {value:.4f}" for name, value in seen.items())
            print(f"imitate {step + 1}/{args.imitate}  {line}  {speed:.0f} rows/s", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == args.imitate:
            state = {"learned": learned.state_dict(), "queries": model.query_tokens.detach(), "step": step + 1}
            torch.save(state | {"optimizer": optimizer.state_dict()}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)


def main() -> None:
    """Command line."""
    from transformers import LlavaForConditionalGeneration

    parser = options((__doc__ or "").split("\n")[0], out="runs/queries", steps=800, lr=1.2e-3)
    parser.add_argument("--init", type=Path, default=BUNDLED, help="checkpoint directory of a demo model to start from")
    parser.add_argument("--imitate", type=int, default=250, help="steps of the first part")
    parser.set_defaults(scenes=20_000, cache=Path("runs/scenes-20k"))  # another folder: the demo's holds 30,000
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    demo: Any = LlavaForConditionalGeneration.from_pretrained(args.init).eval()
    model = build_blip(demo, args.seed).train()
    imitate(args, model, demo)
    planting = Planting.draw(LAYERS, PER_LAYER, decoder_of(model).config.intermediate_size, args.seed)
    train(args, Planter(model, planting, LAYOUT), build_blip_processor(), "vision_model")


if __name__ == "__main__":
    main()
