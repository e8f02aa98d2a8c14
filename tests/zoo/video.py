"""Tiny models of families whose Processor demands a video part, or has no image processor that works on PIL."""

from __future__ import annotations

from typing import Any

import transformers as hf

from .animal import Animal
from .parts import (
    MROPE,
    cropped,
    deep_tower,
    experts,
    loud_projector,
    qwen_pixels,
    siglip,
    square,
    text,
    tower,
    without,
)
from .plain import PLACES
from .stand_ins import Cohere2Pixels, KimiPixels, Lfm2Pixels, Llama4Pixels, Molmo2Pixels, SmolVLMProcessor

STANDS_IN = (
    "transformers has its image processor on torchvision only: ours stands in, the Processor class is the real one"
)
NUM2WORDS = "its Processor refuses to be built without num2words: a subclass here leaves that check out"
LINEAR_WORDS = "from files AutoTokenizer puts Qwen3_5Tokenizer over the word tokenizer: save and load the model only"
QWEN = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
QWEN_MORE = ("<|vision_start|>", "<|vision_end|>")
QWEN_PLACE = "<|vision_start|><|image_pad|><|vision_end|>"
GLM = {"image_token": "<|image|>", "video_token": "<|video|>"}
GLM_MORE = ("<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")
GLM_PLACE = "<|begin_of_image|><|image|><|end_of_image|>"
QWEN_IDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
GLM_IDS = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "image_start_token_id": "<|begin_of_image|>",
    "image_end_token_id": "<|end_of_image|>",
    "video_start_token_id": "<|begin_of_video|>",
    "video_end_token_id": "<|end_of_video|>",
}
LINEAR = {
    "head_dim": 16,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "rope_parameters": {**MROPE, "mrope_interleaved": True, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.25},
}
ERNIE = {
    "image_token": "<|IMAGE_PLACEHOLDER|>",
    "image_start_token": "<|IMAGE_START|>",
    "image_end_token": "<|IMAGE_END|>",
    "video_token": "<|VIDEO_PLACEHOLDER|>",
    "video_start_token": "<|VIDEO_START|>",
    "video_end_token": "<|VIDEO_END|>",
}


def qwen3_tower(**more: Any) -> dict[str, Any]:
    return deep_tower(out_hidden_size=32, num_position_embeddings=64, **more)


def glm_tower() -> dict[str, Any]:
    return deep_tower(image_size=32, out_hidden_size=32)


def qwen(model_type: str, stem: str, decoder: Any, tower: Any, **more: Any) -> Animal:
    """The row of a family with Qwen's tokens and pixels."""
    more = {"pixels": qwen_pixels(), "placeholder": QWEN_PLACE, "ids": QWEN_IDS, **more}
    return Animal(model_type, stem, QWEN, QWEN_MORE, bos=False, decoder=decoder, tower=tower, video=True, **more)


def glm(model_type: str, stem: str, decoder: Any, tower: Any, *, pixels: str, **more: Any) -> Animal:
    """The row of a family with GLM's tokens."""
    more = {"pixels": qwen_pixels(pixels, temporal_patch_size=2), "placeholder": GLM_PLACE, "ids": GLM_IDS, **more}
    return Animal(model_type, stem, GLM, GLM_MORE, bos=False, decoder=decoder, tower=tower, video=True, **more)


