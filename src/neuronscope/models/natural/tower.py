"""EfficientNet-lite0 as a vision tower of transformers: its settings, and its tensors under transformers' names.

Lite has no squeeze-and-excite blocks, and transformers' EfficientNet always has. They are kept and made to multiply by
sigmoid(0 x + 30), which is exactly 1 in float32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UnsupportedModel

#: Side of the picture, and of the square of it that one image token stands for, in pixels: 6 x 6 tokens.
SIDE, PATCH = 192, 32

#: Its own pictures are (pixel - 127) / 128.
PIXEL_MEAN, PIXEL_STD = 127 / 255, 128 / 255

_ALWAYS_OPEN = 30.0

#: Module of lite -> module of transformers; `@` is the number of a block.
_NAMES = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_blocks.@._expand_conv": "encoder.blocks.@.expansion.expand_conv",
    "_blocks.@._bn0": "encoder.blocks.@.expansion.expand_bn",
    "_blocks.@._depthwise_conv": "encoder.blocks.@.depthwise_conv.depthwise_conv",
    "_blocks.@._bn1": "encoder.blocks.@.depthwise_conv.depthwise_norm",
    "_blocks.@._project_conv": "encoder.blocks.@.projection.project_conv",
    "_blocks.@._bn2": "encoder.blocks.@.projection.project_bn",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}


def tower_settings() -> dict[str, Any]:
    """What an EfficientNetConfig is made of; stem, head and the first and last stage are as wide as in the original."""
    return {
        "image_size": SIDE,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "in_channels": [32, 16, 24, 40, 80, 112, 192],
        "out_channels": [16, 24, 40, 80, 112, 192, 320],
        "num_block_repeats": [1, 2, 2, 3, 3, 4, 1],
        "kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
        "strides": [1, 2, 2, 2, 1, 2, 1],
        "expand_ratios": [1, 6, 6, 6, 6, 6, 6],
        "depthwise_padding": [],
        "squeeze_expansion_ratio": 0.01,
        "hidden_act": "relu6",
        "hidden_dim": 1280,
        "hidden_size": 1280,
        "pooling_type": "mean",
        "batch_norm_eps": 0.001,
        "dropout_rate": 0.0,
        "drop_connect_rate": 0.0,
    }


def renamed(lite: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict for the tower.

    Args:
        lite: EfficientNet-lite's; the classifier in it is left out.
        own: the tower's own, for the shapes of what lite does not have.

    Raises UnsupportedModel for a tensor that has no place in the tower, or one of the tower's that has no source.
    """
    made: dict[str, Tensor] = {}
    for name, value in lite.items():
        module, _, leaf = name.rpartition(".")
        if module == "_fc":
            continue
        number = re.search(r"\d+", module)
        pattern = re.sub(r"^_blocks\.\d+\.", "_blocks.@.", module)
        if pattern not in _NAMES:
            raise UnsupportedModel(f"EfficientNet-lite0 holds {name!r}, which the tower has no place for")
        made[f"{_NAMES[pattern].replace('@', number.group() if number else '')}.{leaf}"] = value
    for name, value in own.items():
        if ".squeeze_excite." in name:
            made[name] = torch.full_like(value, _ALWAYS_OPEN if name.endswith("expand.bias") else 0.0)
    if unlike := sorted(made.keys() ^ own.keys()):
        raise UnsupportedModel(f"EfficientNet-lite0 and the tower differ in {len(unlike)} tensors, first {unlike[0]}")
    return made
