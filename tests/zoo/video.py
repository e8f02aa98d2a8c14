"""Tiny models of families whose Processor demands a video part, or has no image processor that works on PIL."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from torch import nn
from torch.nn import functional
from transformers import BatchFeature
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import ImagesKwargs

from neuronscope.models.processor import without_video

from .animal import Animal, louder, words_tokenizer

TIMM = (
    "its vision tower is a TimmWrapperModel: ImportError: TimmWrapperModel requires the timm library but it was not "
    "found in your environment (timm needs torchvision)"
)

STANDS_IN = (
    "transformers has its image processor on torchvision only: ours stands in, the Processor class is the real one"
)
NUM2WORDS = "its Processor refuses to be built without num2words: a subclass here leaves that check out"
LINEAR_WORDS = "from files AutoTokenizer puts Qwen3_5Tokenizer over the word tokenizer: save and load the model only"

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
QWEN = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
QWEN_MORE = ("<|vision_start|>", "<|vision_end|>")
QWEN_PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
GLM = {"image_token": "<|image|>", "video_token": "<|video|>"}
GLM_MORE = ("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")
GLM_PLACE = "<|begin_of_image|><|image|><|end_of_image|>"
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}


def text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Settings of a tiny decoder: 4 layers, width 32, FFN width 48."""
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 512,
        **IDS,
    }
    return {**settings, **more}


def experts(**more: Any) -> dict[str, Any]:
    """Settings of 4 routed experts of width 24, 2 of them per token: rows of 16 bytes in bfloat16, as kernels want."""
    return {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, **more}


def finish(model_class: Any, config: Any) -> nn.Module:
    """The seeded model of a config, loud enough that its output depends on its input."""
    torch.manual_seed(0)
    model = model_class(config).float()
    for name, value in IDS.items():
        setattr(model.generation_config, name, value)
    return louder(model)


def ids_of(tokenizer: Any, **names: str) -> dict[str, int]:
    """Config attribute -> id of a token."""
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def qwen_pixels(patch: int = 4, kind: Any = None, **more: Any) -> Any:
    """Pictures keep their size up to rounding: 48x40 gives 12x10 patches of 4 pixels, 6x5 tokens after merging."""
    kind = kind or hf.Qwen2VLImageProcessorPil
    return kind(patch_size=patch, merge_size=2, size={"shortest_edge": 256, "longest_edge": 4096}, **more)


def qwen_ids(tokenizer: Any) -> dict[str, int]:
    return ids_of(
        tokenizer,
        image_token_id="<|image_pad|>",
        video_token_id="<|video_pad|>",
        vision_start_token_id="<|vision_start|>",
        vision_end_token_id="<|vision_end|>",
    )


def qwen2_vl() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Qwen2VLConfig(
        text_config=text(tokenizer, rope_parameters=MROPE),
        vision_config={
            "depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4
        },
        **qwen_ids(tokenizer),
    )  # fmt: skip
    model = finish(hf.Qwen2VLForConditionalGeneration, config)
    return model, without_video(hf.Qwen2VLProcessor, qwen_pixels(), tokenizer)


def qwen2_5_vl() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Qwen2_5_VLConfig(
        text_config=text(tokenizer, rope_parameters=MROPE),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_heads": 2,
            "patch_size": 4,
            "window_size": 16,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        **qwen_ids(tokenizer),
    )
    model = finish(hf.Qwen2_5_VLForConditionalGeneration, config)
    return model, without_video(hf.Qwen2_5_VLProcessor, qwen_pixels(), tokenizer)


def qwen3_tower(**more: Any) -> dict[str, Any]:
    settings = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
    }
    return {**settings, **more}


def qwen3_vl() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Qwen3VLConfig(
        text_config=text(tokenizer, head_dim=16, rope_parameters={**MROPE, "mrope_interleaved": True}),
        vision_config=qwen3_tower(deepstack_visual_indexes=[0, 1]),
        **qwen_ids(tokenizer),
    )
    model = finish(hf.Qwen3VLForConditionalGeneration, config)
    return model, without_video(hf.Qwen3VLProcessor, qwen_pixels(), tokenizer)


