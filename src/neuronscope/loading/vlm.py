"""A model that was loaded and proven: what users hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from ..caption.captions import generate_captions
from ..given import checked_methods
from ..intervene.apply import Intervening
from ..intervene.operations import Intervention, Noise, insisted
from ..models.decoding import Decoding
from ..models.inputs import ImageRow
from ..models.loaded import LoadedModel


@checked_methods
class VLM(LoadedModel):
    """A vision-language model that can be asked for captions and intervened on. Made by :func:`neuronscope.load`."""

    #: What `load` handed on to transformers, as results record it; empty for nothing.
    loaded = ""

    def identity(self) -> dict[str, str]:
        """What saved results say about the model: its name, its fingerprint, and how it was loaded."""
        return {**super().identity(), **({"loaded": self.loaded} if self.loaded else {})}

    def caption(self, image: ImageRow, *, decoding: Decoding = Decoding()) -> str:
        """Greedy caption of an image, or of several together; begins "The image shows a", up to 32 new tokens."""
        return self.captions([image], decoding=decoding)[0]

    def ask(self, image: ImageRow, question: str, *, decoding: Decoding = Decoding()) -> str:
        """The greedy answer to a question about an image, or about several together, asked as the model was trained.

        Where the checkpoint has a chat template the question goes through it; `decoding` holds what else is said
        (`system`, `prefix`, `max_new_tokens`), and its own question is replaced. Without a `prefix` the answer is the
        model's from the first word on.
        """
        return self.captions([image], decoding=replace(decoding, question=question))[0].strip()

    @overload
    def captions(
        self,
        images: Sequence[ImageRow],
        change: None = None,
        *,
        decoding: Decoding = ...,
        batch_size: int = ...,
        force: bool = ...,
    ) -> list[str]: ...
    @overload
    def captions(  # pyright: ignore[reportOverlappingOverload]  (Noise is the special case that has draws)
        self,
        images: Sequence[ImageRow],
        change: Noise,
        *,
        decoding: Decoding = ...,
        batch_size: int = ...,
        force: bool = ...,
    ) -> list[list[str]]: ...
    @overload
    def captions(
        self,
        images: Sequence[ImageRow],
        change: Intervention,
        *,
        decoding: Decoding = ...,
        batch_size: int = ...,
        force: bool = ...,
    ) -> list[str]: ...
    def captions(
        self,
        images: Sequence[ImageRow],
        change: Intervention | None = None,
        *,
        decoding: Decoding = Decoding(),
        batch_size: int = 32,
        force: bool = False,
    ) -> list[str] | list[list[str]]:
        """Captions of several images, equal to one by one. An element that is a sequence of images gets one caption.

        `decoding` holds what is asked and how captions are written. With :class:`Noise` the result is image x draw; any
        other intervention is deterministic and gives one each. Raises RunMismatch for neurons that were found in other
        weights, unless `force` takes them at their addresses.
        """
        change = insisted(change) if force and change is not None else change
        nested = generate_captions(self, images, change, decoding=decoding, batch_size=batch_size)
        texts = [[caption.full for caption in row] for row in nested]
        return texts if isinstance(change, Noise) else [row[0] for row in texts]

    def intervene(self, *changes: Intervention, draws: Sequence[int] | None = None, force: bool = False) -> Intervening:
        """Apply interventions to any Hugging Face call of `vlm.model` inside the `with` block.

        Raises RunMismatch for neurons that were found in other weights, unless `force` takes them at their addresses.
        """
        return Intervening(self, [insisted(change) for change in changes] if force else changes, draws)
