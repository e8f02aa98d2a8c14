"""The fingerprint: whatever decides a caption is in it, and nothing that does not."""

from __future__ import annotations

import copy
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import neuronscope as ns
from neuronscope.testing import tiny_vlm


@cache
def made() -> ns.VLM:
    return tiny_vlm()


def own() -> ns.VLM:
    """A model of the test's own: a copy, which takes a part of the time of another one."""
    return ns.load((copy.deepcopy(made().model), copy.deepcopy(made().processor)), check=False)


@torch.no_grad()
def zero_column(vlm: ns.VLM) -> None:
    vlm.structure.ffns[2].output.weight[:, 17] = 0


@torch.no_grad()
def exchange_columns(vlm: ns.VLM) -> None:
    weight = vlm.structure.ffns[0].output.weight
    weight[:, [3, 4]] = weight[:, [4, 3]]


def through_data(vlm: ns.VLM) -> None:
    vlm.structure.ffns[1].output.weight.data[5, 5] += 1e-3


def through_numpy(vlm: ns.VLM) -> None:
    vlm.model.lm_head.weight.detach().numpy()[2, 2] *= -1


def post_processor(vlm: ns.VLM) -> None:
    from tokenizers import processors

    core: Any = vlm.tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])


CHANGES = {
    "a value vector": zero_column,
    "two value vectors exchanged": exchange_columns,
    "one value through .data": through_data,
    "a sign through NumPy": through_numpy,
    "the tower": lambda v: torch.nn.init.ones_(next(v.model.model.vision_tower.parameters())),
    "positions": lambda v: v.model.model.language_model.rotary_emb.inv_freq.mul_(1.1),
    "mean of the pixels": lambda v: setattr(v.processor.image_processor, "image_mean", [0.1, 0.9, 0.5]),
    "size of the picture": lambda v: setattr(v.processor.image_processor, "size", {"shortest_edge": 40}),
    "no crop": lambda v: setattr(v.processor.image_processor, "do_center_crop", False),
    "resampling": lambda v: setattr(v.processor.image_processor, "resample", 0),
    "a feature layer": lambda v: setattr(v.model.config, "vision_feature_layer", 0),
    "an epsilon": lambda v: setattr(v.model.config.text_config, "rms_norm_eps", 0.1),
    "another word": lambda v: v.tokenizer.add_tokens(["umbrella"]),
    "no beginning": post_processor,
    "another end": lambda v: setattr(v.model.generation_config, "eos_token_id", [2, 7]),
    "a penalty": lambda v: setattr(v.model.generation_config, "repetition_penalty", 1.8),
    "a least length": lambda v: setattr(v.model.generation_config, "min_length", 30),
    "words that may not come": lambda v: setattr(v.model.generation_config, "suppress_tokens", [9]),
    "a chat template": lambda v: setattr(v.processor, "chat_template", "{{ messages }}"),
    "the tokenizer's template": lambda v: setattr(v.tokenizer, "chat_template", "{{ messages }}!"),
    "how spaces are joined": lambda v: setattr(v.tokenizer, "clean_up_tokenization_spaces", True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_a_caption_is_noticed_at_once(name: str):
    vlm = own()
    before = vlm.fingerprint
    assert vlm.fingerprint == before
    CHANGES[name](vlm)
    assert vlm.fingerprint != before
    assert vlm.identity()["fingerprint"] == vlm.fingerprint


NOTHING = {
    "reading": lambda v: v.caption(np_picture()),
    "padding": lambda v: v.tokenizer(["a", "a dog"], padding=True, truncation=True, max_length=3),
    "sampling, which is never done": lambda v: setattr(v.model.generation_config, "temperature", 0.2),
    "a neutral penalty": lambda v: setattr(v.model.generation_config, "repetition_penalty", 1.0),
    "training mode": lambda v: v.model.train(),
    "gradients": lambda v: v.model.requires_grad_(True),
    "a name": lambda v: setattr(v.model.config, "_name_or_path", "elsewhere"),
}


def np_picture() -> Any:
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", NOTHING)
def test_what_does_not_is_not(name: str):
    vlm = own()
    before = vlm.fingerprint
    NOTHING[name](vlm)
    assert vlm.fingerprint == before


def rewrite(file: str, change: Any) -> Any:
    def of(folder: Path) -> None:
        document = json.loads((folder / file).read_text())
        change(document)
        (folder / file).write_text(json.dumps(document))

    return of


def one_value(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    name = next(key for key in state if key.endswith("layers.3.mlp.down_proj.weight"))
    state[name][7, 31] = 0.5
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def exchange_words(document: dict[str, Any]) -> None:
    words = document["model"]["vocab"]
    words["bear"], words["horse"] = words["horse"], words["bear"]


FILES = {
    "one value": one_value,
    "pixels": rewrite("processor_config.json", lambda d: d["image_processor"].update(image_std=[0.2, 0.2, 0.2])),
    "words": rewrite("tokenizer.json", exchange_words),
    "generation": rewrite("generation_config.json", lambda d: d.update(no_repeat_ngram_size=2)),
    "positions": rewrite("config.json", lambda d: d["text_config"]["rope_parameters"].update(rope_theta=500.0)),
    "template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_checkpoint(name: str, checkpoint: Path, tmp_path: Path):
    plain = ns.load(checkpoint, device="cpu", check=False).fingerprint
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    assert ns.load(folder, device="cpu", check=False).fingerprint == plain == own().fingerprint
    FILES[name](folder)
    assert ns.load(folder, device="cpu", check=False).fingerprint != plain


def test_it_is_read_when_it_is_asked_for_and_not_on_loading(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    monkeypatch.setattr("neuronscope.models.loaded.fingerprint", lambda *_: asked.append(1) or "0" * 16)
    vlm = ns.load(checkpoint, device="cpu")
    assert not asked
    assert vlm.identity() == {"id": str(checkpoint), "fingerprint": "0" * 16}


def test_adapters_that_are_not_heard_are_noticed():
    peft = pytest.importorskip("peft")
    tuners_utils = pytest.importorskip("peft.tuners.tuners_utils")
    vlm = own()
    wrapped = peft.inject_adapter_in_model(
        peft.LoraConfig(target_modules=["down_proj"], init_lora_weights=False), vlm.model
    )
    before = vlm.fingerprint
    for module in wrapped.modules():
        if isinstance(module, tuners_utils.BaseTunerLayer):
            module.enable_adapters(False)
    assert vlm.fingerprint != before


def test_two_vlms_of_one_model_are_one():
    vlm = own()
    other = ns.load((vlm.model, vlm.processor), check=False)
    from neuronscope.edit import Ablate

    with Ablate().edit(vlm, ns.Neurons.of([(1, 3)])):
        assert other.fingerprint == vlm.fingerprint