def internvl() -> tuple[nn.Module, Any]:
    special = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = words_tokenizer(special, bos=False)
    config = hf.InternVLConfig(
        text_config={"model_type": "qwen2", **text(tokenizer)},
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [16, 16],
            "patch_size": [4, 4],
        },
        image_seq_length=4,
        tie_word_embeddings=False,
        **ids_of(tokenizer, image_token_id="<IMG_CONTEXT>"),
    )
    pixels = hf.GotOcr2ImageProcessorPil(
        size={"height": 16, "width": 16}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    model = finish(hf.InternVLForConditionalGeneration, config)
    return model, without_video(hf.InternVLProcessor, pixels, tokenizer, image_seq_length=4)


def llava_onevision() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>", "video_token": "<video>"}, bos=False)
    grids = [[16, 16], [16, 32], [32, 16], [32, 32]]
    config = hf.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text(tokenizer)},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_use_head": False,
        },
        image_grid_pinpoints=grids,
        **ids_of(tokenizer, image_token_index="<image>", video_token_index="<video>"),
    )
    pixels = hf.LlavaOnevisionImageProcessorPil(size={"height": 16, "width": 16}, image_grid_pinpoints=grids)
    processor = without_video(
        hf.LlavaOnevisionProcessor,
        pixels,
        tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )
    return finish(hf.LlavaOnevisionForConditionalGeneration, config), processor


class SmolVLMProcessor(hf.SmolVLMProcessor):
    """The real one, without its demand for num2words, which only spells the number of a video's frames."""

    def __init__(self, image_processor, tokenizer, video_processor, image_seq_len=169, chat_template=None, **kwargs):
        self.fake_image_token = tokenizer.fake_image_token
        self.image_token = tokenizer.image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.end_of_utterance_token = tokenizer.end_of_utterance_token
        self.global_image_token = tokenizer.global_image_token
        self.image_seq_len = image_seq_len
        self.video_token = "<video>"
        hf.ProcessorMixin.__init__(self, image_processor, tokenizer, video_processor, chat_template=chat_template)


def smolvlm() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    places = [f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)]
    tokenizer = words_tokenizer(special, places)
    config = hf.SmolVLMConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        scale_factor=2,
        pad_token_id=0,
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    # The longest edge becomes two tiles of 16: 2x2 tiles and the whole picture.
    pixels = hf.SmolVLMImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    return finish(hf.SmolVLMForConditionalGeneration, config), without_video(
        SmolVLMProcessor, pixels, tokenizer, image_seq_len=4
    )


def glm_tower(**more: Any) -> dict[str, Any]:
    settings = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "patch_size": 4,
        "image_size": 32,
        "out_hidden_size": 32,
    }
    return {**settings, **more}


def glm_ids(tokenizer: Any) -> dict[str, int]:
    return ids_of(
        tokenizer,
        image_token_id="<|image|>",
        video_token_id="<|video|>",
        image_start_token_id="<|begin_of_image|>",
        image_end_token_id="<|end_of_image|>",
        video_start_token_id="<|begin_of_video|>",
        video_end_token_id="<|end_of_video|>",
    )


def glm_pixels(kind: Any) -> Any:
    return qwen_pixels(kind=kind, temporal_patch_size=2)


def glm4v() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(GLM, GLM_MORE, bos=False)
    config = hf.Glm4vConfig(
        text_config=text(tokenizer, rope_parameters=MROPE), vision_config=glm_tower(), **glm_ids(tokenizer)
    )
    model = finish(hf.Glm4vForConditionalGeneration, config)
    return model, without_video(hf.Glm4vProcessor, glm_pixels(hf.Glm4vImageProcessorPil), tokenizer)


def gemma4() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    tokenizer = words_tokenizer(special, ["<|video|>"])
    config = hf.Gemma4Config(
        text_config=text(
            tokenizer,
            head_dim=16,
            global_head_dim=16,
            num_global_key_value_heads=1,
            sliding_window=64,
            layer_types=["sliding_attention", "full_attention"] * 2,
            hidden_size_per_layer_input=6,
            vocab_size_per_layer_input=len(tokenizer),
            final_logit_softcapping=30.0,
        ),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": 4,
            "position_embedding_size": 256,
        },
        audio_config=None,
        **ids_of(
            tokenizer,
            boi_token_id="<|image>",
            eoi_token_id="<image|>",
            image_token_id="<|image|>",
            video_token_id="<|video|>",
            boa_token_id="<|audio>",
            eoa_token_index="<audio|>",
            audio_token_id="<|audio|>",
        ),
    )
    pixels = hf.Gemma4ImageProcessorPil(patch_size=4, max_soft_tokens=70)
    processor = without_video(
        hf.Gemma4Processor, pixels, tokenizer, feature_extractor=hf.Gemma4AudioFeatureExtractor(), image_seq_length=70
    )
    return finish(hf.Gemma4ForConditionalGeneration, config), processor


PIXTRAL = {
    "model_type": "pixtral",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
}


def pixtral_parts(patch: int) -> tuple[Any, Any]:
    tokenizer = words_tokenizer({"image_token": "[IMG]"}, ["[IMG_BREAK]", "[IMG_END]"])
    return tokenizer, hf.PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=patch)


