"""Pictures and prompts of models whose image stands in a text of pieces: MiniGPT-4, LLaVA v1, mPLUG-Owl2.

Text is cut at the image placeholder and the pieces are tokenised *separately*, as the original code of all three does:
each piece gets SentencePiece's leading space of its own. `<s>` is put before the first piece only, and the placeholder
becomes P times id 0, `<unk>`, which Llama's tokenizer never makes of text: so the vocabulary needs no new entry.
"""

from __future__ import annotations

import re
from typing import Any, cast

from transformers import BatchFeature, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images
from transformers.processing_utils import ProcessingKwargs


class PiecesProcessor(ProcessorMixin):
    """Image processor and Llama tokenizer in one.

    Args:
        image_processor: makes [3, side, side] pictures.
        tokenizer: Llama's. Without a padding token, or with `<unk>` as one, it is given the end-of-text token.
        patch_size: side of the tower's patches in pixels.
        patches_per_token: how many patches make one image token.
        num_query_tokens: number of image tokens where queries look at the picture; None where patches are projected.
        image_token: what stands for the image in texts.
        chat_template: as in transformers.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        patch_size: int = 14,
        patches_per_token: int = 1,
        num_query_tokens: int | None = None,
        image_token: str = "<image>",
        chat_template: str | None = None,
    ) -> None:
        self.patch_size = patch_size
        self.patches_per_token = patches_per_token
        self.num_query_tokens = num_query_tokens
        self.image_token = image_token
        self.image_token_id: int = tokenizer.unk_token_id
        if tokenizer.pad_token_id in (None, tokenizer.unk_token_id):
            tokenizer.pad_token = tokenizer.eos_token
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def tokens_of(self, height: int, width: int) -> int:
        """Number of image tokens of a processed picture."""
        if self.num_query_tokens is not None:
            return self.num_query_tokens
        return (height // self.patch_size) * (width // self.patch_size) // self.patches_per_token

    def __call__(
        self, images: Any = None, text: Any = None, videos: Any = None, audio: Any = None, **kwargs: Any
    ) -> Any:
        """Pixels and token ids, like any processor of transformers: images, text, padding, return_tensors and so on.

        Raises ValueError without images and text, with videos or audio, where the texts have more or fewer places for
        images than there are images, and where text would be cut.
        """
        if videos is not None or audio is not None or (images is None and text is None):
            raise ValueError("this processor takes images, text or both, and nothing else")
        kinds: Any = ProcessingKwargs  # transformers before 5.23 has no default for it
        options: Any = self._merge_kwargs(kinds, tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        settings = options["text_kwargs"]
        data: dict[str, Any] = {}
        counts: list[int] = []
        if images is not None:
            pictures: Any = make_flat_list_of_images(self.image_processor.fetch_images(images))
            data.update(self.image_processor(pictures, **options["images_kwargs"]))
            counts = [self.tokens_of(*picture.shape[-2:]) for picture in data["pixel_values"]]
        if text is not None:
            if settings.get("truncation"):
                raise ValueError("truncation would cut image tokens; shorten the text instead")
            texts = cast("list[str]", [text] if isinstance(text, str) else list(text))
            self._check_places(texts, None if images is None else len(counts))
            left = iter(counts)
            rows = [self._ids(one, left, settings.get("add_special_tokens", True)) for one in texts]
            wanted = {
                k: settings[k] for k in ("padding", "padding_side", "max_length", "pad_to_multiple_of") if k in settings
            }
            data.update(self.tokenizer.pad({"input_ids": rows}, **{"padding": False, **wanted}))
            if settings.get("return_mm_token_type_ids", options.get("return_mm_token_type_ids")):
                data["mm_token_type_ids"] = [[int(i == self.image_token_id) for i in row] for row in data["input_ids"]]
        return BatchFeature(data, tensor_type=settings.get("return_tensors"))

    def _check_places(self, texts: list[str], images: int | None) -> None:
        """Raise ValueError unless the texts have one place for each image. `images` is None where none were given."""
        if not all(isinstance(one, str) for one in texts):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError("text must be a string or a list of strings")
        places = sum(one.count(self.image_token) for one in texts)
        if places and images is None:
            raise ValueError(f"the text has {places} {self.image_token}, but no images were passed")
        if images is not None and places != images:
            raise ValueError(
                f"the number of {self.image_token} in the text should be the same as the number of images: "
                f"{places} and {images}"
            )

    def _ids(self, text: str, counts: Any, begin: bool) -> list[int]:
        """Token ids of one text; `counts` gives the number of tokens of each image in turn."""
        ids = [int(self.tokenizer.bos_token_id)] if begin else []
        # A beginning of text in the middle is cut out as well: the original's tokenizer begins anew after it.
        special = {self.image_token: None, self.tokenizer.bos_token: int(self.tokenizer.bos_token_id)}
        for piece in re.split(f"({'|'.join(map(re.escape, special))})", text):
            if piece == self.image_token:
                ids += [self.image_token_id] * next(counts)
            elif piece in special:
                ids.append(cast("int", special[piece]))
            elif piece:
                found = cast("list[int]", self.tokenizer(piece, add_special_tokens=False)["input_ids"])
                if self.image_token_id in found:
                    raise ValueError(f"{piece!r} holds {self.tokenizer.unk_token}, which stands for images here")
                ids += found
        return ids
