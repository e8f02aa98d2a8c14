"""MiniGPT-4: the model against formulas written here, the converter against shrunken files in the published layout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from typer.testing import CliRunner

from neuronscope.architecture.structure import find_structure
from neuronscope.cli import convert as verb
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.models.conversion.keys import read_tensors
from neuronscope.models.minigpt4 import (
    MiniGPT4Config,
    MiniGPT4ForConditionalGeneration,
    MiniGPT4Processor,
    register,
)
from neuronscope.models.minigpt4.convert import convert
from neuronscope.models.minigpt4.modeling import PatchProjector
from neuronscope.models.minigpt4.parts import resize_positions
from neuronscope.models.minigpt4.processing import LLAMA_2, V2, VICUNA, make_processor
from neuronscope.models.minigpt4.write import assemble, convert_files
from neuronscope.tokens.frame import measure_frames
from neuronscope.tokens.layout import equal_cells
from published import WORDS, llama_tokenizer, spaced_anew

WIDTH, MLP, DEPTH, PATCH, HIDDEN = 176, 40, 2, 14, 32
Files = dict[str, dict[str, Tensor]]

#: What the published demos say first.
SYSTEM = (
    "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I provide it to you. "
    "Please answer my questions."
)


def rows(generator: torch.Generator, *shape: int, scale: float = 0.2) -> Tensor:
    return torch.randn(*shape, generator=generator) * scale


def eva(side: int = 4, blocks: int = DEPTH + 1, seed: int = 0) -> dict[str, Tensor]:
    """A shrunken eva_vit_g.pth: one block more than is run, and the norm and head of its own task."""
    g = torch.Generator().manual_seed(seed)
    state = {
        "cls_token": rows(g, 1, 1, WIDTH),
        "pos_embed": rows(g, 1, side * side + 1, WIDTH),
        "patch_embed.proj.weight": rows(g, WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": rows(g, WIDTH),
        "norm.weight": rows(g, WIDTH),
        "norm.bias": rows(g, WIDTH),
        "head.weight": rows(g, 8, WIDTH),
        "head.bias": rows(g, 8),
    }
    for i in range(blocks):
        for name, shape in {
            "norm1.weight": (WIDTH,),
            "norm1.bias": (WIDTH,),
            "attn.q_bias": (WIDTH,),
            "attn.v_bias": (WIDTH,),
            "attn.qkv.weight": (3 * WIDTH, WIDTH),
            "attn.proj.weight": (WIDTH, WIDTH),
            "attn.proj.bias": (WIDTH,),
            "norm2.weight": (WIDTH,),
            "norm2.bias": (WIDTH,),
            "mlp.fc1.weight": (MLP, WIDTH),
            "mlp.fc1.bias": (MLP,),
            "mlp.fc2.weight": (WIDTH, MLP),
            "mlp.fc2.bias": (WIDTH,),
        }.items():
            state[f"blocks.{i}.{name}"] = rows(g, *shape) + (1.0 if "norm" in name and "weight" in name else 0.0)
    return state


def projection(inner: int = 4 * WIDTH, seed: int = 1) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {"llama_proj.weight": rows(g, HIDDEN, inner), "llama_proj.bias": rows(g, HIDDEN)}


def lora(rank: int = 3, form: str = ".default", seed: int = 2) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    stem = "llama_model.base_model.model.model.layers"
    return {
        f"{stem}.{layer}.self_attn.{name}_proj.lora_{part}{form}.weight": rows(g, *shape)
        for layer in range(2)
        for name in ("q", "v")
        for part, shape in (("A", (rank, HIDDEN)), ("B", (HIDDEN, rank)))
    }


def blip(width: int = 128, depth: int = 3, queries: int = 5, seed: int = 3) -> dict[str, Tensor]:
    """A shrunken blip2_pretrained file: Q-Former with its text side, ln_vision, and the projection to T5."""
    g = torch.Generator().manual_seed(seed)
    inner, state = 24, {"query_tokens": rows(g, 1, queries, width), "t5_proj.weight": rows(g, 4, width)}

    def linear(name: str, out: int, into: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = rows(g, out, into), rows(g, out)

    def norm(name: str, size: int = width) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = rows(g, size) + 1, rows(g, size)

    norm("ln_vision", WIDTH)
    norm("Qformer.bert.embeddings.LayerNorm")
    state["Qformer.bert.embeddings.word_embeddings.weight"] = rows(g, 9, width)
    state["Qformer.bert.embeddings.position_ids"] = torch.arange(7)[None]
    linear("Qformer.cls.predictions.decoder", 9, width)
    for i in range(depth):
        stem = f"Qformer.bert.encoder.layer.{i}"
        for block in ("attention", "crossattention")[: 2 - i % 2]:
            seen = WIDTH if block == "crossattention" else width
            linear(f"{stem}.{block}.self.query", width, width)
            linear(f"{stem}.{block}.self.key", width, seen)
            linear(f"{stem}.{block}.self.value", width, seen)
            linear(f"{stem}.{block}.output.dense", width, width)
            norm(f"{stem}.{block}.output.LayerNorm")
        for side in ("", "_query"):
            linear(f"{stem}.intermediate{side}.dense", inner, width)
            linear(f"{stem}.output{side}.dense", width, inner)
            norm(f"{stem}.output{side}.LayerNorm")
    return state


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return llama_tokenizer()


@pytest.fixture(scope="module")
def decoder() -> LlamaForCausalLM:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def build(decoder: LlamaForCausalLM, tokenizer: Any) -> Callable[..., tuple[Any, Any, Any]]:
    """Converts tensors; returns (model, processor, conversion)."""

    def make(vit: Any, checkpoint: Any, **options: Any) -> tuple[Any, Any, Any]:
        done = convert(vit, checkpoint, decoder.state_dict(), decoder.config, **{"depth": DEPTH, **options})
        return *assemble(done, tokenizer, torch.float32), done

    return make


@pytest.fixture(scope="module")
def small(build: Any) -> tuple[Any, Any, Any]:
    """56 px: 4 x 4 patches, 4 x 1 tokens."""
    return build(eva(), projection(), image_size=56)


@pytest.fixture
def files(tmp_path: Path, decoder: LlamaForCausalLM, tokenizer: Any) -> dict[str, Path]:
    """The published files, shrunken, on disk."""
    folder = tmp_path / "llama"
    decoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.save(eva(), tmp_path / "eva_vit_g.pth")
    torch.save({"model": projection(), "epoch": 4}, tmp_path / "minigpt4.pth")
    return {"vit": tmp_path / "eva_vit_g.pth", "llama": folder, "checkpoint": tmp_path / "minigpt4.pth"}


def eva_features(state: dict[str, Tensor], pixels: Tensor, blocks: int = DEPTH) -> Tensor:
    """EVA ViT from its formula: pre-norm blocks, keys without bias, exact GELU, no norm at the end. CLS first."""
    x = functional.conv2d(pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=PATCH)
    x = torch.cat([state["cls_token"].expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], 1) + state["pos_embed"]
    heads, size = WIDTH // 88, 88
    for i in range(blocks):
        w = {name.split(".", 2)[2]: value for name, value in state.items() if name.startswith(f"blocks.{i}.")}
        y = functional.layer_norm(x, (WIDTH,), w["norm1.weight"], w["norm1.bias"], 1e-6)
        q, k, v = (y @ part.T for part in w["attn.qkv.weight"].split(WIDTH))
        q, v = q + w["attn.q_bias"], v + w["attn.v_bias"]
        mixed = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / size**0.5).softmax(-1)
            mixed.append(weights @ v[..., part])
        x = x + torch.cat(mixed, -1) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
        y = functional.layer_norm(x, (WIDTH,), w["norm2.weight"], w["norm2.bias"], 1e-6)
        y = y @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
        y = 0.5 * y * (1 + torch.erf(y / 2**0.5))
        x = x + y @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    return x


def normed(x: Tensor, weight: float | Tensor = 1.0, bias: float | Tensor = 0.0, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def image_tokens(model: Any, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.stack(list(model.get_image_features(pixels).pooler_output))


def pixels(side: int = 56, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(9))


def picture(side: tuple[int, int] = (60, 44)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (*side[::-1], 3), dtype=np.uint8))


# --- the model


def test_image_tokens_are_what_the_formula_gives(small):
    model = small[0]
    w = projection()
    patches = normed(eva_features(eva(), pixels())[:, 1:])
    joined = torch.cat([patches[:, k::4] for k in range(4)], -1)  # patches 4t, 4t+1, 4t+2, 4t+3 side by side
    expected = joined @ w["llama_proj.weight"].T + w["llama_proj.bias"]
    torch.testing.assert_close(image_tokens(model, pixels()), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.5


def test_ln_vision_has_the_epsilon_of_torch():
    config = MiniGPT4Config(
        vision_config={"hidden_size": 6, "image_size": 56, "num_attention_heads": 1},
        text_config=LlamaConfig(vocab_size=9, hidden_size=24, num_attention_heads=1),
    )
    projector = PatchProjector(config)
    with torch.no_grad():
        projector.linear.weight.copy_(torch.eye(24))
        projector.linear.bias.zero_()
    features = torch.randn(1, 16, 6, generator=torch.Generator().manual_seed(0)) * 3e-3  # variance near epsilon
    out = projector(features).detach()
    torch.testing.assert_close(out, normed(features).reshape(1, 4, 24), rtol=1e-5, atol=1e-5)
    assert (out - normed(features, eps=1e-6).reshape(1, 4, 24)).abs().max() > 0.1
    half = projector.half()(features.half()).float().detach()  # fp16 holds no 3e-3 squared: torch computes in float32
    torch.testing.assert_close(half, out, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("side", "grid"), [(56, (4, 1)), (112, (8, 2))])
def test_each_token_sees_its_four_patches_of_one_row(build, side: int, grid: tuple[int, int]):
    """With the blocks switched off nothing mixes patches, so a changed pixel moves exactly the tokens that cover it."""
    vit = {k: v * 0 if ".attn.proj" in k or ".fc2" in k else v for k, v in eva(side // PATCH).items()}
    model, _, done = build(vit, projection(), image_size=side)
    assert done.config.grid == grid
    assert done.config.image_seq_length == grid[0] * grid[1]
    plain = torch.zeros(1, 3, side, side)
    before = image_tokens(model, plain)[0]
    across = side // PATCH
    for patch in range(across**2):
        y, x = patch // across * PATCH, patch % across * PATCH
        changed = plain.clone()
        changed[:, :, y : y + PATCH, x : x + PATCH] = 1.0
        moved = (image_tokens(model, changed)[0] - before).abs().amax(-1) > 1e-4
        assert moved.nonzero().flatten().tolist() == [patch // 4]


def test_published_token_map(tokenizer):
    """At 224 px the 64 tokens lie 16 x 4, each 56 px wide and 14 px high."""
    config = MiniGPT4Config(text_config=LlamaConfig())
    assert (config.grid, config.image_seq_length) == ((16, 4), 64)
    frames = measure_frames(make_processor(tokenizer).image_processor, (224, 224))
    (tile,) = equal_cells(frames, config.image_seq_length, (1, 4))
    assert tile.tokens.shape == (16, 4)
    for token, corner in {0: (0, 0), 3: (168, 0), 63: (168, 210)}.items():
        row, column = divmod(token, 4)
        assert tile.tokens[row, column] == token
        assert tile.box(row, column) == pytest.approx((*corner, 56, 14), abs=0.5)
    larger = MiniGPT4Config(text_config=LlamaConfig(), vision_config={"image_size": 448})
    assert (larger.grid, larger.image_seq_length) == ((32, 8), 256)


def test_rows_that_four_does_not_divide_are_refused():
    with pytest.raises(ValueError, match="5 patches in a row cannot be joined by 4"):
        MiniGPT4Config(text_config=LlamaConfig(), vision_config={"image_size": 70})


def test_saving_and_loading_is_exact(small, tmp_path: Path):
    model, processor, _ = small
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is MiniGPT4ForConditionalGeneration
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    again = AutoProcessor.from_pretrained(tmp_path)
    assert type(again) is MiniGPT4Processor
    text = LLAMA_2.shown.format(prompt="The image shows a")
    first, second = (p(text=[text], images=[picture()], return_tensors="pt") for p in (processor, again))
    assert sorted(first) == ["attention_mask", "input_ids", "pixel_values"]
    assert all(torch.equal(first[name], second[name]) for name in first)
    with torch.no_grad():
        assert torch.equal(model(**first).logits, loaded(**second).logits)
    made = model.generate(**first, max_new_tokens=3, do_sample=False)
    assert torch.equal(made, loaded.generate(**second, max_new_tokens=3, do_sample=False))


def test_registering_twice_changes_nothing():
    register()
    register()
    assert type(AutoConfig.for_model("minigpt4")) is MiniGPT4Config


def test_the_decoder_is_found_and_gets_the_image(small):
    model, processor, _ = small
    structure = find_structure(model)
    assert [ffn.name for ffn in structure.ffns] == [f"model.language_model.layers.{i}.mlp.down_proj" for i in range(2)]
    assert structure.ffns[0].sites == ("neuron", "act", "pre")
    text = LLAMA_2.shown.format(prompt="bear")
    batch = processor(text=[text] * 2, images=[picture(), picture((30, 90))], return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits[:, -1]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


# --- pictures and prompts


def test_pixels_are_the_resized_picture_without_a_crop(tokenizer):
    image = picture((90, 40))
    made = make_processor(tokenizer)(images=[image], return_tensors="pt")["pixel_values"][0]
    resized = torch.tensor(np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC))).permute(2, 0, 1) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    torch.testing.assert_close(made, ((resized - mean) / std).float(), rtol=1e-5, atol=1e-5)


def test_prompt_ids_are_those_of_the_pieces(tokenizer):
    processor = make_processor(tokenizer)

    def piece(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    def ids(template: str) -> list[int]:
        text = template.format(image=processor.image_token, prompt="The image shows a")
        return processor(text=text, images=picture())["input_ids"][0]

    after = piece("</Img> The image shows a [/INST] ")
    assert ids(LLAMA_2.shown) == [1, *piece("[INST] <Img>"), *[0] * 64, *after]
    assert ids(f"{SYSTEM}<s>{LLAMA_2.shown}") == [1, *piece(SYSTEM), 1, *piece("[INST] <Img>"), *[0] * 64, *after]
    assert tokenizer.decode(after[:1]).startswith(" ")  # every piece has the leading space
    whole = piece("[INST] <Img></Img> The image shows a [/INST] ")
    assert [*piece("[INST] <Img>"), *after] != whole


def test_a_tokenizer_that_puts_the_space_before_the_first_word_only_gives_the_same_ids(tokenizer):
    """The newer form of Llama's tokenizer: text after a `<s>` in the middle has to get the space as well."""
    newer = spaced_anew(tokenizer)
    text = f"{SYSTEM}<s>{LLAMA_2.shown}".format(prompt="bear")
    assert newer(text)["input_ids"] != tokenizer(text)["input_ids"]
    old, new = (make_processor(t)(text=text, images=picture())["input_ids"] for t in (tokenizer, newer))
    assert old == new


