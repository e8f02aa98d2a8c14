"""Tiny random detectors and segmenters: the real classes of transformers with their real processors, as checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTProcessor,
    Sam2Config,
    Sam2Model,
    SamConfig,
    SamModel,
    SamProcessor,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from neuronscope.testing import WORDS, tiny_tokenizer

_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def owlvit(folder: Path) -> None:
    _owl(folder, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor, OwlViTImageProcessorPil)


def owlv2(folder: Path) -> None:
    _owl(folder, Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor, Owlv2ImageProcessorPil)


def _owl(folder: Path, config: Any, model: Any, processor: Any, pictures: Any) -> None:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer([*WORDS, "a", "photo"], {}, bos=False)
    tokenizer.model_max_length = 16
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, **_SMALL}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = {"image_size": 32, "patch_size": 8, **_SMALL}
    made = model(config(text_config=text, vision_config=vision, projection_dim=16))
    with torch.no_grad():  # boxes near their own patches, so that several lie inside the picture
        for parameter in made.box_head.parameters():
            parameter.mul_(0.1)
    made.save_pretrained(folder)
    processor(pictures(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)


def dino(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer([*WORDS, ".", "[CLS]", "[SEP]"], {}, bos=False)
    swin = SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config={"model_type": "bert", "vocab_size": len(tokenizer), **_SMALL},
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=10,
        max_text_len=16,
        disable_custom_kernels=True,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    pictures: Any = GroundingDinoImageProcessorPil
    made = pictures(size={"shortest_edge": 96, "longest_edge": 160})
    GroundingDinoProcessor(made, tokenizer).save_pretrained(folder)


def sam(folder: Path) -> None:
    torch.manual_seed(0)
    wide: dict[str, Any] = {"hidden_size": 16, "image_size": 64, "patch_size": 16}
    vision = {"output_channels": 16, "mlp_dim": 16, "num_pos_feats": 8, "window_size": 2, "global_attn_indexes": [0]}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = SamConfig(
        vision_config={**wide, **vision, **heads},
        prompt_encoder_config={**wide, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "iou_head_depth": 1,
            "iou_head_hidden_dim": 16,
            **heads,
        },
    )
    SamModel(config).save_pretrained(folder)
    square = {"height": 64, "width": 64}
    pictures: Any = SamImageProcessorPil
    SamProcessor(pictures(size={"longest_edge": 64}, pad_size=square)).save_pretrained(folder)


def sam2(folder: Path) -> None:
    """Without torchvision there is no processor; its files are written as it would write them."""
    torch.manual_seed(0)
    hiera = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "blocks_per_stage": [1, 2, 2, 1],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [8, 4, 4, 2],
        "window_positional_embedding_background_size": [2, 2],
        "global_attention_blocks": [4],
    }
    config = Sam2Config(
        vision_config={
            "backbone_config": hiera,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_depth": 1,
            "iou_head_hidden_dim": 16,
        },
    )
    Sam2Model(config).save_pretrained(folder)
    square = {"height": 64, "width": 64}
    pictures = {"image_processor_type": "Sam2ImageProcessor", "size": square, "mask_size": {"height": 16, "width": 16}}
    made = {"processor_class": "Sam2Processor", "target_size": 64, "image_processor": pictures}
    (folder / "processor_config.json").write_text(json.dumps(made))


MAKERS = {"owlvit": owlvit, "owlv2": owlv2, "dino": dino, "sam": sam, "sam2": sam2}