def mistral3() -> tuple[nn.Module, Any]:
    tokenizer, pixels = pixtral_parts(4)
    config = hf.Mistral3Config(
        text_config={"model_type": "mistral", **text(tokenizer, head_dim=16)},
        vision_config={**PIXTRAL, "patch_size": 4},
        spatial_merge_size=2,
        **ids_of(tokenizer, image_token_index="[IMG]"),
    )
    processor = without_video(hf.PixtralProcessor, pixels, tokenizer, patch_size=4, spatial_merge_size=2)
    return finish(hf.Mistral3ForConditionalGeneration, config), processor


def llava_pixtral() -> tuple[nn.Module, Any]:
    tokenizer, pixels = pixtral_parts(8)
    config = hf.LlavaConfig(
        text_config={"model_type": "mistral", **text(tokenizer, head_dim=16)},
        vision_config={**PIXTRAL, "patch_size": 8},
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        **ids_of(tokenizer, image_token_index="[IMG]"),
    )
    processor = without_video(hf.PixtralProcessor, pixels, tokenizer, patch_size=8)
    return finish(hf.LlavaForConditionalGeneration, config), processor


LINEAR = {
    "head_dim": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "rope_parameters": {**MROPE, "mrope_interleaved": True, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.25},
}


def qwen3_5() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Qwen3_5Config(text_config=text(tokenizer, **LINEAR), vision_config=qwen3_tower(), **qwen_ids(tokenizer))
    model = finish(hf.Qwen3_5ForConditionalGeneration, config)
    return model, without_video(hf.Qwen3VLProcessor, qwen_pixels(), tokenizer)


def glm46v() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(GLM, GLM_MORE, bos=False)
    config = hf.Glm46VConfig(
        text_config={"model_type": "glm4v_text", **text(tokenizer, rope_parameters=MROPE)},
        vision_config={"model_type": "glm4v_vision", **glm_tower()},
        **glm_ids(tokenizer),
    )
    model = finish(hf.Glm46VForConditionalGeneration, config)
    return model, without_video(hf.Glm46VProcessor, glm_pixels(hf.Glm46VImageProcessorPil), tokenizer)


def glm_ocr() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(GLM, GLM_MORE, bos=False)
    config = hf.GlmOcrConfig(
        text_config=text(tokenizer, head_dim=16, rope_parameters=MROPE),
        vision_config=glm_tower(),
        **glm_ids(tokenizer),
    )
    model = finish(hf.GlmOcrForConditionalGeneration, config)
    return model, without_video(hf.Glm46VProcessor, glm_pixels(hf.Glm46VImageProcessorPil), tokenizer)


def minicpmv4_6() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "slice_start_token": "<slice>",
        "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    }
    tokenizer = words_tokenizer(special, [str(number) for number in range(4)], bos=False)
    config = hf.MiniCPMV4_6Config(
        text_config={"model_type": "qwen3_5_text", **text(tokenizer, **LINEAR)},
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 4,
        },
        insert_layer_id=0,
        image_size=32,
        **ids_of(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>"),
    )
    pixels = hf.MiniCPMV4_6ImageProcessorPil(patch_size=4, scale_resolution=32, max_slice_nums=4)
    model = finish(hf.MiniCPMV4_6ForConditionalGeneration, config)
    return model, without_video(hf.MiniCPMV4_6Processor, pixels, tokenizer)


def video_llama_3() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.VideoLlama3Config(
        text_config={"model_type": "qwen2", **text(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
        },
        **ids_of(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>"),
    )
    pixels = hf.VideoLlama3ImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 256, "longest_edge": 4096}
    )
    model = finish(hf.VideoLlama3ForConditionalGeneration, config)
    return model, without_video(hf.VideoLlama3Processor, pixels, tokenizer)


def paddleocr_vl() -> tuple[nn.Module, Any]:
    special = {"image_token": "<|IMAGE_PLACEHOLDER|>"}
    tokenizer = words_tokenizer(special, ["<|IMAGE_START|>", "<|IMAGE_END|>", "<|video_pad|>"], bos=False)
    config = hf.PaddleOCRVLConfig(
        text_config=text(tokenizer, head_dim=16, rope_parameters=MROPE),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "image_size": 32,
        },
        **ids_of(
            tokenizer,
            image_token_id="<|IMAGE_PLACEHOLDER|>",
            video_token_id="<|video_pad|>",
            vision_start_token_id="<|IMAGE_START|>",
            vision_end_token_id="<|IMAGE_END|>",
        ),
    )
    pixels = hf.PaddleOCRVLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 256, "longest_edge": 4096}
    )
    model = finish(hf.PaddleOCRVLForConditionalGeneration, config)
    return model, hf.PaddleOCRVLProcessor(pixels, tokenizer)


def qwen3_vl_moe() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Qwen3VLMoeConfig(
        text_config=text(
            tokenizer,
            head_dim=16,
            rope_parameters={**MROPE, "mrope_interleaved": True},
            mlp_only_layers=[0],
            **experts(),
        ),
        vision_config=qwen3_tower(deepstack_visual_indexes=[0, 1]),
        **qwen_ids(tokenizer),
    )
    model = finish(hf.Qwen3VLMoeForConditionalGeneration, config)
    return model, without_video(hf.Qwen3VLProcessor, qwen_pixels(), tokenizer)


