"""What transformers' `generate` is told, so that a caption is greedy and nothing a checkpoint brings with it counts.

`generate` takes what it is not told from the checkpoint's generation_config: a penalty for repeating oneself, a least
length, words that may not come. A caption under an intervention would then be an answer of that penalty, too. So
`generate` is told every setting that transformers knows, with the value that does nothing, but for the ids that belong
to the model: what begins and ends a text, and what fills up. Who wants a checkpoint's settings asks for them:
`Decoding(generation=vlm.generation)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..errors import InvalidOption, UnsupportedModel, suggest
from ..fields import shown
from ..types import Json

#: Settings that can change a greedy caption and may be asked for, with the values that do nothing.
SHAPING: Mapping[str, tuple[Json, ...]] = {
    "bad_words_ids": (None, []),
    "begin_suppress_tokens": (None, []),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1),
    "exponential_decay_length_penalty": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None, []),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "no_repeat_ngram_size": (None, 0),
    "repetition_penalty": (None, 1),
    "sequence_bias": (None, [], {}),
    "suppress_tokens": (None, []),
}

#: The model's own: without them there is no text to write.
_KEPT = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id")

#: Settings whose neutral value is not None.
_NEUTRAL: Mapping[str, Json] = {
    "diversity_penalty": 0.0,
    "do_sample": False,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "output_scores": False,
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict_in_generate": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
}

#: Told by Decoding itself, or of the document and not of writing; `max_new_tokens` takes the place of `max_length`.
_APART = ("max_length", "max_new_tokens", "use_cache", "transformers_version")


@cache
def neutral() -> Mapping[str, Json]:
    """Every setting of the installed transformers that is not the model's own, with the value that does nothing."""
    from transformers import GenerationConfig

    names = [name for name in vars(GenerationConfig()) if not name.startswith("_")]
    return {name: _NEUTRAL.get(name) for name in names if name not in (*_KEPT, *_APART)}


def require_shaping(generation: Mapping[str, Any]) -> None:
    """Raise InvalidOption for settings that a caption cannot be asked for, and values that no record can hold."""
    for name in generation:
        if name not in SHAPING:
            raise InvalidOption(
                f"generation={name!r} cannot be asked for: captions are greedy and one for each image."
                f"{suggest(name, list(SHAPING))}"
            )
    try:
        json.dumps(dict(generation), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"generation={dict(generation)!r} cannot be kept in a record: {error}") from error


def shaping(generation: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some settings that can change a greedy caption, without the ones that do nothing."""
    return {name: value for name, value in generation.items() if name in SHAPING and value not in SHAPING[name]}


def of_checkpoint(model: Any) -> dict[str, Any]:
    """The settings of a model's generation_config that would change a greedy caption, were they not set aside."""
    return shaping(vars(model.generation_config)) if _has_config(model) else {}


def own_ids(model: Any) -> dict[str, Any]:
    """The ids of a model's generation_config that begin, end and fill up a text; None for what it does not say."""
    return {name: getattr(model.generation_config, name, None) for name in _KEPT} if _has_config(model) else {}


def require_token_ids(model: Any, name: str) -> None:
    """Raise UnsupportedModel where what begins, ends or fills up a text is no token's number, or no list of them."""
    for setting, value in own_ids(model).items():
        listed: Any = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(one) is int and abs(one) < 2**31 for one in listed):
            raise UnsupportedModel(
                f"{name}: generation_config.json has {setting}={shown(value)}; the number of a token is expected"
            )


def _has_config(model: Any) -> bool:
    return getattr(model, "generation_config", None) is not None
