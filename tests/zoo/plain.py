"""Tiny models of families whose whole Processor works on PIL."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers as hf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn

from neuronscope.models.processor import without_video

from .animal import WORDS, Animal, always, louder, words_tokenizer
from .video import IDS, finish, ids_of, text

LOST = "the processor's number of {} is an attribute that save_pretrained drops: save and load the model only"
FORGETS = (
    "AutoModelForImageTextToText loads the files that save_pretrained of its own class wrote with a text model drawn "
    "anew (keys model.model.language_model.model.* are not used; a warning only); its Processor ignores the text and "
    "writes one prompt per policy: the one here is the usual prompt"
)
FUYU = (
    "with the real image processor on PIL the Processor fails (TypeError: transpose() takes 2 positional arguments but "
    "5 were given): a subclass here takes its tensors; from files the real one comes back"
)
TWO_SIDES = "encoder-decoder: the prompt and the image tokens are in the encoder's input"


def tower(**more: Any) -> dict[str, Any]:
    """Settings of a tiny vision tower: 2 layers, width 24, FFN width 40."""
    settings = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    return {**settings, **more}


def clip(**more: Any) -> dict[str, Any]:
    return {"model_type": "clip_vision_model", **tower(projection_dim=24, **more)}


def blip_tower() -> dict[str, Any]:
    """The class draws its weights with a deviation of 1e-10, which no factor makes loud."""
    return tower(initializer_range=0.02)


def siglip(**more: Any) -> dict[str, Any]:
    return {"model_type": "siglip_vision_model", **tower(vision_use_head=False, **more)}


def made(model_class: Any, config: Any) -> nn.Module:
    """As finish(), with what starts at one value everywhere (queries, position tables) drawn, as training would."""
    model = finish(model_class, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.normal_(std=0.06)
    return model


def softer(queries: nn.Parameter) -> None:
    """Queries drawn with a deviation of 1 and made louder would look at themselves, not at the image."""
    with torch.no_grad():
        queries.mul_(0.05)


def open_gates(model: nn.Module, *names: str) -> nn.Module:
    """Cross-attention starts behind gates at zero; here the image has to be seen."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(names):
                parameter.fill_(1.0)
    return model


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def clip_pixels(side: int = 32) -> Any:
    return hf.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square(side))