def qwen3_5_moe() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    settings = text(tokenizer, **LINEAR, **experts(shared_expert_intermediate_size=48))
    del settings["intermediate_size"]
    config = hf.Qwen3_5MoeConfig(text_config=settings, vision_config=qwen3_tower(), **qwen_ids(tokenizer))
    model = finish(hf.Qwen3_5MoeForConditionalGeneration, config)
    return model, without_video(hf.Qwen3VLProcessor, qwen_pixels(), tokenizer)


def glm4v_moe() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(GLM, GLM_MORE, bos=False)
    routed = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    config = hf.Glm4vMoeConfig(
        text_config=text(
            tokenizer,
            head_dim=16,
            rope_parameters={**MROPE, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5},
            first_k_dense_replace=1,
            **routed,
        ),
        vision_config=glm_tower(),
        **glm_ids(tokenizer),
    )
    model = finish(hf.Glm4vMoeForConditionalGeneration, config)
    return model, without_video(hf.Glm4vProcessor, glm_pixels(hf.Glm4vImageProcessorPil), tokenizer)


def ernie4_5_vl_moe() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|IMAGE_PLACEHOLDER|>",
        "image_start_token": "<|IMAGE_START|>",
        "image_end_token": "<|IMAGE_END|>",
        "video_token": "<|VIDEO_PLACEHOLDER|>",
        "video_start_token": "<|VIDEO_START|>",
        "video_end_token": "<|VIDEO_END|>",
    }
    tokenizer = words_tokenizer(special, bos=False)
    config = hf.Ernie4_5_VLMoeConfig(
        text_config=text(
            tokenizer,
            rope_parameters={**MROPE, "mrope_section": [3, 3, 2]},
            moe_intermediate_size=[24, 16],
            moe_k=2,
            moe_num_experts=4,
            moe_num_shared_experts=1,
        ),
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 2, "patch_size": 4
        },
        **ids_of(tokenizer, **{f"{name}_id": token for name, token in special.items()}),
    )  # fmt: skip
    pixels = qwen_pixels(kind=hf.Ernie4_5_VLMoeImageProcessorPil)
    model = finish(hf.Ernie4_5_VLMoeForConditionalGeneration, config)
    return model, without_video(hf.Ernie4_5_VLMoeProcessor, pixels, tokenizer)


def hunyuan_vl() -> tuple[nn.Module, Any]:
    special = {"image_token": "<image>", "image_start_token": "<img>", "image_end_token": "</img>"}
    tokenizer = words_tokenizer(special, ["<newline>"])
    config = hf.HunYuanVLConfig(
        text_config=text(
            tokenizer,
            head_dim=16,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2, 2]},
        ),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "patch_size": 4,
            "out_hidden_size": 32,
            "text_hidden_size": 32,
            "max_image_size": 64,
            "min_image_size": 16,
            "img_max_token_num": 64,
        },
        **ids_of(
            tokenizer,
            image_token_id="<image>",
            im_start_id="<img>",
            im_end_id="</img>",
            im_newline_id="<newline>",
        ),
    )
    pixels = hf.HunYuanVLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 256, "longest_edge": 4096}
    )
    model = finish(hf.HunYuanVLForConditionalGeneration, config)
    return model, hf.HunYuanVLProcessor(pixels, tokenizer)


