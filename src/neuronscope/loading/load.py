"""Loading a checkpoint without running anything that came with it, and refusing what is not whole."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import nn

from ..architecture.quantised import BITS, bits_config, keep_differentiable
from ..architecture.structure import find_structure
from ..architecture.towers import with_towers
from ..errors import InvalidOption, NeuronscopeError, UnsupportedModel, first_line, is_fault
from ..given import checked
from ..models import natural
from ..models.chat import chats
from ..models.checkpoints import put_on
from ..models.conversion.originals import what_to_do
from ..models.decoding import CHATS, Chat
from ..models.families import FAMILIES, family_of, has_vision, lacking
from ..models.greedy import require_token_ids
from ..models.hub import answering
from ..models.processor import load_processor
from ..models.weight_files import INDEX, require_safetensors
from ..parsing import read_json
from ..types import one_of
from .keywords import Keywords, sorted_out
from .selfcheck import SelfCheck, self_check
from .unlisted import proved, settled
from .vlm import VLM

BUNDLED = Path(__file__).parents[1] / "models" / "demo"

#: "demo", "natural", a directory, a hub id, or a model and processor already in memory.
ModelSource: TypeAlias = str | Path | tuple[nn.Module, Any]


#: Types of weights by name, as every verb takes them; the checkpoint's own is "auto".
DTYPES = ("auto", "float32", "bfloat16", "float16", *BITS)

#: Of image processors: on torchvision if that is installed, or always on PIL.
Backend: TypeAlias = Literal["auto", "pil"]


@checked
def load(
    source: ModelSource = "demo",
    *,
    dtype: torch.dtype | str = "auto",
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    revision: str | None = None,
    backend: Backend = "auto",
    chat: Chat = "auto",
    check: bool = True,
    **options: Any,
) -> VLM:
    """Load a vision-language model and prove that its neurons are where we think they are.

    Args:
        source: "demo", which is bundled; "natural", which is built from installed packages at the first use
            (docs/natural.md); a checkpoint directory, a hub id, or (model, processor).
        dtype: a torch dtype or its name; "auto" keeps the checkpoint's; "8bit" and "4bit" load the linear maps with
            bitsandbytes (LLM.int8, NF4), which do everything but edits.
        device: where to put the model; a GPU if there is one. Not together with `device_map`.
        device_map: handed to accelerate, for models larger than one device.
        revision: of a hub id: branch, tag or commit; results record it.
        backend: of the image processor; "pil" gives the same pixels with and without torchvision installed.
        chat: whether prompts go through the checkpoint's chat template where a `Decoding` leaves it open: "auto" where
            it has one that shows an image, "always", or "never".
        check: run the self-check of selfcheck.py; a model that fails is refused.
        options: handed on to `from_pretrained`: of the model `attn_implementation`, `quantization_config`,
            `max_memory`, `offload_folder`, `offload_buffers`, and `torch_dtype` for `dtype`; of the image processor
            `max_pixels`, `min_pixels`, `size` and others of keywords.py. Results record them beside the model's name.

    Raises:
        UnsupportedModel: not a vision-language model, not in the family table, missing or damaged files, weights that
            are not finite, or a failed self-check. Only safetensors are read and remote code is never run.
        InvalidOption: an unknown device, bits without bitsandbytes, "natural" without its packages, chat="always"
            with a checkpoint that has no such template, and keywords that are not handed on, such as trust_remote_code.
    """
    if (named := options.pop("torch_dtype", None)) is not None:
        if dtype != "auto":
            raise InvalidOption(f"torch_dtype={named} and dtype={dtype}: give dtype")
        dtype = named
    keywords = sorted_out(options, spread=device_map is not None, bits=dtype in BITS)
    one_of("chat", chat, CHATS)
    if device is not None and device_map is not None:
        raise InvalidOption("give either device or device_map, not both")
    if isinstance(source, tuple):
        if said := keywords.told() or (f"revision={revision}" if revision else ""):
            raise InvalidOption(f"{said}: the model is in memory, and was loaded as it was")
        model, processor = source
        name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    else:
        name = str(source)
        place = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model, processor = _from_files(source, dtype, place, device_map, revision, backend, keywords)
        model.requires_grad_(False).eval()
        if device_map is None and not getattr(model, "is_quantized", False):
            put_on(model, place, name)
    require_token_ids(model, name)
    keep_differentiable(model)
    config: Any = model.config
    with _naming(name):
        structure = with_towers(model, find_structure(model))
        vlm = VLM(model, processor, id=name, family=family_of(config), structure=structure)
    with _in_words(vlm):
        vlm.family = settled(vlm)
    vlm.loaded = ", ".join(filter(None, (keywords.told(), f"revision={revision}" if revision else "")))
    vlm.chat = chats(chat, processor, vlm.placeholder, name)
    if check:
        report = _proof(vlm)
        failed = [row for row in report.rows if not row.ok]
        if failed:
            raise UnsupportedModel(
                f"{name} failed the self-check: " + "; ".join(f"{row.name}: {row.value}" for row in failed)
            )
    return vlm


def _proof(vlm: VLM) -> SelfCheck:
    """The self-check; for a model type that is not in the table also what else general rules have to prove."""
    with _in_words(vlm):
        report = self_check(vlm)
        if report.ok:
            proved(vlm)
    return report


@contextmanager
def _naming(name: str) -> Generator[None]:
    """Whatever is refused of a model names it."""
    try:
        yield
    except NeuronscopeError as error:
        if name in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error


@contextmanager
def _in_words(vlm: VLM) -> Generator[None]:
    """Refuse a model that fails inside transformers or torch, in one sentence with the reason."""
    try:
        with _naming(vlm.id):
            yield
    except NeuronscopeError:
        raise
    except BaseException as error:
        if not is_fault(error):
            raise
        reason = first_line(error)
        raise UnsupportedModel(
            f"{vlm.id} ({vlm.family.title}) cannot be run on one image and a prompt: {type(error).__name__}: {reason}"
        ) from error


def checkpoint_directory(source: str) -> Path | None:
    """The local directory that a model id stands for, or None for a hub id or a model made in memory."""
    place = _place(source)
    return place if place.is_dir() else None


def _place(source: str | Path) -> Path:
    """Where the files of a source are, if it is local; the natural model is built where that has not been done."""
    if source == "natural":
        return natural.cached()
    return BUNDLED if source == "demo" else Path(source)


@contextmanager
def _quiet() -> Generator[None]:
    """No warnings or progress bars of transformers: what they would warn of is checked, and refused."""
    from transformers.utils import logging

    verbosity, progress_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress_bar:
            logging.enable_progress_bar()


def _from_files(
    source: str | Path,
    dtype: torch.dtype | str,
    device: str,
    device_map: Any,
    revision: str | None,
    backend: Backend,
    keywords: Keywords,
) -> tuple[nn.Module, Any]:
    from ..models import llava_v1, minigpt4, mplug_owl2

    with _quiet():
        place = _place(source)
    try:
        local = place.exists()
    except OSError as error:
        raise UnsupportedModel(f"{str(place)[:80]!r} is no name of a model: {error.strerror or error}") from error
    if revision is not None and (local or isinstance(source, Path)):
        raise InvalidOption(f"revision={revision!r} is of a hub id; {source} is a directory, which has one state")
    if local or isinstance(source, Path):
        _check_directory(place)
        where = str(place)
    else:
        where = str(source)
    for ours in (llava_v1, minigpt4, mplug_owl2):
        ours.register()
    with answering(where, revision or "main"):
        if not local:
            with _quiet():
                require_safetensors(where, revision or "main")
        return _read(where, dtype, device, device_map, revision or "main", backend, keywords)


def _read(
    where: str,
    dtype: torch.dtype | str,
    device: str,
    device_map: Any,
    revision: str,
    backend: Backend,
    keywords: Keywords,
) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForImageTextToText, PreTrainedConfig

    few = dict(keywords.model)
    if isinstance(dtype, str) and dtype in BITS:
        few["quantization_config"], dtype = bits_config(dtype, gpu=not device.startswith("cpu")), "auto"
    try:
        with _quiet():
            settings, _ = PreTrainedConfig.get_config_dict(where, revision=revision)
            if why := what_to_do(settings):
                raise UnsupportedModel(f"{where}: {why}")
            row = FAMILIES.get(str(settings.get("model_type")))
            if row and (why := lacking(row)):  # before transformers says that it does not know the type
                raise UnsupportedModel(f"{where}: {why}")
            processor: Any = load_processor(where, revision=revision, backend=backend, pixels=keywords.pixels)
            if (
                "quantization_config" in few or "quantization_config" in settings
            ):  # these cannot be moved once they are loaded
                device_map = device_map or {"": device}
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                where,
                dtype=dtype,
                device_map=device_map,
                revision=revision,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **few,
            )
            model, info = loaded
    except NeuronscopeError:
        raise
    except (
        BaseException
    ) as error:  # of damaged files transformers, its validators and tokenizers raise errors of any kind
        if not is_fault(error):
            raise
        raise UnsupportedModel(f"{where} cannot be loaded as a vision-language model: {first_line(error)}") from error
    # transformers fills what a checkpoint lacks with random numbers and only warns: for us that is a wrong answer.
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    for kind in ("missing_keys", "mismatched_keys"):
        keys = sorted(str(key) for key in info.get(kind, ()) if key not in tied)
        if keys:
            raise UnsupportedModel(f"{where}: {len(keys)} {kind.replace('_', ' ')} in the weights, first {keys[0]}")
    return model, processor


def _check_directory(place: Path) -> None:
    """Say plainly what is wrong with a local path before transformers does it at length."""
    if not place.exists():
        raise UnsupportedModel(f"{place} does not exist")
    if not place.is_dir():
        raise UnsupportedModel(f"{place} is a file; a checkpoint directory is needed")
    require_safetensors(place)
    config_file = place / "config.json"
    if not config_file.is_file():
        raise UnsupportedModel(f"{place} has no config.json: it is not a checkpoint directory")
    try:
        config = read_json(config_file, finite=False)  # some have Infinity where there is no limit
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{config_file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise UnsupportedModel(f"{config_file} holds no JSON object")
    settings = cast("dict[str, Any]", config)
    if why := what_to_do(settings):
        raise UnsupportedModel(f"{place}: {why}")
    kind = settings.get("model_type")
    if not has_vision(SimpleNamespace(model_type=kind, vision_config=settings.get("vision_config"))):
        raise UnsupportedModel(f"{place} is a {kind!r} model without a vision tower: a vision-language model is needed")
    if (place / INDEX).exists():
        return  # weight_files.py looks into it
    if not (place / "model.safetensors").is_file():
        others = sorted(p.name for p in place.glob("*.bin"))
        hint = f" ({', '.join(others)} found; only safetensors are read, nothing is unpickled)" if others else ""
        raise UnsupportedModel(f"{place} has no model.safetensors{hint}")