PICTURE = {"type": "image"}


def turn(role: str, *said: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": one} if isinstance(one, str) else one for one in said]}


@pytest.mark.parametrize(
    ("conversation", "asked", "answered", "told"),
    [
        (LLAMA_2, "[INST] <Img><ImageHere></Img> Why? [/INST] ", "Yes", f"{SYSTEM}<s>[INST] "),
        (V2, "[INST] <Img><ImageHere></Img> Why? [/INST]", " Yes", f"{SYSTEM}<s>[INST] "),
        (VICUNA, "###Human: <Img><ImageHere></Img> Why? ###Assistant: ", "Yes", f"{SYSTEM}###Human: "),
    ],
)
def test_each_version_is_asked_as_it_was_trained(tokenizer, conversation, asked: str, answered: str, told: str):
    processor = make_processor(tokenizer, conversation=conversation)

    def text(*turns: dict[str, Any]) -> str:
        return processor.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)

    question = turn("user", PICTURE, "Why?")
    assert conversation.shown.format(prompt="Why?") == text(question) == asked
    assert text(question, turn("assistant", "Yes")) == asked + answered
    assert text(turn("system", SYSTEM), question).startswith(f"{told}<Img><ImageHere></Img> Why?")
    assert text(turn("user", PICTURE, PICTURE, "Why?")).count("<Img><ImageHere></Img>") == 2
    assert text({"role": "user", "content": "Why?"}) == asked.replace("<Img><ImageHere></Img> ", "")
    again = text(question, turn("assistant", "Yes"), turn("user", "How?"))
    start = told.removeprefix(SYSTEM)
    assert again.removeprefix(asked + answered).startswith(f"{start}How?")


