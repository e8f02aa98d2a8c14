"""A tiny random LLaVA of any size, with no download: for bug reports and for tests of your own code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import InvalidOption
from ..loading import VLM, load

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_TEXT = "the image shows a brown bear dog cat bus on grass and red horse of with snow surf ##board"
#: The words that the tiny model can say; their ids follow those of SPECIAL.
WORDS = tuple(_TEXT.split())


def tiny_tokenizer(
    words: Sequence[str] = WORDS,
    special: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
    *,
    bos: bool = True,
    normalizer: Any = None,
    longest: int = 100,
    **options: Any,
) -> Any:
    """A WordPiece tokenizer: ids <pad> 0, <s> 1, </s> 2, <unk> 3, then `special` and `more` tokens, and words.

    Args:
        words: lower case; ``##board`` continues a word.
        special: attribute name -> token, which becomes that attribute of the tokenizer; {"image_token": "<image>"}.
        more: further special tokens, each one id.
        bos: put <s> before every text.
        normalizer: from the library tokenizers; lower case by default.
        longest: a word of more characters is unknown.
        options: handed to PreTrainedTokenizerFast, such as padding_side.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    named = {"image_token": "<image>"} if special is None else dict(special)
    vocab = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL[:4], *named.values(), *more, *words]))}
    core: Any = Tokenizer(models.WordPiece(vocab, unk_token="<unk>", max_input_chars_per_word=longest))
    core.normalizer = normalizer or normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=named,
        **options,
    )
    if more:
        tokenizer.add_tokens(list(dict.fromkeys([*named.values(), *more])), special_tokens=True)
    return tokenizer


def tiny_processor(
    words: Sequence[str] = WORDS,
    patch: int = 8,
    side: int = 32,
    *,
    tokenizer: Any = None,
    pixels: Mapping[str, Any] | None = None,
) -> Any:
    """A LLaVA processor: a WordPiece tokenizer of `words`, pictures of `side` x `side` px.

    Args:
        words: the vocabulary after the five special tokens, lower case; ``##board`` continues a word.
        patch: side of a patch in px; a picture becomes (side / patch)^2 image tokens.
        side: side of the picture in px.
        tokenizer: instead of :func:`tiny_tokenizer` of `words`.
        pixels: further settings of CLIP's image processor.

    Raises InvalidOption where `patch` does not divide `side`.
    """
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    _whole_patches(patch, side)
    crop = {"height": side, "width": side}
    made: Any = LlavaProcessor
    pictures: Any = CLIPImageProcessorPil
    return made(
        image_processor=pictures(size={"shortest_edge": side}, crop_size=crop, **(pixels or {})),
        tokenizer=tokenizer or tiny_tokenizer(words),
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
    gain: float = 4.0,
    text: Mapping[str, Any] | None = None,
    vision: Mapping[str, Any] | None = None,
    **more: Any,
) -> Any:
    """A random LLaVA in float32 on the CPU, in eval mode; the same seed and sizes give the same weights.

    Sets torch's seed.

    Args:
        seed: of the weights.
        layers: decoder layers.
        hidden: width of the decoder, a multiple of 4 (two heads of even width, unless `text` says otherwise).
        d_ff: FFN neurons per decoder layer.
        patch: side of a patch in px.
        side: side of the picture in px.
        words: the vocabulary, as in :func:`tiny_processor`.
        gain: how many times as large as transformers draws them matrices are; with 4 a change of neurons moves the
            caption, with 1 it rarely does.
        text: further settings of LlamaConfig, such as num_attention_heads.
        vision: further settings of CLIPVisionConfig.
        more: further settings of LlavaConfig.

    Raises InvalidOption where `patch` does not divide `side`, or the heads have no even width.
    """
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    _whole_patches(patch, side)
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, **(text or {})}
    if hidden % (2 * heads["num_attention_heads"]):
        raise InvalidOption(
            f"hidden={hidden} is not a multiple of {2 * heads['num_attention_heads']}: there are "
            f"{heads['num_attention_heads']} heads of even width"
        )
    torch.manual_seed(seed)
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    tower: dict[str, Any] = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": side,
        "patch_size": patch,
        **(vision or {}),
    }
    decoder: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(words),
        "hidden_size": hidden,
        "intermediate_size": d_ff,
        "num_hidden_layers": layers,
        "max_position_embeddings": 256,
        **heads,
        **ids,
    }
    whole: dict[str, Any] = {
        "vision_config": CLIPVisionConfig(**tower),
        "text_config": LlamaConfig(**decoder),
        "image_token_id": 4,
        "image_seq_length": (side // patch) ** 2,
        "vision_feature_layer": -1,
        **ids,
        **more,
    }
    config = LlavaConfig(**whole)
    model: Any = LlavaForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and gain != 1:
                parameter.mul_(gain)
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
