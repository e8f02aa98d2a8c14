"""Where on the image learned queries look: attention rollout through a Q-Former or resampler (METHODS G2 i).

Every attention of the projector lets each row (query) take something from patches and something from rows:
A = [A_patches, A_rows], heads averaged, rows of A summing to 1. R holds how much of each row comes from each patch:

    R^0 = 0 (rows x patches),   R <- 1/2 R + 1/2 (A_patches + A_rows R)   for every attention, in the order of the call.

In a Q-Former self-attention has no A_patches and cross-attention no A_rows; a perceiver's one attention has both. At
the end columns without a place on the image (CLS, padding) are dropped, rows are renormalised, and the map is R^T O'
with O' the neurons' mean activation per query, so that the map's sum is that of O'.

A Q-Former may see text too (InstructBLIP's instruction). Text rows start without patches and pick up what they read
from queries; they are rolled out along with the queries and dropped at the end. Cutting them out of A and
renormalising would claim that queries look at one another more than they do.

This costs one forward pass, but attention says where a query looked, not what became of it: :func:`trace_agreement`
compares it, and input x gradient, with occlusion, which is causal.

The weights are read without a change to transformers: for the time of one call the projector's config asks for the
eager implementation, whose modules return (output, weights), and forward hooks keep the weights. A module that calls
torch's scaled_dot_product_attention instead is asked for the attention of the identity matrix, which is its weights. In
a part whose modules return none, such as the resampler of IDEFICS, they are what softmax gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, softmax

from ..errors import NoGrid
from ..held import Changing, Held, Undo, in_turn
from ..held.modes import FunctionMode
from ..intervene.capture import activations
from ..loading import VLM
from ..models.decoding import Decoding
from ..tokens import ImageTokens
from ..types import Neurons
from .trace import patch_places, vision_layers

_BY_PLACE = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")  # of scaled_dot_product_attention
_SOFTMAX = (torch.softmax, torch.Tensor.softmax, softmax)
_ROUNDING = 0.02  # how far from 1 the sum of a row of bfloat16 probabilities may lie
_OTHERS = 'trace="gradient" and trace="occlusion" need none, nor does trace="tokens" where image tokens have a place'


@dataclass(frozen=True)
class ProjectorAttention:
    """One attention of a projector.

    Attributes:
        weights: A, heads averaged; one batch entry per picture (tile) that the vision tower sees.
        patches: how many of the first columns are patches, CLS included; the others are the first rows.
    """

    weights: Float[np.ndarray, "_pictures _rows _columns"]
    patches: int


def roll_out(looks: Sequence[ProjectorAttention]) -> Float[np.ndarray, "pictures rows patches"]:
    """R after all attentions, not renormalised."""
    pictures = looks[0].weights.shape[0]
    rows = max(look.weights.shape[1] for look in looks)
    result = np.zeros((pictures, rows, max(look.patches for look in looks)))
    for look in looks:
        own = look.weights[..., look.patches :]
        seen = own @ result[:, : own.shape[2]]
        if look.patches:
            seen = seen + look.weights[..., : look.patches]
        touched = result[:, : seen.shape[1]]  # cross-attention has rows for queries, and none for text
        touched += (seen - touched) / 2
    return result


@in_turn
def cross_attention_rollout(
    vlm: VLM, picture: Image.Image, neurons: Neurons, *, decoding: Decoding = Decoding()
) -> tuple[Float[np.ndarray, "patches"], ImageTokens]:
    """R^T O' at the patches of the vision tower, in units of activation, and where the patches lie.

    Raises NoGrid where no projector of learned queries is found, where its attention cannot be read completely, or
    where the tower's patches have no place either.
    """
    with watched(vlm) as watch:
        active = activations(vlm, picture, neurons, decoding=decoding).mean(axis=1).astype(np.float64)
    around, seen = vlm.family.separators, max(1, watch.tower[0])
    looks = projector_looks(watch, len(active) - seen * (around.before + around.after), vlm.id)
    shares = roll_out(looks)
    pictures, _, tokens = shares.shape
    per = len(active) // pictures  # tokens that no query makes, such as one for the picture's end, show nothing
    active = active.reshape(pictures, per)[:, around.before : per - around.after]
    before, where = patch_places(vlm, picture, (pictures, tokens))
    placed = np.zeros(where.count, dtype=bool)
    for tile in where.mapped():
        placed[tile.tokens] = True
    values = paint_queries(shares[:, :, before:], active, placed.reshape(pictures, -1))
    return values.ravel(), where


def paint_queries(
    shares: Float[np.ndarray, "pictures rows patches"],
    active: Float[np.ndarray, "pictures queries"],
    placed: Bool[np.ndarray, "pictures patches"],
) -> Float[np.ndarray, "pictures patches"]:
    """R^T O' with the rows of R renormalised over the patches that have a place; a row that sees none of them is 0."""
    kept = shares[:, : active.shape[1]] * placed[:, None]
    total = kept.sum(-1, keepdims=True)
    kept = np.divide(kept, total, out=np.zeros_like(kept), where=total > 0)
    return np.einsum("iqp,iq->ip", kept, active)