def test_rows_of_different_length_are_padded_and_masked(small):
    model, processor, _ = small
    texts = [LLAMA_2.shown.format(prompt=p) for p in ("bear", "The image shows a")]
    images = [picture(), picture((80, 30))]
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True, padding_side="left")
    pad = processor.tokenizer.pad_token_id
    assert pad == processor.tokenizer.eos_token_id
    assert pad != processor.image_token_id
    assert (batch["input_ids"] == 0).sum(1).tolist() == [4, 4]
    with torch.no_grad():
        together = model(**batch).logits[:, -1]
        for row in range(2):
            single = processor(text=[texts[row]], images=[images[row]], return_tensors="pt")
            length = single["input_ids"].shape[1]
            assert batch["attention_mask"][row].sum() == length
            assert torch.equal(batch["input_ids"][row, -length:], single["input_ids"][0])
            torch.testing.assert_close(model(**single).logits[0, -1], together[row], rtol=1e-4, atol=1e-4)


def test_what_would_mix_up_images_and_text_is_refused(tokenizer):
    processor = make_processor(tokenizer)
    one = processor.image_token
    with pytest.raises(ValueError, match="holds <unk>, which stands for images"):
        processor(text=f"{one} a <unk> bear", images=picture())
    with pytest.raises(ValueError, match="should be the same as the number of images"):
        processor(text=f"{one} and {one}", images=picture())
    with pytest.raises(ValueError, match="no images were passed"):
        processor(text=one)
    with pytest.raises(ValueError, match="truncation"):
        processor(text=one, images=picture(), truncation=True, max_length=5)
    assert processor(text="bear")["input_ids"][0][0] == 1
    marked = processor(text=f"{one}bear", images=picture(), return_mm_token_type_ids=True)["mm_token_type_ids"][0]
    assert sum(marked) == 64
    assert marked[1:65] == [1] * 64


