"""Model and processor as the library sees them: inputs, image tokens, logits."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn

from ..architecture.devices import device_of, present
from ..architecture.structure import Structure
from ..errors import MODEL_ERRORS, ImageTokenMismatch, InvalidOption
from ..given import checked_methods
from ..held import Held, in_turn
from ..hooks import check_unit
from ..samples.image import read_image
from ..tokens import (
    Frame,
    ImageTokens,
    Tile,
    as_alone,
    equal_cells,
    measure_frames,
    packed_cells,
    packing_module,
    pictures,
    require_unpadded,
    share_out,
    two_grids,
)
from ..types import Json, Span
from .chat import chat_text, chats
from .context import require_context
from .decoding import Decoding
from .families import Family
from .finite import finite_logits
from .frozen import Frozen, entries
from .greedy import of_checkpoint
from .identity import fingerprint
from .inputs import ImageRow, Inputs, Row, sources_of
from .media import image_mask, image_token_of, media_tokens
from .placing import placing
from .processing import about, accepted, mismatch, processed
from .spans import picture_span, require_span


@checked_methods
class LoadedModel:
    """Model, processor and what was found out about them; :class:`neuronscope.VLM` adds captions and interventions.

    Attributes:
        model, processor: the Hugging Face objects, unchanged.
        id: hub id, directory or class name.
        family: its row of the family table.
        structure: decoder layers, FFNs, final norm, unembedding.
        chat: whether prompts go through the checkpoint's chat template where `Decoding` leaves it open.
    """

    def __init__(self, model: nn.Module, processor: Any, *, id: str, family: Family, structure: Structure) -> None:
        self.model = model
        self.processor = processor
        self.id = id
        self.family = family
        self.structure = structure
        self.chat = False
        self._placed: dict[tuple[object, ...], ImageTokens] = {}
        self._framed: dict[tuple[object, ...], tuple[Frame, ...]] = {}
        self._readable: set[tuple[object, ...]] = set()
        self.forced: tuple[int, ...] = ()  # while logits are computed: ids behind each row's prompt

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
    def image_token(self) -> int | None:
        """Id of the placeholder at image positions; None where the model has none."""
        return image_token_of(self.model.config, self.processor)

    def image_mask(self, ids: Int[Tensor, "batch positions"], tensors: Mapping[str, Any]) -> Bool[Tensor, "batch _"]:
        """Which positions of a call's ids are image tokens. `tensors` are the call's other inputs."""
        return image_mask(self.image_token, ids, tensors, bool(self.family.no_image))

    @cached_property
    def entries(self) -> tuple[tuple[nn.Module, str], ...]:
        """Modules around the decoder layers that can be called, outermost first, and what each calls token ids."""
        return entries(self.model, self.structure.layers[0])

    @property
    def device(self) -> torch.device:
        """Where the inputs go: the device of the input embeddings."""
        embedding: nn.Module = self.model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
        return device_of(embedding)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    @property
    def fingerprint(self) -> str:
        """A hash of all weights and settings that decide a caption, made anew each time (models/identity.py)."""
        return fingerprint(self.model, self.processor)

    @property
    def generation(self) -> dict[str, Any]:
        """What the checkpoint's generation_config asks of captions, which is not done unless `Decoding` asks for it."""
        return of_checkpoint(self.model)

    @property
    def picture_span(self) -> Span:
        """Where the decoder meets the image: "image", its tokens, or "media", where its text attends to the image."""
        return picture_span(self.family)

    def require_image_positions(self) -> None:
        """Raise NoImagePositions where the decoder meets the image at no position of its sequence."""
        require_span(self.family, self.picture_span)

    def identity(self) -> dict[str, str]:
        """What saved results say about the model."""
        return {"id": self.id, "fingerprint": self.fingerprint}

    def record(self) -> dict[str, Json]:
        """What runs compare before they go on: the identity, and what of machine and process decides results, too."""
        pixels = getattr(self.processor, "image_processor", None)  # on torchvision, or on PIL
        kind, dtype = type(pixels).__name__, str(self.dtype).removeprefix("torch.")
        template = "chat" if self.chat else self.family.template
        return {**self.identity(), "dtype": dtype, "image_processor": kind, "template": template}

    @in_turn
    def prepare(
        self, images: Sequence[ImageRow], decoding: Decoding = Decoding(), *, numbers: Sequence[int] | None = None
    ) -> Inputs:
        """Process images with the same prompt. Every row is processed by itself, so batching cannot change it.

        Args:
            images: one element per row: an image, or a sequence of images that one prompt shows.
            decoding: what is asked about them.
            numbers: what errors call the rows, where they are some of a longer list.

        Raises InvalidSample for an image that cannot be read or that the processor refuses, and ImageTokenMismatch when
        the prompt's image positions and the images' features differ in number, both saying which of several rows;
        InvalidOption for a template that does not join the images and one prompt, and for several images where the
        family takes one.
        """
        rows = [sources_of(row) for row in images]
        texts = [self.sent(decoding, len(row)) for row in rows]
        made: list[Row] = []
        named = numbers or (range(len(rows)) if len(rows) > 1 else [None])
        for number, row, text in zip(named, rows, texts, strict=False):
            with about(number):
                made.append(self._row([read_image(i) for i in row], text))
        return Inputs(tuple(made))

    def sent(self, decoding: Decoding = Decoding(), images: int = 1) -> str:
        """The text that the processor is given with so many images, their placeholders included.

        Raises InvalidOption where the images cannot be put into it, and for a chat that the checkpoint does not have.
        """
        chat = decoding.chat == "always" or (decoding.chat == "auto" and self.chat)
        if not chat or decoding.template is not None:
            return decoding.text(self.family, self.placeholder, images)
        self.family.require_images(images)
        _ = self.chat or chats("always", self.processor, self.placeholder, self.id)
        texts = {"question": decoding.question, "system": decoding.system, "prefix": decoding.beginning}
        return chat_text(self.processor, self.placeholder, id=self.id, images=images, **texts)

    def batches(self, rows: Sequence[Row], size: int) -> list[list[int]]:
        """Indices of prompts with forced tokens behind them, in groups of up to `size` that can be read together.

        An encoder's rows are padded on the right, so those are read one by one.
        """
        size = 1 if self.family.single or any(row.encoded for row in rows) else size
        return [g[start : start + size] for g in Inputs(tuple(rows)).batches() for start in range(0, len(g), size)]

    @property
    def placeholder(self) -> str:
        """What stands for the image in a prompt; empty where the processor adds it by itself."""
        if self.family.placeholder is not None:
            return self.family.placeholder
        return str(getattr(self.processor, "image_token", None) or "")

    def _row(self, shown: Sequence[Image.Image], text: str) -> Row:
        tensors = self._tensors(shown, text)
        require_context(self.model.config, tensors["input_ids"].shape[1], text)
        positions = torch.nonzero(self.image_mask(tensors["input_ids"], tensors)[0])[:, 0].cpu().numpy()
        closing = int(self.family.closed)
        if self.family.no_image:
            reading = self.family.media
            tokens = media_tokens(reading, self.family.no_image, tensors, len(shown), closing=closing)
        elif not len(positions):
            general = "" if self.family.listed else f"; {self._unlisted}"
            raise ImageTokenMismatch(
                f"an image was given, but the prompt holds no image token (id {self.image_token}){general}"
            )
        else:
            tokens = self._image_tokens(shown, tensors, positions)
        pad = int(getattr(self.tokenizer, "pad_token_id", None) or 0)
        row = self.family
        made = Row(tensors, tokens, pad, row.strip, row.pixels, row.unpadded, row.alone, closing)
        if len(shown) > 1 and not row.listed:
            self._require_readable(made, tuple(picture.size for picture in shown))
        return made

    def _require_readable(self, row: Row, sizes: tuple[tuple[int, int], ...]) -> None:
        """Raise InvalidOption where a model type without a row fails on a prompt of several images, tried once."""
        key = (sizes, placing(self))
        if key in self._readable:
            return
        try:
            with torch.no_grad():
                self.logits(Inputs((row,)))
        except MODEL_ERRORS as error:
            raise InvalidOption(f"{self.id} does not take {len(sizes)} images in one prompt: {error}") from error
        self._readable.add(key)

    @property
    def _unlisted(self) -> str:
        return f"model type {self.family.model_type!r} has no row that says where its image is (ns.register_family)"

    def _tensors(self, shown: Sequence[Image.Image], text: str) -> dict[str, Tensor]:
        """What the model is called with for one prompt."""
        tensors: dict[str, Tensor] = {}
        for name, value in self._process(shown, text).items():
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], Tensor):
                value = value[0][None]
            if isinstance(value, Tensor) and name in self._accepted and name != "labels":  # labels ask for a loss
                tensors[name] = value.to(self.device, self.dtype if value.is_floating_point() else None)
        config: Any = self.model.config
        if getattr(config, "is_encoder_decoder", False):
            start = getattr(self.model.generation_config, "decoder_start_token_id", None)
            tensors["decoder_input_ids"] = torch.tensor([[start or 0]], device=self.device)
        if self.family.closed:
            tensors["input_ids"][:, 0] = config.get_text_config(decoder=True).bos_token_id
        return tensors

    def _process(self, shown: Sequence[Image.Image], text: str) -> Mapping[str, Any]:
        row = self.family
        return processed(self.processor, shown, text, id=self.id, nested=row.nested, mixed=row.mixed)

    @cached_property
    def _accepted(self) -> frozenset[str]:
        return accepted(self.model)

    def _image_tokens(
        self, shown: Sequence[Image.Image], tensors: dict[str, Tensor], positions: Int[np.ndarray, "tokens"]
    ) -> ImageTokens:
        key = (tuple(picture.size for picture in shown), len(positions), placing(self))
        if len(shown) > 1:
            if key not in self._placed:
                self._placed[key] = self._several(shown, tensors, len(positions))
            return replace(self._placed[key], positions=positions)
        if self.family.no_grid:
            return ImageTokens(positions, no_grid=self.family.no_grid)
        if key not in self._placed:
            try:
                self._placed[key] = ImageTokens(positions, self._map(shown[0], tensors, len(positions)))
            except ImageTokenMismatch as error:
                if self.family.listed:
                    raise
                # General rules need not fit a model type without a row: then no map rather than a wrong one.
                self.family = replace(self.family, no_grid=f"general rules do not fit: {error}")
                return self._image_tokens(shown, tensors, positions)
        return replace(self._placed[key], positions=positions)

    def _map(self, picture: Image.Image, tensors: dict[str, Tensor], count: int) -> tuple[Tile, ...]:
        row = self.family
        measured, frames = self.frames(picture, padding=True), self.frames(picture)
        packer = packing_module(self.model)
        if packer is not None:
            with present(packer):  # it is asked to pack outside its forward
                return packed_cells(packer, tensors, [frames], [count])[0]
        if "image_grids" in tensors:
            return two_grids(frames, tensors["image_grids"].flatten().tolist())
        return equal_cells(pictures(measured, count, tensors), count, row.cell, row.separators)

    def _several(self, shown: Sequence[Image.Image], tensors: dict[str, Tensor], count: int) -> ImageTokens:
        """The tokens of several images of one prompt: as they lie alone where the processor treats them as alone."""
        one, all_of_them = self.sent(), self.sent(images=len(shown))

        def copies(image: int, times: int) -> int:
            again = self._tensors([shown[image]] * times, self.sent(images=times))
            return int(self.image_mask(again["input_ids"], again).sum())

        alone = [self._row([picture], one).image for picture in shown]
        counts = share_out([tokens.count for tokens in alone], count, copies)
        if self.family.no_grid:
            return ImageTokens(np.arange(count), no_grid=self.family.no_grid, counts=counts)
        apart = [self.frames(picture) for picture in shown]
        among = [self._frames(shown, all_of_them, image) for image in range(len(shown))]
        kept = [
            tokens.count == own and as_alone(a, b)
            for tokens, own, a, b in zip(alone, counts, apart, among, strict=True)
        ]
        tiles = [tokens.tiles for tokens in alone]
        if not all(kept):
            tiles = self._map_among(tensors, apart, among, counts)
        parts = [ImageTokens(np.arange(own), part) for own, part in zip(counts, tiles, strict=True)]
        return ImageTokens.together(parts, np.arange(count))

    def _map_among(
        self,
        tensors: dict[str, Tensor],
        apart: Sequence[Sequence[Frame]],
        among: Sequence[Sequence[Frame]],
        counts: Sequence[int],
    ) -> list[tuple[Tile, ...]]:
        """The tiles of each image where the processor makes something else of it among others than alone."""
        packer = packing_module(self.model)
        if packer is not None:
            with present(packer):
                return list(packed_cells(packer, tensors, among, counts))
        for a, b in zip(apart, among, strict=True):
            require_unpadded(a, b)
        row = self.family
        return [equal_cells(b, own, row.cell, row.separators) for b, own in zip(among, counts, strict=True)]

    def frames(self, picture: Image.Image, *, padding: bool = False) -> tuple[Frame, ...]:
        """One frame for each picture or tile that the vision tower sees; with `padding` also those that are empty."""
        key = (picture.size, placing(self))
        if key not in self._framed:  # it takes the processor five pictures
            self._framed[key] = self._frames([picture], self.sent(), padding=True)
        found = self._framed[key]
        return found if padding else tuple(frame for frame in found if not frame.blank)

    def _frames(
        self, shown: Sequence[Image.Image], text: str, image: int = 0, *, padding: bool = False
    ) -> tuple[Frame, ...]:
        """The frames of one of the images of a prompt. The others are black, so that nothing of them is measured.

        With `padding` also those of tiles that show nothing, which may be another image's.
        """
        pixels, strip = self.family.pixels, self.family.strip

        def process(ramp: Image.Image) -> Mapping[str, Any]:
            return self._process([ramp if k == image else Image.new("RGB", p.size) for k, p in enumerate(shown)], text)

        return measure_frames(process, shown[image].size, pixels=pixels, strip=strip, padding=padding)

    def last_only(self, last: int) -> dict[str, int]:
        """The argument that asks the model for the logits of its last positions only; empty where it takes none."""
        return {"logits_to_keep": last} if self._keeps_logits else {}

    @cached_property
    def _keeps_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.model.forward).parameters

    @in_turn
    def logits(self, inputs: Inputs, *, last: int = 1) -> Float[Tensor, "batch last vocabulary"]:
        """Logits of the last positions, one forward pass. Raises NotFinite where they are no numbers."""
        self.forced = tuple(row.forced for row in inputs.rows)
        try:
            with self.frozen():
                output: Any = self.model(**inputs.read.tensors, **self.last_only(last), use_cache=False)
        except ValueError as error:  # transformers' own comparison of image tokens and features
            if told := mismatch(error, [tokens.count for tokens in inputs.images], self.id):
                raise told from error
            raise
        finally:
            self.forced = ()
        return finite_logits(output.logits[:, -last:], self.id, self.dtype)

    def frozen(self) -> Held[None]:
        """Evaluation mode and no parameter gradients for the time of the block, then as before."""
        return Frozen(self.model)

    @in_turn
    def value_vectors(self, layer: int, units: Sequence[int]) -> Float[np.ndarray, "units hidden"]:
        """The columns of W_out that belong to some neurons, float32."""
        for unit in units:
            check_unit(self.structure, layer, unit)
        columns = self.structure.ffns[layer].value_vectors()[:, list(units)]
        return columns.detach().float().T.cpu().numpy()

    def __repr__(self) -> str:
        return f"LoadedModel({self.id!r}, {self.family.title}, {self.layers} layers, d_f {max(self.widths)})"
