"""What a model is called: a hash of everything that decides what it says about a picture.

    fingerprint = the first 16 digits of xxh3-128(weights, config, tokenizer, pictures, templates, generation)

Not part of it: the device, the versions of packages and the number of threads, which change the last bits of numbers;
hooks and attributes that somebody set on modules by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedConfig
from xxhash import xxh3_128

from ..architecture.digests import TensorMarks, digests
from .greedy import of_checkpoint, own_ids

#: Where a checkpoint's config names the edits that were written into its weights.
EDITS = "neuronscope_edits"

#: Of configs: what says nothing about results, or says again what weights and generation settings say.
_SILENT = (
    *(EDITS, "_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache"),
    *("id2label", "label2id", "output_attentions", "output_hidden_states", "return_dict"),
    *("initializer_factor", "initializer_range", "problem_type"),
)

#: Of processors: videos and sounds are never given, and a class may be loaded without these parts.
_UNSHOWN = ("audio_tokenizer", "auto_map", "feature_extractor", "video_processor")

#: model -> marks of its weights, and what they were called since.
_CALLED: WeakKeyDictionary[nn.Module, tuple[TensorMarks, set[str]]] = WeakKeyDictionary()


def fingerprint(model: nn.Module, processor: Any) -> str:
    """16 hexadecimal digits for everything that decides what a model says about a picture.

    Reads all weights: 0.5 to 1.4 s for 13.5 GB (7B in bfloat16) on two cores, 27 ms for 0.56 GB.

    Args:
        model: the Hugging Face model, wherever its weights are.
        processor: its processor, with a tokenizer.

    Raises UnsupportedModel for weights without values that nothing brings.
    """
    marks, digest = TensorMarks(model), xxh3_128()
    for name, value in digests(model):
        digest.update(f"{name}\n".encode() + value)
    config, pictures, templates, adapters = settings_of(model, processor)
    parts = (config, pictures, templates, of_checkpoint(model) | own_ids(model), adapters)
    digest.update(json.dumps(parts, sort_keys=True, default=_plain).encode())
    digest.update(_tokenizer(processor.tokenizer).encode())
    found = digest.hexdigest()[:16]
    known = _CALLED.get(model)
    names = known[1] if known is not None and known[0].hold(model) else set[str]()
    _CALLED[model] = marks, names | {found}
    return found


def settings_of(model: nn.Module, processor: Any) -> tuple[Any, Any, Any, Any]:
    """What the config, the picture settings and the templates say, and which adapters are in force."""
    own: Any = model
    return _settings(own.config), _pictures(processor), _templates(processor), _adapters(model)


def is_called(model: nn.Module, name: str) -> bool:
    """Whether this was the fingerprint of these very weights when they were last read; costs no reading."""
    known = _CALLED.get(model)
    return known is not None and name in known[1] and known[0].hold(model)


def _settings(config: Any) -> dict[str, Any]:
    """What a config says otherwise than its class does by default, which a later release may add to; parts within."""
    default = _defaults(type(config))
    own = cast("dict[str, Any]", config.to_dict())
    inside = {name: part for name in own if isinstance(part := getattr(config, name, None), PreTrainedConfig)}
    said = {
        name: value
        for name, value in own.items()
        if name not in inside and name not in _SILENT and value is not None and value != default.get(name)
    }
    return {**said, **{name: _settings(part) for name, part in inside.items()}, "model_type": config.model_type}


@cache
def _defaults(kind: type) -> Mapping[str, Any]:
    try:
        return kind().to_dict()
    except (TypeError, ValueError, AttributeError, KeyError):  # a config that cannot be made of nothing
        return {}


def _pictures(processor: Any) -> Any:
    """The processor's settings, without what it does not say: another release may know of more."""
    return _said({name: value for name, value in processor.to_dict().items() if name not in _UNSHOWN})


def _said(value: Any) -> Any:
    if isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        return {name: _said(part) for name, part in named.items() if part is not None and name != "processor_class"}
    return value


def _templates(processor: Any) -> list[str]:
    """Of chats: the processor's and the tokenizer's, which one file holds."""
    held = (getattr(owner, "chat_template", None) for owner in (processor, processor.tokenizer))
    return sorted({json.dumps(template, sort_keys=True) for template in held if template})


def _adapters(model: nn.Module) -> list[tuple[str, str]]:
    """Which adapters of PEFT are in force: their weights are in the state, whether they are heard is not."""
    names = ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling")
    held = ((name, vars(module)) for name, module in model.named_modules() if "_active_adapter" in vars(module))
    return [(name, repr({key: own.get(key) for key in names})) for name, own in held]


def _tokenizer(tokenizer: Any) -> str:
    """The whole tokenizer as text, but for how it last filled up and cut off, which calls decide."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        whole = json.dumps(sorted(tokenizer.get_vocab().items()))
    else:
        whole = core.to_str()
        whole = whole[max(0, whole.find('"added_tokens"')) :]
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    how = {name: getattr(tokenizer, name, None) for name in ("clean_up_tokenization_spaces", "padding_side")}
    return json.dumps([special, how], sort_keys=True, default=_plain) + whole


def described(part: Any) -> str:
    """A tokenizer or an image processor as text: all that decides what it makes of its input."""
    if hasattr(part, "get_vocab"):
        return _tokenizer(part)
    return json.dumps(_said(part.to_dict()), sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON does not know of settings."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, cast("set[object]", value)))
    return value.to_dict() if hasattr(value, "to_dict") else str(value)
