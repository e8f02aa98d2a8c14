"""From converted tensors to a model, and to a checkpoint directory that neuronscope and transformers load."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import InvalidOption, UnsupportedModel
from ...files import output_folder, replacing_folder, require_absent

_DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def require_writable(out: str | Path, dtype: str) -> Path:
    """The directory to be made. Raises InvalidOption for one that is there already, and for an unknown dtype."""
    if dtype not in ("auto", *_DTYPES):
        raise InvalidOption(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}")
    target = Path(out)
    require_absent(target)
    output_folder(target.parent)
    return target


def dtype_of(dtype: str, weights: Tensor) -> torch.dtype:
    """The type of all weights: by name, or for "auto" that of some of them."""
    return weights.dtype if dtype == "auto" else _DTYPES[dtype]


def fit_tokenizer(tokenizer: Any, words: int) -> None:
    """Give a tokenizer padding that the decoder has. Raises UnsupportedModel for one that does not fit the decoder."""
    if tokenizer.unk_token_id is None or tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        raise UnsupportedModel("the tokenizer has no <unk>, <s> and </s>: it is not Llama-2's")
    if tokenizer.vocab_size > words:
        raise UnsupportedModel(f"the tokenizer has {tokenizer.vocab_size} tokens, the decoder {words}")
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= words:  # Llama-2's <pad> has no embedding
        tokenizer.pad_token = tokenizer.eos_token


def build_model(model_class: Any, config: Any, state: Mapping[str, Tensor], processor: Any, dtype: torch.dtype) -> Any:
    """The model in evaluation mode. Raises UnsupportedModel where the tensors are not exactly those of the model."""
    config.image_token_index = processor.image_token_id
    config.dtype = dtype
    loaded: Any = model_class.from_pretrained(
        None,
        config=config,
        state_dict={name: value.to(dtype) for name, value in state.items()},
        dtype=dtype,
        output_loading_info=True,
    )
    model, info = loaded
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(str(name) for name in info[kind])
        if names:
            raise UnsupportedModel(
                f"the decoder does not fit its config: {kind.replace('_', ' ')} {', '.join(names[:3])}"
            )
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(processor.tokenizer, name))
    return model.eval()


def write_checkpoint(target: Path, model: Any, processor: Any, report: Any) -> None:
    """A checkpoint directory with `conversion.json`, the report; it appears when it is whole, or not at all."""
    with replacing_folder(target, "config.json") as temporary:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        text = json.dumps(dataclasses.asdict(report), indent=1)
        (temporary / "conversion.json").write_text(text + "\n", encoding="utf-8")
