"""Pictures and prompts as LLaVA v1 was trained with: the picture's middle square, and text in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..conversion.chat import Conversation
from ..conversion.processing import PiecesProcessor

IMAGE_TOKEN = "<image>"
#: The same with the words that some versions put around it; their tokenizers and vocabularies have them.
MARKED_TOKEN = f"<im_start>{IMAGE_TOKEN}<im_end>"

_LLAMA_2_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
_VICUNA_SYSTEM = (
    "A chat between a curious {} and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the {}'s questions."
)


def conversations(image: str = IMAGE_TOKEN) -> Mapping[str, Conversation]:
    """How the versions were asked, by the name of their language model; each has a system text of its own."""
    human = _VICUNA_SYSTEM.format("human", "human")
    return {
        "llama-2": Conversation(
            image,
            f"[INST] <<SYS>>\n{_LLAMA_2_SYSTEM}\n<</SYS>>\n\n",
            " [/INST]",
            lead=" ",
            done=" </s>",
            between="\n",
            told="",
            again="<s>[INST] ",
            before_system="[INST] <<SYS>>\n",
            after_system="\n<</SYS>>\n\n",
        ),
        "vicuna-v1": Conversation(
            image,
            f"{human} USER: ",
            " ASSISTANT:",
            lead=" ",
            done="</s>",
            between="\n",
            told="USER: ",
            again="USER: ",
            after_system=" ",
        ),
        "vicuna-v0": Conversation(
            image,
            f"{human}###Human: ",
            "###Assistant:",
            lead=" ",
            between="\n",
            told="###Human: ",
            again="###Human: ",
        ),
    }


class LlavaV1Processor(PiecesProcessor):
    """Image processor and Llama tokenizer in one."""


def make_processor(
    tokenizer: Any, *, image_size: int = 224, patch_size: int = 14, conversation: Conversation | None = None
) -> LlavaV1Processor:
    """The processor that goes with a tokenizer, and with a chat template where there is a conversation.

    The shorter side of a picture is scaled to `image_size` (bicubic), and the middle square is cut out.
    """
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": image_size, "width": image_size}
    pictures = CLIPImageProcessorPil(size={"shortest_edge": image_size}, crop_size=size)
    template = conversation.jinja() if conversation else None
    return LlavaV1Processor(pictures, tokenizer, patch_size, image_token=IMAGE_TOKEN, chat_template=template)
