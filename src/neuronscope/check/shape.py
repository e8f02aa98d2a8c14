"""What a config says of a model's size, built on the device "meta": nothing else is downloaded, nothing is allocated.

The weights' bytes are exact: they are those of the module that transformers makes of the config. What is alive while it
runs is counted for the usual layer, attention beside a gated FFN between norms, and lies within a factor of two of what
torch keeps for all tested families but those with linear attention, whose fallback keeps up to five times as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..architecture.structure import Structure, find_structure
from ..errors import NeuronscopeError, UnsupportedModel, first_line, is_fault
from ..loading import VLM
from ..loading.load import checkpoint_directory
from ..models.chat import chats
from ..models.families import FAMILIES, family_of, has_vision, lacking
from ..models.hub import answering
from ..models.processor import load_processor

#: Positions of a prompt beside the picture, where no processor is there to count them.
_TEXT = 30
#: Bytes of a number, by the name of the type; those of bits are of maps that are made smaller, with their scales.
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8bit": 1.0, "4bit": 0.5 + 4 / 64}


@dataclass(frozen=True)
class Shape:
    """Numbers of a model.

    Attributes:
        title: of the family.
        parameters: all.
        mapped: those in linear maps but the head, which 8 and 4 bits make smaller.
        tower: those outside the decoder and its embeddings: vision tower and projector.
        buffers: bytes that are no parameters.
        dtype: the config's own type of weights, "float32" where it names none.
        layers, hidden, vocabulary, heads: of the decoder.
        neurons: of all decoder layers; widest: of the widest.
        cached: numbers in the keys and values of one position, over all layers.
        image_tokens: of a picture; None where neither processor nor config tells.
        positions: of a whole prompt with one picture.
        linear: layers with linear attention, of which more is kept than is counted here.
    """

    title: str
    parameters: int
    mapped: int
    tower: int
    buffers: int
    dtype: str
    layers: int
    hidden: int
    vocabulary: int
    heads: int
    neurons: int
    widest: int
    cached: int
    image_tokens: int | None
    positions: int
    linear: int = 0

    def weights(self, dtype: str) -> int:
        """Bytes of the weights as one type; of "8bit" and "4bit" all but linear maps stay in 16 bits."""
        if dtype in ("8bit", "4bit"):
            return round(self.mapped * BYTES[dtype] + (self.parameters - self.mapped) * 2) + self.buffers
        return round(self.parameters * BYTES[dtype]) + self.buffers

    def saved(self, positions: int, itemsize: float, *, eager: bool) -> int:
        """Bytes that autograd keeps of one row for the backward pass through all decoder layers."""
        width = 6.5 * self.hidden * self.layers + 3.5 * self.neurons
        scores = 2 * self.heads * positions * self.layers if eager else 0
        return round((width + scores) * positions * itemsize)

    def alive(self, positions: int, itemsize: float, *, eager: bool) -> int:
        """Bytes of one row that are alive while a layer runs without gradients, and of one position's logits."""
        scores = 2 * self.heads * positions if eager else 0
        return round((6 * self.hidden + 3 * self.widest + scores) * positions * itemsize) + self.vocabulary * 8


