"""The published LLaVA v1 files as one model of modeling.py, and as a checkpoint directory.

    liuhaotian/llava-llama-2-13b-chat-lightning-preview and its kind    Llama and `model.mm_projector`
    openai/clip-vit-large-patch14                                       the tower, in the format of transformers

A checkpoint may hold a tower of its own, `model.vision_tower....vision_model`, which then takes the other's place; and
a projector may be a file of its own, `mm_projector.bin`, beside a plain Llama.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from ...errors import UnsupportedModel, first_line
from ...types import one_of
from ..conversion.chat import Conversation
from ..conversion.files import read_folder, read_settings
from ..conversion.keys import Keys
from ..conversion.llama import llama_config, read_tokenizer, take_decoder
from ..conversion.report import ConversionReport
from ..conversion.write import build_model, dtype_of, fit_tokenizer, require_writable, write_checkpoint
from .modeling import LlavaV1Config, LlavaV1ForConditionalGeneration
from .processing import IMAGE_TOKEN, MARKED_TOKEN, LlavaV1Processor, conversations, make_processor

_NAME = "LLaVA v1"
_OTHER = r"text_model\..+|logit_scale|(visual|text)_projection\.weight"


@dataclass(frozen=True, kw_only=True)
class LlavaReport(ConversionReport):
    """The same, and where the vision `tower` came from."""

    tower: str


@dataclass(frozen=True)
class Converted:
    """A model in parts: config, weights under the names of modeling.py, how it is asked, and report."""

    config: LlavaV1Config
    state: dict[str, Tensor]
    conversation: Conversation
    report: LlavaReport


def convert(
    checkpoint: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    vit: Mapping[str, Tensor],
    vision: CLIPVisionConfig,
    *,
    conversation: str = "llama-2",
) -> Converted:
    """Put tower, projector and decoder together.

    Args:
        checkpoint: tensors of LLaVA's checkpoint, with the projector's.
        settings: its config.json.
        vit: tensors of CLIP, or of its vision part.
        vision: config of its vision part.
        conversation: how the model was asked, one of :func:`processing.conversations`.

    Raises UnsupportedModel naming the tensor that is missing, has another shape, or has no place in the model, and for
    settings of another version.
    """
    kind = settings.get("mm_projector_type") or "linear"
    if kind != "linear":
        raise UnsupportedModel(
            f"its projector is {kind!r}, not one linear map: LLaVA 1.5 and later are in transformers (llava-hf/...)"
        )
    feature = settings.get("mm_vision_select_feature") or "patch"
    if feature != "patch":
        raise UnsupportedModel(f"mm_vision_select_feature is {feature!r}; {_NAME} takes 'patch'")
    layer = settings.get("mm_vision_select_layer", -2)
    depth = int(vision.num_hidden_layers)
    if isinstance(layer, bool) or not isinstance(layer, int) or not -depth - 1 <= layer <= depth:
        raise UnsupportedModel(f"mm_vision_select_layer is {layer!r}; the tower has {depth} layers")
    one_of("conversation", conversation, tuple(conversations()))
    text = llama_config(settings, _NAME)
    own, tower = Keys(_NAME), Keys(_NAME)
    tower.add("vit", vit)
    trained = _tower_of(checkpoint)
    own.add("checkpoint", {name: value for name, value in checkpoint.items() if name not in trained})
    tower.add("checkpoint", {short: checkpoint[name] for name, short in trained.items()})
    tower.ignore(_OTHER, "CLIP's text side, and what compares it with pictures, are not run")
    state = {f"model.vision_tower.{new}": value for new, value in take_tower(tower, vision).items()}
    hidden, width = int(text.hidden_size or 0), int(vision.hidden_size)
    for name, shape in (("weight", (hidden, width)), ("bias", (hidden,))):
        state[f"model.multi_modal_projector.{name}"] = own.take(f"model.mm_projector.{name}", shape)
    state |= take_decoder(own, text)
    tower.finish()
    own.finish()
    config = LlavaV1Config(vision_config=vision, text_config=text, vision_feature_layer=layer)
    marked = bool(settings.get("mm_use_im_start_end"))
    asked = conversations(MARKED_TOKEN if marked else IMAGE_TOKEN)[conversation]
    side = round(config.image_seq_length**0.5)
    report = LlavaReport(
        kind=_NAME,
        layout=f"{side * side} = {side} x {side}",
        template=asked.shown,
        tower="the checkpoint" if trained else "the CLIP files",
        used=tuple(tower.used + own.used),
        ignored={**tower.ignored, **own.ignored},
    )
    return Converted(config, state, asked, report)


def _tower_of(checkpoint: Mapping[str, Tensor]) -> dict[str, str]:
    """Name of each tensor of a tower that was saved along -> its name in CLIP."""
    found: dict[str, str] = {}
    for name in checkpoint:
        if match := re.fullmatch(r"model\.vision_tower\..*?(vision_model\..+)", name):
            found[name] = match[1]
    return found


def take_tower(keys: Keys, config: CLIPVisionConfig) -> dict[str, Tensor]:
    """The tensors of CLIP's vision part under the names of the installed CLIPVisionModel."""
    with torch.device("meta"):
        model = CLIPVisionModel(config)
    plain = all(not name.startswith("vision_model.") for name in model.state_dict())
    prefix = "vision_model." if plain and keys.matching(r"vision_model\..+") else ""
    return {name: keys.take(f"{prefix}{name}", tuple(value.shape)) for name, value in model.state_dict().items()}


