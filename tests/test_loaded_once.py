"""Models that tests share by name are the ones in the files, as they were read."""

import shutil

import pytest
import torch

import neuronscope as ns


def test_an_unchanged_model_is_read_once(checkpoint):
    first, second = ns.load(checkpoint), ns.load(checkpoint)
    assert first is not second
    assert first.model is second.model


@pytest.mark.parametrize("change", ["weight", "config", "hook", "forward", "training", "gradient", "processor"])
def test_a_changed_model_is_read_anew(checkpoint, change):
    vlm = ns.load(checkpoint)
    layer = vlm.structure.ffns[0].block
    if change == "weight":
        with torch.no_grad():
            next(layer.parameters()).add_(1)
    elif change == "config":
        vlm.model.config.text_config.rms_norm_eps = 0.5
    elif change == "hook":
        layer.register_forward_hook(lambda *_: None)
    elif change == "forward":
        layer.forward = layer.forward
    elif change == "training":
        layer.train()
    elif change == "gradient":
        next(layer.parameters()).requires_grad_(True)
    else:
        vlm.processor.image_processor.do_normalize = False
    again = ns.load(checkpoint)
    assert again.model is not vlm.model
    assert ns.load(checkpoint).model is again.model


def test_changed_files_are_read(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    vlm = ns.load(folder)
    (folder / "generation_config.json").write_text("{}", encoding="utf-8")
    assert ns.load(folder).model is not vlm.model


def test_a_paused_one_reads(checkpoint, read_anew):
    assert ns.load(checkpoint).model is not ns.load(checkpoint).model