def shape_of(source: str | Path, picture: tuple[int, int] = (640, 480), revision: str = "main") -> Shape:
    """The numbers of a checkpoint folder that has at least a config.json, or of a hub id.

    Args:
        source: "demo", "natural", a folder or a hub id.
        picture: width and height in pixels. With its processor a model says how many image tokens a picture of this
            size has, else the config does where it fixes them.
        revision: of a hub id.

    Raises UnsupportedModel for what is no vision-language model, or of which transformers makes none.
    """
    name = str(source)
    config, settings = _config(name, revision)
    try:
        with torch.device("meta"):
            model = _built(config)
        structure = find_structure(model)
    except NeuronscopeError as error:
        raise type(error)(f"{name}: {error}") from error
    except Exception as error:
        if not is_fault(error):
            raise
        raise UnsupportedModel(f"{name}: no model can be made of its config: {first_line(error)}") from error
    text = config.get_text_config(decoder=True)
    widths = [ffn.width for ffn in structure.ffns]
    heads = int(getattr(text, "num_attention_heads", None) or 1)
    keys = int(getattr(text, "num_key_value_heads", None) or heads)
    width = int(getattr(text, "head_dim", None) or structure.hidden // heads)
    maps = [one for one in model.modules() if isinstance(one, nn.Linear) and one is not structure.unembedding]
    every = sum(one.numel() for one in model.parameters())
    inside = {id(one) for layer in structure.layers for one in layer.parameters()}
    tokens, positions = _tokens(name, model, structure, picture)
    tokens = _image_tokens(config) if tokens is None else tokens
    ends = {id(one) for one in model.parameters() if int(getattr(text, "vocab_size", -1)) in one.shape}
    return Shape(
        title=family_of(config).title,
        parameters=every,
        mapped=sum(one.weight.numel() for one in maps),
        tower=sum(one.numel() for one in model.parameters() if id(one) not in inside | ends),
        buffers=sum(one.nbytes for one in model.buffers()),
        dtype=_dtype(config, settings),
        layers=len(structure.layers),
        hidden=structure.hidden,
        vocabulary=int(getattr(text, "vocab_size", 0)),
        heads=heads,
        neurons=sum(widths),
        widest=max(widths),
        cached=2 * len(structure.layers) * keys * width,
        image_tokens=tokens,
        positions=positions or (tokens or 0) + _TEXT,
        linear=sum(kind == "linear_attention" for kind in getattr(text, "layer_types", None) or ()),
    )


def _config(name: str, revision: str) -> tuple[Any, dict[str, Any]]:
    """A model's config as transformers reads it, and as it is written."""
    from transformers import AutoConfig, PreTrainedConfig

    from ..models import llava_v1, minigpt4, mplug_owl2

    for ours in (llava_v1, minigpt4, mplug_owl2):
        ours.register()
    place = str(checkpoint_directory(name) or name)
    if Path(place).exists() and not (Path(place) / "config.json").is_file():
        raise UnsupportedModel(f"{place} has no config.json: it is not a checkpoint directory")
    with answering(place, revision):
        try:
            settings, _ = PreTrainedConfig.get_config_dict(place, revision=revision)
            kind = settings.get("model_type")
            row = FAMILIES.get(str(kind))
            if row and (why := lacking(row)):
                raise UnsupportedModel(f"{name}: {why}")
            if not has_vision(SimpleNamespace(model_type=kind, vision_config=settings.get("vision_config"))):
                raise UnsupportedModel(f"{name} is a {kind!r} model without a vision tower")
            return AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False), settings
        except NeuronscopeError:
            raise
        except Exception as error:
            raise UnsupportedModel(f"{name}: its config cannot be read: {first_line(error)}") from error


def _built(config: Any) -> nn.Module:
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model: Any = AutoModelForImageTextToText.from_config(config)
    finally:
        logging.set_verbosity(verbosity)
    return model


def _tokens(name: str, model: Any, structure: Structure, picture: tuple[int, int]) -> tuple[int | None, int]:
    """Image tokens and positions of the usual prompt, from the processor's files; (None, 0) where there are none."""
    place = checkpoint_directory(name)
    if place is None or (
        not any(place.glob("*processor*_config.json")) and not (place / "processor_config.json").exists()
    ):
        return None, 0
    processor = load_processor(str(place), revision="main", backend="auto", pixels={})
    model.set_input_embeddings(nn.Embedding(1, 1, device="cpu"))  # where a prompt's numbers are put
    vlm = VLM(model, processor, id=name, family=family_of(model.config), structure=structure)
    vlm.chat = chats("auto", processor, vlm.placeholder, name)
    inputs = vlm.prepare([Image.new("RGB", picture, (127, 127, 127))])
    return inputs.images[0].count, inputs.rows[0].length


def _dtype(config: Any, settings: dict[str, Any]) -> str:
    found: Any = getattr(config, "dtype", None) or settings.get("dtype") or settings.get("torch_dtype") or "float32"
    name = str(found).removeprefix("torch.")
    return name if name in BYTES else "float32"


def _image_tokens(config: Any) -> int | None:
    """Where the config says it, or its tower has one size of picture and keeps every patch."""
    for field in ("mm_tokens_per_image", "image_seq_length", "num_query_tokens"):
        if isinstance(found := getattr(config, field, None), int):
            return found
    tower: Any = getattr(config, "vision_config", None)
    side, patch = getattr(tower, "image_size", None), getattr(tower, "patch_size", None)
    if not (isinstance(side, int) and isinstance(patch, int)):
        return None
    ratio = getattr(config, "downsample_ratio", None) or 1 / (getattr(config, "scale_factor", None) or 1)
    return math.ceil((side // patch) ** 2 * float(ratio) ** 2)