# --- the converter


def test_every_tensor_is_used_or_ignored_with_a_reason(small):
    report = small[2].report
    given = {f"vit: {name}" for name in eva()} | {f"checkpoint: {name}" for name in projection()}
    assert {*report.used} | {*report.ignored} == given
    assert not {*report.used} & {*report.ignored}
    later = {name for name in report.ignored if name.startswith("vit: blocks.")}
    assert later == {name for name in given if name.startswith(f"vit: blocks.{DEPTH}.")}
    assert {report.ignored[name] for name in later} == {f"the model runs {DEPTH} blocks"}
    assert {*report.ignored} - later == {f"vit: {a}.{b}" for a in ("norm", "head") for b in ("weight", "bias")}
    assert (report.kind, report.layout, report.lora) == ("MiniGPT-4 (Llama-2)", "4 = 4 x 1", 0)
    assert report.ln_vision == "weight 1, bias 0: the files have none"


def test_ln_vision_of_the_file_is_used(build):
    g = torch.Generator().manual_seed(4)
    norm = {"ln_vision.weight": rows(g, WIDTH) + 1, "ln_vision.bias": rows(g, WIDTH)}
    model, _, done = build(eva(), {**projection(), **norm}, image_size=56)
    assert done.report.ln_vision == "the files"
    patches = normed(eva_features(eva(), pixels())[:, 1:], norm["ln_vision.weight"], norm["ln_vision.bias"])
    w = projection()
    expected = patches.reshape(2, 4, -1) @ w["llama_proj.weight"].T + w["llama_proj.bias"]
    torch.testing.assert_close(image_tokens(model, pixels()), expected, rtol=1e-4, atol=1e-4)


