"""Keywords that `ns.load` hands on to transformers, and what to do instead of those that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from ..errors import InvalidOption, suggest
from ..fields import shown

#: Of the model's `from_pretrained`.
MODEL = ("attn_implementation", "max_memory", "offload_buffers", "offload_folder", "quantization_config")
#: Of those: what accelerate asks when it spreads a model.
_SPREAD = ("max_memory", "offload_buffers", "offload_folder")
#: Of the image processor; which of them a checkpoint's own has, is seen once it is loaded.
PIXELS = (
    *("crop_to_patches", "do_image_splitting", "do_pan_and_scan", "do_resize", "image_grid_pinpoints"),
    *("max_image_size", "max_patches", "max_pixels", "min_patches", "min_pixels", "size"),
)
_WHOLE = ("max_patches", "max_pixels", "min_patches", "min_pixels")
_SWITCHES = ("crop_to_patches", "do_image_splitting", "do_pan_and_scan", "do_resize", "offload_buffers")

#: Keywords of from_pretrained that are not handed on -> what does the same, or why nothing does.
_INSTEAD: Mapping[str, str] = {
    "cache_dir": "set HF_HOME",
    "config": "load the model yourself and give ns.load((model, processor))",
    "force_download": "run `hf download`",
    "ignore_mismatched_sizes": "weights that do not fit are refused, since random ones would take their place",
    "load_in_4bit": 'give dtype="4bit"',
    "load_in_8bit": 'give dtype="8bit"',
    "local_files_only": "set HF_HUB_OFFLINE=1",
    "low_cpu_mem_usage": "it is always so",
    "output_loading_info": "missing weights are refused",
    "state_dict": "load the model yourself and give ns.load((model, processor))",
    "subfolder": "give the directory",
    "token": "set HF_TOKEN, or run `hf auth login`",
    "use_auth_token": "set HF_TOKEN, or run `hf auth login`",
    "use_fast": 'give backend="pil", or install torchvision',
    "use_safetensors": "only safetensors are read",
    "variant": "give the directory",
    "weights_only": "only safetensors are read, nothing is unpickled",
}


class Keywords(NamedTuple):
    """Keywords by where they go."""

    model: Mapping[str, Any]
    pixels: Mapping[str, Any]

    def told(self) -> str:
        """All of them as results record them; empty where none was given."""
        return ", ".join(f"{name}={_plain(value)}" for name, value in sorted({**self.model, **self.pixels}.items()))


def sorted_out(given: Mapping[str, Any], *, spread: bool, bits: bool) -> Keywords:
    """The keywords that were given, looked at before anything is loaded.

    Args:
        given: keyword -> value; None is as if it was not given.
        spread: whether there is a device_map, which some of them need.
        bits: whether the dtype says how weights are quantised.

    Raises InvalidOption for one that is not handed on, with what does the same, and for a value that it cannot have.
    """
    given = {name: value for name, value in given.items() if value is not None}
    remote: object = given.pop("trust_remote_code", False)
    if remote is not False:
        raise InvalidOption(
            f"trust_remote_code={shown(remote)}: code that comes with a checkpoint is never run, since it could do "
            "anything on this machine; use the family's own classes in transformers, or load the model yourself and "
            "give ns.load((model, processor))"
        )
    for name, value in given.items():
        if name in _INSTEAD:
            raise InvalidOption(f"{name}={shown(value)} is not handed on: {_INSTEAD[name]}")
        if name not in (*MODEL, *PIXELS):
            raise InvalidOption(f"{name}={shown(value)} is no keyword of ns.load.{suggest(name, [*MODEL, *PIXELS])}")
        _require(name, value)
        if name in _SPREAD and not spread:
            raise InvalidOption(f'{name}={shown(value)} says how a model is spread: give device_map="auto", too')
    if bits and "quantization_config" in given:
        raise InvalidOption("quantization_config and dtype both say how weights are quantised: give one of them")
    return Keywords(*({name: given[name] for name in names if name in given} for names in (MODEL, PIXELS)))


def _require(name: str, value: object) -> None:
    if name in _WHOLE and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidOption(f"{name}={shown(value)} is not a whole number above 0")
    if name in _SWITCHES and not isinstance(value, bool):
        raise InvalidOption(f"{name}={shown(value)} is not true or false")
    if name == "attn_implementation":
        named = [*cast("Mapping[str, object]", value).values()] if isinstance(value, Mapping) else [value]
        if not named or not all(isinstance(one, str) and one for one in named):
            raise InvalidOption(f'{name}={shown(value)} is not a name, such as "sdpa" or "eager", or one for each part')
        if any("/" in str(one) for one in named):
            raise InvalidOption(f"{name}={shown(value)} is code from the hub, which is not run")
    if name in ("max_memory", "max_image_size") and not isinstance(value, Mapping):
        raise InvalidOption(f"{name}={shown(value)} is not a mapping")
    if name == "size" and not isinstance(value, (int, Mapping)):
        raise InvalidOption(f"size={shown(value)} is neither a whole number nor a mapping")
    if name == "image_grid_pinpoints" and not isinstance(value, (list, tuple)):
        raise InvalidOption(f"{name}={shown(value)} is not a sequence")
    if name == "offload_folder" and (not isinstance(value, (str, bytes)) and not hasattr(value, "__fspath__")):
        raise InvalidOption(f"{name}={shown(value)} is not a path")
    if name == "quantization_config" and not (isinstance(value, Mapping) or hasattr(value, "quant_method")):
        raise InvalidOption(f"{name}={shown(value)} is no configuration of transformers, such as BitsAndBytesConfig()")


def _plain(value: Any) -> str:
    return str(value.to_dict() if hasattr(value, "to_dict") else value)
