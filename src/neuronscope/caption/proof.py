"""Proof that a model's captions from clean states are those of the plain path, tried out before they are used.

All neurons of a layer change their sign at the image positions. A few steps are written by the plain path, and by the
engine in the way in which it will write captions: rows batched, one taken out on the way. The logits have to agree.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import MODEL_ERRORS
from ..hooks.skip import Enough
from ..intervene.apply import Intervening
from ..intervene.operations import Intervention, Scale
from ..models.decoding import Decoding
from ..models.loaded import LoadedModel
from ..models.rounding import departs
from ..types import Neurons
from .captions import generate_settings
from .clean import Clean, Unfit, read_row
from .generation import Start, plain_greedy, step
from .prefill import CaptionRow, NoticedChange, Pass
from .shortcuts import Engine

_STEPS = 3
_ROWS = 3


def proved(vlm: LoadedModel, engine: Engine, decoding: Decoding, state: Clean, layer: int) -> Engine:
    """The strongest engine, not stronger than the given one, that is exact for changes from a layer on.

    Raises Unfit with the last reason where none is.
    """
    change = Scale(Neurons.of([(layer, unit) for unit in range(vlm.widths[layer])]), factor=-1.0)
    odd = plain_greedy(decoding)
    ffn = vlm.structure.ffns[layer]
    if odd:
        engine = replace(engine, draft=False, compact=False)
    if any(weight.device.type == "meta" for weight in vlm.model.parameters()):
        # Accelerate takes the weights of a layer away again when it ends; a pass that is cut short would keep them.
        engine = replace(engine, low_rank=False, short_last=False)
    if vlm.family.alone:
        engine = replace(engine, compact=False)
    if ffn.after is not None or ffn.experts:
        engine = replace(engine, low_rank=False)
    try:
        with Intervening(vlm, (change,)):
            tokens, plain = _plain(vlm, decoding, state)
    except MODEL_ERRORS as error:
        raise Unfit(f"the plain path fails: {type(error).__name__}: {error}") from error
    why = ""
    for weaker in engine.weaker():
        try:
            why = _differs(vlm, weaker, decoding, state, change, tokens, plain)
        except (*MODEL_ERRORS, Unfit, Enough) as error:
            why = f"it cannot go on from copied states: {type(error).__name__}: {error}"
        if not why:
            return weaker
    raise Unfit(why)


@torch.no_grad()
def _plain(vlm: LoadedModel, decoding: Decoding, state: Clean) -> tuple[list[int], Tensor]:
    """What the plain path writes, and its logits [steps, 1, vocabulary]."""
    counted = {"max_new_tokens": _STEPS, "min_new_tokens": _STEPS}
    told = {"output_logits": True, "return_dict_in_generate": True}
    generate: Any = vlm.model.generate
    with vlm.frozen():
        output = generate(**state.row.tensors, **{**generate_settings(vlm, decoding), **counted, **told})
    return output.sequences[0, -_STEPS:].tolist(), torch.stack(output.logits).float()


def _differs(
    vlm: LoadedModel,
    engine: Engine,
    decoding: Decoding,
    state: Clean,
    change: Intervention,
    tokens: list[int],
    plain: Tensor,
) -> str:
    """Why an engine's logits are not those of the plain path; empty where they are."""
    layers = {layer: tuple(units) for layer, units in change.neurons.by_layer().items()}
    known = 1 if engine.draft else 0
    if engine.draft:
        state = read_row(vlm, state.row, tuple(tokens[:-1]), tuple(tokens))
    rows = 1 if vlm.family.alone else _ROWS
    batch = Pass(vlm, engine, (CaptionRow(state, NoticedChange(change, layers), 0),) * rows)
    cache, logits = batch.read()
    if logits is not None and (why := departs(vlm, logits.transpose(0, 1), plain, "copied")):
        return why
    if not engine.compact:
        return departs(vlm, *_rest(vlm, decoding, batch, cache, known, tokens, plain), "copied")
    ids = torch.tensor([tokens[:known]] * rows, dtype=torch.long, device=vlm.device)
    resumed = batch.resumed(cache, range(rows), batch.length - 1 + known)
    at, below = known, batch.start if engine.share else 0
    states = [*[state] * (rows - 1), copy(state)]  # the last row shares no steps with the others
    for taken in (1, _STEPS - known - 1):
        more: dict[str, Any] = {"min_new_tokens": taken, "output_logits": True}
        new, output = step(vlm, decoding, Start(states[:rows], resumed, ids, below), taken, **more)
        if why := departs(vlm, torch.stack(output.logits), plain[at : at + taken], "copied"):
            return why
        at += taken
        kept = torch.arange(rows - 1, device=ids.device)
        resumed = output.past_key_values
        resumed.batch_select_indices(kept)
        ids, rows = torch.cat([ids, new], 1)[kept], rows - 1
    return ""


def _rest(
    vlm: LoadedModel, decoding: Decoding, batch: Pass, cache: Any, known: int, tokens: list[int], plain: Tensor
) -> tuple[Tensor, Tensor]:
    """All steps in one call, for an engine that keeps its rows together to the end."""
    rows = len(batch.jobs)
    ids = torch.tensor([tokens[:known]] * rows, dtype=torch.long, device=vlm.device)
    resumed = batch.resumed(cache, range(rows), batch.length - 1 + known)
    steps = _STEPS - known
    more: dict[str, Any] = {"min_new_tokens": steps, "output_logits": True}
    states = [*batch.states[1:], copy(batch.states[0])]
    below = batch.start if batch.engine.share else 0
    _, output = step(vlm, decoding, Start(states, resumed, ids, below), steps, **more)
    return torch.stack(output.logits), plain[known:]