def test_a_tower_that_was_trained_along_replaces_the_file(build):
    other = eva(blocks=DEPTH, seed=8)
    trained = {f"visual_encoder.{k}": v for k, v in other.items() if not k.startswith(("norm", "head"))}
    model, _, done = build(eva(), {**projection(), **trained}, image_size=56)
    plain, _, _ = build(other, projection(), image_size=56)
    assert torch.equal(image_tokens(model, pixels()), image_tokens(plain, pixels()))
    assert done.report.ignored["vit: cls_token"] == "checkpoint has its own"


def test_positions_are_interpolated_to_the_picture(build):
    vit = eva(side=8)
    model, _, done = build(vit, projection(), image_size=56)
    assert done.config.grid == (4, 1)
    resized = resize_positions(vit["pos_embed"], 4)
    assert torch.equal(resized[:, 0], vit["pos_embed"][:, 0])
    # Halving by bicubic convolution (a = -0.75) takes the same four weights everywhere but at the border.
    taps = torch.tensor([-0.09375, 0.59375, 0.59375, -0.09375])
    inner = vit["pos_embed"][0, 1:].reshape(8, 8, WIDTH)[1:5, 1:5]
    expected = torch.einsum("y,x,yxc->c", taps, taps, inner)
    torch.testing.assert_close(resized[0, 1:].reshape(4, 4, WIDTH)[1, 1], expected, rtol=1e-4, atol=1e-5)
    w, features = projection(), normed(eva_features({**vit, "pos_embed": resized}, pixels())[:, 1:])
    tokens = features.reshape(2, 4, -1) @ w["llama_proj.weight"].T + w["llama_proj.bias"]
    torch.testing.assert_close(image_tokens(model, pixels()), tokens, rtol=1e-4, atol=1e-4)
    same = eva()["pos_embed"]
    assert resize_positions(same, 4) is same


@pytest.mark.parametrize("form", ["", ".default"])
def test_lora_is_merged(decoder: LlamaForCausalLM, form: str):
    """MiniGPT-v2: alpha 16 over the rank; 448 px unless told otherwise."""
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    extra = lora(rank=3, form=form)
    done = convert(eva(), {**projection(), **extra}, before, decoder.config, depth=DEPTH)
    assert (done.report.kind, done.report.lora, done.report.layout) == ("MiniGPT-v2", 4, "256 = 32 x 8")
    stem = "llama_model.base_model.model.model.layers"
    for name, value in before.items():
        got = done.state[name if name == "lm_head.weight" else name.replace("model.", "model.language_model.", 1)]
        if name.endswith(("q_proj.weight", "v_proj.weight")):
            _, _, layer, _, kind, _ = name.split(".")
            a, b = (extra[f"{stem}.{layer}.self_attn.{kind}.lora_{x}{form}.weight"].double() for x in "AB")
            naive = value.double().clone()
            for i in range(HIDDEN):
                for j in range(HIDDEN):
                    naive[i, j] += 16 / 3 * sum(b[i, r] * a[r, j] for r in range(3))
            torch.testing.assert_close(got.double(), naive, rtol=1e-5, atol=1e-5)
            assert (got - value).abs().max() > 0.01
        else:
            assert torch.equal(got, value)
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())