def llava() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"})
    config = hf.LlavaConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=clip(),
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    processor = hf.LlavaProcessor(
        clip_pixels(),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return made(hf.LlavaForConditionalGeneration, config), processor


def vipllava() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"})
    config = hf.VipLlavaConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=clip(num_hidden_layers=3),
        vision_feature_layers=[-1, -2, -3],
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    processor = hf.LlavaProcessor(
        clip_pixels(),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return made(hf.VipLlavaForConditionalGeneration, config), processor


def llava_next() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"})
    grids = [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]]
    config = hf.LlavaNextConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=clip(image_size=16, patch_size=4),
        image_grid_pinpoints=grids,
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    pixels = hf.LlavaNextImageProcessorPil(size={"shortest_edge": 16}, crop_size=square(16), image_grid_pinpoints=grids)
    processor = hf.LlavaNextProcessor(
        pixels, tokenizer, patch_size=4, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return made(hf.LlavaNextForConditionalGeneration, config), processor


def paligemma() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"}, bos=False)
    pixels = hf.SiglipImageProcessorPil(size=square(32), image_seq_length=16)
    # The processor adds 1152 tokens for places and segments, so it comes before the config.
    processor = hf.PaliGemmaProcessor(pixels, tokenizer)
    config = hf.PaliGemmaConfig(
        text_config={"model_type": "gemma", **text(tokenizer, head_dim=16)},
        vision_config=siglip(),
        projection_dim=32,
        **IDS,
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    return made(hf.PaliGemmaForConditionalGeneration, config), processor


GEMMA = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
SLIDING = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2}


def gemma_parts() -> tuple[dict[str, Any], Any]:
    """Settings of a Gemma 3 config, and its processor."""
    tokenizer = words_tokenizer(GEMMA)
    settings = {
        "text_config": text(tokenizer, head_dim=16, query_pre_attn_scalar=16, **SLIDING),
        "vision_config": siglip(patch_size=4),
        "mm_tokens_per_image": 16,
        **ids_of(
            tokenizer,
            image_token_index="<image_soft_token>",
            boi_token_index="<start_of_image>",
            eoi_token_index="<end_of_image>",
        ),
    }
    pixels = hf.Gemma3ImageProcessorPil(size=square(32))
    return settings, hf.Gemma3Processor(pixels, tokenizer, image_seq_length=16)


def gemma3() -> tuple[nn.Module, Any]:
    settings, processor = gemma_parts()
    return made(hf.Gemma3ForConditionalGeneration, hf.Gemma3Config(**settings)), processor


def aya_vision() -> tuple[nn.Module, Any]:
    more = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL"]
    tokenizer = words_tokenizer({"image_token": "<image>"}, [*more, *(f"TILE_{number}" for number in range(1, 13))])
    config = hf.AyaVisionConfig(
        text_config={"model_type": "cohere2", **text(tokenizer, logit_scale=1.0, **SLIDING)},
        vision_config=siglip(image_size=16, patch_size=4),
        vision_feature_select_strategy="full",
        downsample_factor=2,
        alignment_intermediate_size=56,
        **ids_of(tokenizer, image_token_index="<|IMG_PATCH|>"),
    )
    pixels = hf.GotOcr2ImageProcessorPil(size=square(16), crop_to_patches=True, min_patches=1, max_patches=6)
    processor = hf.AyaVisionProcessor(pixels, tokenizer, patch_size=4, img_size=16, downsample_factor=2)
    return made(hf.AyaVisionForConditionalGeneration, config), processor


PLACES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
IDEFICS = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *PLACES]


def idefics3() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({}, IDEFICS)
    # The longest edge becomes two tiles of 16: 2x2 tiles and the whole picture.
    pixels = hf.Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    processor = hf.Idefics3Processor(pixels, tokenizer, image_seq_len=4)
    config = hf.Idefics3Config(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=tower(image_size=16, patch_size=4),
        scale_factor=2,
        pad_token_id=0,
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    return made(hf.Idefics3ForConditionalGeneration, config), processor


def idefics2() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({}, ["<image>", "<fake_token_around_image>", "<end_of_utterance>"])
    pixels = hf.Idefics2ImageProcessorPil(size={"shortest_edge": 24, "longest_edge": 32}, do_image_splitting=True)
    processor = hf.Idefics2Processor(pixels, tokenizer, image_seq_len=6)
    config = hf.Idefics2Config(
        text_config={"model_type": "mistral", **text(tokenizer, head_dim=16, sliding_window=None)},
        vision_config=tower(),
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 6,
            "resampler_depth": 2,
            "resampler_n_heads": 2,
            "resampler_head_dim": 12,
            "num_key_value_heads": 1,
        },
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    return made(hf.Idefics2ForConditionalGeneration, config), processor


def ovis2() -> tuple[nn.Module, Any]:
    indicators = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = words_tokenizer({"image_token": "<image>"}, ["<IMG_ATOM>", *indicators], bos=False)
    config = hf.Ovis2Config(
        text_config={"model_type": "qwen2", **text(tokenizer)},
        vision_config=tower(image_size=16, patch_size=4, hidden_stride=2, vocab_size=60),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(indicators),
        vocab_size=len(tokenizer),
        hidden_size=32,
        **ids_of(tokenizer, image_token_id="<IMG_ATOM>"),
    )
    pixels = hf.Ovis2ImageProcessorPil(size=square(16), crop_to_patches=True, min_patches=1, max_patches=6)
    processor = hf.Ovis2Processor(pixels, tokenizer, image_seq_length=4)
    return made(hf.Ovis2ForConditionalGeneration, config), processor


GOT_TOWER = {
    "hidden_size": 24,
    "output_channels": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 4,
    "window_size": 4,
    "global_attn_indexes": [1],
    "mlp_dim": 40,
    "initializer_range": 0.02,
}


def got_words() -> Any:
    return words_tokenizer({"image_token": "<imgpad>"}, ["<img>", "</img>", "<|im_start|>", "<|im_end|>"])


def got_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "qwen2", **text(tokenizer)},
        "vision_config": GOT_TOWER,
        "image_seq_length": 16,
        **ids_of(tokenizer, image_token_index="<imgpad>"),
    }


