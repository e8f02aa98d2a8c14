"""mPLUG-Owl2: checkpoints in the published layout, and the converted model against the arithmetic written out here."""

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
from transformers import AutoModelForImageTextToText, AutoProcessor
from typer.testing import CliRunner

import neuronscope as ns
from neuronscope.cli import convert as verb
from neuronscope.errors import InvalidSample, UnsupportedModel
from neuronscope.intervene.capture import activations
from neuronscope.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2ForConditionalGeneration
from neuronscope.models.mplug_owl2.adaptive import Multiway
from neuronscope.models.mplug_owl2.convert import convert, convert_files
from neuronscope.models.mplug_owl2.processing import USER, make_processor
from neuronscope.view.rollout import cross_attention_rollout
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

WIDTH, INNER, DEPTH, HEADS, PATCH, SIDE = 24, 40, 2, 3, 14, 56
QUERIES, LAYERS, HIDDEN = 5, 3, 20
PLACES = (SIDE // PATCH) ** 2 + 1
TWICE = ("k_proj", "v_proj", "input_layernorm", "post_attention_layernorm")
SETTINGS: dict[str, Any] = {
    **LLAMA,
    "model_type": "mplug_owl2",
    "architectures": ["MPLUGOwl2LlamaForCausalLM"],
    "visual_config": {
        "visual_model": {
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": HEADS,
            "image_size": SIDE,
            "patch_size": PATCH,
            "layer_norm_eps": 1e-6,
            "hidden_act": "quick_gelu",
            "model_type": "mplug_owl_vision_model",
            "projection_dim": 768,
        },
        "visual_abstractor": {
            "hidden_size": WIDTH,
            "intermediate_size": HIDDEN,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "num_learnable_queries": QUERIES,
            "encoder_hidden_size": WIDTH,
            "layer_norm_eps": 1e-6,
            "grid_size": SIDE // PATCH,
            "model_type": "mplug_owl_visual_abstract",
        },
    },
}


def owl(seed: int = 1) -> dict[str, Tensor]:
    """The published checkpoint, shrunken: Llama with doubled maps, vision model, abstractor."""
    draw, state = drawing(seed), llama_tensors(seed + 1, twice=TWICE)

    def pair(name: str, *shape: int, near: float = 0.0) -> None:
        state[f"model.{name}.weight"], state[f"model.{name}.bias"] = draw(*shape) + near, draw(shape[0])

    vision, seen = "vision_model.", "visual_abstractor."
    state[f"model.{vision}embeddings.cls_token"] = draw(1, 1, WIDTH)
    state[f"model.{vision}embeddings.position_embedding"] = draw(1, PLACES, WIDTH)
    state[f"model.{vision}embeddings.patch_embed.weight"] = draw(WIDTH, 3, PATCH, PATCH, scale=0.05)
    pair(f"{vision}embeddings.pre_layernorm", WIDTH, near=1)
    pair(f"{vision}post_layernorm", WIDTH, near=1)
    for layer in range(DEPTH):
        stem = f"{vision}encoder.layers.{layer}."
        pair(f"{stem}input_layernorm", WIDTH, near=1)
        pair(f"{stem}post_attention_layernorm", WIDTH, near=1)
        pair(f"{stem}self_attn.query_key_value", 3 * WIDTH, WIDTH)
        pair(f"{stem}self_attn.dense", WIDTH, WIDTH)
        pair(f"{stem}mlp.fc1", INNER, WIDTH)
        pair(f"{stem}mlp.fc2", WIDTH, INNER)
    state[f"model.{seen}query_embeds"] = draw(1, QUERIES, WIDTH, scale=1.0)
    state[f"model.{seen}vit_eos"] = draw(1, 1, LLAMA["hidden_size"], scale=1.0)
    pair(f"{seen}visual_fc", LLAMA["hidden_size"], WIDTH)
    for layer in range(LAYERS):
        stem = f"{seen}encoder.layers.{layer}.crossattention."
        state[f"model.{stem}attention.q_pos_embed"] = draw(QUERIES, WIDTH, scale=1.0)
        state[f"model.{stem}attention.k_pos_embed"] = draw(PLACES, WIDTH, scale=1.0)
        for name in ("query", "key", "value"):
            pair(f"{stem}attention.{name}", WIDTH, WIDTH)
        for name in ("norm1", "normk", "output.norm2"):
            pair(f"{stem}{name}", WIDTH, near=1)
        pair(f"{stem}output.out_proj", WIDTH, WIDTH)
        pair(f"{stem}output.mlp.w1", HIDDEN, WIDTH)
        pair(f"{stem}output.mlp.w3", HIDDEN, WIDTH)
        pair(f"{stem}output.mlp.w2", WIDTH, HIDDEN)
        pair(f"{stem}output.mlp.ffn_ln", HIDDEN, near=1)
    return state


def image_tokens(state: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """Vision model, abstractor and end token, in the order and with the layout of the original."""
    v = {name.removeprefix("model.vision_model."): value for name, value in state.items()}
    weight = v["embeddings.patch_embed.weight"]
    patches = []
    for row in range(SIDE // PATCH):
        for column in range(SIDE // PATCH):
            cut = pixels[:, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            patches.append((weight * cut).sum((1, 2, 3)))
    x = torch.stack([v["embeddings.cls_token"][0, 0], *patches]) + v["embeddings.position_embedding"][0]
    x = layer_norm(x, v, "embeddings.pre_layernorm", 1e-6)
    size = WIDTH // HEADS
    for layer in range(DEPTH):
        stem = f"encoder.layers.{layer}."
        mixed = linear(layer_norm(x, v, f"{stem}input_layernorm", 1e-6), v, f"{stem}self_attn.query_key_value")
        # Head by head its queries, its keys, its values.
        parts = [mixed[:, n * size : (n + 1) * size] for n in range(3 * HEADS)]
        q, k, w = (torch.cat(parts[which::3], -1) for which in range(3))
        x = x + linear(attend(q, k, w, HEADS), v, f"{stem}self_attn.dense")
        y = layer_norm(x, v, f"{stem}post_attention_layernorm", 1e-6)
        x = x + linear(quick_gelu(linear(y, v, f"{stem}mlp.fc1")), v, f"{stem}mlp.fc2")
    seen = layer_norm(x, v, "post_layernorm", 1e-6)
    a = {name.removeprefix("model.visual_abstractor."): value for name, value in state.items()}
    x = a["query_embeds"][0]
    for layer in range(LAYERS):
        stem = f"encoder.layers.{layer}.crossattention."
        x = layer_norm(x, a, f"{stem}norm1", 1e-5)
        both = torch.cat([x, layer_norm(seen, a, f"{stem}normk", 1e-5)])
        where = torch.cat([a[f"{stem}attention.q_pos_embed"], a[f"{stem}attention.k_pos_embed"]])
        q = linear(x + a[f"{stem}attention.q_pos_embed"], a, f"{stem}attention.query")
        k, w = linear(both + where, a, f"{stem}attention.key"), linear(both, a, f"{stem}attention.value")
        x = x + linear(attend(q, k, w, 2), a, f"{stem}output.out_proj")
        y = layer_norm(x, a, f"{stem}output.norm2", 1e-5)
        gate = linear(y, a, f"{stem}output.mlp.w1")
        inner = gate / (1 + torch.exp(-gate)) * linear(y, a, f"{stem}output.mlp.w3")
        x = x + linear(layer_norm(inner, a, f"{stem}output.mlp.ffn_ln", 1e-6), a, f"{stem}output.mlp.w2")
    return torch.cat([linear(x, a, "visual_fc"), a["vit_eos"][0]])


def picture(seed: int, size: tuple[int, int] = (70, 48)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sharded(owl(), SETTINGS, tmp_path_factory.mktemp("owl") / "mplug-owl2-llama2-7b", shards=5)


@pytest.fixture(scope="module")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "owl"
    convert_files(checkpoint, out)
    return out


@pytest.fixture(scope="module")
def loaded(converted: Path) -> tuple[Any, Any]:
    return AutoModelForImageTextToText.from_pretrained(converted).eval(), AutoProcessor.from_pretrained(converted)


@pytest.mark.parametrize("seed", range(6))
def test_embeddings_logits_and_greedy_tokens_are_the_originals(loaded, seed: int):
    model, processor = loaded
    assert type(model) is MPLUGOwl2ForConditionalGeneration
    batch = processor(text=[USER.shown.format(prompt="What?")], images=[picture(seed)], return_tensors="pt")
    ids, state = batch["input_ids"][0].tolist(), owl()
    tokens = image_tokens(state, batch["pixel_values"][0])
    assert ids.count(0) == len(tokens) == QUERIES + 1
    with torch.no_grad():
        made = torch.stack(list(model.get_image_features(batch["pixel_values"]).pooler_output))[0]
        logits = model(**batch).logits[0]
    torch.testing.assert_close(made, tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, llama_logits(state, *spelled_out(state, ids, tokens)), rtol=1e-3, atol=1e-3)
    assert logits.std() > 0.5
    written = model.generate(**batch, max_new_tokens=8, do_sample=False)[0, len(ids) :].tolist()
    assert written == greedy(state, ids, tokens, 8)[: len(written)]
    assert len(written) == 8 or written[-1] == 2


def test_modalities_matter_and_stay_apart(loaded):
    """Text alone never meets the second way; an image token's norms and keys are the second's."""
    model, processor = loaded
    text = processor(text=["a bear"], return_tensors="pt")
    ids = text["input_ids"][0].tolist()
    expected = llama_logits(owl(), *spelled_out(owl(), ids, torch.zeros(0, 32)))
    batch = processor(text=["<|image|>a bear"], images=[picture(0)], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(**text).logits[0], expected, rtol=1e-3, atol=1e-3)
        plain = model(**batch).logits
        apart = model(**batch, modality=torch.zeros_like(batch["input_ids"], dtype=torch.bool)).logits
    assert (plain - apart).abs().max() > 0.1


def test_embeddings_in_the_place_of_ids_give_the_same(loaded):
    model, processor = loaded
    batch = processor(text=["USER: <|image|>a bear ASSISTANT:"], images=[picture(1)], return_tensors="pt")
    embeds = model.get_input_embeddings()(batch["input_ids"])
    with torch.no_grad():
        given = {"pixel_values": batch["pixel_values"], "attention_mask": batch["attention_mask"]}
        assert torch.equal(model(inputs_embeds=embeds, **given).logits, model(**batch).logits)


def test_each_position_takes_the_map_of_its_modality():
    maps = Multiway(lambda: torch.nn.Linear(3, 3))
    x, which = torch.randn(2, 4, 3), torch.tensor([[True, False, False, True], [False] * 4])
    text, image = maps.multiway
    out = maps(x, which)
    for row in range(2):
        for place in range(4):
            expected = (image if which[row, place] else text)(x[row, place])
            torch.testing.assert_close(out[row, place], expected)
    assert torch.equal(maps(x, None), text(x))


def test_the_checkpoint_loads_and_is_proved_and_neurons_are_llamas(converted: Path):
    vlm = ns.load(converted)
    assert (vlm.family.title, vlm.layers, vlm.widths) == ("mPLUG-Owl2", 2, (48, 48))
    assert vlm.structure.ffns[0].sites == ("neuron", "act", "pre")
    tokens = vlm.prepare([picture(0)]).images[0]
    assert (tokens.count, tokens.tiles) == (QUERIES + 1, ())
    assert vlm.caption(picture(0)).startswith("The image shows a")
    assert [ffn.width for ffn in vlm.structure.stack("projector").ffns] == [HIDDEN] * LAYERS


def test_rollout_leaves_the_end_token_out(converted: Path):
    vlm, neurons = ns.load(converted), ns.Neurons.of([(0, 3), (1, 7)])
    values, where = cross_attention_rollout(vlm, picture(2), neurons)
    active = activations(vlm, picture(2), neurons).mean(1)
    assert len(active) == QUERIES + 1
    assert where.count == len(values) == (SIDE // PATCH) ** 2
    assert values.sum() == pytest.approx(float(active[:-1].sum()), rel=1e-4)


def test_published_shapes_and_pixels_in_two_steps():
    config = MPLUGOwl2Config(text_config=dict(LLAMA, model_type="llama"))
    assert (config.image_seq_length, config.vision_config.image_size, config.num_query_tokens) == (65, 448, 64)
    image = picture(3, (90, 40))
    batch = make_processor(llama_tokenizer())(text="<|image|>", images=image, return_tensors="pt")
    assert int((batch["input_ids"] == 0).sum()) == 65
    square = image.resize((90, 90)).resize((448, 448), Image.Resampling.BICUBIC)
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    deviation = np.array([0.26862954, 0.26130258, 0.27577711])
    expected = ((np.asarray(square) / 255 - mean) / deviation).transpose(2, 0, 1)
    np.testing.assert_allclose(batch["pixel_values"][0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_picture_that_would_be_stretched_without_measure_is_refused(converted: Path):
    with pytest.raises(InvalidSample, match="would be stretched to 9000 x 9000"):
        ns.load(converted, check=False).prepare([Image.new("RGB", (9000, 60))])


def test_prompts_are_those_of_the_original(loaded):
    _, processor = loaded
    question = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}
    turns = [question, {"role": "assistant", "content": "So."}, {"role": "user", "content": "How?"}]
    text = processor.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    assert text == USER.shown.format(prompt="Why?") == "USER: <|image|>Why? ASSISTANT:"
    again = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert again == f"{text} So.</s>USER: How? ASSISTANT:"

    def piece(part: str) -> list[int]:
        return processor.tokenizer(part, add_special_tokens=False)["input_ids"]

    ids = processor(text=text, images=picture(0))["input_ids"][0]
    assert ids == [1, *piece("USER: "), *[0] * (QUERIES + 1), *piece("Why? ASSISTANT:")]


def test_every_tensor_is_used_or_ignored_with_a_reason(converted: Path):
    report = json.loads((converted / "conversion.json").read_text())
    assert {*report["used"], *report["ignored"]} == {f"checkpoint: {name}" for name in owl()}
    assert not {*report["used"]} & {*report["ignored"]}
    assert {name.rpartition(".")[2] for name in report["ignored"]} == {"inv_freq"}


Damage = Callable[[dict[str, Tensor], dict[str, Any]], object]


def pop(name: str) -> Damage:
    return lambda tensors, _: tensors.pop(name)


def put(name: str, *shape: int) -> Damage:
    return lambda tensors, _: tensors.update({name: torch.zeros(*shape)})


def say(part: str, **settings: Any) -> Damage:
    return lambda _, given: given["visual_config"][part].update(settings)


DAMAGE: dict[str, tuple[Damage, str]] = {
    "one way only": (
        pop("model.layers.1.self_attn.v_proj.multiway.1.weight"),
        r"v_proj\.multiway\.1\.weight is missing from checkpoint",
    ),
    "a plain Llama": (put("model.layers.0.input_layernorm.weight", 32), r"no place in mPLUG-Owl2: .*input_layernorm"),
    "three ways": (put("model.layers.0.input_layernorm.multiway.2.weight", 32), r"multiway\.2\.weight"),
    "no end token": (pop("model.visual_abstractor.vit_eos"), r"vit_eos is missing"),
    "other queries": (
        put("model.visual_abstractor.query_embeds", 1, 7, WIDTH),
        r"query_embeds of checkpoint has shape \(1, 7, 24\), the model needs \(1, 5, 24\)",
    ),
    "no places": (
        pop("model.visual_abstractor.encoder.layers.0.crossattention.attention.k_pos_embed"),
        r"k_pos_embed is missing",
    ),
    "another picture": (
        say("visual_model", image_size=70),
        r"position_embedding of checkpoint has shape \(1, 17, 24\)",
    ),
    "another width": (say("visual_abstractor", hidden_size=32), "tower and abstractor differ in width"),
    "heads that do not divide": (say("visual_model", num_attention_heads=5), "no multiple of 5 heads"),
    "words for numbers": (say("visual_model", patch_size="14"), "no visual_model with a patch_size"),
    "2.1": (say("visual_model", use_cls_token=False), "has use_cls_token=False: a later version"),
    "a stranger": (put("model.visual_abstractor.gate", 1), r"no place in mPLUG-Owl2: model\.visual_abstractor\.gate"),
    "no list": (lambda _, given: given.update(visual_config=[]), r"hidden_size|is missing|shape"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_files_that_do_not_fit_are_refused_with_the_name(case: str):
    damage, reason = DAMAGE[case]
    tensors, settings = owl(), json.loads(json.dumps(SETTINGS))
    damage(tensors, settings)
    with pytest.raises(UnsupportedModel, match=reason):
        convert(tensors, settings)


def test_the_original_folder_is_refused_with_what_to_do(checkpoint: Path):
    with pytest.raises(UnsupportedModel, match="of which `neuronscope convert mplug-owl2` makes a checkpoint"):
        ns.load(checkpoint)


def test_the_verb(checkpoint: Path, tmp_path: Path):
    given = ["mplug-owl2", "--checkpoint", str(checkpoint)]
    result = CliRunner().invoke(verb.app, [*given, "--out", str(tmp_path / "a"), "--json", "--dtype", "float16"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["template"] == "USER: <|image|>{prompt} ASSISTANT:"
    assert AutoModelForImageTextToText.from_pretrained(tmp_path / "a").dtype == torch.float16
    result = CliRunner().invoke(verb.app, [*given, "--out", str(tmp_path / "b")])
    assert result.exit_code == 0
    assert "5 queries and an end token" in result.stdout
