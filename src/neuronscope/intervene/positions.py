"""Which positions of the running forward pass belong to a span.

The model's own inputs say where the image is, so this works for a plain forward, for `generate` with or without a KV
cache, and for beams (which repeat rows before the prompt is read).
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from ..errors import InvalidOption
from ..held import Changing, Held, Undo
from ..held.undo import of_this_thread
from ..hooks.running import Call
from ..models.loaded import LoadedModel
from ..models.media import media_mask
from ..types import Phase, Span


@dataclass(frozen=True)
class _Asked:
    """A running call of a `generate` of the model's own: what it was called with."""

    call: Call
    named: dict[str, Any]
    ids: Any


class Positions:
    """Positions of each span in the call that is running, and their ranks within it.

    A pre-hook of every module around the decoder layers reads the ids of the outermost call: of the whole model, or of
    a part of it that is called by itself. What they say holds until that call ends. A cached decoding step brings only
    the new tokens; their ranks go on where the prompt's ended. Models with a `generate` of their own hand embeddings
    straight to their language model: there the ids are those that `generate` was called with.

    Attributes:
        number: of calls so far, the running one included.
    """

    def __init__(self, vlm: LoadedModel) -> None:
        self._vlm = vlm
        self.number = 0
        self._ids: Int[Tensor, "batch positions"] | None = None
        self._inside: dict[Span, Bool[Tensor, "batch positions"]] = {}
        self._before: dict[Span, Int[Tensor, "batch 1"]] = {}
        self._prompt = 0
        self._forced: Int[Tensor, "batch 1"] | None = None  # ids behind each row's prompt
        self._offset = 0
        self._reached = 0  # offset of the call before this one
        self._vectors = 0  # how many vectors without ids come first
        self._asked: _Asked | None = None
        self._outermost: tuple[nn.Module, Call] | None = None
        self._running: Tensor | None = None  # ids of the call that is running

    def watching(self, *, towers: bool = False) -> Held[None]:
        """Follow the model's calls inside the block; with `towers` also those of its parts inside `generate`."""

        def change(undo: Undo) -> None:
            for module, ids in self._vlm.entries:
                undo.hook(module, "before", self._entering(ids), with_kwargs=True)
                undo.hook(module, "after", self._ended)
            if towers or self._vlm.structure.generator is not None:
                self._listen(undo)

        return Changing(change)

    def _listen(self, undo: Undo) -> None:
        """Remember the arguments of `model.generate` while it runs."""
        owner: Any = self._vlm.model
        original = owner.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            ids = kwargs.get("input_ids", kwargs.get("inputs", args[0] if args else None))
            self._asked = _Asked(Call(inspect.currentframe()), dict(kwargs), ids)
            try:
                return original(*args, **kwargs)
            finally:
                self._asked = None

        undo.replace(owner, "generate", of_this_thread(generate))

    def _entering(self, name: str):
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            outermost = self._outermost
            if outermost is not None and outermost[0] is not module and outermost[1].running:
                return  # a part of the call that is running, and has been followed already
            self._outermost, self._running = None, None
            ids = kwargs.get(name, args[0] if args else None)
            named = kwargs
            if not isinstance(ids, Tensor) and self._generating is not None:
                named = {**self._generating.named, **kwargs}
                ids = self._repeated(kwargs.get("inputs_embeds"))
            if not isinstance(ids, Tensor) or ids.is_floating_point():
                raise InvalidOption(
                    f"an intervention needs {name} to find the image; the {type(module).__name__} was called without "
                    "them"
                )
            mask = kwargs.get("attention_mask" if name == "input_ids" else "decoder_attention_mask")
            self._follow(ids, named, mask)
            self.number += 1
            self._running, self._outermost = ids, (module, Call())

        return before

    def _ended(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if self._outermost is not None and self._outermost[0] is module:
            self._outermost, self._running = None, None  # what the call holds may go

    @property
    def _generating(self) -> _Asked | None:
        asked = self._asked
        return asked if asked is not None and asked.call.running else None

    def _repeated(self, embeddings: Any) -> Tensor | None:
        """The ids that embeddings belong to, which a `generate` of the model's own has made of them."""
        if not isinstance(embeddings, Tensor) or self._generating is None:
            return None
        ids = self._generating.named.get("input_ids")
        if not isinstance(ids, Tensor) or ids.shape[1] > embeddings.shape[1]:
            raise InvalidOption("generate was called without the input_ids that its embeddings belong to")
        return ids.repeat_interleave(embeddings.shape[0] // ids.shape[0], 0)

    def _follow(self, ids: Tensor, tensors: dict[str, Any], mask: Any) -> None:
        past = tensors.get("past_key_values")
        self._offset = int(past.get_seq_length()) if past is not None else 0
        if self._offset and self._vlm.family.prefix and self._ids is not None:
            if not self._reached:
                self._vectors = self._offset - self._ids.shape[1]
            self._offset -= self._vectors
        image = self._vlm.image_mask(ids, tensors)
        real = torch.ones_like(image)
        if isinstance(mask, Tensor) and mask.ndim == 2:
            real = mask[:, -ids.shape[1] :].bool()
        text = real & (image.flip(1).cumsum(1).flip(1) == 0)  # after the last image token
        media = real & media_mask(self._vlm.family.media, ids, tensors)
        inside: dict[Span, Bool[Tensor, "batch positions"]] = {
            "image": image,
            "media": media,
            "text": text,
            "all": real,
        }
        if not self._offset:
            if not self._continues(ids):
                self._prompt = ids.shape[1]
                self._forced = self._behind(ids)
            self._before = {span: torch.zeros_like(ids[:, :1]) for span in inside}
        elif self._inside and self._ids is not None and self._ids.shape[1] + self._reached == self._offset:
            self._before = {span: self._before[span] + self._inside[span].sum(1, keepdim=True) for span in inside}
        else:
            raise InvalidOption("a KV cache that was filled outside the intervention cannot be continued inside it")
        self._ids, self._inside, self._reached = ids, inside, self._offset

    def rows(self) -> int:
        """Number of rows of the call that is running.

        Raises InvalidOption when no call is, and when their images are of different sizes: before the decoder all
        pictures stand in one queue, which could not be told apart.
        """
        asked = self._generating
        ids = self._running if self._in_call else asked.ids if asked is not None else None
        if not isinstance(ids, Tensor):
            raise InvalidOption(
                "an intervention before the decoder needs input_ids to tell the rows of a batch apart: call the model, "
                "not a part of it"
            )
        image = self._vlm.image_mask(ids, asked.named if asked is not None else {}).sum(1)
        if not bool((image == image[0]).all()):
            raise InvalidOption(
                f"an intervention before the decoder needs images of one size; the rows hold {image.tolist()} image "
                "tokens: give them one by one"
            )
        return ids.shape[0]

    def ranks(self, span: Span, phase: Phase, length: int | None = None) -> Int[Tensor, "batch positions"]:
        """Rank of each position of this call within the span, -1 outside the span or the phase.

        `length` is how many positions the layers see; where a model puts its image before the ids, that is more.
        Raises InvalidOption outside of a call that was followed.
        """
        if not self._in_call:
            raise InvalidOption(
                "an intervention needs input_ids to find the image, and a decoder layer was called by itself: call the "
                "model, or its language model with input_ids"
            )
        inside = self._inside[span]
        rank = inside.cumsum(1) - 1 + self._before[span]
        at = torch.arange(inside.shape[1], device=inside.device) + self._offset
        decoding = at >= (self._prompt if self._forced is None else self._prompt - self._forced)
        when = {"prefill": ~decoding, "decode": decoding, "both": torch.ones_like(decoding)}[phase]
        rank = torch.where(inside & when, rank, -1)
        extra = 0 if length is None else length - rank.shape[1]
        return rank if extra <= 0 else torch.cat([rank.new_full((rank.shape[0], extra), -1), rank], 1)

    def count(self, span: Span) -> int:
        """Positions of all rows of the last call that belong to a span; 0 before any."""
        return int(self._inside[span].sum()) if self._inside else 0

    @property
    def _in_call(self) -> bool:
        return self._outermost is not None and self._outermost[1].running

    def _behind(self, ids: Tensor) -> Int[Tensor, "batch 1"] | None:
        """How many ids of each row stand behind its prompt, as if they had been written; None where none does."""
        forced = self._vlm.forced
        if not any(forced) or len(forced) != len(ids):
            return None
        return torch.tensor(forced, device=ids.device)[:, None]

    def _continues(self, ids: Tensor) -> bool:
        """Uncached generation calls the model with the same prompt and a few more ids; beams may trade theirs."""
        last = self._ids
        if last is None or self._reached or ids.shape[0] != last.shape[0] or ids.shape[1] <= last.shape[1]:
            return False
        return bool((ids[:, : self._prompt] == last[:, : self._prompt]).all())
