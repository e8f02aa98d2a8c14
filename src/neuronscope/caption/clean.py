"""What a model computes for a prompt and its caption without an intervention, kept for use under interventions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from ..hooks import HookSession, Tap
from ..hooks.skip import Enough, seeing_inputs, starting_at
from ..models.decoding import Decoding
from ..models.inputs import ImageRow, Row
from ..models.loaded import LoadedModel
from .captions import Caption


class Unfit(Exception):
    """Why clean states cannot be used for a model."""


@dataclass(frozen=True)
class Clean:
    """What reading one prompt and its caption gives without an intervention.

    Attributes:
        row: the prompt.
        fed: the caption's tokens that were read after it; empty where none is read ahead.
        targets: what follows the prompt and each token of `fed`; -1 for the end of the caption.
        before: the residual stream before each layer, [positions, hidden]; layers may be on different devices.
        keys, values: of each layer, [heads, positions, width].
        offsets: module -> how far the positions of new tokens are from their place in the sequence, [1, 1], in models
            that keep this outside the cache (positions in three dimensions).
    """

    row: Row
    fed: tuple[int, ...]
    targets: tuple[int, ...]
    before: tuple[Float[Tensor, "positions hidden"], ...]
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    offsets: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _neurons: dict[int, Tensor] = field(default_factory=dict[int, Tensor], repr=False, compare=False)

    @property
    def shape(self) -> tuple[object, ...]:
        """Prompts of one shape share a batch without padding: as many tokens, the image at the same ones."""
        sizes = [(name, tuple(value.shape)) for name, value in self.row.tensors.items() if not _pixels(value)]
        return (*sizes, self.row.image.positions.tobytes())

    def neurons(self, vlm: LoadedModel, layer: int) -> Float[Tensor, "patches width"]:
        """The clean neurons of a layer at the image positions; its attention and FFN run once and are kept."""
        if layer not in self._neurons:
            seen: list[Tensor] = []

            def keep(z: Tensor) -> None:
                seen.append(z[0, torch.as_tensor(self.row.image.positions, device=z.device)].clone())
                raise Enough

            config: Any = vlm.model.config
            cache = DynamicCache(config=config)
            hidden = self.before[layer][None, : self.row.length]
            session = HookSession(vlm.structure, [Tap(layer, "neuron", keep)], must_fire=False)
            with (
                torch.no_grad(),
                vlm.frozen(),
                session,
                starting_at(vlm.structure.layers, layer, hidden),
                suppress(Enough),
            ):
                vlm.model(**part_of([self], 0, self.row.length), past_key_values=cache, use_cache=True)
            self._neurons[layer] = seen[0]
        return self._neurons[layer]


def read_clean(vlm: LoadedModel, image: ImageRow, decoding: Decoding, caption: Caption | None) -> Clean:
    """Read a prompt, and the clean caption when it is given. Raises Unfit where a model's states cannot be reused."""
    if not decoding.use_cache:
        raise Unfit("captions are to be written without a KV cache")
    row = vlm.prepare([image], decoding).rows[0]
    if vlm.family.no_image or row.encoded or vlm.structure.generator is not None:
        raise Unfit(f"{vlm.family.title} does not read image and text in one decoder through `generate`")
    if row.image.positions[-1] == row.length - 1:
        raise Unfit("the prompt ends with the image")
    if caption is None:
        return read_row(vlm, row, (), ())
    ended = len(caption.ids) < decoding.max_new_tokens
    return read_row(vlm, row, caption.ids if ended else caption.ids[:-1], (*caption.ids, -1) if ended else caption.ids)


@torch.no_grad()
def read_row(vlm: LoadedModel, row: Row, fed: tuple[int, ...], targets: tuple[int, ...]) -> Clean:
    """Read a prompt and more tokens in one pass. Raises Unfit where the cache is not one of keys and values."""
    layers = vlm.structure.layers
    whole = row.extended(fed)
    seen: dict[int, Tensor] = {}
    with vlm.frozen(), seeing_inputs(layers, seen):
        output: Any = vlm.model(**whole.tensors, use_cache=True)
    kept = held_by(output.past_key_values)
    if len(kept) != len(layers) or any(keys.shape[-2] != whole.length for keys, _ in kept):
        raise Unfit("its cache does not hold a key and a value for each position and layer")
    return Clean(
        row,
        fed,
        targets,
        tuple(seen[layer][0].clone() for layer in range(len(layers))),
        tuple(keys[0].clone() for keys, _ in kept),
        tuple(values[0].clone() for _, values in kept),
        {name: value.clone() for name, module in vlm.model.named_modules() if (value := _offset(module)) is not None},
    )


def place_rows(vlm: LoadedModel, states: Sequence[Clean]) -> None:
    """Have a model that counts positions outside its cache go on with these rows, in their order."""
    for name in states[0].offsets:
        module: Any = vlm.model.get_submodule(name)
        module.rope_deltas = torch.cat([state.offsets[name] for state in states])


def _offset(module: Any) -> Tensor | None:
    held = vars(module).get("rope_deltas")
    return held if isinstance(held, Tensor) else None


def text_of(states: Sequence[Clean], ids: Int[Tensor, "rows new"] | None = None) -> dict[str, Tensor]:
    """The prompts without their pixels, with more token ids at the end. All of one shape."""
    distinct = list({id(state): state for state in states}.values())
    number = {id(state): n for n, state in enumerate(distinct)}
    more = 0 if ids is None else ids.shape[1]
    rows = [state.row.extended([0] * more) for state in distinct]
    result: dict[str, Tensor] = {}
    for name, value in rows[0].tensors.items():
        if not _pixels(value):
            picked = torch.tensor([number[id(state)] for state in states], device=value.device)
            result[name] = torch.cat([row.tensors[name] for row in rows]).unflatten(0, (len(rows), -1))[picked]
            result[name] = result[name].flatten(0, 1)
    if ids is not None and more:
        result["input_ids"][:, -more:] = ids
    return result


def part_of(
    states: Sequence[Clean], begin: int, end: int, ids: Int[Tensor, "rows new"] | None = None
) -> dict[str, Tensor]:
    """Positions `begin` to `end` of prompts and more ids.

    An attention mask covers what comes before, too, and is left out behind the first position where it hides nothing:
    some models count positions by the mask they are given.
    """
    whole = text_of(states, ids)
    length = whole["input_ids"].shape[1]
    row = states[0].row
    along = [name for name in whole if row.along_sequence(name)]
    if length < end:
        raise ValueError(f"positions up to {end} of {length}")
    cut = {name: whole[name][:, (0 if name == "attention_mask" else begin) : end] for name in along}
    if begin and "attention_mask" in whole and bool(cut["attention_mask"].all()):
        del whole["attention_mask"], cut["attention_mask"]
    return {**whole, **cut}


def _pixels(value: Tensor) -> bool:
    return value.is_floating_point()


class EndingCache(DynamicCache):
    """Ends the pass once the last layer's keys and values are known: nothing after them enters a cache.

    What the last layer gives at these positions is read by no later position (METHODS h, 2).
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.ends_at: int | None = None

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        """Store as always; raise Enough after layer `ends_at`."""
        result = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self.ends_at:
            raise Enough
        return result


def held_by(cache: Any) -> list[tuple[Float[Tensor, "_rows _heads _positions _width"], Tensor]]:
    """Keys and values of each layer that has them."""
    layers: Any = getattr(cache, "layers", ())
    return [(layer.keys, layer.values) for layer in layers if isinstance(getattr(layer, "keys", None), torch.Tensor)]
