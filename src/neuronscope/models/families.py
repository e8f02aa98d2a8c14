"""What differs between model families, as data. Everything else is found by rules that hold for all of them.

A row is looked up by `config.model_type`. A new family is a new row, never a branch in code; a model type without a row
gets the plain one, and has to prove itself by the same checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ..errors import InvalidOption, UnsupportedModel
from ..fields import check_fields
from ..given import checked, checked_methods
from ..tokens import Separators

_QUERIES = "a fixed number of learned queries looks at the whole image"
#: The remark of the plain row.
UNLISTED = "not in the family table: general rules only"
_CROSS = "the decoder reads the image through cross-attention"


@checked_methods
@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        model_type: as in config.json.
        title: for people.
        template: how image and prompt are joined when the caller gives no template of their own.
        asked: how they are joined with {question} and {system} where there is no chat template; empty for a line each.
        continued: how image and prompt are joined where `template` has the form of a chat and none is wanted.
        placeholder: what stands for {image}; the processor's image token when None, nothing where it adds the image.
        cell: height and width of an image token's cell relative to each other.
        pixels: which output of the image processor holds the pixels.
        strip: the pixels are patches side by side.
        separators: image tokens that show nothing.
        no_grid: why image tokens have no place on the image; empty where they have; None to tell from the config
            whether a projector of learned queries is there, which some families have and have not.
        no_image: why there are no image tokens in the decoder's sequence; empty where there are.
        prefix: the image goes before the ids as vectors without tokens.
        discrete: why image tokens do not follow the pixels smoothly; empty where they do.
        cached: why text can be written with a KV cache only; empty where it also can without.
        one_image: why a prompt holds one image only; empty where it can hold several.
        each: the part of a prompt that is repeated for each of several images, with {image} for the placeholder.
        nested: several images of one prompt go to the processor as a list within the list of images.
        unpadded: why prompts share a batch only where their pixels have one shape; empty where pixels can be padded.
        alone: why a prompt is read differently in a batch, so that captions are written one by one; empty where not.
        ends: `generate` is told what ends a caption; False where the model's own passes that on, and takes no other.
        single: why prompts cannot be batched with padding; empty where they can.
        refused: why models of this family cannot be studied at all; empty where they can.
        untested: why no test runs a model of this family; empty where one does.
        since: first release of transformers, such as "5.19", on which the family passes its tests; empty where that is
            the oldest one that neuronscope is installed with.
        listed: False in the plain row of a model type that is not in the table.
        notes: what else a user should know.
    """

    model_type: str
    title: str
    template: str = "{image}\n{prompt}"
    asked: str = ""
    continued: str = ""
    placeholder: str | None = None
    cell: tuple[int, int] = (1, 1)
    pixels: str = "pixel_values"
    strip: bool = False
    separators: Separators = field(default_factory=Separators)
    no_grid: str | None = None
    no_image: str = ""
    prefix: bool = False
    discrete: str = ""
    cached: str = ""
    one_image: str = ""
    each: str = "{image}"
    nested: bool = True
    unpadded: str = ""
    alone: str = ""
    ends: bool = True
    single: str = ""
    refused: str = ""
    untested: str = ""
    since: str = ""
    listed: bool = True
    notes: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    def require_images(self, count: int) -> None:
        """Raise InvalidOption for several images where a prompt holds one, and for none."""
        if count < 1:
            raise InvalidOption(f"count={count}: a prompt shows at least one image")
        if count > 1 and self.one_image:
            raise InvalidOption(f"{self.title} takes one image per prompt, not {count}: {self.one_image}")


_ONE_WRITTEN = "its processor writes the tokens of one image into a prompt"
_ONE_READ = "its processor pairs each image with a prompt of its own"
_CODES = "image tokens are codes of a codebook, which flip all over the picture"
_ENCODER = "the image is in the encoder's input"
_PADDING = "transformers counts positions wrongly under left padding"
_QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
_GLM = "<|begin_of_image|><|image|><|end_of_image|>"