def vision_config(place: Path) -> CLIPVisionConfig:
    """Of a folder with CLIP or its vision part. Raises UnsupportedModel for another model."""
    settings = read_settings(place)
    kind = settings.get("model_type")
    if kind not in ("clip", "clip_vision_model"):
        raise UnsupportedModel(f"{place} is a {kind!r} model; {_NAME}'s tower is CLIP")
    part: Any = settings.get("vision_config", settings) if kind == "clip" else settings
    try:
        return CLIPVisionConfig.from_dict({**part, "model_type": "clip_vision_model"})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnsupportedModel(f"{place}: config.json makes no CLIP: {first_line(error)}") from error


def convert_files(
    checkpoint: str | Path,
    vit: str | Path,
    out: str | Path,
    *,
    projector: str | Path | None = None,
    tokenizer: str | Path | None = None,
    conversation: str = "llama-2",
    dtype: str = "auto",
) -> LlavaReport:
    """Convert and write a checkpoint directory; `conversion.json` in it is the report.

    Args:
        checkpoint: directory with LLaVA v1, .bin or .safetensors; or with a plain Llama where `projector` is given.
        vit: directory with CLIP in the format of transformers.
        out: directory to make. It appears when it is whole, or not at all.
        projector: mm_projector.bin, where it is a file of its own.
        tokenizer: directory with Llama's tokenizer; the checkpoint's when not given.
        conversation: how the model was asked: llama-2, vicuna-v1 or vicuna-v0.
        dtype: of all weights: float32, bfloat16, float16, or auto for the decoder's.

    Raises UnsupportedModel for files that do not make a LLaVA v1, InvalidOption for an output that is there already.
    """
    one_of("conversation", conversation, tuple(conversations()))
    target = require_writable(out, dtype)
    place = Path(checkpoint)
    settings = read_settings(place)
    tensors = read_folder(place)
    if projector is not None:
        tensors |= _named(read_folder(Path(projector)), Path(projector))
    words = read_tokenizer(place if tokenizer is None else Path(tokenizer))
    vision = vision_config(Path(vit))
    done = convert(tensors, settings, read_folder(Path(vit)), vision, conversation=conversation)
    model, processor = assemble(done, words, dtype_of(dtype, done.state["lm_head.weight"]))
    write_checkpoint(target, model, processor, done.report)
    return done.report


def _named(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """A projector of its own under the names that it has inside a checkpoint, whatever is before them."""
    found = {re.sub(r"^(.*\.)?(?=mm_projector\.)", "model.", name): value for name, value in tensors.items()}
    strange = sorted(name for name in found if not name.startswith("model.mm_projector."))
    if strange:
        raise UnsupportedModel(f"{file} holds {strange[0]}, which is no part of a projector")
    return found


def assemble(done: Converted, tokenizer: Any, dtype: torch.dtype) -> tuple[LlavaV1ForConditionalGeneration, Any]:
    """Model and processor of a conversion. Raises UnsupportedModel for a tokenizer that does not fit the decoder."""
    config: Any = done.config
    fit_tokenizer(tokenizer, int(config.text_config.vocab_size))
    vision = config.vision_config
    processor: LlavaV1Processor = make_processor(
        tokenizer, image_size=vision.image_size, patch_size=vision.patch_size, conversation=done.conversation
    )
    return build_model(LlavaV1ForConditionalGeneration, config, done.state, processor, dtype), processor
