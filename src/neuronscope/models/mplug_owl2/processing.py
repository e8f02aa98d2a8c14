"""Pictures and prompts as mPLUG-Owl2 was trained with.

A picture is first stretched to a square with the length of its longer side, then scaled: both bicubic, as in the
original, whose pixels are not those of one step.
"""

from __future__ import annotations

from typing import Any

from PIL import Image
from transformers.image_utils import make_flat_list_of_images

from ..conversion.chat import Conversation
from ..conversion.processing import PiecesProcessor

IMAGE_TOKEN = "<|image|>"
#: Of a picture that was stretched to a square.
MAX_PIXELS = 64_000_000

#: How the model was asked; it has no system text of its own.
USER = Conversation(IMAGE_TOKEN, "USER: ", " ASSISTANT:", lead=" ", done="</s>", between="", after_system=" ")


class MPLUGOwl2Processor(PiecesProcessor):
    """Image processor and Llama tokenizer in one."""

    def __call__(
        self, images: Any = None, text: Any = None, videos: Any = None, audio: Any = None, **kwargs: Any
    ) -> Any:
        """As :class:`PiecesProcessor`. Raises ValueError for a picture that would be stretched beyond MAX_PIXELS."""
        if images is not None:
            found: Any = make_flat_list_of_images(self.image_processor.fetch_images(images))
            images = [_square(one) for one in found]
        return super().__call__(images=images, text=text, videos=videos, audio=audio, **kwargs)


def _square(picture: Any) -> Any:
    """A PIL picture stretched to a square; arrays are taken as they are."""
    if not isinstance(picture, Image.Image) or picture.width == picture.height:
        return picture
    side = max(picture.size)
    if side * side > MAX_PIXELS:
        raise ValueError(
            f"a picture of {picture.width} x {picture.height} px would be stretched to {side} x {side}, more than "
            f"{MAX_PIXELS:,} pixels: cut or shrink it"
        )
    return picture.resize((side, side), Image.Resampling.BICUBIC)


def make_processor(
    tokenizer: Any,
    *,
    image_size: int = 448,
    patch_size: int = 14,
    queries: int = 64,
    conversation: Conversation | None = None,
) -> MPLUGOwl2Processor:
    """The processor that goes with a Llama tokenizer, and with a chat template where there is a conversation."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = {"height": image_size, "width": image_size}
    pictures = CLIPImageProcessorPil(size=size, crop_size=size)
    template = conversation.jinja() if conversation else None
    return MPLUGOwl2Processor(
        pictures,
        tokenizer,
        patch_size,
        num_query_tokens=queries + 1,
        image_token=IMAGE_TOKEN,
        chat_template=template,
    )