_ROWS = (
    Family(
        "llava", "LLaVA", notes="1.5: one grid, CLS dropped by the projector; Pixtral tower: row breaks are other ids"
    ),
    Family(
        "minigpt4",
        "MiniGPT-4, MiniGPT-v2",
        template="[INST] <Img>{image}</Img> {prompt} [/INST] ",
        asked="{system}[INST] <Img>{image}</Img> {question} [/INST] {prompt}",
        continued="<Img>{image}</Img> {prompt}",
        cell=(1, 4),
        each="<Img>{image}</Img>",
        notes="16 x 4 grid, 32 x 8 at 448 px; with a Q-Former no grid; made by `neuronscope convert`",
    ),
    Family("llava_v1", "LLaVA v1", notes="16 x 16 grid; one linear map; made by `neuronscope convert`"),
    Family(
        "mplug_owl2",
        "mPLUG-Owl2",
        template="{image}{prompt}",
        no_grid=_QUERIES,
        separators=Separators(after=1),
        notes="an end token behind the queries; norms, keys and values by modality; made by `neuronscope convert`",
    ),
    Family("vipllava", "VipLLaVA", notes="one grid; features of five tower layers"),
    Family("llava_next", "LLaVA-NeXT 1.6", notes="thumbnail, then the stitched tiles with a separator per row"),
    Family("paligemma", "PaliGemma 1, 2", template="{image}{prompt}", notes="the prompt is read in both directions"),
    Family(
        "gemma3", "Gemma 3", placeholder="<start_of_image>", notes="image tokens see one another; norm after the FFN"
    ),
    Family("aya_vision", "Aya Vision", notes="tiles, whole picture last; attention and FFN are parallel"),
    Family("idefics3", "Idefics 3", notes="tiles, whole picture last"),
    Family("idefics2", "Idefics 2", no_grid=_QUERIES),
    Family("ovis2", "Ovis 2", notes="tiles, whole picture last"),
    Family("got_ocr2", "GOT-OCR 2", placeholder="<img><imgpad></img>", each="<imgpad>", nested=False),
    Family("janus", "Janus", placeholder="<image_placeholder>"),
    Family("deepseek_vl", "DeepSeek-VL", placeholder="<image_placeholder>"),
    Family("blip-2", "BLIP-2", template="{image}{prompt}", placeholder="", no_grid=_QUERIES, one_image=_ONE_WRITTEN),
    Family(
        "instructblip",
        "InstructBLIP",
        template="{image}{prompt}",
        placeholder="",
        no_grid=_QUERIES,
        one_image=_ONE_WRITTEN,
    ),
    Family(
        "mllama",
        "Llama 3.2 Vision",
        placeholder="<|image|>",
        no_image=_CROSS,
        unpadded="tokens before the first image attend to what pads the images",
    ),
    Family(
        "kosmos-2",
        "Kosmos-2",
        template="{image}{prompt}",
        placeholder="",
        no_grid=_QUERIES,
        one_image=_ONE_WRITTEN,
        single=_PADDING,
        since="5.23",  # before, each query was kept from the patches after its own number, unless attention was eager
    ),
    Family("chameleon", "Chameleon", discrete=_CODES),
    Family(
        "git",
        "GIT",
        placeholder="",
        prefix=True,
        no_image="the image comes before the text as vectors without tokens",
        one_image=_ONE_READ,
    ),
    Family("blip", "BLIP", placeholder="", no_image=_CROSS, one_image=_ONE_READ, ends=False),
    Family("idefics", "IDEFICS", placeholder="", no_image=_CROSS),
    Family(
        "fuyu",
        "Fuyu",
        template="{image}{prompt}",
        placeholder="",
        pixels="image_patches",
        one_image=_ONE_WRITTEN,
        notes="raw patches, no vision tower",
    ),
    Family("lighton_ocr", "LightOnOCR", placeholder="<|image_pad|>"),
    Family("granite_docling", "Granite-Docling", notes="tiles, whole picture last", since="5.23"),
    Family("aria", "Aria", placeholder="<|img|>", no_grid=_QUERIES, notes="shared experts"),
    Family("florence2", "Florence-2", placeholder="", no_image=_ENCODER, one_image=_ONE_WRITTEN),
    Family(
        "emu3",
        "Emu3",
        separators=Separators(row=1),
        discrete=_CODES,
        unpadded="the part that turns pixels into codes sees what pads them",
        notes="row ends are image tokens too",
    ),
    Family(
        "granite4_vision",
        "Granite 4 Vision",
        no_grid="",
        notes="windowed Q-Former: thumbnail, then stitched tiles",
    ),
    Family("deepseek_vl_hybrid", "DeepSeek-VL hybrid", placeholder="<image_placeholder>"),
    Family(
        "shieldgemma2",
        "ShieldGemma 2",
        placeholder="<start_of_image>",
        one_image=_ONE_READ,
        notes="its processor writes the prompt",
    ),
    Family("llava_next_video", "LLaVA-NeXT-Video", notes="images only; layout as LLaVA-NeXT"),
    Family("video_llava", "Video-LLaVA", pixels="pixel_values_images", notes="images only"),
    Family(
        "kosmos-2.5",
        "Kosmos-2.5",
        template="{image}{prompt}",
        placeholder="",
        no_grid=_QUERIES,
        one_image=_ONE_WRITTEN,
        single=_PADDING,
    ),
    Family(
        "pp_chart2table",
        "PP-Chart2Table",
        placeholder="<img>" + 256 * "<imgpad>" + "</img>",
        untested="its processor leaves writing the image tokens to the prompt; this row writes the published 256",
    ),
    Family("t5gemma2", "T5Gemma 2", placeholder="<start_of_image>", no_image=_ENCODER),
    Family("pix2struct", "Pix2Struct", refused="the prompt is drawn into the picture and has no tokens"),
    Family("vision-encoder-decoder", "VisionEncoderDecoder", refused="it takes no prompt"),
    Family("udop", "UDOP", refused="a prompt needs a page's words and their boxes"),
    Family("evolla", "Evolla", refused="it reads proteins, not images"),
    Family("diffusion_gemma", "DiffusionGemma", refused="it writes by diffusion: there are no next-token logits"),
    Family("pi0", "pi0", refused="it writes a robot's actions, not text"),
    Family(
        "phi4_multimodal",
        "Phi-4 multimodal",
        refused="transformers fails to write more than one token with an image (5.23)",
    ),
    Family("fast_vlm", "FastVLM", notes="tested with an EfficientNet tower; that of the published weights needs timm"),
    Family("perception_lm", "PerceptionLM", untested="its tower needs timm, which needs torchvision"),
    Family("gemma3n", "Gemma 3n", untested="its tower needs timm, which needs torchvision"),
    Family("llava_onevision", "LLaVA-OneVision", notes="thumbnail, then the stitched tiles with a separator per row"),
    Family("qwen2_vl", "Qwen2-VL", placeholder=_QWEN, notes="2 x 2 patches merged"),
    Family("qwen2_5_vl", "Qwen2.5-VL", placeholder=_QWEN, notes="2 x 2 patches merged"),
    Family("qwen3_vl", "Qwen3-VL", placeholder=_QWEN, notes="2 x 2 patches merged; features enter early layers again"),
    Family("qwen3_vl_moe", "Qwen3-VL MoE", placeholder=_QWEN, notes="dense layers and routed experts"),
    Family("qwen3_5", "Qwen3.5", placeholder=_QWEN, notes="3 of 4 layers with linear attention"),
    Family("qwen3_5_moe", "Qwen3.5 MoE", placeholder=_QWEN, notes="shared experts"),
    Family(
        "qwen2_5_omni_thinker",
        "Qwen2.5-Omni (thinker)",
        placeholder="<|vision_bos|><|IMAGE|><|vision_eos|>",
        since="5.23",
    ),
    Family("internvl", "InternVL 2, 3", placeholder="<IMG_CONTEXT>", notes="tiles row by row, thumbnail last"),
    Family("smolvlm", "SmolVLM", placeholder="<image>", notes="tiles, whole picture last; needs num2words"),
    Family("glm4v", "GLM-4V", placeholder=_GLM, notes="2 x 2 patches merged; norm after the FFN"),
    Family("glm46v", "GLM-4.6V", placeholder=_GLM, notes="2 x 2 patches merged; norm after the FFN"),
    Family("glm_ocr", "GLM-OCR", placeholder=_GLM, notes="2 x 2 patches merged; norm after the FFN"),
    Family("glm4v_moe", "GLM-4V MoE", placeholder=_GLM, notes="dense layers and shared experts"),
    Family("gemma4", "Gemma 4", placeholder="<|image|>", notes="3 x 3 patches pooled; norm after the FFN"),
    Family("mistral3", "Mistral Small 3", placeholder="[IMG]", notes="2 x 2 patches merged; row breaks are other ids"),
    Family("minicpmv4_6", "MiniCPM-V 4.6", placeholder="<|image_pad|>", strip=True, notes="overview, then slices"),
    Family("video_llama_3", "VideoLLaMA 3", placeholder="<|image_pad|>", notes="2 x 2 patches merged"),
    Family("paddleocr_vl", "PaddleOCR-VL", placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>"),
    Family(
        "ernie4_5_vl_moe",
        "ERNIE 4.5 VL",
        placeholder="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        cached="transformers does not lengthen its modality mask when it writes without a cache",
        notes="dense layers and shared experts",
    ),
    Family(
        "hunyuan_vl",
        "HunYuan-VL",
        placeholder="<img><image></img>",
        separators=Separators(row=1, before=1, after=1),
        alone="transformers counts the images of the whole batch where it should count those of the prompt",
        notes="row ends and both edges are image tokens too",
        since="5.22",
    ),
    Family("exaone4_5", "EXAONE 4.5", placeholder="<|image_pad|>", notes="norm after the FFN"),
    Family("qianfan_ocr", "Qianfan-OCR", placeholder="<image>", notes="tiles, whole picture last"),
    Family(
        "llama4", "Llama 4", placeholder="<|image|>", notes="tiles, whole picture last; shared experts; torchvision"
    ),
    Family("cohere2_vision", "Command A Vision", placeholder="<|IMG_PATCH|>", notes="tiles; torchvision"),
    Family("lfm2_vl", "LFM2-VL", notes="tiles, thumbnail of another size last; torchvision"),
    Family("molmo2", "Molmo 2", placeholder="<|image|>", notes="overview, then the stitched crops; torchvision"),
    Family(
        "kimi_k25",
        "Kimi K2.5",
        placeholder="<|media_begin|>image<|media_content|><|media_pad|><|media_end|>",
        notes="dense layers and shared experts; torchvision",
    ),
)

_TABLE = {row.model_type: row for row in _ROWS}

#: The family table, read-only; :func:`register_family` adds rows.
FAMILIES: Mapping[str, Family] = MappingProxyType(_TABLE)


@checked
def register_family(row: Family) -> None:
    """Add a row, or replace one of the same model type. Raises InvalidOption for a template without its two fields."""
    for part in ("{image}", "{prompt}"):
        if row.template.count(part) != 1:
            raise InvalidOption(f"template={row.template!r} of {row.model_type!r} must hold {part} once")
    _TABLE[row.model_type] = row


def family_of(config: Any) -> Family:
    """The row of a model's config; a plain one for a model type that is not in the table.

    Raises UnsupportedModel for a family that cannot be studied, for one that needs a newer transformers, and for a
    model without vision.
    """
    kind = str(getattr(config, "model_type", None))
    row = _TABLE.get(kind)
    if row is None:
        if not has_vision(config):
            raise UnsupportedModel(
                f"model type {kind!r} has no vision tower: neuronscope studies vision-language models"
            )
        return _with_queries(Family(kind, kind, listed=False, notes=UNLISTED), config)
    if row.refused:
        raise UnsupportedModel(f"{row.title} ({kind}) cannot be studied: {row.refused}")
    if why := lacking(row):
        raise UnsupportedModel(why)
    return _with_queries(row, config)


def lacking(row: Family) -> str:
    """One sentence on why the installed transformers is too old for a family; empty where it is not."""
    from transformers import __version__ as installed

    if not row.since or _release(installed) >= _release(row.since):
        return ""
    return f"{row.title} ({row.model_type}) needs transformers {row.since} or later; {installed} is installed"


def _release(version: str) -> tuple[int, ...]:
    """Major and minor number: patch releases bring no family."""
    return tuple(int(part) for part in version.split(".")[:2])


def _with_queries(row: Family, config: Any) -> Family:
    """A projector of learned queries leaves no grid, whatever the family: some exist with and without one."""
    if row.no_grid is not None:
        return row
    queries = any(getattr(config, name, None) is not None for name in ("qformer_config", "perceiver_config"))
    return replace(row, no_grid=_QUERIES if queries else "")


def has_vision(config: Any) -> bool:
    """Whether a config describes a model that takes images.

    It does when it is in the table, in transformers' mapping of image-text-to-text models, or has a vision part.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    kind = str(getattr(config, "model_type", None))
    known: Mapping[str, Any] = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return kind in _TABLE or kind in known or getattr(config, "vision_config", None) is not None