@dataclass
class SeenPart:
    """What was seen of one part of the model that holds neither layers of the vision tower nor of the decoder.

    Attributes:
        module: the part.
        weights: the attention weights of its modules in the order of the call, [batch, (heads,) rows, columns].
        unread: classes of modules that return no weights where others do.
        softmaxes: what softmax gave, of the same form: the weights, where no module returns any.
        running: whether a call of it is in progress.
    """

    module: nn.Module
    weights: list[Tensor] = field(default_factory=list[Tensor])
    unread: list[str] = field(default_factory=list[str])
    softmaxes: list[Tensor] = field(default_factory=list[Tensor])
    running: bool = False


@dataclass
class Watched:
    """What was seen during a forward pass.

    Attributes:
        parts: see :class:`SeenPart`.
        tower: pictures and tokens that entered the vision tower's last layer.
    """

    parts: list[SeenPart]
    tower: tuple[int, int] = (0, 0)


def watched(vlm: VLM) -> Held[Watched]:
    """Keeps the attention weights of everything between vision tower and decoder; then all is as before."""
    tower = vision_layers(vlm)
    watch = Watched(
        [SeenPart(module) for module in _apart(vlm.model, {id(m) for m in (*tower, *vlm.structure.layers)})]
    )

    def enter(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        features: Tensor = args[0] if args else kwargs["hidden_states"]
        watch.tower = (features[..., 0, 0].numel(), features.shape[-2])

    def change(undo: Undo) -> Watched:
        undo.hook(tower[0], "before", enter, with_kwargs=True)
        for part in watch.parts:
            ask_eager(undo, part.module)
            for module in part.module.modules():
                _listen(undo, part, module)
        undo.enter(_DotProducts(watch))
        return watch

    return Changing(change)


def projector_looks(watch: Watched, tokens: int, name: str) -> list[ProjectorAttention]:
    """The attentions of the part that turns patches into image tokens, in the order of the call.

    Args:
        watch: of one image's forward pass.
        tokens: number of image tokens that queries make.
        name: of the model, for messages.

    Raises NoGrid where there is not exactly one such part, or where it cannot be read completely.
    """
    pictures, patches = watch.tower
    queries = tokens // pictures if pictures and tokens % pictures == 0 else 0
    found: list[SeenPart] = []
    for part in watch.parts:
        shapes = [weights.shape[-2:] for weights in part.weights or part.softmaxes]
        if queries and any(rows >= queries and _patches(rows, columns, patches) for rows, columns in shapes):
            found.append(part)
    if len(found) != 1:
        raise NoGrid(
            f"{name}: trace='rollout' needs one projector whose learned queries, {tokens} image tokens in all, look at "
            f"the vision tower's patches by attention, and there are {len(found)}; {_OTHERS}"
        )
    (part,) = found
    if part.unread:
        raise NoGrid(f"{name}: {', '.join(part.unread)} return no attention weights for trace='rollout'; {_OTHERS}")
    looks: list[ProjectorAttention] = []
    for weights in part.weights or part.softmaxes:
        mean = (weights.float().mean(1) if weights.ndim == 4 else weights.float()).cpu().numpy().astype(np.float64)
        batch, rows, columns = mean.shape
        first = _patches(rows, columns, patches)
        if batch not in (1, pictures) or rows < queries or first is None:
            raise NoGrid(
                f"{name}: an attention of {rows} rows to {columns} columns in a batch of {batch} is none of {queries} "
                f"queries to themselves or to the {patches} patches of {pictures} pictures; {_OTHERS}"
            )
        looks.append(ProjectorAttention(np.broadcast_to(mean, (pictures, rows, columns)), first))
    if len({look.patches for look in looks} - {0}) > 1:
        raise NoGrid(f"{name}: its attentions look at different numbers of patches; {_OTHERS}")
    return looks


def _patches(rows: int, columns: int, tokens: int) -> int | None:
    """How many of an attention's columns are patches; None where the numbers do not tell.

    A projector may leave out the tower's CLS, so it reads `tokens` patches or one fewer: alone (cross-attention) or
    before the rows themselves (perceiver). As many columns as rows are self-attention.
    """
    patches = (tokens, tokens - 1)
    candidates = [n for n, fits in ((0, columns == rows), (columns, columns in patches)) if fits]
    candidates += [columns - rows] if columns - rows in patches else []
    return candidates[0] if len(candidates) == 1 else None


def _apart(module: nn.Module, layers: set[int]) -> Iterator[nn.Module]:
    """The largest modules that hold none of the layers and lie in none of them."""
    for child in module.children():
        if id(child) in layers:
            continue
        if any(id(inner) in layers for inner in child.modules()):
            yield from _apart(child, layers)
        else:
            yield child


def ask_eager(undo: Undo, module: nn.Module) -> None:
    """The module's configs ask for eager attention, the only implementation that returns weights."""
    held: list[Any] = [getattr(inner, "config", None) for inner in module.modules()]
    configs = {id(config): config for config in held if hasattr(config, "_attn_implementation")}
    before = [(config, config._attn_implementation) for config in configs.values()]

    def ask(config: Any, implementation: Any) -> None:
        config._attn_implementation = {"": implementation}  # as a dict: this config without its sub-configs

    for config, implementation in before:
        undo.note(partial(ask, config, implementation))
        ask(config, "eager")


def _listen(undo: Undo, part: SeenPart, module: nn.Module) -> None:
    """Hooks that keep the weights which a module returns after its output."""
    kept_before = 0

    def enter(_module: Any, _args: Any) -> None:
        nonlocal kept_before
        kept_before = len(part.weights)
        part.running = True

    def leave(_module: Any, _args: Any, output: Any) -> None:
        part.running = module is not part.module
        if not isinstance(output, tuple) or len(cast("tuple[Any, ...]", output)) < 2:
            return
        returned = [value for value in cast("tuple[Any, ...]", output)[1:] if are_weights(value)]
        # A module may hand on what one inside it returned.
        part.weights += [value for value in returned if not any(value is kept for kept in part.weights)]
        if len(part.weights) == kept_before and output[1] is None:
            part.unread.append(type(module).__name__)

    undo.hook(module, "before", enter)
    undo.hook(module, "after", leave)


def are_weights(value: Any) -> bool:
    """Whether something is a batch of attention weights: rows of numbers of at least 0 that sum to 1."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim not in (3, 4):
        return False
    return bool((value >= 0).all()) and bool(((value.float().sum(-1) - 1).abs() < _ROUNDING).all())


class _DotProducts(FunctionMode):
    """Keeps the weights of attentions that torch computes in one go: their value vectors become the identity."""

    def __init__(self, watch: Watched) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        more = kwargs or {}
        part = next((part for part in self._watch.parts if part.running), None)
        if func is scaled_dot_product_attention and part is not None:
            given = dict(zip(_BY_PLACE, args, strict=False)) | more
            key: Tensor = given["key"]
            unit = torch.eye(key.shape[-2], dtype=key.dtype, device=key.device).expand(*key.shape[:-2], -1, -1)
            part.weights.append(func(**{**given, "value": unit}))
        output = func(*args, **more)
        if func in _SOFTMAX and part is not None and are_weights(output):
            part.softmaxes.append(output)
        return output
