"""LLaVA v1: checkpoints in the published layout, and the converted model against the arithmetic written out here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPVisionConfig
from typer.testing import CliRunner

import neuronscope as ns
from neuronscope.cli import convert as verb
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.models.llava_v1 import LlavaV1ForConditionalGeneration
from neuronscope.models.llava_v1.convert import convert, convert_files
from neuronscope.models.llava_v1.processing import MARKED_TOKEN, conversations, make_processor
from published import (
    LLAMA,
    attend,
    drawing,
    greedy,
    layer_norm,
    linear,
    llama_logits,
    llama_tensors,
    llama_tokenizer,
    quick_gelu,
    save_sharded,
    spelled_out,
)

WIDTH, INNER, DEPTH, HEADS, PATCH, SIDE = 24, 40, 3, 2, 14, 56
VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "image_size": SIDE,
    "patch_size": PATCH,
    "layer_norm_eps": 1e-5,
    "hidden_act": "quick_gelu",
}
#: What the published config.json says beside the Llama.
SETTINGS: dict[str, Any] = {
    **LLAMA,
    "model_type": "llava",
    "architectures": ["LlavaLlamaForCausalLM"],
    "mm_hidden_size": WIDTH,
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14",
    "mm_use_im_start_end": False,
    "tune_mm_mlp_adapter": False,
}


def clip(seed: int = 1) -> dict[str, Tensor]:
    """CLIP as it is published: with its text side and buffers."""
    draw = drawing(seed)
    state = {
        "vision_model.embeddings.class_embedding": draw(WIDTH),
        "vision_model.embeddings.patch_embedding.weight": draw(WIDTH, 3, PATCH, PATCH, scale=0.05),
        "vision_model.embeddings.position_embedding.weight": draw((SIDE // PATCH) ** 2 + 1, WIDTH),
        "vision_model.embeddings.position_ids": torch.arange((SIDE // PATCH) ** 2 + 1)[None],
        "text_model.embeddings.position_ids": torch.arange(7)[None],
        "text_model.final_layer_norm.weight": draw(8),
        "logit_scale": draw(1)[0],
        "visual_projection.weight": draw(8, WIDTH),
        "text_projection.weight": draw(8, 8),
    }

    def norm(name: str) -> None:
        state[f"vision_model.{name}.weight"], state[f"vision_model.{name}.bias"] = draw(WIDTH) + 1, draw(WIDTH)

    norm("pre_layrnorm")
    norm("post_layernorm")
    for layer in range(DEPTH):
        stem = f"encoder.layers.{layer}."
        norm(f"{stem}layer_norm1")
        norm(f"{stem}layer_norm2")
        maps = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in ("q", "k", "v", "out")}
        for name, shape in {**maps, "mlp.fc1": (INNER, WIDTH), "mlp.fc2": (WIDTH, INNER)}.items():
            state[f"vision_model.{stem}{name}.weight"] = draw(*shape)
            state[f"vision_model.{stem}{name}.bias"] = draw(shape[0])
    return state


def llava(seed: int = 2) -> dict[str, Tensor]:
    draw, hidden = drawing(seed + 10), LLAMA["hidden_size"]
    projector = {"model.mm_projector.weight": draw(hidden, WIDTH), "model.mm_projector.bias": draw(hidden)}
    return {**llama_tensors(seed), **projector}


def tower_features(state: Mapping[str, Tensor], pixels: Tensor, layers: int) -> Tensor:
    """CLIP's residual stream after some layers, CLS first: pre-norm blocks with a quick GELU."""
    v = {name.removeprefix("vision_model."): value for name, value in state.items()}
    weight = v["embeddings.patch_embedding.weight"]
    patches = []
    for row in range(SIDE // PATCH):
        for column in range(SIDE // PATCH):
            cut = pixels[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            patches.append((weight * cut).sum((1, 2, 3)))
    x = torch.stack([v["embeddings.class_embedding"], *patches]) + v["embeddings.position_embedding.weight"]
    x = layer_norm(x, v, "pre_layrnorm", 1e-5)
    for layer in range(layers):
        stem = f"encoder.layers.{layer}."
        y = layer_norm(x, v, f"{stem}layer_norm1", 1e-5)
        q, k, w = (linear(y, v, f"{stem}self_attn.{name}_proj") for name in "qkv")
        x = x + linear(attend(q, k, w, HEADS), v, f"{stem}self_attn.out_proj")
        y = layer_norm(x, v, f"{stem}layer_norm2", 1e-5)
        x = x + linear(quick_gelu(linear(y, v, f"{stem}mlp.fc1")), v, f"{stem}mlp.fc2")
    return x


def image_tokens(state: Mapping[str, Tensor], tower: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """The last layer but one, without CLS, through the one linear map."""
    return linear(tower_features(tower, pixels, DEPTH - 1)[1:], state, "model.mm_projector")


def picture(seed: int, size: tuple[int, int] = (70, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The published files, shrunken: shards of pickles, and CLIP with both of its sides."""
    place = tmp_path_factory.mktemp("llava")
    checkpoint = save_sharded(llava(), SETTINGS, place / "llava")
    vit = place / "clip"
    vit.mkdir()
    settings = {"model_type": "clip", "vision_config": {k: v for k, v in VISION.items() if k != "model_type"}}
    (vit / "config.json").write_text(json.dumps(settings))
    torch.save(clip(), vit / "pytorch_model.bin")
    return {"checkpoint": checkpoint, "vit": vit}


@pytest.fixture(scope="module")
def converted(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "llava-v1"
    convert_files(**files, out=out)
    return out


@pytest.fixture(scope="module")
def loaded(converted: Path) -> tuple[Any, Any]:
    return AutoModelForImageTextToText.from_pretrained(converted).eval(), AutoProcessor.from_pretrained(converted)


@pytest.mark.parametrize("seed", range(6))
def test_embeddings_logits_and_greedy_tokens_are_the_originals(loaded, seed: int):
    model, processor = loaded
    assert type(model) is LlavaV1ForConditionalGeneration
    text = conversations()["llama-2"].shown.format(prompt="The image shows a")
    batch = processor(text=[text], images=[picture(seed)], return_tensors="pt")
    ids = batch["input_ids"][0].tolist()
    tokens = image_tokens(llava(), clip(), batch["pixel_values"][0])
    assert ids.count(0) == len(tokens) == (SIDE // PATCH) ** 2
    with torch.no_grad():
        made = torch.stack(list(model.get_image_features(batch["pixel_values"]).pooler_output))[0]
        logits = model(**batch).logits[0]
    torch.testing.assert_close(made, tokens, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, llama_logits(llava(), *spelled_out(llava(), ids, tokens)), rtol=1e-4, atol=1e-4)
    assert logits.std() > 0.5
    written = model.generate(**batch, max_new_tokens=8, do_sample=False)[0, len(ids) :].tolist()
    assert written == greedy(llava(), ids, tokens, 8)[: len(written)]
    assert len(written) == 8 or written[-1] == 2


def test_the_published_shapes_give_256_tokens():
    processor = make_processor(llama_tokenizer())
    batch = processor(text="<image>\nbear", images=picture(0, (500, 300)), return_tensors="pt")
    assert int((batch["input_ids"] == 0).sum()) == 256
    assert batch["pixel_values"].shape == (1, 3, 224, 224)


def test_prompts_are_tokenised_in_pieces_as_the_original_does(loaded):
    _, processor = loaded
    words = processor.tokenizer

    def piece(text: str) -> list[int]:
        return words(text, add_special_tokens=False)["input_ids"]

    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}]
    text = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    before, after = text.split("<image>")
    assert before.startswith("[INST] <<SYS>>\nYou are a helpful language and vision assistant.")
    assert (before[-11:], after) == ("\n<</SYS>>\n\n", "\nWhy? [/INST]")
    ids = processor(text=text, images=picture(0))["input_ids"][0]
    assert ids == [1, *piece(before), *[0] * 16, *piece(after)]


@pytest.mark.parametrize(
    ("name", "asked", "whole"),
    [
        ("llama-2", "<image>\nWhy? [/INST]", "{first}<image>\nWhy? [/INST] So. </s><s>[INST] How? [/INST]"),
        ("vicuna-v1", "USER: <image>\nWhy? ASSISTANT:", "{first}<image>\nWhy? ASSISTANT: So.</s>USER: How? ASSISTANT:"),
        (
            "vicuna-v0",
            "###Human: <image>\nWhy?###Assistant:",
            "{first}<image>\nWhy?###Assistant: So.###Human: How?###Assistant:",
        ),
    ],
)
def test_how_the_versions_were_asked(name: str, asked: str, whole: str):
    conversation = conversations()[name]
    processor = make_processor(llama_tokenizer(), conversation=conversation)
    question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}
    turns = [question, {"role": "assistant", "content": "So."}, {"role": "user", "content": "How?"}]
    assert conversation.shown.format(prompt="Why?").endswith(asked)
    text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == whole.format(first=conversation.first)
    told = processor.apply_chat_template([{"role": "system", "content": "Be kind."}, question], tokenize=False)
    assert "Be kind." in told
    assert "assistant." not in told


def test_the_checkpoint_loads_and_is_proved(converted: Path):
    vlm = ns.load(converted)
    assert vlm.family.title == "LLaVA v1"
    (tile,) = vlm.prepare([picture(0)]).images[0].tiles
    assert tile.tokens.shape == (4, 4)
    assert vlm.caption(picture(0)).startswith("The image shows a")


def test_every_tensor_is_used_or_ignored_with_a_reason(converted: Path):
    report = json.loads((converted / "conversion.json").read_text())
    given = {f"vit: {name}" for name in clip()} | {f"checkpoint: {name}" for name in llava()}
    assert {*report["used"]} | {*report["ignored"]} == given
    assert not {*report["used"]} & {*report["ignored"]}
    assert {name.rpartition(".")[2] for name in report["ignored"] if "checkpoint" in name} == {"inv_freq"}
    assert (report["layout"], report["tower"]) == ("16 = 4 x 4", "the CLIP files")


def test_marked_images_and_other_conversations(files: dict[str, Path], tmp_path: Path):
    done = convert(llava(), {**SETTINGS, "mm_use_im_start_end": True}, clip(), CLIPVisionConfig(**VISION))
    assert done.report.template.count(MARKED_TOKEN) == 1
    convert_files(**files, out=tmp_path / "v1", conversation="vicuna-v1", dtype="bfloat16")
    assert AutoProcessor.from_pretrained(tmp_path / "v1").chat_template == conversations()["vicuna-v1"].jinja()
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "v1").dtype == torch.bfloat16
    with pytest.raises(InvalidOption, match="conversation='v7'"):
        convert_files(**files, out=tmp_path / "v7", conversation="v7")


@pytest.mark.parametrize("prefix", ["model.vision_tower.vision_tower.", "model.vision_tower.0.", "model.vision_tower."])
def test_a_tower_that_was_saved_along_takes_the_others_place(prefix: str):
    other = {name: value for name, value in clip(seed=7).items() if name.startswith("vision_model.")}
    own = {f"{prefix}{name}": value for name, value in other.items()}
    done = convert({**llava(), **own}, SETTINGS, clip(), CLIPVisionConfig(**VISION))
    plain = convert(llava(), SETTINGS, other, CLIPVisionConfig(**VISION))
    assert all(torch.equal(value, plain.state[name]) for name, value in done.state.items())
    assert done.report.tower == "the checkpoint"


@pytest.mark.parametrize("prefix", ["model.", "base_model.model.model.", ""])
def test_a_projector_may_be_a_file_of_its_own(files: dict[str, Path], tmp_path: Path, prefix: str):
    state = llava()
    projector = {f"{prefix}mm_projector.{kind}": state.pop(f"model.mm_projector.{kind}") for kind in ("weight", "bias")}
    torch.save(projector, tmp_path / "mm_projector.bin")
    place = save_sharded(state, SETTINGS, tmp_path / "llama", shards=1)
    report = convert_files(place, files["vit"], tmp_path / "out", projector=tmp_path / "mm_projector.bin")
    assert "checkpoint: model.mm_projector.weight" in report.used
    torch.save({"model.embed_tokens.weight": torch.zeros(1)}, tmp_path / "mm_projector.bin")
    with pytest.raises(UnsupportedModel, match=r"holds model\.embed_tokens\.weight, which is no part of a projector"):
        convert_files(place, files["vit"], tmp_path / "other", projector=tmp_path / "mm_projector.bin")


Damage = Callable[[dict[str, Tensor], dict[str, Any]], object]
DAMAGE: dict[str, tuple[Damage, str]] = {
    "1.5": (lambda _, s: s.update(mm_projector_type="mlp2x_gelu"), "projector is 'mlp2x_gelu', not one linear map"),
    "other features": (lambda _, s: s.update(mm_vision_select_feature="cls_patch"), "is 'cls_patch'"),
    "no such layer": (
        lambda _, s: s.update(mm_vision_select_layer=-9),
        "mm_vision_select_layer is -9; the tower has 3",
    ),
    "no width": (lambda _, s: s.pop("hidden_size"), "no whole number hidden_size"),
    "no projector": (lambda t, _: t.pop("model.mm_projector.weight"), r"model\.mm_projector\.weight is missing"),
    "two maps": (
        lambda t, _: t.update({"model.mm_projector.2.weight": torch.zeros(2)}),
        r"no place in LLaVA v1: model\.mm_projector\.2\.weight",
    ),
    "another width": (
        lambda t, _: t.update({"model.mm_projector.weight": torch.zeros(32, 8)}),
        r"has shape \(32, 8\), the model needs \(32, 24\)",
    ),
    "a layer less": (
        lambda t, _: t.pop("model.layers.1.mlp.up_proj.weight"),
        r"model\.layers\.1\.mlp\.up_proj\.weight is missing from checkpoint",
    ),
    "a layer more": (
        lambda t, _: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(48, 32)}),
        r"no place in LLaVA v1: model\.layers\.2\.mlp\.up_proj\.weight",
    ),
    "a stranger": (lambda t, _: t.update({"lora_A": torch.zeros(1)}), "no place in LLaVA v1: lora_A"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_files_that_do_not_fit_are_refused_with_the_name(case: str):
    damage, reason = DAMAGE[case]
    tensors, settings = llava(), dict(SETTINGS)
    damage(tensors, settings)
    with pytest.raises(UnsupportedModel, match=reason):
        convert(tensors, settings, clip(), CLIPVisionConfig(**VISION))


def test_folders_that_do_not_fit_are_refused(files: dict[str, Path], tmp_path: Path):
    def refused(reason: str, **changed: Any) -> None:
        with pytest.raises(UnsupportedModel, match=reason):
            convert_files(**{**files, **changed}, out=tmp_path / "out")

    refused(r"no config\.json", checkpoint=tmp_path)
    refused("is a 'llava' model; LLaVA v1's tower is CLIP", vit=files["checkpoint"])
    refused("clip holds no tokenizer: none of", tokenizer=files["vit"])
    lying = save_sharded(llava(), SETTINGS, tmp_path / "lying")
    index = lying / "pytorch_model.bin.index.json"
    for name in ("../clip/pytorch_model.bin", "/etc/passwd", "config.json", 3):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        refused("among its weight files", checkpoint=lying)
    index.write_text("{}")
    refused("cannot be read as an index", checkpoint=lying)
    index.unlink()
    refused("holds none of", checkpoint=lying)
    assert not (tmp_path / "out").exists()


def test_the_verb(files: dict[str, Path], tmp_path: Path):
    given = ["llava-v1", *(part for name, path in files.items() for part in (f"--{name}", str(path)))]
    result = CliRunner().invoke(verb.app, [*given, "--out", str(tmp_path / "a"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["layout"] == "16 = 4 x 4"
    result = CliRunner().invoke(verb.app, [*given, "--out", str(tmp_path / "b")])
    assert result.exit_code == 0
    assert "[/INST]" in result.stdout


def test_the_original_folder_is_refused_with_what_to_do(files: dict[str, Path], tmp_path: Path):
    with pytest.raises(UnsupportedModel, match="of which `neuronscope convert llava-v1` makes a checkpoint"):
        ns.load(files["checkpoint"])
    (tmp_path / "config.json").write_text(json.dumps({**SETTINGS, "mm_projector_type": "mlp2x_gelu"}))
    with pytest.raises(UnsupportedModel, match=r"take the same model in the form of transformers \(llava-hf/"):
        ns.load(tmp_path)
