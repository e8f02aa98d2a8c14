"""Captions of the same images under one intervention after another; what none of them changes is computed once.

An intervention on layer l at image positions leaves the vision tower, every layer before l and the keys and values of
those layers as they were (METHODS h, 1 and 2). The clean residual stream before each layer and the clean keys and
values are kept for each image; under an intervention the prompt is read from its first layer on. The new tokens are
written by transformers' own `generate` from the cache that results: the captions are those of the plain path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from ..errors import InvalidOption
from ..hooks.skip import seeing_inputs, starting_at
from ..models.conformance import MODEL_ERRORS
from ..models.inputs import Row
from ..samples.image import ImageSource
from ..types import Neurons
from .captions import Caption, Decoding, caption_of, generate_captions, generate_settings
from .operations import Intervention, Noise, Scale

if TYPE_CHECKING:
    from ..models.vlm import VLM


#: Largest difference of logits, relative to their spread, that rounding explains.
_ROUNDING = {torch.float64: 1e-8, torch.float32: 1e-3}
_PROOF_STEPS = 3


class _Unfit(Exception):
    """Why clean states cannot be used for a model."""


@dataclass(frozen=True)
class _Clean:
    """What reading one prompt gives without an intervention, at all positions but the last.

    Attributes:
        row: the prompt.
        before: the residual stream before each layer, [positions, hidden]; layers may be on different devices.
        keys, values: of each layer, [heads, positions, width].
    """

    row: Row
    before: tuple[Float[Tensor, "positions hidden"], ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


class Captioner:
    """Captions some images again and again.

    Args:
        vlm: the model.
        images: the images, in the order in which captions are returned.
        decoding: caption settings.
        batch_size: captions written together.

    Attributes:
        plain: layer -> why interventions that begin there are made from the beginning; empty where clean states are
            used. Each layer is proved once, when it is first asked for.
    """

    def __init__(
        self, vlm: VLM, images: Sequence[ImageSource], *, decoding: Decoding | None = None, batch_size: int = 128
    ) -> None:
        if batch_size < 1:
            raise InvalidOption(f"batch_size={batch_size} must be at least 1")
        self._vlm = vlm
        self._images = list(images)
        self._decoding = decoding or Decoding()
        self._batch_size = batch_size
        self._states: list[_Clean] = []
        self.plain: dict[int, str] = {}
        try:
            for image in self._images:
                self._states.append(self._read(image))
        except _Unfit as why:
            self.plain = dict.fromkeys(range(vlm.layers), str(why))
            self._states = []

    def captions(self, change: Intervention | None = None, rows: Sequence[int] | None = None) -> list[list[Caption]]:
        """Captions of the images (or of those numbered `rows`), image x draw, as `generate_captions` gives them."""
        chosen = list(range(len(self._images))) if rows is None else list(rows)
        if change is not None and not len(change.neurons):
            change = None
        if change is None or not _reusable(change) or self._unproved(min(change.neurons.by_layer())):
            images = [self._images[i] for i in chosen]
            return generate_captions(self._vlm, images, change, decoding=self._decoding, batch_size=self._batch_size)
        draws = change.draws if isinstance(change, Noise) else 1
        result: list[list[Caption]] = [[] for _ in chosen]
        for chunk in self._chunks([(n, draw) for n in range(len(chosen)) for draw in range(draws)], chosen):
            states = [self._states[chosen[n]] for n, _ in chunk]
            ids = self._write(states, self._filled(states, change, [draw for _, draw in chunk]))[0]
            for (n, _), new in zip(chunk, ids.tolist(), strict=True):
                result[n].append(caption_of(self._vlm, new, self._decoding.prompt))
        return result

    def _chunks(self, pairs: list[tuple[int, int]], chosen: list[int]) -> Iterator[list[tuple[int, int]]]:
        """Batches of (image, draw) whose prompts are of one shape, which need no padding."""
        shapes = [[tuple(value.shape) for value in _text([self._states[i]]).values()] for i in chosen]
        for _, group in groupby(sorted(pairs, key=lambda p: shapes[p[0]]), key=lambda p: shapes[p[0]]):
            same = list(group)
            for start in range(0, len(same), self._batch_size):
                yield same[start : start + self._batch_size]

    @torch.no_grad()
    def _read(self, image: ImageSource) -> _Clean:
        vlm, decoding = self._vlm, self._decoding
        if not decoding.use_cache:
            raise _Unfit("captions are to be written without a KV cache")
        inputs = vlm.prepare([image], prompt=decoding.prompt, template=decoding.template)
        row, layers = inputs.rows[0], vlm.structure.layers
        if vlm.family.no_image or row.encoded or vlm.structure.generator is not None:
            raise _Unfit(f"{vlm.family.title} does not read image and text in one decoder through `generate`")
        if row.image.positions[-1] == row.length - 1:
            raise _Unfit("the prompt ends with the image")
        seen: dict[int, Tensor] = {}
        with vlm.frozen(), seeing_inputs(layers, seen):
            output: Any = vlm.model(**inputs.tensors, use_cache=True)
        held: Any = getattr(output.past_key_values, "layers", ())
        kept = [(layer.keys, layer.values) for layer in held if isinstance(getattr(layer, "keys", None), Tensor)]
        if len(kept) != len(layers) or any(keys.shape[-2] != row.length for keys, _ in kept):
            raise _Unfit("its cache does not hold a key and a value for each position and layer")
        return _Clean(
            row,
            tuple(seen[layer][0, :-1].clone() for layer in range(len(layers))),
            tuple(keys[0, :, :-1].clone() for keys, _ in kept),
            tuple(values[0, :, :-1].clone() for _, values in kept),
        )

    @torch.no_grad()
    def _filled(self, states: Sequence[_Clean], change: Intervention, draws: Sequence[int]) -> DynamicCache:
        """Keys and values of all positions but the last, the layers before the intervention's first one copied."""
        vlm, layers = self._vlm, self._vlm.structure.layers
        first = min(change.neurons.by_layer())
        config: Any = vlm.model.config
        cache = DynamicCache(config=config)
        hidden = torch.stack([state.before[first] for state in states])
        with vlm.frozen(), vlm.intervene(change, draws=draws), starting_at(layers, first, hidden):
            vlm.model(**_text(states, drop=1), past_key_values=cache, use_cache=True)
        for layer in range(first):
            keys = torch.stack([state.keys[layer] for state in states])
            cache.update(keys, torch.stack([state.values[layer] for state in states]), layer)
        return cache

    @torch.no_grad()
    def _write(self, states: Sequence[_Clean], cache: DynamicCache, **more: Any) -> tuple[Tensor, Any]:
        """New token ids, [rows, steps], and all that `generate` returns."""
        inputs = _text(states)
        with self._vlm.frozen():
            generate: Any = self._vlm.model.generate
            output = generate(
                **inputs,
                **{**generate_settings(self._vlm, self._decoding), **more},
                past_key_values=cache,
                return_dict_in_generate=True,
            )
        return output.sequences[:, inputs["input_ids"].shape[1] :], output

    def _unproved(self, first: int) -> str:
        """Why copied states are not used for interventions that begin at a layer."""
        if first not in self.plain:
            try:
                self._prove(first)
                self.plain[first] = ""
            except _Unfit as why:
                self.plain[first] = str(why)
        return self.plain[first]

    def _prove(self, first: int) -> None:
        """Compare a few steps, written for two rows from copied states, with the same written from the beginning."""
        vlm, state = self._vlm, self._states[0]
        forced = {"max_new_tokens": _PROOF_STEPS, "min_new_tokens": _PROOF_STEPS, "output_logits": True}
        nothing = Scale(Neurons.of([(first, 0)]), factor=1.0)
        try:
            _, output = self._write([state, state], self._filled([state, state], nothing, [0, 0]), **forced)
        except MODEL_ERRORS as error:
            raise _Unfit(f"it cannot go on from copied states: {type(error).__name__}: {error}") from error
        with torch.no_grad(), vlm.frozen():
            generate: Any = vlm.model.generate
            settings = {**generate_settings(vlm, self._decoding), **forced}
            whole = generate(**state.row.tensors, **settings, return_dict_in_generate=True)
        plain = torch.stack(whole.logits).float()
        ours = torch.stack(output.logits).float()[:, :, : plain.shape[2]]
        finite = torch.isfinite(plain) & (plain > -1e30)  # some models forbid tokens by a huge negative number
        error = float(((ours - plain).abs() * finite).nan_to_num(0).max() / plain[finite].std().clamp_min(1e-12))
        if not error <= _ROUNDING.get(vlm.dtype, 0.1):
            raise _Unfit(f"logits from copied states differ by {error:.1e} of their spread")


def _reusable(change: Intervention) -> bool:
    """Whether everything before the intervention's first layer stays as it was, and new tokens are written freely."""
    return change.neurons.part == "text" and change.span == "image" and change.phase == "prefill"


def _text(states: Sequence[_Clean], drop: int = 0) -> dict[str, Tensor]:
    """The prompts without their pixels, and without the last `drop` positions."""
    result: dict[str, Tensor] = {}
    for name, value in states[0].row.tensors.items():
        if value.is_floating_point():
            continue
        stacked = torch.cat([state.row.tensors[name] for state in states])
        cut = drop and states[0].row.along_sequence(name)
        result[name] = stacked[:, :-drop] if cut else stacked
    return result
