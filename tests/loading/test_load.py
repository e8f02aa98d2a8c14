"""What is loaded, what is refused, and what the refusal says."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import neuronscope as ns
from neuronscope.errors import ImageTokenMismatch, InvalidOption, UnsupportedModel
from neuronscope.loading.load import checkpoint_directory
from neuronscope.models import families
from neuronscope.models.families import FAMILIES

WEIGHTS = "model.safetensors"


def config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def down(tensors: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(tensors) if name.endswith("layers.2.mlp.down_proj.weight"))


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors[down(tensors)][3, 5] = torch.nan


def narrow(tensors: dict[str, torch.Tensor]) -> None:
    tensors[down(tensors)] = tensors[down(tensors)][:, :40].contiguous()


def truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1000])


def text_only(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    small = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    for file in folder.iterdir():
        file.unlink()
    LlamaForCausalLM(small).save_pretrained(folder)


def shards(folder: Path, index: str) -> None:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")


def other_type(folder: Path) -> None:
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config(folder, json.dumps({**settings, "model_type": "no_such_vl"}))


TWO_SHARDS = json.dumps({"weight_map": {f"a{n}": f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}})

DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json: it is not a checkpoint directory"),
    "broken config": (lambda f: config(f, '{"model_type": '), r"config\.json cannot be read: .*line 1"),
    "config is a list": (lambda f: config(f, "[1]"), r"config\.json holds no JSON object"),
    "text only": (text_only, "is a 'llama' model without a vision tower"),
    "unknown type": (other_type, "no_such_vl"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), r"has no model\.safetensors$"),
    "pickled weights only": (
        lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"),
        r"has no model\.safetensors \(pytorch_model\.bin found; only safetensors are read, nothing is unpickled\)",
    ),
    "missing shard": (
        lambda f: shards(f, TWO_SHARDS),
        r"lacks 1 of 2 weight files: model-00002-of-00002\.safetensors",
    ),
    "broken index": (lambda f: shards(f, "{"), r"index\.json cannot be read"),
    "index without map": (lambda f: shards(f, "{}"), r"index\.json cannot be read.*weight_map"),
    "truncated weights": (truncate, "cannot be loaded as a vision-language model: .*[Ii]ncomplete"),
    "missing key": (lambda f: weights(f, lambda t: t.pop(down(t))), r"1 missing keys .*layers\.2\.mlp\.down_proj"),
    "another shape": (lambda f: weights(f, narrow), r"layers\.2\.mlp\.down_proj|mismatched"),
    "not finite": (lambda f: weights(f, poison), r"failed the self-check: finite weights: .*layers\.2\.mlp\.down_proj"),
    "no processor": (lambda f: [p.unlink() for p in f.glob("*process*")], "cannot be loaded"),
}


def named(name: Any, *more: Any) -> Callable[[Path], None]:
    """An index beside the weights, which names files as a hostile one may."""
    text = json.dumps({"metadata": {}, "weight_map": dict(enumerate([WEIGHTS, name, *more]))})
    return lambda folder: (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8") and None


def setting(**more: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for name, value in more.items():
            settings.setdefault("text_config", {}).update({name[5:]: value}) if name.startswith("text_") else (
                settings.update({name: value})
            )
        config(folder, json.dumps(settings))

    return change


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/else"}', encoding="utf-8")


OUTSIDE = r"only \*\.safetensors inside the checkpoint's folder are read, nothing is unpickled"
FILES = [
    *(
        "pytorch_model.bin",
        "model.safetensors.bin",
        "model.pt",
        "model.SAFETENSORS",
        "model.ckpt",
        "model.safetensors/../x.bin",
    ),
    *("../other/model.safetensors", "/etc/model.safetensors", "a/../../model.safetensors", "C:\\model.safetensors"),
    *(
        "\\\\host\\model.safetensors",
        "..\\model.safetensors",
        "",
        "model.safetensors\0",
        7,
        None,
        ["model.safetensors"],
    ),
]
DAMAGE |= {f"index names {name!r}": (named(name), OUTSIDE) for name in FILES}
DAMAGE |= {
    f"config names {name!r}": (setting(transformers_weights=name), OUTSIDE) for name in FILES if name is not None
}
DAMAGE |= {
    "named index": (
        lambda f: (
            setting(transformers_weights="own.safetensors.index.json")(f),
            (f / "own.safetensors.index.json").write_text('{"weight_map": {"a": "x.bin"}}'),
        ),
        rf"own.safetensors.index.json names 'x.bin'.*{OUTSIDE}",
    ),
    "index map of another kind": (lambda f: shards(f, '{"weight_map": ["a"]}'), "as an index with a weight_map"),
    "index metadata of another kind": (
        lambda f: shards(f, '{"weight_map": {"a": "model.safetensors"}, "metadata": 1}'),
        "metadata is no JSON object",
    ),
    "adapter": (adapter, r"is an adapter \(adapter_config\.json\).*PEFT"),
    "adapter alone": (lambda f: (adapter(f), (f / "config.json").unlink()), "is an adapter"),
    "kernel": (
        setting(attn_implementation="somebody/kernel"),
        "attn_implementation='somebody/kernel', code from the hub",
    ),
    "kernel of a part": (setting(text_attn_implementation="a/b@v1"), "code from the hub, which is not run"),
    "kernels by part": (setting(_attn_implementation={"text_config": "a/b:c"}), "code from the hub, which is not run"),
    "kernel of experts": (setting(experts_implementation="a/b"), "code from the hub, which is not run"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_refused_with_the_reason(checkpoint: Path, tmp_path: Path, case: str):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    damage, reason = DAMAGE[case]
    damage(folder)
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        ns.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    for source in (file, str(file)):
        with pytest.raises(UnsupportedModel, match=r"weights\.safetensors is a file; a checkpoint directory is needed"):
            ns.load(source)
    with pytest.raises(UnsupportedModel, match="absent does not exist"):
        ns.load(tmp_path / "absent")


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_family_that_needs_a_newer_transformers_is_refused_with_the_release(
    checkpoint: Path, vlm: ns.VLM, monkeypatch: pytest.MonkeyPatch, in_memory: bool
):
    source = (vlm.model, vlm.processor) if in_memory else checkpoint
    monkeypatch.setitem(families._TABLE, "llava", replace(FAMILIES["llava"], since="99.1"))
    needed = rf"LLaVA \(llava\) needs transformers 99\.1 or later; {re.escape(transformers.__version__)} is installed$"
    with pytest.raises(UnsupportedModel, match=needed):
        ns.load(source)
    monkeypatch.setitem(families._TABLE, "llava", replace(FAMILIES["llava"], since="4.1"))
    assert ns.load(source, check=False).family.since == "4.1"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_directory_is_loaded_as_it_was_saved(checkpoint: Path, vlm: ns.VLM, picture, kind: Any):
    loaded = ns.load(kind(checkpoint), device="cpu")
    assert (loaded.id, loaded.fingerprint, loaded.widths) == (str(checkpoint), vlm.fingerprint, (48,) * 4)
    assert loaded.caption(picture) == vlm.caption(picture)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert checkpoint_directory(loaded.id) == checkpoint
    assert checkpoint_directory(vlm.id) is None


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16, torch.float64])
def test_another_dtype_passes_the_self_check(checkpoint: Path, dtype: Any):
    wanted = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    assert ns.load(checkpoint, dtype=dtype, device="cpu").dtype == wanted


def test_a_model_in_memory_stays_as_the_user_left_it(checkpoint: Path):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration.from_pretrained(checkpoint).train()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 2 == 0)
    before = {name: (id(p), p.requires_grad, p.detach().clone()) for name, p in model.named_parameters()}
    forward, modes = model.forward, [m.training for m in model.modules()]
    processor = AutoProcessor.from_pretrained(checkpoint)
    vlm = ns.load((model, processor))
    assert vlm.model is model
    assert vlm.processor is processor
    assert [m.training for m in model.modules()] == modes
    for name, parameter in model.named_parameters():
        number, wanted, value = before[name]
        assert (id(parameter), parameter.requires_grad) == (number, wanted)
        assert torch.equal(parameter, value)
    assert model.forward == forward
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.language_model.modules())
    assert not model._forward_pre_hooks


def test_parts_that_were_set_to_evaluation_alone_stay_so(checkpoint: Path):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model: Any = LlavaForConditionalGeneration.from_pretrained(checkpoint).train()
    model.model.vision_tower.eval()  # a frozen tower in a model under training
    modes = {name: m.training for name, m in model.named_modules()}
    ns.load((model, AutoProcessor.from_pretrained(checkpoint)))
    assert {name: m.training for name, m in model.named_modules()} == modes


def test_a_refused_model_is_left_without_hooks(vlm: ns.VLM, make_vlm):
    model: Any = make_vlm().model
    with torch.no_grad():
        model.lm_head.weight[0, 0] = torch.inf
    with pytest.raises(UnsupportedModel, match=r"failed the self-check: finite weights: lm_head\.weight"):
        ns.load((model, vlm.processor))
    assert ns.load((model, vlm.processor), check=False).model is model
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.language_model.modules())


def test_a_processor_with_another_patch_size_is_refused_with_both_numbers(vlm: ns.VLM, make_vlm):
    with pytest.raises(ImageTokenMismatch, match=r"holds 4 image tokens; .*do not match, tokens: 4, features: 512"):
        ns.load((vlm.model, make_vlm(patch=16).processor))


def test_device_and_device_map_exclude_each_other(checkpoint: Path):
    with pytest.raises(InvalidOption, match="either device or device_map"):
        ns.load(checkpoint, device="cpu", device_map="auto")


def test_loading_leaves_the_logging_of_transformers_as_it_was(checkpoint: Path):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    ns.load(checkpoint, device="cpu")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (before[0], False)
    if before[1]:
        logging.enable_progress_bar()


def test_no_pickle_is_opened_whatever_a_checkpoint_names(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """torch.load would run this one's content where it unpickles freely."""
    from neuronscope.evaluate.captions import metric
    from neuronscope.models.minigpt4.write import convert_files

    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    named("pytorch_model.bin")(folder)
    out = tmp_path / "out"
    tensors = folder / "a.safetensors"
    save_file({"a": torch.zeros(1)}, tensors)
    for read in (
        lambda: ns.load(folder),
        lambda: convert_files(tensors, folder, tensors, out),
        lambda: metric("bertscore", model=str(folder)).score(["a"], ["b"]),
        lambda: metric("clipscore", model=str(folder)).provenance(),
    ):
        with pytest.raises(UnsupportedModel, match=OUTSIDE):
            read()
    assert not out.exists()


def test_links_to_weights_elsewhere_are_read_as_the_hub_cache_has_them(checkpoint: Path, tmp_path: Path):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (folder / WEIGHTS).rename(tmp_path / "blob")
    (folder / WEIGHTS).symlink_to("../blob")
    assert ns.load(folder, device="cpu").layers == 4
