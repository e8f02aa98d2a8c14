"""New tokens written by transformers' own `generate` from a cache that is already filled.

Rows that have reached the end of their caption leave the batch once they are half of it: `generate` is asked to stop,
the other rows' keys and values are picked out, and `generate` goes on with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, StoppingCriteria

from ..models.decoding import Decoding
from ..models.greedy import shaping
from ..models.loaded import LoadedModel
from ..tokens import spoken
from .captions import ends_of, generate_settings, until_end
from .clean import Clean, place_rows, text_of
from .finite import Watch
from .shared import sharing
from .shortcuts import Engine
from .ties import Trail

#: Fewer rows than this are not worth another call of `generate`.
_FEW = 8
#: A step of `generate` costs as much as so many more rows: the weights are read and Python runs once per step.
STEP = 32
#: Says of a caption's text so far whether it may end there.
Until = Callable[[str], bool]


@dataclass(frozen=True)
class Start:
    """Where writing goes on.

    Attributes:
        states: the image of each row.
        cache: keys and values of all positions but the last.
        ids: [rows, new] what has been written behind the prompts, the last position included.
        below: in layers before it rows of one image and one text are the same, which is made use of; 0 for none.
    """

    states: list[Clean]
    cache: DynamicCache
    ids: Int[Tensor, "rows new"]
    below: int = 0

    @property
    def same(self) -> list[tuple[int, ...]]:
        """Of each row, equal where image and text so far are, but for the last token."""
        texts = self.ids[:, :-1].tolist()
        return [(id(state), *text) for state, text in zip(self.states, texts, strict=True)]


def plain_greedy(decoding: Decoding) -> str:
    """Why captions cannot be taken up in the middle, nor foreseen; empty where they can.

    What shapes captions, but for words that never come, counts positions from where `generate` began, or looks at more
    than the last logits.
    """
    odd = [name for name in shaping(decoding.generation) if name != "suppress_tokens"]
    return f"decoding.generation sets {', '.join(odd)}" if odd else ""


def forbidden(vlm: LoadedModel, decoding: Decoding) -> list[int]:
    """Token ids that are never written."""
    return generate_settings(vlm, decoding)["suppress_tokens"] or []


@torch.no_grad()
def write(
    vlm: LoadedModel, engine: Engine, decoding: Decoding, start: Start, left: int, until: Until | None = None
) -> tuple[list[list[int]], list[int], list[Trail]]:
    """At most `left` new token ids of each row, up to and without the end of the caption.

    Also the rows that are not finite, and what each row was chosen by.
    """
    ends = torch.tensor(ends_of(vlm), dtype=torch.long, device=start.ids.device)
    alive = list(range(len(start.states)))
    ids, cache = start.ids, start.cache
    bad: list[int] = []
    result: list[list[int]] = [[] for _ in alive]
    trails = [Trail() for _ in alive]
    while alive and left:
        stop = _Stop(ids.shape[1], ends, engine.compact and len(alive) >= _FEW, _matched(vlm, until))
        watch = Watch(ends.tolist())
        state = Start([start.states[row] for row in alive], cache, ids, start.below)
        new, cache = step(vlm, decoding, state, left, stop=stop, watch=watch)
        bad += [alive[row] for row in watch.bad]
        for row, trail in zip(alive, watch.trails, strict=True):
            trails[row] += trail
        over = stop.over(new)
        left -= new.shape[1]
        for row, tokens in zip(alive, new.tolist(), strict=True):
            result[row] += tokens
        kept = torch.nonzero(~over)[:, 0]
        if left and len(kept):
            cache.batch_select_indices(kept)
            ids = torch.cat([ids, new], 1)[kept]
        alive = [alive[int(at)] for at in kept]
    return [until_end(vlm, tokens) for tokens in result], bad, trails


def step(
    vlm: LoadedModel,
    decoding: Decoding,
    start: Start,
    new: int,
    *,
    stop: StoppingCriteria | None = None,
    watch: Watch | None = None,
    **more: Any,
) -> tuple[Int[Tensor, "rows steps"], Any]:
    """One call of `generate`: the new token ids and its cache, or all it returns where `more` asks for logits."""
    inputs = text_of(start.states, start.ids)
    place_rows(vlm, start.states)
    settings = {**generate_settings(vlm, decoding), "max_new_tokens": new, "return_dict_in_generate": True, **more}
    criteria: dict[str, Any] = {} if stop is None else {"stopping_criteria": [stop]}
    criteria |= {} if watch is None else {"logits_processor": [watch]}
    shared = sharing(vlm.structure.layers, start.below, start.same, start.cache)
    with vlm.frozen(), shared:
        generate: Any = vlm.model.generate
        output = generate(**inputs, **settings, **criteria, past_key_values=start.cache)
    written = output.sequences[:, inputs["input_ids"].shape[1] :]
    return written, output if more else output.past_key_values


def buckets(known: Sequence[int], longest: int) -> list[list[int]]:
    """Which rows go on together, given how many tokens of each are known.

    Rows of a bucket go on from the smallest number among them, so that none needs padding; what is known of the others
    is written once more. The buckets minimise sum_b (longest - min_b) * (rows_b + step), by dynamic programming over
    the sorted numbers.
    """
    order = sorted(range(len(known)), key=lambda row: (known[row], row))
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first n rows, where the last bucket begins
    for n in range(1, len(order) + 1):
        costs = [
            (best[begin][0] + (longest - known[order[begin]]) * (n - begin + STEP), begin)
            for begin in range(n)
            if not begin or known[order[begin]] != known[order[begin - 1]]
        ]
        best.append(min(costs))
    result: list[list[int]] = []
    end = len(order)
    while end:
        begin = best[end][1]
        result.append(sorted(order[begin:end]))
        end = begin
    return result[::-1]


class _Stop(StoppingCriteria):
    """Ends rows whose text matches, and the call once half of its rows have ended.

    Args:
        begin: new tokens that were known before the call.
        ends: ids that end a caption.
        halves: whether to hand back early.
        matched: says which rows may end, from their new ids; None where no text ends a row.
    """

    def __init__(
        self, begin: int, ends: Int[Tensor, "ids"], halves: bool, matched: Callable[[list[int]], bool] | None
    ) -> None:
        self._begin = begin
        self._ends = ends
        self._halves = halves
        self._matched = matched
        self._prompt: int | None = None
        self._over: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        """[rows] which rows have ended; all of them when the call is to hand back."""
        if self._prompt is None:  # called for the first time after one new token
            self._prompt = input_ids.shape[1] - 1
        over = torch.isin(input_ids[:, -1], self._ends)
        if self._over is not None:
            over = over | self._over
        if self._matched is not None:
            rows = input_ids[:, self._prompt - self._begin :].tolist()
            found = [bool(done) or self._matched(ids) for ids, done in zip(rows, over.tolist(), strict=True)]
            over = torch.tensor(found, device=input_ids.device)
        self._over = over
        return over | (over.sum() * 2 >= len(over)) if self._halves else over

    def over(self, new: Int[Tensor, "rows steps"]) -> Bool[Tensor, "rows"]:
        """Which rows ended in the call that gave these tokens."""
        assert self._over is not None
        return self._over.to(new.device)


def _matched(vlm: LoadedModel, until: Until | None) -> Callable[[list[int]], bool] | None:
    if until is None:
        return None
    return lambda ids: until(spoken(vlm.tokenizer.decode(ids, skip_special_tokens=True)))


def cut_at_match(vlm: LoadedModel, ids: Sequence[int], until: Until | None) -> list[int]:
    """The ids up to the first at which the text may end; all of them where it never may."""
    matched = _matched(vlm, until)
    if matched is not None:
        for count in range(1, len(ids) + 1):
            if matched(list(ids[:count])):
                return list(ids[:count])
    return list(ids)