def exaone4_5() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(QWEN, QWEN_MORE, bos=False)
    config = hf.Exaone4_5_Config(
        text_config={
            "model_type": "exaone4",
            **text(tokenizer, head_dim=16, sliding_window=64, sliding_window_pattern=4),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_heads": 2,
            "num_key_value_heads": 1,
            "patch_size": 4,
            "window_size": 16,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        **ids_of(tokenizer, image_token_id="<|image_pad|>", video_token_id="<|video_pad|>"),
    )
    model = finish(hf.Exaone4_5_ForConditionalGeneration, config)
    return model, without_video(hf.Exaone4_5_Processor, qwen_pixels(), tokenizer)


def qianfan_ocr() -> tuple[nn.Module, Any]:
    special = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = words_tokenizer(special, bos=False)
    config = hf.QianfanOCRConfig(
        text_config={"model_type": "qwen3", **text(tokenizer, head_dim=16)},
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": [16, 16],
            "patch_size": [4, 4],
        },
        image_seq_length=4,
        **ids_of(tokenizer, image_token_id="<IMG_CONTEXT>"),
    )
    pixels = hf.GotOcr2ImageProcessorPil(
        size={"height": 16, "width": 16}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    model = finish(hf.QianfanOCRForConditionalGeneration, config)
    return model, hf.QianfanOCRProcessor(pixels, tokenizer, image_seq_length=4)


def pixels_of(image: Image.Image, height: int, width: int) -> torch.Tensor:
    """A picture of that size as [3, height, width] between -1 and 1."""
    small = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    return torch.from_numpy(small / 127.5 - 1).permute(2, 0, 1)


def rows_and_columns(image: Image.Image, tile: int, most: int) -> tuple[int, int]:
    """How many tiles cover a picture, at most `most`; the longer side is shortened first."""
    rows, columns = math.ceil(image.height / tile), math.ceil(image.width / tile)
    while rows * columns > most:
        rows, columns = (rows, columns - 1) if columns > rows else (rows - 1, columns)
    return rows, columns


def cut(canvas: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Tiles of a canvas, row by row: [rows * columns, 3, height, width]."""
    height, width = canvas.shape[1] // rows, canvas.shape[2] // columns
    cells = canvas.reshape(3, rows, height, columns, width).permute(1, 3, 0, 2, 4)
    return cells.reshape(rows * columns, 3, height, width)


def patches_of(canvas: torch.Tensor, patch: int) -> torch.Tensor:
    """Patches row by row, channels last: [patches, patch, patch, 3]."""
    rows, columns = canvas.shape[1] // patch, canvas.shape[2] // patch
    return cut(canvas, rows, columns).permute(0, 2, 3, 1)


class StandIn(hf.BaseImageProcessor):
    """An image processor on PIL, in place of one that transformers has on torchvision only; settings are attributes."""

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        return BatchFeature(self.tensors(list(make_flat_list_of_images(images))))

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        raise NotImplementedError


class Llama4Pixels(StandIn):
    """Tiles of a canvas on which the picture keeps its shape, black below or beside it; then the whole picture."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, ratios = [], []
        for image in images:
            rows, columns = rows_and_columns(image, self.tile, self.most)
            scale = min(rows * self.tile / image.height, columns * self.tile / image.width)
            height, width = int(image.height * scale), int(image.width * scale)
            canvas = torch.zeros(3, rows * self.tile, columns * self.tile)
            canvas[:, :height, :width] = pixels_of(image, height, width)
            found.append(cut(canvas, rows, columns))
            if rows * columns > 1:
                found.append(pixels_of(image, self.tile, self.tile)[None])
            ratios.append(torch.tensor([rows, columns]))
        return {"pixel_values": torch.cat(found), "aspect_ratios": ratios}


def llama4() -> tuple[nn.Module, Any]:
    named = {"image_token": "<|image|>"}
    more = ["<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>", "<|tile_y_separator|>"]
    tokenizer = words_tokenizer(named, more)
    config = hf.Llama4Config(
        text_config=text(
            tokenizer,
            head_dim=16,
            intermediate_size=20,
            intermediate_size_mlp=48,
            num_local_experts=4,
            num_experts_per_tok=2,
            interleave_moe_layer_step=2,
            attention_chunk_size=256,
        ),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 24,
            "patch_size": 4,
            "vision_output_dim": 24,
            "projector_input_dim": 24,
            "projector_output_dim": 24,
        },
        **ids_of(
            tokenizer,
            boi_token_index="<|image_start|>",
            eoi_token_index="<|image_end|>",
            image_token_index="<|patch|>",
        ),
    )
    model = finish(hf.Llama4ForConditionalGeneration, config)
    return model, hf.Llama4Processor(Llama4Pixels(tile=24, most=6), tokenizer, patch_size=4, pixel_shuffle_ratio=0.5)


class Cohere2Pixels(StandIn):
    """Tiles of the picture stretched to them, then the whole picture; `patch_size` counts tokens along a tile."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, counts = [], []
        for image in images:
            rows, columns = rows_and_columns(image, self.tile, self.most)
            tiles = cut(pixels_of(image, rows * self.tile, columns * self.tile), rows, columns)
            if rows * columns > 1:
                tiles = torch.cat([tiles, pixels_of(image, self.tile, self.tile)[None]])
            found.append(tiles)
            counts.append(len(tiles))
        return {"pixel_values": torch.cat(found), "num_patches": counts}


def cohere2_vision() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|IMG_PATCH|>",
        "boi_token": "<|START_OF_IMG|>",
        "eoi_token": "<|END_OF_IMG|>",
        "img_line_break_token": "<|IMG_LINE_BREAK|>",
    }
    tokenizer = words_tokenizer(special)
    config = hf.Cohere2VisionConfig(
        text_config={
            "model_type": "cohere2",
            **text(
                tokenizer,
                sliding_window=64,
                logit_scale=1.0,
                layer_types=["sliding_attention"] * 3 + ["full_attention"],
            ),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_use_head": False,
        },
        alignment_intermediate_size=56,
        **ids_of(tokenizer, image_token_id="<|IMG_PATCH|>"),
    )
    model = finish(hf.Cohere2VisionForConditionalGeneration, config)
    return model, hf.Cohere2VisionProcessor(Cohere2Pixels(tile=16, most=6, patch_size=2), tokenizer)


class Lfm2Settings(ImagesKwargs, total=False):
    return_row_col_info: bool
    use_image_special_tokens: bool


class Lfm2Pixels(StandIn):
    """Tiles as rows of patches, then the whole picture at its own shape; all are padded to one number of patches."""

    valid_kwargs = Lfm2Settings

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        rows_of, columns_of, sizes, views = [], [], [], []
        unit = self.encoder_patch_size * self.downsample_factor
        for image in images:
            rows, columns = rows_and_columns(image, self.tile_size, self.max_tiles)
            shrink = min(1.0, math.sqrt(self.max_image_tokens * unit**2 / (image.height * image.width)))
            height, width = (max(unit, int(side * shrink) // unit * unit) for side in (image.height, image.width))
            if rows * columns > 1:
                canvas = pixels_of(image, rows * self.tile_size, columns * self.tile_size)
                views.extend(cut(canvas, rows, columns))
            views.append(pixels_of(image, height, width))
            rows_of.append(rows)
            columns_of.append(columns)
            sizes.append([height, width])
        patch = self.encoder_patch_size
        most = max(self.max_image_tokens * self.downsample_factor**2, (self.tile_size // patch) ** 2)
        values = torch.zeros(len(views), most, 3 * patch**2)
        mask = torch.zeros(len(views), most, dtype=torch.long)
        for i, view in enumerate(views):
            flat = patches_of(view, patch).flatten(1)
            values[i, : len(flat)] = flat
            mask[i, : len(flat)] = 1
        return {
            "pixel_values": values,
            "pixel_attention_mask": mask,
            "spatial_shapes": torch.tensor([[view.shape[1] // patch, view.shape[2] // patch] for view in views]),
            "image_rows": rows_of,
            "image_cols": columns_of,
            "image_sizes": sizes,
        }


def lfm2_vl() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<image>",
        "image_start_token": "<|image_start|>",
        "image_end_token": "<|image_end|>",
        "image_thumbnail_token": "<|img_thumbnail|>",
    }
    places = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = words_tokenizer(special, places)
    config = hf.Lfm2VlConfig(
        text_config={
            "model_type": "lfm2",
            **text(
                tokenizer,
                block_auto_adjust_ff_dim=False,
                layer_types=["conv", "full_attention", "conv", "full_attention"],
            ),
        },
        vision_config={
            "model_type": "siglip2_vision_model",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "num_patches": 16,
            "vision_use_head": False,
        },
        projector_hidden_size=56,
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    pixels = Lfm2Pixels(
        tile_size=16, max_tiles=6, max_image_tokens=8, encoder_patch_size=4, downsample_factor=2, use_thumbnail=True
    )
    return finish(hf.Lfm2VlForConditionalGeneration, config), hf.Lfm2VlProcessor(pixels, tokenizer)


class Molmo2Pixels(StandIn):
    """The whole picture, then crops that overlap by two patches; a patch in two crops counts where it is further in."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, pooling, grids, counts, start = [], [], [], [], 0
        side, patch = self.crop // self.patch, self.patch
        window = side - 2
        for image in images:
            rows, columns = rows_and_columns(image, window * patch, self.most)
            height, width = rows * window + 2, columns * window + 2
            canvas = pixels_of(image, height * patch, width * patch)
            views = [pixels_of(image, self.crop, self.crop)]
            index = torch.zeros(height, width, dtype=torch.long)
            for row in range(rows):
                for column in range(columns):
                    top, left = row * window, column * window
                    first = (start + len(views)) * side**2
                    own = torch.arange(first, first + side**2).reshape(side, side)
                    # Later crops overwrite all but the rim that lies inside an earlier one.
                    up, before = int(row > 0), int(column > 0)
                    index[top + up : top + side, left + before : left + side] = own[up:, before:]
                    views.append(
                        canvas[:, top * patch : top * patch + self.crop, left * patch : left * patch + self.crop]
                    )
            whole = torch.arange(start * side**2, (start + 1) * side**2).reshape(side, side)
            for grid in (whole, index):
                cells = grid.reshape(grid.shape[0] // 2, 2, grid.shape[1] // 2, 2).permute(0, 2, 1, 3)
                pooling.append(cells.reshape(-1, 4))
            grids.append([side // 2, side // 2, height // 2, width // 2])
            found.extend(patches_of(view, patch).flatten(1) for view in views)
            counts.append(len(views))
            start += len(views)
        return {
            "pixel_values": torch.stack(found),
            "image_token_pooling": torch.cat(pooling),
            "image_grids": torch.tensor(grids),
            "image_num_crops": torch.tensor(counts),
        }


def molmo2() -> tuple[nn.Module, Any]:
    named = {"image_token": "<|image|>", "video_token": "<|video|>"}
    more = ["<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>", "<im_low>"]
    tokenizer = words_tokenizer(named, [*more, "<frame_start>", "<frame_end>"], bos=False)
    config = hf.Molmo2Config(
        text_config=text(tokenizer, head_dim=16, additional_vocab_size=8),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "image_size": [16, 16],
            "patch_size": 4,
        },
        adapter_config={
            "vision_feature_layer": [1, 0],
            "hidden_size": 24,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "intermediate_size": 56,
            "text_hidden_size": 32,
        },
        **ids_of(
            tokenizer,
            image_start_token_id="<im_start>",
            low_res_image_start_token_id="<low_res_im_start>",
            image_end_token_id="<im_end>",
            image_patch_id="<im_patch>",
            frame_start_token_id="<frame_start>",
            frame_end_token_id="<frame_end>",
        ),
    )
    model = finish(hf.Molmo2ForConditionalGeneration, config)
    # Four matrices without a norm between them: at the usual loudness the image would not be heard.
    louder(model.model.multi_modal_projector, 6.0)
    return model, without_video(hf.Molmo2Processor, Molmo2Pixels(crop=16, patch=4, most=6), tokenizer)


class KimiPixels(StandIn):
    """The picture at its own size, black below and beside it up to a multiple of the merged patch."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        unit, found, grids = self.patch_size * self.merge_size, [], []
        for image in images:
            height, width = (math.ceil(side / unit) * unit for side in (image.height, image.width))
            canvas = torch.zeros(3, height, width)
            canvas[:, : image.height, : image.width] = pixels_of(image, image.height, image.width)
            found.append(patches_of(canvas, self.patch_size).permute(0, 3, 1, 2))
            grids.append([1, height // self.patch_size, width // self.patch_size])
        return {"pixel_values": torch.cat(found), "image_grid_thw": torch.tensor(grids)}


def kimi_k25() -> tuple[nn.Module, Any]:
    special = {"image_token": "<|media_pad|>", "video_token": "<|kimi_k25_video_placeholder|>"}
    tokenizer = words_tokenizer(special, ["<|media_begin|>", "<|media_end|>", "<|media_content|>"], bos=False)
    config = hf.Kimi_K25Config(
        text_config={
            "model_type": "deepseek_v3",
            **text(
                tokenizer,
                num_key_value_heads=2,
                moe_intermediate_size=24,
                n_routed_experts=4,
                n_shared_experts=1,
                num_experts_per_tok=2,
                n_group=1,
                topk_group=1,
                first_k_dense_replace=1,
                kv_lora_rank=16,
                q_lora_rank=12,
                qk_rope_head_dim=8,
                qk_nope_head_dim=8,
                v_head_dim=16,
                num_mtp_layers=0,
            ),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        projection_hidden_size=32,
        **ids_of(
            tokenizer,
            image_token_id="<|media_pad|>",
            video_token_id="<|kimi_k25_video_placeholder|>",
            vision_start_token_id="<|media_begin|>",
            vision_end_token_id="<|media_end|>",
        ),
    )
    model = finish(hf.Kimi_K25ForConditionalGeneration, config)
    return model, without_video(hf.Kimi_K25Processor, KimiPixels(patch_size=4, merge_size=2), tokenizer)


class Phi4Pixels(StandIn):
    """The whole picture, then crops of a canvas on which it keeps its shape; the rest of the canvas is masked."""

    def tensors(self, images: list[Image.Image]) -> dict[str, Any]:
        found, masks, sizes, counts = [], [], [], []
        side = self.crop // self.patch
        for image in images:
            rows, columns = rows_and_columns(image, self.crop, self.most)
            scale = min(rows * self.crop / image.height, columns * self.crop / image.width)
            height, width = int(image.height * scale), int(image.width * scale)
            canvas = torch.ones(3, rows * self.crop, columns * self.crop)
            canvas[:, :height, :width] = pixels_of(image, height, width)
            mask = torch.zeros(rows * side, columns * side)
            mask[: math.ceil(height / self.patch), : math.ceil(width / self.patch)] = 1
            kept = mask[::2, ::2]
            cells = mask.reshape(rows, side, columns, side).transpose(1, 2).reshape(-1, side, side)
            found.append(torch.cat([pixels_of(image, self.crop, self.crop)[None], cut(canvas, rows, columns)]))
            masks.append(torch.cat([torch.ones(1, side, side), cells]))
            sizes.append([rows * self.crop, columns * self.crop])
            # One separator ends each row of either view, one stands between the views.
            view = (side // 2) * (side // 2 + 1)
            counts.append(view + 1 + int(kept.sum()) + int(kept[:, 0].sum()))
        most = max(len(crops) for crops in found)
        pad = [(0, 0, 0, 0, 0, 0, 0, most - len(crops)) for crops in found]
        return {
            "image_pixel_values": torch.stack([functional.pad(crops, p) for crops, p in zip(found, pad, strict=True)]),
            "image_sizes": torch.tensor(sizes),
            "image_attention_mask": torch.stack(
                [functional.pad(mask, p[2:], value=1) for mask, p in zip(masks, pad, strict=True)]
            ),
            "num_img_tokens": counts,
        }


def qwen2_5_omni_thinker() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|IMAGE|>",
        "video_token": "<|VIDEO|>",
        "audio_token": "<|AUDIO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    tokenizer = words_tokenizer(special, bos=False)
    config = hf.Qwen2_5OmniThinkerConfig(
        text_config=text(tokenizer, rope_parameters=MROPE),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_heads": 2,
            "patch_size": 4,
            "window_size": 16,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "d_model": 16,
            "max_source_positions": 32,
            "n_window": 4,
            "output_dim": 32,
        },
        user_token_id=tokenizer.convert_tokens_to_ids("user"),
        **ids_of(
            tokenizer,
            image_token_index="<|IMAGE|>",
            video_token_index="<|VIDEO|>",
            audio_token_index="<|AUDIO|>",
            vision_start_token_id="<|vision_bos|>",
            vision_end_token_id="<|vision_eos|>",
            audio_start_token_id="<|audio_bos|>",
            audio_end_token_id="<|audio_eos|>",
        ),
    )
    model = finish(hf.Qwen2_5OmniThinkerForConditionalGeneration, config)
    ears = hf.WhisperFeatureExtractor(feature_size=16)
    return model, without_video(hf.Qwen2_5OmniProcessor, qwen_pixels(), tokenizer, feature_extractor=ears)


ANIMALS: tuple[Animal, ...] = (
    Animal("qwen2_vl", qwen2_vl, placeholder=QWEN_PLACE),
    Animal("qwen2_5_vl", qwen2_5_vl, placeholder=QWEN_PLACE),
    Animal("qwen3_vl", qwen3_vl, placeholder=QWEN_PLACE),
    Animal("internvl", internvl, placeholder="<IMG_CONTEXT>"),
    Animal("llava_onevision", llava_onevision),
    Animal("smolvlm", smolvlm, notes=NUM2WORDS),
    Animal("glm4v", glm4v, placeholder=GLM_PLACE),
    Animal("gemma4", gemma4, placeholder="<|image|>"),
    Animal("mistral3", mistral3, placeholder="[IMG]"),
    Animal("llava", llava_pixtral, placeholder="[IMG]"),
    Animal("qwen3_5", qwen3_5, placeholder=QWEN_PLACE, notes=LINEAR_WORDS),
    Animal("glm46v", glm46v, placeholder=GLM_PLACE),
    Animal("glm_ocr", glm_ocr, placeholder=GLM_PLACE),
    Animal("minicpmv4_6", minicpmv4_6, placeholder="<|image_pad|>"),
    Animal("video_llama_3", video_llama_3, placeholder="<|image_pad|>"),
    Animal("paddleocr_vl", paddleocr_vl, placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"),
    Animal("qwen3_vl_moe", qwen3_vl_moe, placeholder=QWEN_PLACE),
    Animal("qwen3_5_moe", qwen3_5_moe, placeholder=QWEN_PLACE, notes=LINEAR_WORDS),
    Animal("glm4v_moe", glm4v_moe, placeholder=GLM_PLACE),
    Animal("ernie4_5_vl_moe", ernie4_5_vl_moe, placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"),
    Animal("hunyuan_vl", hunyuan_vl, placeholder="<img><image></img>"),
    Animal("exaone4_5", exaone4_5, placeholder="<|image_pad|>"),
    Animal("qianfan_ocr", qianfan_ocr),
    Animal("qwen2_5_omni_thinker", qwen2_5_omni_thinker, placeholder="<|vision_bos|><|IMAGE|><|vision_eos|>"),
    Animal("llama4", llama4, placeholder="<|image|>", notes=STANDS_IN, handmade=True),
    Animal("cohere2_vision", cohere2_vision, placeholder="<|IMG_PATCH|>", notes=STANDS_IN, handmade=True),
    Animal("lfm2_vl", lfm2_vl, notes=STANDS_IN, handmade=True),
    Animal("molmo2", molmo2, placeholder="<|image|>", notes=STANDS_IN, handmade=True),
    Animal(
        "kimi_k25",
        kimi_k25,
        placeholder="<|media_begin|>image<|media_content|><|media_pad|><|media_end|>",
        notes=STANDS_IN,
        handmade=True,
    ),
)
