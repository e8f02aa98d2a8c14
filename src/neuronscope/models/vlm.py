"""A loaded vision-language model as the library sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from ..errors import ImageTokenMismatch, InvalidOption
from ..samples.image import ImageSource, read_image
from ..tokens import Frame, ImageTokens, measure_frame
from .families import Family
from .structure import Structure

if TYPE_CHECKING:
    from ..intervene.apply import Intervening
    from ..intervene.operations import Intervention, Noise

#: The published prompt (Sato & Takagi III-B).
PROMPT = "The image shows a"


@dataclass(frozen=True)
class Inputs:
    """One batch, ready for the model.

    Attributes:
        tensors: everything that the processor returned, on the model's device.
        images: one entry per row.
    """

    tensors: dict[str, Tensor]
    images: tuple[ImageTokens, ...]

    @property
    def length(self) -> int:
        """Number of prompt positions, padding included."""
        return self.tensors["input_ids"].shape[1]

    def repeat(self, times: int) -> Inputs:
        """Every row `times` times in a row."""
        tensors = {name: value.repeat_interleave(times, 0) for name, value in self.tensors.items()}
        return Inputs(tensors, tuple(image for image in self.images for _ in range(times)))

    def extend(self, ids: Sequence[int]) -> Inputs:
        """The same rows with more token ids at the end."""
        more = torch.tensor([list(ids)], dtype=torch.long, device=self.tensors["input_ids"].device).expand(
            len(self.images), -1
        )
        tensors = dict(self.tensors)
        tensors["input_ids"] = torch.cat([tensors["input_ids"], more], 1)
        tensors["attention_mask"] = torch.cat([tensors["attention_mask"], torch.ones_like(more)], 1)
        return replace(self, tensors=tensors)


class VLM:
    """Model, processor and what was found out about them. Made by :func:`neuronscope.load`.

    Attributes:
        model, processor: the Hugging Face objects, unchanged.
        id: hub id, directory or class name.
        family: its row of the family table.
        structure: decoder layers, FFNs, final norm, unembedding.
    """

    def __init__(self, model: nn.Module, processor: Any, *, id: str, family: Family, structure: Structure) -> None:
        self.model = model
        self.processor = processor
        self.id = id
        self.family = family
        self.structure = structure
        self._frames: dict[tuple[int, int], Frame] = {}

    @property
    def layers(self) -> int:
        """Number of decoder layers, L."""
        return len(self.structure.ffns)

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of FFN neurons of each layer, d_f."""
        return tuple(ffn.width for ffn in self.structure.ffns)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def image_token(self) -> int:
        """Id of the placeholder at image positions."""
        config: Any = self.model.config
        return int(config.image_token_id)

    @property
    def device(self) -> torch.device:
        """Where the inputs go: the device of the input embeddings."""
        embedding: Any = self.model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        return embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    @cached_property
    def fingerprint(self) -> str:
        """A hash of names, shapes, types and a sample of values of all weights: tells checkpoints apart."""
        digest = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            flat = value.detach().flatten()
            picked = flat[:: max(1, flat.numel() // 256)].float().cpu().numpy()
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode() + picked.tobytes())
        return digest.hexdigest()[:16]

    def identity(self) -> dict[str, str]:
        """What saved results say about the model."""
        return {"id": self.id, "fingerprint": self.fingerprint}

    def prepare(self, images: Sequence[ImageSource], *, prompt: str = PROMPT, template: str | None = None) -> Inputs:
        """Process images with the same prompt, padded on the left.

        Raises ImageTokenMismatch when the prompt's image positions and the image's features differ in number, and
        InvalidOption for a template that does not join one image and one prompt.
        """
        pictures = [read_image(image) for image in images]
        text = _join(self.family.template if template is None else template, self.processor.image_token, prompt)
        batch: Any = self.processor(
            text=[text] * len(pictures), images=pictures, return_tensors="pt", padding=True, padding_side="left"
        )
        tensors: dict[str, Tensor] = {}
        for name, value in batch.items():
            tensors[name] = value.to(self.device, self.dtype if value.is_floating_point() else None)
        maps = tuple(self._image_tokens(row, picture, tensors) for row, picture in enumerate(pictures))
        return Inputs(tensors, maps)

    def _image_tokens(self, row: int, picture: Image.Image, tensors: dict[str, Tensor]) -> ImageTokens:
        positions = torch.nonzero(tensors["input_ids"][row] == self.image_token)[:, 0].cpu().numpy()
        if not len(positions):
            raise ImageTokenMismatch(f"an image was given, but the prompt holds no image token (id {self.image_token})")
        frame = self._frames.get(picture.size)
        if frame is None:
            frame = self._frames[picture.size] = measure_frame(self.processor.image_processor, picture.size)
        shape = tuple(tensors["pixel_values"].shape)
        if (shape[-1], shape[-2]) != frame.processed:
            raise ImageTokenMismatch(f"the processed image is {shape[-1]} x {shape[-2]} px, its map {frame.processed}")
        return ImageTokens(positions, self.family.grid(self.model.config, shape), frame)

    def logits(self, inputs: Inputs, *, last: int = 1) -> Float[Tensor, "batch last vocabulary"]:
        """Logits of the last positions, one forward pass."""
        with self.frozen():
            output: Any = self.model(**inputs.tensors, logits_to_keep=last, use_cache=False)
        return output.logits

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Evaluation mode and no parameter gradients for the time of the block, then as before."""
        training = [m for m in self.model.modules() if m.training]
        wanted = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in wanted:
            parameter.requires_grad_(False)
        self.model.eval()
        try:
            yield
        finally:
            for module in training:  # one by one: a part may have been in evaluation mode by itself
                module.training = True
            for parameter in wanted:
                parameter.requires_grad_(True)

    def caption(self, image: ImageSource) -> str:
        """Greedy caption beginning with "The image shows a", up to 32 new tokens."""
        return self.captions([image])[0]

    @overload
    def captions(self, images: Sequence[ImageSource], change: None = None, *, batch_size: int = ...) -> list[str]: ...
    @overload
    def captions(  # pyright: ignore[reportOverlappingOverload]  (Noise is the special case that has draws)
        self, images: Sequence[ImageSource], change: Noise, *, batch_size: int = ...
    ) -> list[list[str]]: ...
    @overload
    def captions(self, images: Sequence[ImageSource], change: Intervention, *, batch_size: int = ...) -> list[str]: ...
    def captions(
        self, images: Sequence[ImageSource], change: Intervention | None = None, *, batch_size: int = 32
    ) -> list[str] | list[list[str]]:
        """Captions of several images, equal to one by one.

        With :class:`Noise` the result is image x draw; any other intervention is deterministic and gives one each.
        """
        from ..intervene.captions import generate_captions
        from ..intervene.operations import Noise

        nested = generate_captions(self, images, change, batch_size=batch_size)
        texts = [[caption.full for caption in row] for row in nested]
        return texts if isinstance(change, Noise) else [row[0] for row in texts]

    def intervene(self, *changes: Intervention, draws: Sequence[int] | None = None) -> Intervening:
        """Apply interventions to any Hugging Face call of `vlm.model` inside the `with` block."""
        from ..intervene.apply import Intervening

        return Intervening(self, changes, draws)

    def value_vectors(self, layer: int, units: Sequence[int]) -> Float[np.ndarray, "units hidden"]:
        """The columns of W_out that belong to some neurons, float32."""
        from ..hooks import check_unit

        for unit in units:
            check_unit(self.structure, layer, unit)
        columns = self.structure.ffns[layer].value_vectors()[:, list(units)]
        return columns.detach().float().T.cpu().numpy()

    def __repr__(self) -> str:
        return f"VLM({self.id!r}, {self.family.title}, {self.layers} layers, d_f {max(self.widths)})"


def _join(template: str, image: str, prompt: str) -> str:
    """The text of a prompt with one image. Raises InvalidOption for a template or prompt that gives another number."""
    try:
        text = template.format(image=image, prompt=prompt)
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidOption(f"template={template!r} cannot be filled in; it holds {{image}} and {{prompt}}") from error
    if text.count(image) != 1:
        raise InvalidOption(
            f"template={template!r} with prompt={prompt!r} holds the image {text.count(image)} times; once is needed"
        )
    return text