def test_the_vicuna_version_keeps_its_qformer(build):
    file, checkpoint = blip(), projection(inner=128)
    model, processor, done = build(eva(), checkpoint, qformer=file, image_size=56, qformer_depth=3)
    assert done.config.grid is None
    assert (done.report.kind, done.report.layout) == ("MiniGPT-4 with Q-Former", "5 queries without a grid")
    assert done.report.ln_vision == "the files"
    assert done.report.ignored["qformer: t5_proj.weight"] == "belongs to another language model or task"
    assert done.report.ignored["qformer: Qformer.bert.encoder.layer.1.output.dense.bias"].startswith(
        "the Q-Former's text"
    )
    seen = normed(eva_features(eva(), pixels()), file["ln_vision.weight"], file["ln_vision.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ file[f"{name}.weight"].T + file[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        return normed(x, file[f"{name}.weight"], file[f"{name}.bias"], 1e-12)

    def attend(x: Tensor, source: Tensor, name: str) -> Tensor:
        q, k, v = (linear(s, f"{name}.self.{p}") for s, p in ((x, "query"), (source, "key"), (source, "value")))
        heads = [
            (q[..., c] @ k[..., c].transpose(1, 2) / 8).softmax(-1) @ v[..., c] for c in (slice(0, 64), slice(64, 128))
        ]
        return norm(linear(torch.cat(heads, -1), f"{name}.output.dense") + x, f"{name}.output.LayerNorm")

    x = norm(file["query_tokens"], "Qformer.bert.embeddings.LayerNorm").expand(2, -1, -1)
    for i in range(3):
        stem = f"Qformer.bert.encoder.layer.{i}"
        x = attend(x, x, f"{stem}.attention")
        if i % 2 == 0:
            x = attend(x, seen, f"{stem}.crossattention")
        y = functional.gelu(linear(x, f"{stem}.intermediate_query.dense"))
        x = norm(linear(y, f"{stem}.output_query.dense") + x, f"{stem}.output_query.LayerNorm")
    expected = x @ checkpoint["llama_proj.weight"].T + checkpoint["llama_proj.bias"]
    torch.testing.assert_close(image_tokens(model, pixels()), expected, rtol=1e-3, atol=1e-3)
    batch = processor(text=[f"<Img>{processor.image_token}</Img> bear"], images=[picture()], return_tensors="pt")
    assert (batch["input_ids"] == 0).sum() == 5
    assert model.generate(**batch, max_new_tokens=2, do_sample=False).shape[1] == batch["input_ids"].shape[1] + 2


#: Of the decoder, as MiniGPT-4's saving code writes them under the transformers that it pins: buffers have no gradient
#: to be frozen. Then under the names of PEFT, of other releases and models, and of the Q-Former.
RECOMPUTED = [
    "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq",
    "llama_model.model.layers.31.self_attn.rotary_emb.inv_freq",
    "llama_model.base_model.model.model.layers.1.self_attn.rotary_emb.inv_freq",
    "llama_model.model.layers.1.self_attn.rotary_emb.cos_cached",
    "llama_model.base_model.model.model.layers.1.self_attn.rotary_emb.sin_cached",
    "llama_model.model.rotary_emb.original_inv_freq",
    "llama_model.transformer.rotary_pos_emb.inv_freq",
    "rotary_emb.inv_freq",
    "Qformer.bert.embeddings.position_ids",
    "visual_encoder.blocks.0.attn.relative_position_index",
    "visual_encoder.embeddings.position_ids",
]


def test_buffers_that_the_model_recomputes_are_ignored(decoder: LlamaForCausalLM):
    more = {name: torch.arange(4.0) for name in RECOMPUTED}
    plain = convert(eva(), projection(), decoder.state_dict(), decoder.config, depth=DEPTH, image_size=56)
    done = convert(eva(), {**projection(), **more}, decoder.state_dict(), decoder.config, depth=DEPTH, image_size=56)
    assert all(torch.equal(value, done.state[name]) for name, value in plain.state.items())
    assert done.report.used == plain.report.used
    new = {name.rpartition(": ")[2] for name in done.report.ignored.keys() - plain.report.ignored.keys()}
    assert new == {name.removeprefix("visual_encoder.") for name in RECOMPUTED}
    assert set(done.report.ignored.values()) - set(plain.report.ignored.values()) == {
        "a buffer that the model computes by itself"
    }


@pytest.mark.parametrize(
    "name",
    [
        "llama_model.model.layers.0.self_attn.rotary_emb.weight",
        "llama_model.model.layers.0.self_attn.inv_freq",
        "llama_model.model.layers.0.self_attn.rotary_emb.inv_freq.weight",
        "llama_model.model.embed_tokens.weight",
        "llama_model.model.layers.0.self_attn.q_proj.SCB",
        "inv_freq_proj",
    ],
)
def test_what_only_looks_like_a_recomputed_buffer_is_refused(decoder: LlamaForCausalLM, name: str):
    with pytest.raises(UnsupportedModel, match=re.escape(name)):
        convert(eva(), {**projection(), name: torch.ones(2)}, decoder.state_dict(), decoder.config, depth=DEPTH)


def test_each_conversion_writes_its_own_template(build, decoder: LlamaForCausalLM, tmp_path: Path):
    made = {
        "[INST] <Img><ImageHere></Img> Why? [/INST] ": build(eva(), projection(), image_size=56),
        "[INST] <Img><ImageHere></Img> Why? [/INST]": build(eva(), {**projection(), **lora()}, image_size=56),
        "###Human: <Img><ImageHere></Img> Why? ###Assistant: ": build(
            eva(), projection(inner=128), qformer=blip(), image_size=56, qformer_depth=3
        ),
    }
    for number, (asked, (_, processor, done)) in enumerate(made.items()):
        assert done.report.template.format(prompt="Why?") == asked
        processor.save_pretrained(tmp_path / str(number))
        again = MiniGPT4Processor.from_pretrained(tmp_path / str(number))
        assert again.apply_chat_template([turn("user", PICTURE, "Why?")], tokenize=False) == asked


def pop(file: str, name: str) -> Callable[[Files], object]:
    return lambda files: files[file].pop(name)


def put(file: str, name: str, value: Tensor) -> Callable[[Files], object]:
    return lambda files: files[file].update({name: value})


DAMAGE: dict[str, tuple[Callable[[Files], object], str]] = {
    "no block": (pop("vit", "blocks.1.attn.v_bias"), r"blocks\.1\.attn\.v_bias is missing from vit"),
    "no class token": (pop("vit", "cls_token"), "cls_token is missing from vit"),
    "block too narrow": (
        put("vit", "blocks.0.mlp.fc2.weight", torch.zeros(WIDTH, MLP - 1)),
        r"blocks\.0\.mlp\.fc2\.weight of vit has shape \(176, 39\), the model needs \(176, 40\)",
    ),
    "stranger in the tower": (
        put("vit", "blocks.0.gamma_1", torch.zeros(WIDTH)),
        r"vit holds 1 tensor\(s\) that have no place in MiniGPT-4: blocks\.0\.gamma_1",
    ),
    "no projection": (pop("checkpoint", "llama_proj.weight"), r"llama_proj\.weight is missing from checkpoint"),
    "no bias": (pop("checkpoint", "llama_proj.bias"), r"llama_proj\.bias is missing"),
    "half a norm": (put("checkpoint", "ln_vision.weight", torch.ones(WIDTH)), r"ln_vision\.bias is missing"),
    "other decoder": (
        put("checkpoint", "llama_proj.weight", torch.zeros(HIDDEN + 1, 4 * WIDTH)),
        r"has shape \(33, 704\), the model needs \(32, 704\)",
    ),
    "a version with Q-Former": (
        put("checkpoint", "llama_proj.weight", torch.zeros(HIDDEN, 128)),
        r"has shape \(32, 128\); the Llama-2 versions have \(32, 704\).*needs BLIP-2's file",
    ),
    "stranger in the checkpoint": (
        put("checkpoint", "llama_model.lm_head.weight", torch.zeros(2, 2)),
        r"checkpoint holds 1 tensor\(s\) .*llama_model\.lm_head\.weight",
    ),
    "half of LoRA": (
        put("checkpoint", next(iter(lora())), torch.zeros(3, HIDDEN)),
        r"LoRA of model\.layers\.0\.self_attn\.q_proj\.weight has only .*lora_A.*A and B are needed",
    ),
    "LoRA of no layer": (
        lambda f: f["checkpoint"].update({k.replace("layers.1", "layers.7"): v for k, v in lora().items()}),
        r"model\.layers\.7\.self_attn\.q_proj\.weight, which the decoder does not have",
    ),
    "tower of another kind": (put("vit", "cls_token", torch.zeros(1, 1, 100)), "100 wide, .* head width 88"),
    "positions not square": (
        put("vit", "pos_embed", torch.zeros(1, 12, WIDTH)),
        "12 entries, which is not 1 \\+ a square",
    ),
    "positions of another width": (put("vit", "pos_embed", torch.zeros(1, 17, 8)), "pos_embed is not 176 wide"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_files_that_do_not_fit_are_refused_with_the_name(decoder: LlamaForCausalLM, case: str):
    damage, reason = DAMAGE[case]
    given: Files = {"vit": eva(), "checkpoint": projection()}
    damage(given)
    with pytest.raises(UnsupportedModel, match=reason):
        convert(given["vit"], given["checkpoint"], decoder.state_dict(), decoder.config, depth=DEPTH, image_size=56)


@pytest.mark.parametrize("size", [0, 60, 42])
def test_a_picture_that_does_not_divide_is_refused(decoder: LlamaForCausalLM, size: int):
    # 0 stands for "not given" nowhere: it is refused like any other size that does not divide.
    with pytest.raises(UnsupportedModel, match=f"image size {size} is not a multiple of four patches"):
        convert(eva(), projection(), decoder.state_dict(), decoder.config, depth=DEPTH, image_size=size)


# --- files


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pickle_with_anything_but_tensors_is_refused_and_not_run(tmp_path: Path):
    trap = tmp_path / "trap"
    for legacy in (False, True):
        torch.save({"model": _Trap(trap)}, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UnsupportedModel, match=r"bad\.pth cannot be read as a file of plain tensors"):
            read_tensors(tmp_path / "bad.pth")
    assert not trap.exists()


def test_files_without_named_tensors_are_refused(tmp_path: Path):
    file = tmp_path / "x.pth"
    with pytest.raises(UnsupportedModel, match="is not a file"):
        read_tensors(file)
    file.write_bytes(b"not a pickle")
    with pytest.raises(UnsupportedModel, match="cannot be read as a file of plain tensors"):
        read_tensors(file)
    for content, reason in (
        (torch.zeros(2), "holds a Tensor, not named tensors"),
        ({}, "holds a dict, not named tensors"),
        ({"model": {"a": 3}}, "holds 'a', a int: only named tensors"),
        ({4: torch.zeros(2)}, "holds 4, a Tensor: only named tensors"),
    ):
        torch.save(content, file)
        with pytest.raises(UnsupportedModel, match=reason):
            read_tensors(file)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, zipped: bool):
    rng = np.random.default_rng(0)
    whole, damaged = tmp_path / "whole.pth", tmp_path / "damaged.pth"
    torch.save({"model": {"a.b": torch.ones(5, 4)}}, whole, _use_new_zipfile_serialization=zipped)
    content, refused = whole.read_bytes(), 0
    for trial in range(200):
        data = bytearray(content)
        for place in rng.integers(0, len(data), 4):
            data[place] = rng.integers(0, 256)
        damaged.write_bytes(data if trial % 4 else data[: rng.integers(0, len(data))])
        try:
            read_tensors(damaged)
        except UnsupportedModel as error:
            refused += 1
            assert str(damaged) in str(error)
            assert "\n" not in str(error)
    assert refused > 50


def test_both_file_formats_are_read(tmp_path: Path):
    state = projection()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": state, "epoch": 1}, tmp_path / "new.pth")
    save_file(state, tmp_path / "safe.safetensors")
    for name in ("old.pth", "new.pth", "safe.safetensors"):
        got = read_tensors(tmp_path / name)
        assert got.keys() == state.keys()
        assert all(torch.equal(got[key], value) for key, value in state.items())


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_files_become_a_directory(files: dict[str, Path], tmp_path: Path, dtype: str):
    out = tmp_path / "deep" / "minigpt4"
    report = convert_files(**files, out=out, depth=DEPTH, image_size=56, dtype=dtype)
    assert [p.name for p in out.parent.iterdir()] == ["minigpt4"]
    assert json.loads((out / "conversion.json").read_text())["used"] == list(report.used)
    model = AutoModelForImageTextToText.from_pretrained(out)
    assert model.dtype == (torch.float32 if dtype == "auto" else torch.bfloat16)
    processor = AutoProcessor.from_pretrained(out)
    text = LLAMA_2.shown.format(prompt="The image shows a")
    batch = processor(text=[text], images=[picture()], return_tensors="pt")
    assert (batch["input_ids"] == model.config.image_token_id).sum() == 4
    assert model.generation_config.pad_token_id == 2
    made = model.generate(**{**batch, "pixel_values": batch["pixel_values"].to(model.dtype)}, max_new_tokens=2)
    assert made.shape[1] == batch["input_ids"].shape[1] + 2


def test_nothing_is_written_over_or_left_behind(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InvalidOption, match="exists and is not empty"):
        convert_files(**files, out=out, depth=DEPTH, image_size=56)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
    with pytest.raises(InvalidOption, match="exists and is not empty"):
        convert_files(**files, out=out / "mine.txt", depth=DEPTH, image_size=56)
    with pytest.raises(InvalidOption, match="dtype 'int8' is not one of auto, float32"):
        convert_files(**files, out=tmp_path / "new", dtype="int8")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MiniGPT4Processor, "save_pretrained", fail)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(InvalidOption, match="No space left"):
        convert_files(**files, out=tmp_path / "new", depth=DEPTH, image_size=56)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_directory_that_is_no_llama_is_refused(files: dict[str, Path], tmp_path: Path):
    def run() -> None:
        convert_files(**files, out=tmp_path / "out", depth=DEPTH, image_size=56)

    weights = files["llama"] / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(UnsupportedModel, match="llama cannot be loaded as a Llama: "):
        run()
    weights.write_bytes(content)
    settings = json.loads((files["llama"] / "config.json").read_text())
    (files["llama"] / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(UnsupportedModel, match="9 missing keys in the weights"):
        run()
    (files["llama"] / "config.json").write_text(json.dumps({**settings, "model_type": "mistral"}))
    with pytest.raises(UnsupportedModel, match="is a 'mistral' model; MiniGPT-4's decoder is a llama"):
        run()
    (files["llama"] / "config.json").write_text(json.dumps(settings))
    (files["llama"] / "tokenizer.json").rename(files["llama"] / "words.json")
    with pytest.raises(UnsupportedModel, match=r"holds no tokenizer: none of tokenizer\.json"):
        run()
    (files["llama"] / "config.json").unlink()
    with pytest.raises(UnsupportedModel, match=r"no config\.json"):
        run()
    assert not (tmp_path / "out").exists()


# --- the verb


def test_the_verb_prints_one_document_or_a_table(files: dict[str, Path], tmp_path: Path):
    given = ["minigpt4", *(part for name, path in files.items() for part in (f"--{name}", str(path)))]
    options = [*given, "--depth", str(DEPTH), "--image-size", "56"]
    result = CliRunner().invoke(verb.app, [*options, "--out", str(tmp_path / "a"), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["folder"] == str(tmp_path / "a")
    assert (document["layout"], document["lora"]) == ("4 = 4 x 1", 0)
    assert document["ignored"]["vit: head.bias"] == "belongs to EVA's own task"
    result = CliRunner().invoke(verb.app, [*options, "--out", str(tmp_path / "b")])
    assert result.exit_code == 0
    assert "4 = 4 x 1" in result.stdout
    assert "belongs to EVA's own task" in result.stdout
    result = CliRunner().invoke(verb.app, [*options, "--out", str(tmp_path / "a")])
    assert isinstance(result.exception, InvalidOption)
    assert CliRunner().invoke(verb.app, ["minigpt4", "--vit", "x"]).exit_code == 2


def test_the_verb_is_known_without_importing_torch():
    code = "import sys; import neuronscope.cli.convert; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
