"""A tiny random inpainting pipeline of diffusers."""

from __future__ import annotations

from pathlib import Path

import pytest


def tiny_pipeline(folder: Path) -> Path:
    """A random Stable Diffusion inpainting pipeline that draws 16 x 16 latents of 8 x 8 pixels."""
    diffusers = pytest.importorskip("diffusers")
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    from neuronscope.testing import tiny_tokenizer

    torch.manual_seed(0)
    wide = {"block_out_channels": (8, 8), "norm_num_groups": 4}
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        **wide,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **wide,
    )
    tokenizer = tiny_tokenizer(["empty", "background"], {}, bos=False)
    tokenizer.model_max_length = 8
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    pipe = diffusers.StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder
