import builtins

import pytest
import torch

import neuronscope as ns
from neuronscope.edit import RowNoise, Swap
from neuronscope.errors import InvalidOption, UnsupportedModel
from zoo import ZOO


@pytest.fixture(autouse=True, scope="module")
def peft():
    return pytest.importorskip("peft")


def load_stock(folder):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder).eval()


def test_stock_peft_on_the_stock_model_gives_the_edited_logits(peft, checkpoint, some, pictures, tmp_path):
    vlm = ns.load(checkpoint, device="cpu")
    inputs = vlm.prepare(pictures)
    edit = Swap(source="bear", target="dog", alpha=4.0).edit(vlm, some)
    edit.save_adapter(tmp_path)
    with torch.no_grad(), edit:
        wanted = vlm.model(**inputs.tensors).logits
    adapted = peft.PeftModel.from_pretrained(load_stock(checkpoint), tmp_path)
    with torch.no_grad():
        plain = load_stock(checkpoint)(**inputs.tensors).logits
        torch.testing.assert_close(adapted(**inputs.tensors).logits, wanted, atol=1e-5, rtol=0)
        assert (plain - wanted).abs().max() > 1e-2
        merged = adapted.merge_and_unload()
        torch.testing.assert_close(merged(**inputs.tensors).logits, wanted, atol=1e-5, rtol=0)


def test_one_rank_for_each_column(peft, own, some, tmp_path):
    from safetensors.torch import load_file

    edit = RowNoise().edit(own, some)
    edit.save_adapter(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) == 6
    for layer, units in some.by_layer().items():
        name = f"base_model.model.{own.structure.ffns[layer].name}"
        a, b = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
        assert a.shape == (len(units), 48)
        assert a.nonzero()[:, 1].tolist() == units
        assert torch.equal(b @ a, torch.zeros(32, 48).index_copy(1, torch.tensor(units), edit.delta(layer)))
    config = peft.LoraConfig.from_pretrained(str(tmp_path))
    assert config.rank_pattern == config.alpha_pattern
    assert sorted(config.rank_pattern.values()) == [1, 1, 2]
    assert not config.use_rslora


def test_routed_experts_are_refused(tmp_path):
    vlm = ns.load(ZOO["qwen3_vl_moe"].build(), check=False)
    layer = next(n for n, ffn in enumerate(vlm.structure.ffns) if ffn.experts)
    edit = RowNoise().edit(vlm, ns.Neurons.of([(layer, 1)]))
    with pytest.raises(UnsupportedModel, match=r"routed experts.*save_model\(\)"):
        edit.save_adapter(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_without_peft(own, some, tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "peft":
            raise ImportError
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidOption, match=r"pip install 'neuronscope\[edit\]'"):
        RowNoise().edit(own, some).save_adapter(tmp_path)
