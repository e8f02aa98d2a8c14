"""A tiny random LLaVA of any size, with no download: for bug reports and for tests of your own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .errors import InvalidOption
from .loading import VLM, load

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_TEXT = "the image shows a brown bear dog cat bus on grass and red horse of with snow surf ##board"
#: The words that the tiny model can say; their ids follow those of SPECIAL.
WORDS = tuple(_TEXT.split())


def tiny_processor(words: Sequence[str] = WORDS, patch: int = 8, side: int = 32) -> Any:
    """A LLaVA processor: a WordPiece tokenizer of `words`, pictures of `side` x `side` px.

    Args:
        words: the vocabulary after the five special tokens, lower case; ``##board`` continues a word.
        patch: side of a patch in px; a picture becomes (side / patch)^2 image tokens.
        side: side of the picture in px.

    Raises InvalidOption where `patch` does not divide `side`.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import CLIPImageProcessorPil, LlavaProcessor, PreTrainedTokenizerFast

    _whole_patches(patch, side)
    vocab = {word: i for i, word in enumerate([*SPECIAL, *words])}
    core: Any = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
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
    made: Any = LlavaProcessor
    return made(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def tiny_model(
    seed: int = 0,
    *,
    layers: int = 4,
    hidden: int = 32,
    d_ff: int = 48,
    patch: int = 8,
    side: int = 32,
    words: Sequence[str] = WORDS,
) -> Any:
    """A random LLaVA in float32 on the CPU, in eval mode; the same seed and sizes give the same weights.

    Matrices are four times as large as transformers draws them, so that a change of neurons moves the caption.
    Sets torch's seed.

    Args:
        seed: of the weights.
        layers: decoder layers.
        hidden: width of the decoder, a multiple of 4 (two heads of even width).
        d_ff: FFN neurons per decoder layer.
        patch: side of a patch in px.
        side: side of the picture in px.
        words: the vocabulary, as in :func:`tiny_processor`.

    Raises InvalidOption where `patch` does not divide `side`, or 4 does not divide `hidden`.
    """
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    _whole_patches(patch, side)
    if hidden % 4:
        raise InvalidOption(f"hidden={hidden} is not a multiple of 4: there are two heads of even width")
    torch.manual_seed(seed)
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision: Any = CLIPVisionConfig(
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=side,
        patch_size=patch,
    )
    text: Any = LlamaConfig(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=hidden,
        intermediate_size=d_ff,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        **ids,
    )
    ids |= {"image_token_id": 4, "vision_feature_layer": -1}
    config = LlavaConfig(vision_config=vision, text_config=text, **ids)
    model: Any = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # at the default scale a change of neurons rarely moves the argmax
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model


def tiny_vlm(
    seed: int = 0,
    *,
    layers: int = 4,
    hidden: int = 32,
    d_ff: int = 48,
    patch: int = 8,
    side: int = 32,
    words: Sequence[str] = WORDS,
) -> VLM:
    """:func:`tiny_model` and :func:`tiny_processor`, loaded and proven by :func:`neuronscope.load`.

    Arguments and errors are those of :func:`tiny_model`.
    """
    model = tiny_model(seed, layers=layers, hidden=hidden, d_ff=d_ff, patch=patch, side=side, words=words)
    return load((model, tiny_processor(words, patch, side)))


def _whole_patches(patch: int, side: int) -> None:
    if patch < 1 or side < patch or side % patch:
        raise InvalidOption(f"patch={patch} does not divide side={side}: the picture has to be whole patches")