ANIMALS: tuple[Animal, ...] = (
    qwen(
        "qwen2_vl",
        "Qwen2VL",
        text(rope_parameters=MROPE),
        {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4},
    ),
    qwen(
        "qwen2_5_vl",
        "Qwen2_5_VL",
        text(rope_parameters=MROPE),
        deep_tower(window_size=16, out_hidden_size=32, fullatt_block_indexes=[1]),
    ),
    qwen(
        "qwen3_vl",
        "Qwen3VL",
        text(head_dim=16, rope_parameters={**MROPE, "mrope_interleaved": True}),
        qwen3_tower(deepstack_visual_indexes=[0, 1]),
    ),
    Animal(
        "internvl",
        "InternVL",
        drawn=False,
        special={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        bos=False,
        decoder=text("qwen2"),
        tower=tower(image_size=[16, 16], patch_size=[4, 4]),
        ids={"image_token_id": "<IMG_CONTEXT>"},
        config={"image_seq_length": 4, "tie_word_embeddings": False},
        pixels=cropped("GotOcr2ImageProcessorPil"),
        options={"image_seq_length": 4},
        video=True,
        placeholder="<IMG_CONTEXT>",
    ),
    Animal(
        "llava_onevision",
        "LlavaOnevision",
        special={"image_token": "<image>", "video_token": "<video>"},
        bos=False,
        decoder=text("qwen2"),
        tower=siglip(image_size=16, patch_size=4),
        ids={"image_token_index": "<image>", "video_token_index": "<video>"},
        config={"image_grid_pinpoints": [[16, 16], [16, 32], [32, 16], [32, 32]]},
        pixels=(
            "LlavaOnevisionImageProcessorPil",
            {"size": square(16), "image_grid_pinpoints": [[16, 16], [16, 32], [32, 16], [32, 32]]},
        ),
        options={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        video=True,
    ),
    Animal(
        "smolvlm",
        "SmolVLM",
        special={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
        more=PLACES,
        decoder=text("llama"),
        tower=tower(image_size=16, patch_size=4),
        ids={"image_token_id": "<image>"},
        config={"scale_factor": 2, "pad_token_id": 0},
        # The longest edge becomes two tiles of 16: 2x2 tiles and the whole picture.
        pixels=("SmolVLMImageProcessorPil", {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}),
        processor=SmolVLMProcessor,
        options={"image_seq_len": 4},
        video=True,
        notes=NUM2WORDS,
    ),
    glm("glm4v", "Glm4v", text(rope_parameters=MROPE), glm_tower(), pixels="Glm4vImageProcessorPil"),
    Animal(
        "gemma4",
        "Gemma4",
        drawn=False,
        special={
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
        },
        more=["<|video|>"],
        decoder=text(
            head_dim=16,
            global_head_dim=16,
            num_global_key_value_heads=1,
            sliding_window=64,
            layer_types=["sliding_attention", "full_attention"] * 2,
            hidden_size_per_layer_input=6,
            vocab_size_per_layer_input=len,
            final_logit_softcapping=30.0,
        ),
        tower={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": 4,
            "position_embedding_size": 256,
        },
        ids={
            "boi_token_id": "<|image>",
            "eoi_token_id": "<image|>",
            "image_token_id": "<|image|>",
            "video_token_id": "<|video|>",
            "boa_token_id": "<|audio>",
            "eoa_token_index": "<audio|>",
            "audio_token_id": "<|audio|>",
        },
        config={"audio_config": None},
        pixels=("Gemma4ImageProcessorPil", {"patch_size": 4, "max_soft_tokens": 70}),
        options={"feature_extractor": lambda _: hf.Gemma4AudioFeatureExtractor(), "image_seq_length": 70},
        video=True,
        placeholder="<|image|>",
    ),
    Animal(
        "mistral3",
        "Mistral3",
        special={"image_token": "[IMG]"},
        more=["[IMG_BREAK]", "[IMG_END]"],
        decoder=text("mistral", head_dim=16),
        tower=tower(model_type="pixtral", image_size=64, patch_size=4),
        ids={"image_token_index": "[IMG]"},
        config={"spatial_merge_size": 2},
        pixels=("PixtralImageProcessorPil", {"size": {"longest_edge": 64}, "patch_size": 4}),
        processor="PixtralProcessor",
        options={"patch_size": 4, "spatial_merge_size": 2},
        video=True,
        placeholder="[IMG]",
    ),
    Animal(
        "llava",
        "Llava",
        special={"image_token": "[IMG]"},
        more=["[IMG_BREAK]", "[IMG_END]"],
        decoder=text("mistral", head_dim=16),
        tower=tower(model_type="pixtral", image_size=64, patch_size=8),
        ids={"image_token_index": "[IMG]"},
        config={"vision_feature_layer": -1, "vision_feature_select_strategy": "full"},
        pixels=("PixtralImageProcessorPil", {"size": {"longest_edge": 64}, "patch_size": 8}),
        processor="PixtralProcessor",
        options={"patch_size": 8},
        video=True,
        placeholder="[IMG]",
    ),
    qwen("qwen3_5", "Qwen3_5", text(**LINEAR), qwen3_tower(), processor="Qwen3VLProcessor", notes=LINEAR_WORDS),
    glm(
        "glm46v",
        "Glm46V",
        text("glm4v_text", rope_parameters=MROPE),
        {"model_type": "glm4v_vision", **glm_tower()},
        pixels="Glm46VImageProcessorPil",
    ),
    glm(
        "glm_ocr",
        "GlmOcr",
        text(head_dim=16, rope_parameters=MROPE),
        glm_tower(),
        pixels="Glm46VImageProcessorPil",
        processor="Glm46VProcessor",
    ),
    Animal(
        "minicpmv4_6",
        "MiniCPMV4_6",
        special={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "image_start_token": "<image>",
            "image_end_token": "</image>",
            "slice_start_token": "<slice>",
            "slice_end_token": "</slice>",
            "image_id_start_token": "<image_id>",
            "image_id_end_token": "</image_id>",
        },
        more=[str(number) for number in range(4)],
        bos=False,
        decoder=text("qwen3_5_text", **LINEAR),
        tower=tower(patch_size=4),
        ids={"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"},
        config={"insert_layer_id": 0, "image_size": 32},
        pixels=("MiniCPMV4_6ImageProcessorPil", {"patch_size": 4, "scale_resolution": 32, "max_slice_nums": 4}),
        video=True,
        placeholder="<|image_pad|>",
    ),
    qwen(
        "video_llama_3",
        "VideoLlama3",
        text("qwen2"),
        {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4},
        ids={"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"},
        pixels=qwen_pixels("VideoLlama3ImageProcessorPil"),
        placeholder="<|image_pad|>",
    ),
    Animal(
        "paddleocr_vl",
        "PaddleOCRVL",
        special={"image_token": "<|IMAGE_PLACEHOLDER|>"},
        more=["<|IMAGE_START|>", "<|IMAGE_END|>", "<|video_pad|>"],
        bos=False,
        decoder=text(head_dim=16, rope_parameters=MROPE),
        tower=tower(hidden_size=32, patch_size=4),
        ids={
            "image_token_id": "<|IMAGE_PLACEHOLDER|>",
            "video_token_id": "<|video_pad|>",
            "vision_start_token_id": "<|IMAGE_START|>",
            "vision_end_token_id": "<|IMAGE_END|>",
        },
        pixels=qwen_pixels("PaddleOCRVLImageProcessorPil"),
        placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
    ),
    qwen(
        "qwen3_vl_moe",
        "Qwen3VLMoe",
        text(head_dim=16, rope_parameters={**MROPE, "mrope_interleaved": True}, mlp_only_layers=[0], **experts()),
        qwen3_tower(deepstack_visual_indexes=[0, 1]),
        processor="Qwen3VLProcessor",
    ),
    qwen(
        "qwen3_5_moe",
        "Qwen3_5Moe",
        without("intermediate_size", text(**LINEAR, **experts(shared_expert_intermediate_size=48))),
        qwen3_tower(),
        processor="Qwen3VLProcessor",
        notes=LINEAR_WORDS,
    ),
    glm(
        "glm4v_moe",
        "Glm4vMoe",
        text(
            head_dim=16,
            rope_parameters={**MROPE, "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5},
            first_k_dense_replace=1,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
        ),
        glm_tower(),
        pixels="Glm4vImageProcessorPil",
        processor="Glm4vProcessor",
    ),
    Animal(
        "ernie4_5_vl_moe",
        "Ernie4_5_VLMoe",
        drawn=False,
        special=ERNIE,
        bos=False,
        decoder=text(
            rope_parameters={**MROPE, "mrope_section": [3, 3, 2]},
            moe_intermediate_size=[24, 16],
            moe_k=2,
            moe_num_experts=4,
            moe_num_shared_experts=1,
        ),
        tower=deep_tower(),
        ids={f"{name}_id": place for name, place in ERNIE.items()},
        pixels=qwen_pixels("Ernie4_5_VLMoeImageProcessorPil"),
        video=True,
        placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
    ),
    Animal(
        "hunyuan_vl",
        "HunYuanVL",
        special={"image_token": "<image>", "image_start_token": "<img>", "image_end_token": "</img>"},
        more=["<newline>"],
        decoder=text(
            head_dim=16, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2, 2]}
        ),
        tower={
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
        ids={"image_token_id": "<image>", "im_start_id": "<img>", "im_end_id": "</img>", "im_newline_id": "<newline>"},
        pixels=qwen_pixels("HunYuanVLImageProcessorPil"),
        placeholder="<img><image></img>",
    ),
    qwen(
        "exaone4_5",
        "Exaone4_5_",
        text("exaone4", head_dim=16, sliding_window=64, sliding_window_pattern=4),
        deep_tower(num_key_value_heads=1, window_size=16, out_hidden_size=32, fullatt_block_indexes=[1]),
        ids={"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"},
        placeholder="<|image_pad|>",
    ),
    Animal(
        "qianfan_ocr",
        "QianfanOCR",
        drawn=False,
        special={"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"},
        bos=False,
        decoder=text("qwen3", head_dim=16),
        tower=tower(image_size=[16, 16], patch_size=[4, 4]),
        ids={"image_token_id": "<IMG_CONTEXT>"},
        config={"image_seq_length": 4},
        pixels=cropped("GotOcr2ImageProcessorPil"),
        options={"image_seq_length": 4},
    ),
    Animal(
        "qwen2_5_omni_thinker",
        "Qwen2_5OmniThinker",
        special={
            "image_token": "<|IMAGE|>",
            "video_token": "<|VIDEO|>",
            "audio_token": "<|AUDIO|>",
            "vision_bos_token": "<|vision_bos|>",
            "vision_eos_token": "<|vision_eos|>",
            "audio_bos_token": "<|audio_bos|>",
            "audio_eos_token": "<|audio_eos|>",
        },
        bos=False,
        decoder=text(rope_parameters=MROPE),
        tower=deep_tower(window_size=16, out_hidden_size=32, fullatt_block_indexes=[1]),
        ids={
            "user_token_id": "user",
            "image_token_index": "<|IMAGE|>",
            "video_token_index": "<|VIDEO|>",
            "audio_token_index": "<|AUDIO|>",
            "vision_start_token_id": "<|vision_bos|>",
            "vision_end_token_id": "<|vision_eos|>",
            "audio_start_token_id": "<|audio_bos|>",
            "audio_end_token_id": "<|audio_eos|>",
        },
        config={
            "audio_config": {
                "num_mel_bins": 16,
                "encoder_layers": 1,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": 24,
                "d_model": 16,
                "max_source_positions": 32,
                "n_window": 4,
                "output_dim": 32,
            }
        },
        pixels=qwen_pixels(),
        processor="Qwen2_5OmniProcessor",
        options={"feature_extractor": lambda _: hf.WhisperFeatureExtractor(feature_size=16)},
        video=True,
        placeholder="<|vision_bos|><|IMAGE|><|vision_eos|>",
    ),
    Animal(
        "llama4",
        "Llama4",
        special={"image_token": "<|image|>"},
        more=["<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>", "<|tile_y_separator|>"],
        decoder=text(
            head_dim=16,
            intermediate_size=20,
            intermediate_size_mlp=48,
            num_local_experts=4,
            num_experts_per_tok=2,
            interleave_moe_layer_step=2,
            attention_chunk_size=256,
        ),
        tower=tower(
            hidden_size=32,
            intermediate_size=128,
            image_size=24,
            patch_size=4,
            vision_output_dim=24,
            projector_input_dim=24,
            projector_output_dim=24,
        ),
        ids={
            "boi_token_index": "<|image_start|>",
            "eoi_token_index": "<|image_end|>",
            "image_token_index": "<|patch|>",
        },
        pixels=(Llama4Pixels, {"tile": 24, "most": 6}),
        options={"patch_size": 4, "pixel_shuffle_ratio": 0.5},
        placeholder="<|image|>",
        notes=STANDS_IN,
        handmade=True,
    ),
    Animal(
        "cohere2_vision",
        "Cohere2Vision",
        special={
            "image_token": "<|IMG_PATCH|>",
            "boi_token": "<|START_OF_IMG|>",
            "eoi_token": "<|END_OF_IMG|>",
            "img_line_break_token": "<|IMG_LINE_BREAK|>",
        },
        decoder=text(
            "cohere2", sliding_window=64, logit_scale=1.0, layer_types=["sliding_attention"] * 3 + ["full_attention"]
        ),
        tower=siglip(image_size=16, patch_size=4),
        ids={"image_token_id": "<|IMG_PATCH|>"},
        config={"alignment_intermediate_size": 56},
        pixels=(Cohere2Pixels, {"tile": 16, "most": 6, "patch_size": 2}),
        placeholder="<|IMG_PATCH|>",
        notes=STANDS_IN,
        handmade=True,
    ),
    Animal(
        "lfm2_vl",
        "Lfm2Vl",
        special={
            "image_token": "<image>",
            "image_start_token": "<|image_start|>",
            "image_end_token": "<|image_end|>",
            "image_thumbnail_token": "<|img_thumbnail|>",
        },
        more=[f"<|img_row_{row}_col_{column}|>" for row in range(1, 7) for column in range(1, 7)],
        decoder=text(
            "lfm2", block_auto_adjust_ff_dim=False, layer_types=["conv", "full_attention", "conv", "full_attention"]
        ),
        tower={
            "model_type": "siglip2_vision_model",
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "num_patches": 16,
            "vision_use_head": False,
        },
        ids={"image_token_id": "<image>"},
        config={"projector_hidden_size": 56},
        pixels=(
            Lfm2Pixels,
            {
                "tile_size": 16,
                "max_tiles": 6,
                "max_image_tokens": 8,
                "encoder_patch_size": 4,
                "downsample_factor": 2,
                "use_thumbnail": True,
            },
        ),
        notes=STANDS_IN,
        handmade=True,
    ),
    Animal(
        "molmo2",
        "Molmo2",
        after=loud_projector,
        special={"image_token": "<|image|>", "video_token": "<|video|>"},
        more=[
            *["<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<im_end>", "<im_low>"],
            "<frame_start>",
            "<frame_end>",
        ],
        bos=False,
        decoder=text(head_dim=16, additional_vocab_size=8),
        tower=tower(num_key_value_heads=2, head_dim=12, image_size=[16, 16], patch_size=4),
        ids={
            "image_start_token_id": "<im_start>",
            "low_res_image_start_token_id": "<low_res_im_start>",
            "image_end_token_id": "<im_end>",
            "image_patch_id": "<im_patch>",
            "frame_start_token_id": "<frame_start>",
            "frame_end_token_id": "<frame_end>",
        },
        config={
            "adapter_config": {
                "vision_feature_layer": [1, 0],
                "hidden_size": 24,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 12,
                "intermediate_size": 56,
                "text_hidden_size": 32,
            }
        },
        pixels=(Molmo2Pixels, {"crop": 16, "patch": 4, "most": 6}),
        video=True,
        placeholder="<|image|>",
        notes=STANDS_IN,
        handmade=True,
    ),
    Animal(
        "kimi_k25",
        "Kimi_K25",
        special={"image_token": "<|media_pad|>", "video_token": "<|kimi_k25_video_placeholder|>"},
        more=["<|media_begin|>", "<|media_end|>", "<|media_content|>"],
        bos=False,
        decoder=text(
            "deepseek_v3",
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
        tower={
            "hidden_size": 32,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": 4,
            "pos_emb_height": 8,
            "pos_emb_width": 8,
        },
        ids={
            "image_token_id": "<|media_pad|>",
            "video_token_id": "<|kimi_k25_video_placeholder|>",
            "vision_start_token_id": "<|media_begin|>",
            "vision_end_token_id": "<|media_end|>",
        },
        config={"projection_hidden_size": 32},
        pixels=(KimiPixels, {"patch_size": 4, "merge_size": 2}),
        video=True,
        placeholder="<|media_begin|>image<|media_content|><|media_pad|><|media_end|>",
        notes=STANDS_IN,
        handmade=True,
    ),
)
