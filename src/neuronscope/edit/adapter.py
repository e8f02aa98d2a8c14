"""An edit as a LoRA adapter that stock PEFT loads into the stock model.

    W_out + B A      B = new - old of the edited columns, [hidden, r];   A = one-hot rows, A[j, i_j] = 1, [r, width]

so that B A changes exactly the edited columns: one rank for each of them. The number differs from layer to layer
(`rank_pattern`), and alpha is the rank everywhere (`alpha_pattern`), so that PEFT's scaling alpha / r is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import InvalidOption, UnsupportedModel
from ..files import replacing_folder
from ..loading import VLM
from ..types import Neurons
from .columns import transposed

#: The files that are written; the first stands for both.
FILES = ("adapter_config.json", "adapter_model.safetensors")
INSTALL = "pip install 'neuronscope[edit]'"


def write_adapter(folder: str | Path, vlm: VLM, deltas: Mapping[int, Tensor], neurons: Neurons) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`; `deltas` are new - old columns of each layer.

    Raises InvalidOption without PEFT or for a folder that cannot be written, and UnsupportedModel for neurons of routed
    experts, whose weights are no linear maps that an adapter could be put on.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise InvalidOption(f"save_adapter needs PEFT: {INSTALL}") from error
    units, ffns = neurons.by_layer(), vlm.structure.ffns
    if routed := [layer for layer in units if ffns[layer].experts]:
        raise UnsupportedModel(
            f"layers {routed} have routed experts, whose weights are no linear maps: LoRA cannot change single columns "
            "of them. Use save_model()"
        )
    ranks = {ffns[layer].name: len(members) for layer, members in units.items()}
    highest = max(ranks.values())
    config = LoraConfig(
        r=highest,
        lora_alpha=highest,
        rank_pattern=ranks,
        alpha_pattern=dict(ranks),
        target_modules=sorted(ranks),
        lora_dropout=0.0,
        bias="none",
        fan_in_fan_out=any(transposed(ffns[layer]) for layer in units),
        inference_mode=True,
        base_model_name_or_path=vlm.id,
    )
    tensors: dict[str, Tensor] = {}
    for layer, members in units.items():
        delta = deltas[layer]
        one_hot = torch.zeros(len(members), ffns[layer].width, dtype=delta.dtype)
        one_hot[range(len(members)), members] = 1
        name = f"base_model.model.{ffns[layer].name}"
        tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = one_hot, delta.contiguous()
    with replacing_folder(folder, FILES[0]) as temporary:
        (temporary / FILES[1]).write_bytes(save(tensors, {"format": "pt"}))
        config.save_pretrained(str(temporary))
