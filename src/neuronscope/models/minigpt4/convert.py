"""The published MiniGPT-4 files as one model of modeling.py. Pure: tensors in, tensors out.

Every tensor of every file is either used or ignored for a reason that the report states; one that is missing, misshapen
or unknown is refused. The original loads with `strict=False`: what it lacks stays random there, without a word.

    eva_vit_g.pth                                 the tower; 39 of its 40 blocks are run
    pretrained_minigpt4_llama2_7b.pth             `llama_proj`
    minigptv2_checkpoint.pth                      the same, and LoRA of the decoder; 448 px
    prerained_minigpt4_7b.pth (Vicuna, sic)       `llama_proj` behind a Q-Former, which lies in ...
    blip2_pretrained_flant5xxl.pth                ... with the norm before it, `ln_vision`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import UnsupportedModel
from ..conversion.chat import Conversation
from ..conversion.keys import Keys
from ..conversion.report import ConversionReport
from .modeling import MiniGPT4Config
from .parts import convert_norm, convert_qformer, convert_tower, merge_lora, tower_width
from .processing import LLAMA_2, V2, VICUNA

#: Blocks of EVA ViT-g that the original runs, and layers of the Q-Former.
TOWER_DEPTH = 39
QFORMER_DEPTH = 12
#: `lora_alpha` of MiniGPT-v2; the rank is read off the weights.
LORA_ALPHA = 16.0

_PATCHES = 4
_TEXT_SIDE = (
    r"Qformer\.cls\..+|Qformer\.bert\.embeddings\.(word_embeddings\.weight|position_embeddings\.weight|position_ids)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\..+"
)
_OTHER_TASKS = r"(t5_proj|opt_proj|llm_proj|vision_proj|text_proj|itm_head)\..+|temp"


@dataclass(frozen=True, kw_only=True)
class MiniGPT4Report(ConversionReport):
    """The same, where the norm between tower and projector came from, and how many matrices LoRA was merged into."""

    ln_vision: str
    lora: int


@dataclass(frozen=True)
class Converted:
    """A model in parts: config, weights under the names of modeling.py, how it is asked, and report."""

    config: MiniGPT4Config
    state: dict[str, Tensor]
    conversation: Conversation
    report: MiniGPT4Report


def convert(
    vit: Mapping[str, Tensor],
    checkpoint: Mapping[str, Tensor],
    llama: Mapping[str, Tensor],
    text_config: Any,
    *,
    qformer: Mapping[str, Tensor] | None = None,
    image_size: int | None = None,
    depth: int = TOWER_DEPTH,
    qformer_depth: int = QFORMER_DEPTH,
    lora_alpha: float = LORA_ALPHA,
) -> Converted:
    """Put tower, projector and decoder together.

    Args:
        vit: tensors of eva_vit_g.pth.
        checkpoint: of the MiniGPT-4 file. Tensors of tower or Q-Former in it replace those of the other files.
        llama: state dict of LlamaForCausalLM.
        text_config: its config.
        qformer: of BLIP-2's file; for the Vicuna versions only.
        image_size: side of the processed picture in pixels; 448 with LoRA (MiniGPT-v2), else 224.
        depth: number of blocks of the tower.
        qformer_depth: number of layers of the Q-Former.
        lora_alpha: LoRA adds lora_alpha / rank * B A.

    Raises UnsupportedModel naming the tensor that is missing, has another shape, or has no place in the model.
    """
    tower, own = Keys("MiniGPT-4"), Keys("MiniGPT-4")
    tower.add("vit", vit)
    own.add("qformer", qformer or {})
    own.add("checkpoint", checkpoint)
    own.move("visual_encoder.", tower)
    width = tower_width(tower)
    hidden = int(text_config.hidden_size)
    projection = own.peek("llama_proj.weight")
    queried = projection.ndim == 2 and projection.shape[1] != _PATCHES * width
    if queried and not own.has("query_tokens"):
        raise UnsupportedModel(
            f"llama_proj.weight has shape {tuple(projection.shape)}; the Llama-2 versions have "
            f"{(hidden, _PATCHES * width)}, and a version with a Q-Former needs BLIP-2's file too"
        )
    decoder, merged = merge_lora(llama, own, lora_alpha)
    vision, tower_state = convert_tower(tower, (448 if merged else 224) if image_size is None else image_size, depth)
    norm, source = convert_norm(own, width)
    projector = {f"norm.{name}": value for name, value in norm.items()}
    settings: dict[str, Any] | None = None
    inner, queries = _PATCHES * width, 32
    if queried:
        settings, bridge = convert_qformer(own, width, qformer_depth)
        _, queries, inner = bridge["queries"].shape
        projector.update(bridge)
        own.ignore(_TEXT_SIDE, "the Q-Former's text side is not run")
    projector["linear.weight"] = own.take("llama_proj.weight", (hidden, inner))
    projector["linear.bias"] = own.take("llama_proj.bias", (hidden,))
    own.ignore(_OTHER_TASKS, "belongs to another language model or task")
    tower.finish()
    own.finish()
    config = MiniGPT4Config(
        vision_config=vision,
        text_config=text_config,
        patches_per_token=_PATCHES,
        qformer_config=settings,
        num_query_tokens=queries,
    )
    state = {f"model.vision_tower.{name}": value for name, value in tower_state.items()}
    state.update({f"model.multi_modal_projector.{name}": value for name, value in projector.items()})
    for name, value in decoder.items():
        state[name if name.startswith("lm_head.") else f"model.language_model.{name.removeprefix('model.')}"] = value
    grid = config.grid
    conversation = VICUNA if queried else (V2 if merged else LLAMA_2)
    report = MiniGPT4Report(
        kind="MiniGPT-4 with Q-Former" if queried else ("MiniGPT-v2" if merged else "MiniGPT-4 (Llama-2)"),
        layout=f"{grid[0] * grid[1]} = {grid[0]} x {grid[1]}" if grid else f"{queries} queries without a grid",
        template=conversation.shown,
        ln_vision=source,
        lora=merged,
        used=tuple(tower.used + own.used),
        ignored={**tower.ignored, **own.ignored},
    )
    return Converted(config, state, conversation, report)
