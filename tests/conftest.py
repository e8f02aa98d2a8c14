"""Shared fixtures: tiny random LLaVA models, and shape checks of the whole package while tests run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

sys.path.insert(0, str(Path(__file__).parent))
import shape_checker

shape_checker.install("neuronscope")

from collections.abc import Callable, Iterator

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

import neuronscope as ns

torch.set_num_threads(1)

WORDS = [
    "the",
    "image",
    "shows",
    "a",
    "brown",
    "bear",
    "dog",
    "cat",
    "bus",
    "on",
    "grass",
    "and",
    "red",
    "horse",
    "of",
    "with",
    "snow",
    "surf",
    "##board",
]


def tiny_processor(patch: int = 8, side: int = 32):
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    vocab = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>", "<unk>", "<image>", *WORDS])}
    core = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def tiny_model(seed: int = 0, *, layers: int = 4, hidden: int = 32, d_ff: int = 48, patch: int = 8, side: int = 32):
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=side,
            patch_size=patch,
        ),
        text_config=LlamaConfig(
            vocab_size=5 + len(WORDS),
            hidden_size=hidden,
            intermediate_size=d_ff,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=256,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_id=4,
        vision_feature_layer=-1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # at the default scale a change of neurons rarely moves the argmax
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="session")
def make_vlm() -> Callable[..., ns.VLM]:
    """Builds a tiny random LLaVA; keyword arguments as in tiny_model."""

    def make(seed: int = 0, **shape: int) -> ns.VLM:
        sizes = {k: shape[k] for k in ("patch", "side") if k in shape}
        return ns.load((tiny_model(seed, **shape), tiny_processor(**sizes)))

    return make


@pytest.fixture(scope="session")
def vlm(make_vlm: Callable[..., ns.VLM]) -> ns.VLM:
    """One tiny random LLaVA for tests that do not change it."""
    return make_vlm()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint directory."""
    folder = tmp_path_factory.mktemp("tiny-llava")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def picture() -> Image.Image:
    """A noisy 60 x 44 picture."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (44, 60, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Three noisy pictures of different sizes."""
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 40), (32, 64), (50, 33))]


@pytest.fixture(scope="session")
def demo() -> ns.VLM:
    """The bundled model."""
    return ns.load("demo")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty rendered scenes as a COCO folder; the bundled model never saw them in training."""
    from neuronscope.samples.scenes.export import write_coco

    return write_coco(tmp_path_factory.mktemp("scenes"), count=80, seed=20_000_000)


@pytest.fixture(scope="session")
def real_coco() -> Path:
    """The real photographs, where this machine has them."""
    default = Path(__file__).parents[2] / "shared" / "data" / "coco-mini"
    places = [Path(place) for place in (os.environ.get("NEURONSCOPE_COCO"), default) if place]
    for folder in places:
        if folder.is_dir():
            return folder
    pytest.skip(f"no COCO images: NEURONSCOPE_COCO or the default names no folder ({', '.join(map(str, places))})")


@pytest.fixture
def scene() -> Image.Image:
    """48 x 32 px, blue, with a red block at x 10..20, y 8..16."""
    pixels = np.full((32, 48, 3), (20, 40, 200), dtype=np.uint8)
    pixels[8:16, 10:20] = (220, 10, 10)
    return Image.fromarray(pixels)


@pytest.fixture
def sample(scene: Image.Image) -> ns.Sample:
    return ns.Sample(image=scene, concept="bear", boxes=[(10, 8, 10, 8)])


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run it: what the type checker of these tests would stop gets through to the package's own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
