"""From the published files to a checkpoint directory that neuronscope and transformers load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from ...errors import UnsupportedModel
from ...files import is_file
from ...types import whole_number
from ..conversion.keys import read_tensors, require_file
from ..conversion.llama import read_tokenizer
from ..conversion.write import build_model, dtype_of, fit_tokenizer, require_writable, write_checkpoint
from ..weight_files import require_safetensors
from .convert import LORA_ALPHA, QFORMER_DEPTH, TOWER_DEPTH, Converted, MiniGPT4Report, convert
from .modeling import MiniGPT4ForConditionalGeneration
from .processing import make_processor


def convert_files(
    vit: str | Path,
    llama: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    *,
    qformer: str | Path | None = None,
    image_size: int | None = None,
    dtype: str = "auto",
    depth: int = TOWER_DEPTH,
    qformer_depth: int = QFORMER_DEPTH,
    lora_alpha: float = LORA_ALPHA,
) -> MiniGPT4Report:
    """Convert and write a checkpoint directory; `conversion.json` in it is the report.

    Args:
        vit: .pth or .safetensors file with the tower.
        llama: directory with Llama in the format of transformers, safetensors only.
        checkpoint: .pth or .safetensors file of MiniGPT-4.
        out: directory to make. It appears when it is whole, or not at all.
        qformer: .pth or .safetensors file of BLIP-2; for the Vicuna versions only.
        image_size: side of the processed picture; 448 with LoRA (MiniGPT-v2), else 224.
        dtype: of all weights: float32, bfloat16, float16, or auto for the decoder's.
        depth: number of blocks of the tower.
        qformer_depth: number of layers of the Q-Former.
        lora_alpha: LoRA adds lora_alpha / rank * B A.

    Raises UnsupportedModel for files that do not make a MiniGPT-4, InvalidOption for an output that is there already.
    """
    target = require_writable(out, dtype)
    for name, value in (("image_size", image_size), ("depth", depth), ("qformer_depth", qformer_depth)):
        if value is not None:
            whole_number(name, value, 1)
    for path in (vit, checkpoint, qformer):  # all of them before the first is read, which takes minutes
        if path is not None:
            require_file(path)
    _require_llama(Path(llama))
    others = [read_tensors(vit), read_tensors(checkpoint), read_tensors(qformer) if qformer is not None else None]
    weights, text_config, tokenizer = _read_llama(Path(llama))
    converted = convert(
        others[0] or {},
        others[1] or {},
        weights,
        text_config,
        qformer=others[2],
        image_size=image_size,
        depth=depth,
        qformer_depth=qformer_depth,
        lora_alpha=lora_alpha,
    )
    model, processor = assemble(converted, tokenizer, dtype_of(dtype, weights["lm_head.weight"]))
    write_checkpoint(target, model, processor, converted.report)
    return converted.report


def assemble(converted: Converted, tokenizer: Any, dtype: torch.dtype) -> tuple[MiniGPT4ForConditionalGeneration, Any]:
    """Model and processor of a conversion. Raises UnsupportedModel for a tokenizer that does not fit the decoder."""
    config: Any = converted.config
    fit_tokenizer(tokenizer, int(config.text_config.vocab_size))
    vision = config.vision_config
    processor = make_processor(
        tokenizer,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        patches_per_token=config.patches_per_token,
        queries=None if config.qformer_config is None else config.num_query_tokens,
        conversation=converted.conversation,
    )
    return build_model(MiniGPT4ForConditionalGeneration, config, converted.state, processor, dtype), processor


def _require_llama(place: Path) -> None:
    if not is_file(place / "config.json"):
        raise UnsupportedModel(f"{place} is not a directory with Llama in the format of transformers (no config.json)")
    require_safetensors(place)


def _read_llama(place: Path) -> tuple[dict[str, Tensor], Any, Any]:
    """State dict, config and tokenizer of a Llama in the format of transformers."""
    from transformers import AutoConfig, LlamaForCausalLM

    try:
        config: Any = AutoConfig.from_pretrained(place, trust_remote_code=False)
        if config.model_type != "llama":
            raise UnsupportedModel(f"{place} is a {config.model_type!r} model; MiniGPT-4's decoder is a llama")
        loaded: Any = LlamaForCausalLM.from_pretrained(
            place, dtype="auto", use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModel(f"{place} cannot be loaded as a Llama: {reason}") from error
    model, info = loaded
    missing = sorted(set(map(str, info["missing_keys"])) - set(model.all_tied_weights_keys or ()))
    if missing:
        raise UnsupportedModel(f"{place}: {len(missing)} missing keys in the weights, first {missing[0]}")
    return {name: value.detach() for name, value in model.state_dict().items()}, config, read_tokenizer(place)