def got_ocr2() -> tuple[nn.Module, Any]:
    tokenizer = got_words()
    processor = always(
        hf.GotOcr2Processor(hf.GotOcr2ImageProcessorPil(size=square(64)), tokenizer), num_image_tokens=16
    )
    config = hf.GotOcr2Config(**got_settings(tokenizer))
    return made(hf.GotOcr2ForConditionalGeneration, config), processor


def janus() -> tuple[nn.Module, Any]:
    special = {"image_token": "<image_placeholder>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    tokenizer = words_tokenizer(special)
    config = hf.JanusConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config={
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "mlp_ratio": 2,
            "projection_dim": 32,
            "num_image_tokens": 16,
        },
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "latent_channels": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 1,
            "num_patches": 4,
            "projection_dim": 32,
            "image_token_embed_dim": 32,
        },
        **ids_of(tokenizer, image_token_id="<image_placeholder>"),
    )
    pixels = hf.JanusImageProcessorPil(size=square(32), min_size=8)
    processor = hf.JanusProcessor(pixels, tokenizer, num_image_tokens=16)
    processor.num_image_tokens = 16  # before 5.13 the class has a number of its own
    return made(hf.JanusForConditionalGeneration, config), processor


def deepseek_vl() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image_placeholder>"})
    config = hf.DeepseekVLConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=siglip(),
        **ids_of(tokenizer, image_token_id="<image_placeholder>"),
    )
    pixels = hf.DeepseekVLImageProcessorPil(size=square(32), min_size=8)
    processor = hf.DeepseekVLProcessor(pixels, tokenizer, num_image_tokens=16)
    return made(hf.DeepseekVLForConditionalGeneration, config), processor


QFORMER = {
    "vocab_size": 64,
    "hidden_size": 20,
    "intermediate_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "encoder_hidden_size": 24,
    "max_position_embeddings": 64,
}


def look(qformer: Any) -> None:
    """The queries are normalised to deviation 1: what they take from the image has to be as large."""
    louder(qformer.encoder.layer[0].crossattention)


def blip_2() -> tuple[nn.Module, Any]:
    # The processor reads a token object where the tokenizer has no image_token: it adds its own <image>.
    tokenizer = words_tokenizer()
    pixels = hf.BlipImageProcessorPil(size=square(32))
    processor = hf.Blip2Processor(pixels, tokenizer, num_query_tokens=6)
    words = text(tokenizer)
    config = hf.Blip2Config(
        text_config={
            "model_type": "opt",
            "vocab_size": words["vocab_size"],
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "max_position_embeddings": 512,
            **IDS,
        },
        vision_config=blip_tower(),
        qformer_config=QFORMER,
        num_query_tokens=6,
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    model = made(hf.Blip2ForConditionalGeneration, config)
    look(model.qformer)
    return model, processor


def instructblip() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer()
    pixels = hf.BlipImageProcessorPil(size=square(32))
    processor = hf.InstructBlipProcessor(pixels, tokenizer, words_tokenizer(), num_query_tokens=6)
    config = hf.InstructBlipConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=blip_tower(),
        qformer_config=QFORMER,
        num_query_tokens=6,
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    model = made(hf.InstructBlipForConditionalGeneration, config)
    look(model.qformer)
    return model, processor


def mllama() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<|image|>"}, ["<|python_tag|>"])
    config = hf.MllamaConfig(
        text_config=text(tokenizer, cross_attention_layers=[1, 3]),
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_output_dim": 72,
            "intermediate_layers_indices": [0, 1],
        },
        **ids_of(tokenizer, image_token_index="<|image|>"),
    )
    pixels = hf.MllamaImageProcessorPil(size=square(16), max_image_tiles=4)
    model = open_gates(made(hf.MllamaForConditionalGeneration, config), "gate")
    return model, hf.MllamaProcessor(pixels, tokenizer)


