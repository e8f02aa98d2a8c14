"""Pictures and prompts as MiniGPT-4 was trained with.

Pictures are resized to a square without a crop (bicubic) and normalised with CLIP's mean and deviation.
"""

from __future__ import annotations

from typing import Any

from ..conversion.chat import Conversation
from ..conversion.processing import PiecesProcessor

#: The original's word for where the image goes.
IMAGE_TOKEN = "<ImageHere>"

_IMAGE = f"<Img>{IMAGE_TOKEN}</Img>"

#: What each version was trained with. Behind a system turn, and before later turns, the demos have a real `<s>`. The
#: answers of MiniGPT-v2 begin behind no space, and were tokenised by themselves, with a space of their own.
LLAMA_2 = Conversation(_IMAGE, "[INST] ", " [/INST] ", told="<s>[INST] ", again="<s>[INST] ")
V2 = Conversation(_IMAGE, "[INST] ", " [/INST]", lead=" ", told="<s>[INST] ", again="<s>[INST] ")
VICUNA = Conversation(_IMAGE, "###Human: ", " ###Assistant: ")


class MiniGPT4Processor(PiecesProcessor):
    """Image processor and Llama tokenizer in one."""


def make_processor(
    tokenizer: Any,
    *,
    image_size: int = 224,
    patch_size: int = 14,
    patches_per_token: int = 4,
    queries: int | None = None,
    conversation: Conversation | None = None,
) -> MiniGPT4Processor:
    """The processor that goes with a Llama tokenizer, and with a chat template where there is a conversation."""
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    pictures = BlipImageProcessorPil(size={"height": image_size, "width": image_size})
    template = conversation.jinja() if conversation else None
    return MiniGPT4Processor(pictures, tokenizer, patch_size, patches_per_token, queries, IMAGE_TOKEN, template)
