"""`python -m benchmarks.gpu`: every table on the CPU, with next to nothing in it; nothing is measured here."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

import neuronscope as ns
from benchmarks import gpu
from neuronscope.testing import tiny_vlm

SMALL = ["--draws", "2", "--tokens", "3", "--neurons", "6", "--batch", "4", "--rounds", "1"]


def test_every_table_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def opened(args: Any, dtype: str, attention: str) -> ns.VLM:
        if attention != "sdpa":
            raise ImportError(f"{attention} is not installed")
        vlm = tiny_vlm()
        vlm.model.to(getattr(torch, dtype))
        return vlm

    monkeypatch.setattr(gpu, "opened", opened)
    asked = ["--device", "cpu", "--dtypes", "float32", "bfloat16", "--attention", "sdpa", "flash_attention_2"]
    gc.freeze()  # each table collects garbage, which among all that tests hold takes longer than the table
    try:
        gpu.main(["--model", "tiny", *asked, *SMALL])
    finally:
        gc.unfreeze()
    out = capsys.readouterr().out
    for dtype in ("float32", "bfloat16"):
        assert f"{dtype}, sdpa" in out
        assert f"{dtype}, sdpa: left out" not in out
        assert f"{dtype}, flash_attention_2: left out, ImportError: flash_attention_2 is not installed" in out
    for told in ("from kept states", "over bare", "only what lies above", "decided alone", "largest difference"):
        assert out.count(told) == 2
    assert "nan" not in out


@pytest.mark.parametrize("model", ["demo", "checkpoint"])
def test_a_model_attends_as_it_was_asked(model: str, checkpoint: Any):
    args = gpu.parser().parse_args(["--device", "cpu", "--model", "demo" if model == "demo" else str(checkpoint)])
    vlm = gpu.opened(args, "bfloat16", "eager")
    assert vlm.dtype == torch.bfloat16
    assert vlm.model.config.get_text_config()._attn_implementation == "eager"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_nothing_is_measured(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        gpu.main(SMALL)
    assert "--device cpu" in capsys.readouterr().err