def fuyu_tokenizer() -> Any:
    """Words, and like SentencePiece an underscore before each text: the processor counts on that."""
    marks = ["\u2581", "|SPEAKER|", "|NEWLINE|", "<0x04>"]
    vocab = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *marks, *WORDS])}
    core = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    upper = [normalizers.Replace(mark.lower(), mark) for mark in marks[1:3]]
    core.normalizer = normalizers.Sequence([normalizers.Lowercase(), *upper, normalizers.Prepend(marks[0])])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\u2581|\\|SPEAKER\\||\\|NEWLINE\\||<0x04>|[.,:!?]"), "isolated"),
            pre_tokenizers.WhitespaceSplit(),
        ]
    )
    core.decoder = decoders.WordPiece()
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
    )


class FuyuImageProcessorPil(hf.FuyuImageProcessorPil):
    """The real one, which takes the tensors that its own Processor hands it."""

    def patchify_image(self, image: Any, patch_size: Any = None) -> Any:
        return torch.from_numpy(super().patchify_image(np.asarray(image), patch_size))


def fuyu() -> tuple[nn.Module, Any]:
    tokenizer = fuyu_tokenizer()
    settings = text(tokenizer, hidden_act="relu2", qk_layernorm=True)
    del settings["num_key_value_heads"]
    config = hf.FuyuConfig(
        text_config={"model_type": "persimmon", **settings},
        image_size=48,
        patch_size=8,
        **IDS,
        **ids_of(tokenizer, image_token_id="|SPEAKER|"),
    )
    pixels = FuyuImageProcessorPil(size={"height": 40, "width": 48}, patch_size=square(8))
    return made(hf.FuyuForCausalLM, config), hf.FuyuProcessor(pixels, tokenizer)


def heard(projection: Any) -> None:
    """What comes in has length 1, and its queries are among their own keys."""
    softer(projection.latent_query)
    louder(projection.dense, 12.0)
    louder(projection.x_attn, 4.0)


def kosmos_2() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer(bos=False)
    processor = always(hf.Kosmos2Processor(clip_pixels(), tokenizer, num_patch_index_tokens=4), num_image_tokens=6)
    config = hf.Kosmos2Config(
        text_config={
            "vocab_size": len(tokenizer),
            "embed_dim": 32,
            "ffn_dim": 48,
            "layers": 4,
            "attention_heads": 2,
            "max_position_embeddings": 512,
            **IDS,
        },
        vision_config=tower(),
        latent_query_num=6,
        **IDS,
    )
    model = made(hf.Kosmos2ForConditionalGeneration, config)
    heard(model.image_to_text_projection)
    return model, processor


def chameleon() -> tuple[nn.Module, Any]:
    codes = [f"IMGIMG{chr(65 + number // 10)}{chr(65 + number % 10)}Z" for number in range(16)]
    special = {"image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>"}
    tokenizer = words_tokenizer(special, ["<reserved08706>", *codes], sep_token="<reserved08706>")
    config = hf.ChameleonConfig(
        **text(tokenizer),
        vocabulary_map=tokenizer.get_vocab(),
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "latent_channels": 32,
            "resolution": 32,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "num_res_blocks": 1,
        },
    )
    pixels = hf.ChameleonImageProcessorPil(size={"shortest_edge": 32}, crop_size=square(32))
    processor = hf.ChameleonProcessor(pixels, tokenizer, image_seq_length=16)
    return made(hf.ChameleonForConditionalGeneration, config), processor


def git() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer()
    settings = text(tokenizer)
    del settings["num_key_value_heads"]
    config = hf.GitConfig(**settings, vision_config=tower())
    return made(hf.GitForCausalLM, config), hf.GitProcessor(clip_pixels(), tokenizer)


