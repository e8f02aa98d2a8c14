"""Which positions of the running forward pass belong to a span.

The model's own inputs say where the image is, so this works for a plain forward, for `generate` with or without a KV
cache, and for beams (which repeat rows before the prompt is read).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from ..errors import InvalidOption
from ..models.loaded import LoadedModel
from ..types import Phase, Span


class Positions:
    """Positions of each span in the call that is running, and their ranks within it.

    A pre-hook of the whole model reads the ids of each call. A cached decoding step brings only the new tokens; their
    ranks go on where the prompt's ended. Models with a `generate` of their own hand embeddings straight to their
    language model: there the ids are those that `generate` was called with.
    """

    def __init__(self, vlm: LoadedModel) -> None:
        self._vlm = vlm
        self._ids: Int[Tensor, "batch positions"] | None = None
        self._inside: dict[Span, Bool[Tensor, "batch positions"]] = {}
        self._before: dict[Span, Int[Tensor, "batch 1"]] = {}
        self._prompt = 0
        self._offset = 0
        self._reached = 0  # offset of the call before this one
        self._vectors = 0  # how many vectors without ids come first
        self._asked: dict[str, Any] = {}  # what a `generate` of the model's own was called with
        self._outer = False  # the call that comes next belongs to a call of the whole model
        self._running: Tensor | None = None  # ids of the call that is running, also before the decoder sees them

    @contextmanager
    def watching(self, *, towers: bool = False) -> Generator[None]:
        """Follow the model's calls inside the block; with `towers` also those of its parts inside `generate`."""
        model = self._vlm.model
        inner = self._vlm.structure.generator
        with ExitStack() as stack:
            handle = model.register_forward_pre_hook(self._before_model, with_kwargs=True)
            stack.callback(handle.remove)
            if inner is not None:
                handle = inner.register_forward_pre_hook(self._before_inner, with_kwargs=True)
                stack.callback(handle.remove)
            if inner is not None or towers:
                stack.enter_context(self._listening(model))
            yield

    @contextmanager
    def _listening(self, model: nn.Module) -> Generator[None]:
        """Remember the arguments of `model.generate` for the time of the block."""
        owner: Any = model
        original, own = owner.generate, "generate" in vars(owner)

        def generate(*args: Any, **kwargs: Any) -> Any:
            self._asked = dict(kwargs)
            self._running = kwargs.get("input_ids", kwargs.get("inputs", args[0] if args else None))
            return original(*args, **kwargs)

        owner.generate = generate
        try:
            yield
        finally:
            if own:
                owner.generate = original
            else:
                del owner.generate

    def _before_model(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._outer = True
        decoder: Any = self._vlm.model.config
        name = "decoder_input_ids" if getattr(decoder, "is_encoder_decoder", False) else "input_ids"
        ids = kwargs.get(name, args[0] if args else None)
        if not isinstance(ids, Tensor):
            raise InvalidOption(f"an intervention needs {name} to find the image; the model was called without them")
        self._running = ids
        self._follow(ids, kwargs, kwargs.get("attention_mask" if name == "input_ids" else "decoder_attention_mask"))

    def _before_inner(self, _module: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._outer:  # the whole model is running and has been followed already
            self._outer = False
            return
        ids, embeddings = kwargs.get("input_ids"), kwargs.get("inputs_embeds")
        if ids is None and isinstance(embeddings, Tensor):
            ids = self._asked.get("input_ids")
            if not isinstance(ids, Tensor) or ids.shape[1] > embeddings.shape[1]:
                raise InvalidOption("generate was called without the input_ids that its embeddings belong to")
            ids = ids.repeat_interleave(embeddings.shape[0] // ids.shape[0], 0)
        if not isinstance(ids, Tensor):
            raise InvalidOption("an intervention needs input_ids to find the image; the model was called without them")
        self._follow(ids, {**self._asked, **kwargs}, kwargs.get("attention_mask"))

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
        inside: dict[Span, Bool[Tensor, "batch positions"]] = {"image": image, "text": text, "all": real}
        if not self._offset:
            if not self._continues(ids):
                self._prompt = ids.shape[1]
            self._before = {span: torch.zeros_like(ids[:, :1]) for span in inside}
        elif self._inside and self._ids is not None and self._ids.shape[1] + self._reached == self._offset:
            self._before = {span: self._before[span] + self._inside[span].sum(1, keepdim=True) for span in inside}
        else:
            raise InvalidOption("a KV cache that was filled outside the intervention cannot be continued inside it")
        self._ids, self._inside, self._reached = ids, inside, self._offset

    def rows(self) -> int:
        """Number of rows of the call that is running.

        Raises InvalidOption when their images are of different sizes: before the decoder all pictures stand in one
        queue, which could not be told apart.
        """
        ids = self._running
        if not isinstance(ids, Tensor):
            raise InvalidOption("an intervention before the decoder needs input_ids to tell the rows of a batch apart")
        image = self._vlm.image_mask(ids, {**self._asked}).sum(1)
        if not bool((image == image[0]).all()):
            raise InvalidOption(
                f"an intervention before the decoder needs images of one size; the rows hold {image.tolist()} image "
                "tokens: give them one by one"
            )
        return ids.shape[0]

    def ranks(self, span: Span, phase: Phase, length: int | None = None) -> Int[Tensor, "batch positions"]:
        """Rank of each position of this call within the span, -1 outside the span or the phase.

        `length` is how many positions the layers see; where a model puts its image before the ids, that is more.
        """
        inside = self._inside[span]
        rank = inside.cumsum(1) - 1 + self._before[span]
        decoding = torch.arange(inside.shape[1], device=inside.device) + self._offset >= self._prompt
        when = {"prefill": ~decoding, "decode": decoding, "both": torch.ones_like(decoding)}[phase]
        rank = torch.where(inside & when, rank, -1)
        extra = 0 if length is None else length - rank.shape[1]
        return rank if extra <= 0 else torch.cat([rank.new_full((rank.shape[0], extra), -1), rank], 1)

    def _continues(self, ids: Tensor) -> bool:
        """Uncached generation calls the model with the same prompt and a few more ids; beams may trade theirs."""
        last = self._ids
        if last is None or self._reached or ids.shape[0] != last.shape[0] or ids.shape[1] <= last.shape[1]:
            return False
        return bool((ids[:, : self._prompt] == last[:, : self._prompt]).all())
