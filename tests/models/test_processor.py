"""Processors whose video part needs torchvision, which is never installed where these tests run."""

import copy
import importlib.util
import inspect
import json
import pickle
import sys

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.models import families as table
from neuronscope.models.families import lacking
from neuronscope.models.processor import load_processor, without_video

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed: nothing is left out"
)

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
CHAT = [{"role": "user", "content": [{"type": "video", "path": "a.mp4"}, {"type": "text", "text": "the bear"}]}]


def tokenizer(named, more=()):
    """One id per word and per special token."""
    words = dict.fromkeys(["<pad>", "</s>", "<unk>", *named.values(), *more, "the", "bear"])
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", extra_special_tokens=named
    )
    made.add_tokens([*named.values(), *more], special_tokens=True)
    return made


def qwen2_vl():
    pixels = transformers.Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, size={"shortest_edge": 64, "longest_edge": 4096}
    )
    words = tokenizer({"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"})
    return without_video(transformers.Qwen2VLProcessor, pixels, words, chat_template=TEMPLATE), "<|image_pad|>", 30


def internvl():
    pixels = transformers.GotOcr2ImageProcessorPil(
        size={"height": 16, "width": 16}, crop_to_patches=True, max_patches=4
    )
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    words = tokenizer({**named, "video_token": "<video>"})
    made = without_video(transformers.InternVLProcessor, pixels, words, image_seq_length=4, chat_template=TEMPLATE)
    return made, "<IMG_CONTEXT>", 4 * 5


def pixtral():
    pixels = transformers.PixtralImageProcessorPil(size={"longest_edge": 48}, patch_size={"height": 8, "width": 8})
    words = tokenizer({"image_token": "[IMG]"}, ["[IMG_BREAK]", "[IMG_END]"])
    return (
        without_video(transformers.PixtralProcessor, pixels, words, patch_size=8, chat_template=TEMPLATE),
        "[IMG]",
        30,
    )


FAMILIES = pytest.mark.parametrize("make", [qwen2_vl, internvl, pixtral], ids=lambda make: make.__name__)


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))


def batch_of(processor, token, photo):
    return processor(text=[f"{token} the bear"], images=[photo], return_tensors="pt")


@FAMILIES
def test_the_processor_is_the_familys_own_and_counts_image_tokens(make, photo):
    processor, token, count = make()
    batch = batch_of(processor, token, photo)
    assert processor.video_processor is None
    assert isinstance(processor, transformers.ProcessorMixin)
    assert (batch["input_ids"] == processor.tokenizer.convert_tokens_to_ids(token)).sum() == count


@FAMILIES
def test_a_saved_directory_gives_the_same_processor(make, photo, tmp_path):
    processor, token, _ = make()
    before = batch_of(processor, token, photo)
    processor.save_pretrained(tmp_path)
    loaded = load_processor(str(tmp_path))
    after = batch_of(loaded, token, photo)
    assert type(loaded) is type(processor)
    assert loaded.video_processor is None
    assert processor.video_processor is None
    assert loaded.chat_template == TEMPLATE
    assert type(loaded.image_processor).__name__.endswith("Pil")
    assert loaded.to_dict() == processor.to_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@FAMILIES
def test_a_directory_with_settings_for_videos_loads_too(make, tmp_path):
    processor, _, _ = make()
    processor.save_pretrained(tmp_path)
    settings = {"processor_class": type(processor).__name__, "video_processor_type": "Qwen2VLVideoProcessor"}
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps(settings))
    assert load_processor(str(tmp_path)).video_processor is None


@FAMILIES
def test_videos_are_refused(make, photo):
    processor, token, _ = make()
    calls = [
        lambda: processor(text=[f"{token} the bear"], images=[photo], videos=[[photo, photo]]),
        lambda: processor.apply_chat_template(CHAT, tokenize=False),
        lambda: processor.apply_chat_template([CHAT], tokenize=False),
    ]
    if "videos" in inspect.signature(super(type(processor), processor).__call__).parameters:
        calls.append(lambda: processor([photo], [f"{token} the bear"], [[photo, photo]]))
    for call in calls:
        with pytest.raises(InvalidOption, match=f"videos=.*{type(processor).__name__}"):
            call()


@FAMILIES
def test_copies_and_pickles_work(make, photo):
    processor, token, _ = make()
    before = batch_of(processor, token, photo)
    for again in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):
        assert type(again) is type(processor)
        assert torch.equal(batch_of(again, token, photo)["input_ids"], before["input_ids"])


def test_others_still_see_transformers_as_it_was(tmp_path, photo):
    before = {name for name in sys.modules if "torchvision" in name}
    checks = transformers.ProcessorMixin.check_argument_for_proper_class
    for make in (qwen2_vl, pixtral):
        processor, _, _ = make()
        processor.save_pretrained(tmp_path / make.__name__)
        load_processor(str(tmp_path / make.__name__))
    assert transformers.ProcessorMixin.check_argument_for_proper_class is checks
    assert "transformers.models.pixtral.processing_pixtral" not in sys.modules
    assert {name for name in sys.modules if "torchvision" in name} == before
    plain = transformers.Qwen2VLProcessor
    assert "video_processor" in plain.get_attributes()
    words = tokenizer({"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"})
    with pytest.raises((TypeError, AttributeError, ImportError, ValueError)):
        plain(transformers.Qwen2VLImageProcessorPil(), words, None)
    with pytest.raises(ImportError, match="Torchvision"):
        transformers.PixtralProcessor(None, words)


@pytest.mark.parametrize("backend", ["auto", "pil"])
def test_an_ordinary_family_gets_transformers_own_class(backend, tmp_path, photo):
    pixels = transformers.LlavaImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    words = tokenizer({"image_token": "<image>"})
    transformers.LlavaProcessor(pixels, words, patch_size=8).save_pretrained(tmp_path)
    loaded = load_processor(str(tmp_path), backend=backend)
    assert type(loaded) is transformers.LlavaProcessor
    assert type(loaded.image_processor) is transformers.LlavaImageProcessorPil
    assert (batch_of(loaded, "<image>", photo)["input_ids"] == 3).sum() > 1


@pytest.mark.parametrize(
    ("family", "image", "whole"),
    [
        ("llama4", "Llama4ImageProcessor", "Llama4Processor"),
        ("molmo2", "Molmo2ImageProcessor", "Molmo2Processor"),
    ],
)
def test_a_family_without_pil_names_itself_and_torchvision(family, image, whole, tmp_path):
    if why := lacking(table.FAMILIES[family]):
        pytest.skip(why)
    tokenizer({"image_token": "<image>"}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    settings = {"image_processor_type": image, "processor_class": whole}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(UnsupportedModel, match=f"{family} family.*pip install torchvision.*\\[vision\\]"):
        load_processor(str(tmp_path))


def test_another_missing_package_is_named(tmp_path):
    if importlib.util.find_spec("num2words") is not None:
        pytest.skip("num2words is installed: SmolVLM's processor lacks nothing")
    if why := lacking(table.FAMILIES["smolvlm"]):
        pytest.skip(why)
    words = tokenizer({"image_token": "<image>"})
    with pytest.raises(UnsupportedModel, match=r"SmolVLMProcessor cannot be built.*num2words"):
        without_video(transformers.SmolVLMProcessor, transformers.SmolVLMImageProcessorPil(), words)


def test_files_that_are_not_there_are_reported_as_such(tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        load_processor(str(tmp_path))


def test_another_backend_is_refused(tmp_path):
    with pytest.raises(InvalidOption, match=r"backend='fast'.*auto, pil"):
        load_processor(str(tmp_path), backend="fast")