def ends_too(tokenizer: Any) -> Any:
    """</s> after every text, as BERT's [SEP]: generate() of BLIP cuts the last token off."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def blip() -> tuple[nn.Module, Any]:
    tokenizer = ends_too(words_tokenizer())
    settings = text(tokenizer, encoder_hidden_size=24, sep_token_id=2)
    del settings["num_key_value_heads"]
    config = hf.BlipConfig(text_config=settings, vision_config=blip_tower(), **IDS)
    pixels = hf.BlipImageProcessorPil(size=square(32))
    return made(hf.BlipForConditionalGeneration, config), hf.BlipProcessor(pixels, tokenizer)


def florence2() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"})
    config = hf.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 4,
            "decoder_layers": 4,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": 512,
            # A checkpoint starts with </s>. Random tied weights repeat what they read, and would stop at once.
            "decoder_start_token_id": 1,
            "forced_eos_token_id": None,
            **IDS,
        },
        vision_config={
            "depths": [1, 1],
            "patch_size": [7, 3],
            "patch_stride": [4, 2],
            "patch_padding": [3, 1],
            "patch_prenorm": [False, True],
            "embed_dim": [16, 24],
            "num_heads": [2, 2],
            "num_groups": [2, 2],
            "window_size": 4,
            "projection_dim": 32,
        },
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    pixels = hf.CLIPImageProcessorPil(size=square(32), do_center_crop=False, image_seq_length=17)
    model = made(hf.Florence2ForConditionalGeneration, config)
    return model, hf.Florence2Processor(pixels, tokenizer)


def lighton_ocr() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<|image_pad|>",
        "image_break_token": "<|vision_pad|>",
        "image_end_token": "<|vision_end|>",
    }
    tokenizer = words_tokenizer(special, bos=False)
    config = hf.LightOnOcrConfig(
        text_config={"model_type": "qwen3", **text(tokenizer, head_dim=16)},
        vision_config={"model_type": "pixtral", **tower(image_size=64, patch_size=4)},
        **ids_of(tokenizer, image_token_id="<|image_pad|>"),
    )
    pixels = hf.PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size=4)
    processor = hf.LightOnOcrProcessor(pixels, tokenizer, patch_size=4, spatial_merge_size=2)
    return made(hf.LightOnOcrForConditionalGeneration, config), processor


#: Milder than a checkpoint's, at which so narrow a model hears the last word only. None is 1.
GRANITE = {
    "embedding_multiplier": 2.0,
    "logits_scaling": 1.5,
    "residual_multiplier": 0.75,
    "attention_multiplier": 0.2,
}


def granite_docling() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"}, IDEFICS)
    config = hf.GraniteDoclingConfig(
        text_config=text(tokenizer, **GRANITE),
        vision_config=tower(
            image_size=16, patch_size=4, out_hidden_size=32, scale_factor=2, deepstack_visual_indexes=[0, 1]
        ),
        pad_token_id=0,
        **ids_of(tokenizer, image_token_id="<image>"),
    )
    pixels = hf.GraniteDoclingImageProcessorPil(size=square(16), max_patches=6)
    processor = hf.GraniteDoclingProcessor(pixels, tokenizer, image_seq_len=4)
    return made(hf.GraniteDoclingForConditionalGeneration, config), processor


def aria() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<|img|>"})
    config = hf.AriaConfig(
        text_config={
            "model_type": "aria_text",
            **text(tokenizer, intermediate_size=24, moe_num_experts=4, moe_topk=2, moe_num_shared_experts=2),
        },
        vision_config={"model_type": "idefics3_vision", **tower(image_size=980, patch_size=140)},
        projector_patch_to_query_dict={49: 6},
        **ids_of(tokenizer, image_token_index="<|img|>"),
    )
    # The Processor asks for 980 pixels whatever its image processor says, so the patches are large.
    processor = hf.AriaProcessor(hf.AriaImageProcessorPil(), tokenizer, size_conversion={980: 6})
    return made(hf.AriaForConditionalGeneration, config), processor


def idefics() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"}, ["<fake_token_around_image>", "<end_of_utterance>"])
    settings = text(tokenizer)
    del settings["num_key_value_heads"]
    config = hf.IdeficsConfig(
        **settings,
        alpha_initializer="ones",
        cross_layer_interval=2,
        use_resampler=True,
        vision_config={
            "embed_dim": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        perceiver_config={
            "resampler_n_latents": 6,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 12,
        },
    )
    pixels = hf.IdeficsImageProcessorPil(size=square(32), image_size=32)
    model = made(hf.IdeficsForVisionText2Text, config)
    softer(model.model.perceiver_resampler.latents)
    return model, hf.IdeficsProcessor(pixels, tokenizer)


def emu3() -> tuple[nn.Module, Any]:
    special = {
        "image_token": "<image>",
        "boi_token": "<|image start|>",
        "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>",
        "eof_token": "<|extra_201|>",
    }
    codes = [f"<|visual token {number:06d}|>" for number in range(16)]
    tokenizer = words_tokenizer(special, ["<|extra_200|>", *codes])
    config = hf.Emu3Config(
        text_config=text(tokenizer),
        vq_config={
            "codebook_size": 16,
            "embed_dim": 4,
            "latent_channels": 4,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "num_res_blocks": 1,
            "hidden_size": 32,
        },
        vocabulary_map=tokenizer.get_vocab(),
    )
    pixels = hf.Emu3ImageProcessor(min_pixels=32 * 32, max_pixels=64 * 64)
    return made(hf.Emu3ForConditionalGeneration, config), hf.Emu3Processor(pixels, tokenizer)


def granite4_vision() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>"})
    grids = [[16, 32], [32, 16], [32, 32]]
    config = hf.Granite4VisionConfig(
        text_config=text(tokenizer, **GRANITE),
        # The class gives its queries one head per 64 channels, so there must be 64.
        vision_config=siglip(hidden_size=64, image_size=16, patch_size=2),
        qformer_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 64,  # newer releases put the tower's here
            "encoder_hidden_size": 64,
            "num_attention_heads": 1,
            "num_hidden_layers": 1,
            "intermediate_size": 36,
            "cross_attention_frequency": 1,
            "max_position_embeddings": 64,
            "vocab_size": 8,
            "use_qformer_text_input": False,
        },
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        image_grid_pinpoints=grids,
        image_seq_length=16,
        downsample_rate="2/4",
        deepstack_layer_map=[[-2, 0], [-1, 2]],
        spatial_target_layers=[0, 1, 2, 3],
        **ids_of(tokenizer, image_token_index="<image>"),
    )
    pixels = hf.LlavaNextImageProcessorPil(size={"shortest_edge": 16}, crop_size=square(16), image_grid_pinpoints=grids)
    processor = hf.Granite4VisionProcessor(
        pixels, tokenizer, patch_size=2, vision_feature_select_strategy="full", downsample_rate="2/4"
    )
    return made(hf.Granite4VisionForConditionalGeneration, config), processor


def deepseek_vl_hybrid() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image_placeholder>"})
    config = hf.DeepseekVLHybridConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=siglip(),
        high_res_vision_config={"model_type": "sam_vision_model", **GOT_TOWER, "num_pos_feats": 12},
        **ids_of(tokenizer, image_token_id="<image_placeholder>"),
    )
    pixels = hf.DeepseekVLHybridImageProcessorPil(size=square(32), min_size=8, high_res_size=square(64))
    processor = hf.DeepseekVLHybridProcessor(pixels, tokenizer, num_image_tokens=16)
    return made(hf.DeepseekVLHybridForConditionalGeneration, config), processor


def shieldgemma2() -> tuple[nn.Module, Any]:
    settings, plain = gemma_parts()
    processor = hf.ShieldGemma2Processor(
        plain.image_processor,
        plain.tokenizer,
        chat_template="<start_of_image>{{ messages[0]['content'][1]['text'] }}",
        image_seq_length=16,
        policy_definitions={"bear": "The image shows a"},
    )
    return made(hf.Gemma3ForConditionalGeneration, hf.ShieldGemma2Config(**settings)), processor


def llava_next_video() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>", "video_token": "<video>"})
    grids = [[16, 32], [32, 16], [32, 32]]
    config = hf.LlavaNextVideoConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=clip(image_size=16, patch_size=4),
        image_grid_pinpoints=grids,
        **ids_of(tokenizer, image_token_index="<image>", video_token_index="<video>"),
    )
    pixels = hf.LlavaNextImageProcessorPil(size={"shortest_edge": 16}, crop_size=square(16), image_grid_pinpoints=grids)
    processor = without_video(
        hf.LlavaNextVideoProcessor,
        pixels,
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return made(hf.LlavaNextVideoForConditionalGeneration, config), processor


def video_llava() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<image>", "video_token": "<video>"})
    config = hf.VideoLlavaConfig(
        text_config={"model_type": "llama", **text(tokenizer)},
        vision_config=clip(),
        **ids_of(tokenizer, image_token_index="<image>", video_token_index="<video>"),
    )
    pixels = hf.VideoLlavaImageProcessor(size={"shortest_edge": 32}, crop_size=square(32))
    processor = without_video(hf.VideoLlavaProcessor, pixels, tokenizer, patch_size=8)
    return made(hf.VideoLlavaForConditionalGeneration, config), processor


def kosmos_2_5() -> tuple[nn.Module, Any]:
    tokenizer = words_tokenizer({"image_token": "<s>", "boi_token": "<image>", "eoi_token": "</image>"}, bos=False)
    config = hf.Kosmos2_5Config(
        text_config={
            "vocab_size": len(tokenizer),
            "embed_dim": 32,
            "ffn_dim": 48,
            "layers": 4,
            "attention_heads": 2,
            "max_position_embeddings": 512,
            **IDS,
        },
        vision_config={
            "hidden_size": 24,
            "patch_embed_hidden_size": 192,
            "intermediate_size": 40,
            "head_dim": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_num_patches": 64,
        },
        latent_query_num=6,
        **IDS,
    )
    pixels = hf.Kosmos2_5ImageProcessorPil(max_patches=30, patch_size=square(8))
    processor = always(hf.Kosmos2_5Processor(pixels, tokenizer, num_image_tokens=6), max_patches=30)
    model = made(hf.Kosmos2_5ForConditionalGeneration, config)
    heard(model.image_to_text_projection)
    return model, processor


def t5gemma2() -> tuple[nn.Module, Any]:
    settings, processor = gemma_parts()
    words = settings["text_config"]
    config = hf.T5Gemma2Config(encoder=settings, decoder=words, image_token_index=settings["image_token_index"], **IDS)
    return made(hf.T5Gemma2ForConditionalGeneration, config), processor


ANIMALS: tuple[Animal, ...] = (
    Animal("llava", llava),
    Animal("vipllava", vipllava),
    Animal("llava_next", llava_next),
    Animal("paligemma", paligemma, template="{image}{prompt}"),
    Animal("gemma3", gemma3, placeholder="<start_of_image>"),
    Animal("aya_vision", aya_vision),
    Animal("idefics3", idefics3),
    Animal("idefics2", idefics2),
    Animal("ovis2", ovis2),
    Animal("got_ocr2", got_ocr2, placeholder="<img><imgpad></img>", notes=LOST.format("image tokens")),
    Animal("janus", janus, placeholder="<image_placeholder>"),
    Animal("deepseek_vl", deepseek_vl, placeholder="<image_placeholder>"),
    Animal("blip-2", blip_2, template="{image}{prompt}", placeholder=""),
    Animal("instructblip", instructblip, template="{image}{prompt}", placeholder=""),
    Animal("mllama", mllama, placeholder="<|image|>"),
    Animal("fuyu", fuyu, template="{image}{prompt}", placeholder="", notes=FUYU, handmade=True),
    Animal("kosmos-2", kosmos_2, template="{image}{prompt}", placeholder="", notes=LOST.format("image tokens")),
    Animal("chameleon", chameleon),
    Animal("git", git, template="{image}{prompt}", placeholder=""),
    Animal("blip", blip, template="{image}{prompt}", placeholder=""),
    Animal("florence2", florence2, template="{image}{prompt}", placeholder="", notes=TWO_SIDES),
    Animal("lighton_ocr", lighton_ocr, placeholder="<|image_pad|>"),
    Animal("granite_docling", granite_docling),
    Animal("aria", aria, placeholder="<|img|>"),
    Animal("idefics", idefics, template="{image}{prompt}", placeholder=""),
    Animal("emu3", emu3),
    Animal("granite4_vision", granite4_vision),
    Animal("deepseek_vl_hybrid", deepseek_vl_hybrid, placeholder="<image_placeholder>"),
    Animal("shieldgemma2", shieldgemma2, placeholder="<start_of_image>", notes=FORGETS),
    Animal("llava_next_video", llava_next_video),
    Animal("video_llava", video_llava),
    Animal("kosmos-2.5", kosmos_2_5, template="{image}{prompt}", placeholder="", notes=LOST.format("patches")),
    Animal(
        "t5gemma2",
        t5gemma2,
        placeholder="<start_of_image>",
        notes=f"{TWO_SIDES}; forward wants decoder_input_ids, which the processor does not make",
    ),
)
