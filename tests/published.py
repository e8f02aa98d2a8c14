"""Shrunken checkpoints in the layouts in which models were published, and the arithmetic of their parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

WORDS = 320
#: config.json of a Llama of two layers, four heads that share two sets of keys, and a period of its own.
LLAMA: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "rope_scaling": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": -1,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.31.0",
    "use_cache": True,
}
Draw = Callable[..., Tensor]


def drawing(seed: int) -> Draw:
    """Random tensors of any shape."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape, scale=0.2: torch.randn(*shape, generator=generator) * scale


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """A small BPE tokenizer built like Llama-2's: leading space, byte fallback, <unk> 0, <s> 1, </s> 2, no padding."""
    core = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=WORDS - 20, special_tokens=special, show_progress=False)
    core.train_from_iterator(["[INST] <Img></Img> The image shows a bear [/INST] "], trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    rebuilt = json.loads(core.to_str())
    rebuilt["added_tokens"] = rebuilt["added_tokens"][:3]  # bytes are ordinary entries
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(rebuilt)), unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def spaced_anew(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The newer form of Llama's tokenizer, which puts the space before the first word only."""
    core = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    core.normalizer = normalizers.Sequence([])
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def llama_tensors(seed: int, twice: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """A Llama under its original names, with the buffers of the transformers of its time.

    Modules whose name is in `twice` are there for text and for image tokens, as `multiway.0` and `multiway.1`.
    """
    draw, width, inner = drawing(seed), LLAMA["hidden_size"], LLAMA["intermediate_size"]
    keys = width // LLAMA["num_attention_heads"] * LLAMA["num_key_value_heads"]
    state = {
        "model.embed_tokens.weight": draw(WORDS, width, scale=1.0),
        "model.norm.weight": draw(width) + 1,
        "lm_head.weight": draw(WORDS, width, scale=0.5),
    }
    for layer in range(LLAMA["num_hidden_layers"]):
        stem = f"model.layers.{layer}."
        for name, shape in {
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (keys, width),
            "self_attn.v_proj": (keys, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (inner, width),
            "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner),
            "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
        }.items():
            ways = (".multiway.0", ".multiway.1") if name.rpartition(".")[2] in twice else ("",)
            for way in ways:
                state[f"{stem}{name}{way}.weight"] = draw(*shape) + ("layernorm" in name)
        state[f"{stem}self_attn.rotary_emb.inv_freq"] = draw(4)
    return state


def save_sharded(state: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path, shards: int = 3) -> Path:
    """A checkpoint directory as transformers wrote it then: pickled shards, their index, config.json, tokenizer."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings))
    llama_tokenizer().save_pretrained(folder)
    names, places = list(state), {}
    for shard in range(shards):
        file = f"pytorch_model-{shard + 1:05}-of-{shards:05}.bin"
        part = names[shard::shards]
        torch.save({name: state[name] for name in part}, folder / file)
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


# --- arithmetic


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + LLAMA["rms_norm_eps"]).sqrt() * weight


def layer_norm(x: Tensor, state: Mapping[str, Tensor], name: str, eps: float) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def linear(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", torch.zeros(()))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """[queries, width] with head h in columns h * size to (h + 1) * size of each."""
    size = q.shape[-1] // heads
    mixed = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[:, part] @ k[:, part].T / size**0.5
        mixed.append((scores if mask is None else scores + mask).softmax(-1) @ v[:, part])
    return torch.cat(mixed, -1)


def quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def rotated(x: Tensor, heads: int) -> Tensor:
    """Llama's rotary positions: pairs are dimension i and i + size / 2 of a head."""
    size = x.shape[-1] // heads
    angle = torch.arange(len(x))[:, None] * LLAMA["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    turned = []
    for h in range(heads):
        a, b = x[:, h * size : (h + 1) * size].chunk(2, -1)
        turned += [a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()]
    return torch.cat(turned, -1)


def llama_logits(state: Mapping[str, Tensor], x: Tensor, image: Tensor) -> Tensor:
    """Logits at every position of one sequence of embeddings; `image` tells the image tokens."""
    heads, groups = LLAMA["num_attention_heads"], LLAMA["num_key_value_heads"]
    mask = torch.full((len(x), len(x)), float("-inf")).triu(1)

    def mine(name: str, apply: Callable[[str], Tensor]) -> Tensor:
        """Each position by the module of its modality, one after the other."""
        if f"{name}.weight" in state:
            return apply(name)
        ways = [apply(f"{name}.multiway.{way}") for way in (0, 1)]
        return torch.stack([ways[int(which)][n] for n, which in enumerate(image)])

    for layer in range(LLAMA["num_hidden_layers"]):
        stem = f"model.layers.{layer}."
        y = mine(f"{stem}input_layernorm", lambda name, x=x: rms(x, state[f"{name}.weight"]))
        q = rotated(linear(y, state, f"{stem}self_attn.q_proj"), heads)
        k = rotated(mine(f"{stem}self_attn.k_proj", lambda name, y=y: linear(y, state, name)), groups)
        v = mine(f"{stem}self_attn.v_proj", lambda name, y=y: linear(y, state, name))
        k, v = (one.unflatten(-1, (groups, -1)).repeat_interleave(heads // groups, 1).flatten(1) for one in (k, v))
        x = x + linear(attend(q, k, v, heads, mask), state, f"{stem}self_attn.o_proj")
        y = mine(f"{stem}post_attention_layernorm", lambda name, x=x: rms(x, state[f"{name}.weight"]))
        gate = linear(y, state, f"{stem}mlp.gate_proj")
        x = x + linear(
            gate / (1 + torch.exp(-gate)) * linear(y, state, f"{stem}mlp.up_proj"), state, f"{stem}mlp.down_proj"
        )
    return rms(x, state["model.norm.weight"]) @ state["lm_head.weight"].T


def spelled_out(state: Mapping[str, Tensor], ids: list[int], tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of a prompt with the image's in the places of id 0, and which those are."""
    image = torch.tensor([one == 0 for one in ids])
    x = state["model.embed_tokens.weight"][torch.tensor(ids)].clone()
    x[image] = tokens
    return x, image


def greedy(state: Mapping[str, Tensor], ids: list[int], tokens: Tensor, count: int) -> list[int]:
    """The next tokens, the whole sequence read anew for each."""
    written: list[int] = []
    for _ in range(count):
        written.append(int(llama_logits(state, *spelled_out(state, [*ids, *written], tokens))[-1].argmax()))
    return written
