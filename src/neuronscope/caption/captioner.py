"""Captions of the same images under one intervention after another; what none of them changes is computed once.

An intervention on layer l at image positions leaves the vision tower, every layer before l and the keys and values of
those layers as they were (METHODS h). The clean residual stream before each layer and the clean keys and values are
kept for each image (clean.py); under an intervention the prompt is read from its first changed layer on, many rows
at once (prefill.py); the new tokens are written by transformers' own `generate` from the cache that results
(generation.py). The captions are those of the plain path, which is proved for each model and layer (proof.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import groupby
from operator import and_

import torch
from torch import Tensor

from ..architecture.digests import Unchanged
from ..errors import InvalidOption
from ..fields import whole
from ..given import checked_methods
from ..held import in_turn
from ..intervene.operations import Intervention, Noise, identity
from ..models.decoding import Decoding
from ..models.inputs import ImageRow
from ..models.loaded import LoadedModel
from ..models.origin import require_own
from ..models.processing import about
from ..models.surroundings import Surroundings
from .captions import Caption, alone, caption_of, ends_of, generate_captions
from .clean import Clean, Unfit, read_clean
from .drafts import Drafts
from .finite import refuse
from .generation import STEP, Start, Until, buckets, cut_at_match, forbidden, write
from .memory import Batches, row_bytes, rows_that_fit
from .prefill import CaptionRow, NoticedChange, Pass
from .proof import proved
from .shortcuts import Engine
from .ties import Trail, chosen, settled

#: What reading a position costs besides the layers: its logits, in layers.
_HEAD = 4


@dataclass(frozen=True)
class _Wanted:
    """One caption that is asked for."""

    request: int
    image: int
    job: CaptionRow


@checked_methods
class Captioner:
    """Captions some images again and again.

    Args:
        vlm: the model.
        images: the images, in the order in which captions are returned; an element that is itself a sequence of images
            is one prompt that shows all of them.
        decoding: caption settings.
        batch_size: captions written together at most; fewer where memory does not allow it.
        engine: which work is saved.

    Attributes:
        plain: layer -> why interventions that begin there are made from the beginning; empty where clean states are
            used. Each layer is proved once, when it is first asked for.
        states: what each image's clean pass gave; empty where clean states are not used at all.
        used: layer -> the engine that was proved for it, with a switch off where the model does not allow it.
    """

    @in_turn
    def __init__(
        self,
        vlm: LoadedModel,
        images: Sequence[ImageRow],
        *,
        decoding: Decoding = Decoding(),
        batch_size: int = 128,
        engine: Engine | None = None,
    ) -> None:
        if whole("batch_size", batch_size) < 1:
            raise InvalidOption(f"batch_size={batch_size} must be at least 1")
        self._vlm = vlm
        self._unchanged_weights = Unchanged(vlm.model)
        self._surroundings = Surroundings(vlm.model, vlm.processor)
        self._images = list(images)
        self._decoding = decoding
        self._rows = Batches(batch_size)
        self._engine = engine or Engine()
        self.states: list[Clean] = []
        self._clean: dict[int, Caption] = {}
        self._known: OrderedDict[tuple[object, int], list[Caption]] = OrderedDict()
        self._held = 0
        self._drafts = Drafts()
        self.plain: dict[int, str] = {}
        self.used: dict[int, Engine] = {}
        try:
            self._read()
        except Unfit as why:
            self.plain = dict.fromkeys(range(vlm.layers), str(why))
            self.states = []

    def captions(
        self, change: Intervention | None = None, rows: Sequence[int] | None = None, *, until: Until | None = None
    ) -> list[list[Caption]]:
        """Captions of the images (or of those numbered `rows`), image x draw, as `generate_captions` gives them.

        Args:
            change: the intervention; none for clean captions.
            rows: which images.
            until: says of a caption's text so far whether it may end there, such as "it names the concept"; captions
                are cut behind the first token for which it does. Enough for S_se and S_re, not for whole captions.
        """
        return self.captions_under([change], rows, until=until)[0]

    @in_turn
    def captions_under(
        self,
        changes: Sequence[Intervention | None],
        rows: Sequence[int] | None = None,
        *,
        until: Until | None = None,
    ) -> list[list[list[Caption]]]:
        """Captions under several interventions, intervention x image x draw, batched over all three.

        Interventions share a batch in the order of their first layers. Arguments as of :meth:`captions`. Raises
        NeuronOutOfRange for neurons that the model does not have, and InvalidOption when its weights were edited, its
        settings changed, or inside another intervention.
        """
        if not self._unchanged_weights:  # what is kept was read with the weights as they were
            raise InvalidOption("the model's weights were edited after this captioner read its images: make a new one")
        if changed := self._surroundings.changed():
            raise InvalidOption(f"{changed} are not as they were when this captioner was made: make a new one")
        chosen = list(range(len(self._images))) if rows is None else list(rows)
        result: list[list[list[Caption]]] = [[] for _ in changes]
        wanted: list[_Wanted] = []
        first_of: dict[object, int] = {}
        again: dict[int, int] = {}
        for request, change in enumerate(changes):
            made = self._change(change)
            if change is None or made is None:
                result[request] = self._unchanged(change, chosen)
            elif not made.layers:
                result[request] = [[self._clean[i]] * _draws(change) for i in chosen]
            elif self._unproved(made.first):
                result[request] = self._plainly(change, chosen)
            else:
                key = identity(change) if self._engine.remember else None
                if key is not None and first_of.setdefault(key, request) != request:
                    again[request] = first_of[key]
                    continue
                result[request] = [self._remembered(key, i) for i in chosen]
                missing = dict.fromkeys(i for n, i in enumerate(chosen) if not result[request][n])
                for i in missing:
                    wanted += [_Wanted(request, i, CaptionRow(self.states[i], made, n)) for n in range(_draws(change))]
        written = self._write_all(wanted, until)
        keys = {request: key for key, request in first_of.items()}
        for (request, image), captions in written.items():
            if until is None:
                self._remember(keys.get(request), image, captions)
        for request, rows_of in enumerate(result):
            if request not in again:
                result[request] = [row or written[request, i] for row, i in zip(rows_of, chosen, strict=True)]
        for request, same in again.items():
            result[request] = [list(row) for row in result[same]]
        return [[[self._cut(caption, until) for caption in row] for row in image] for image in result]

    def _read(self) -> None:
        """Clean captions, where they serve as drafts, and clean states."""
        every = range(len(self._images))
        reason = [self._clean_state(i) for i in every[:1]]  # before captions are written
        if self._engine.draft and self._images:
            self._caption(every)
            self.states = [self._clean_state(i) for i in every]
        else:
            self.states = [*reason, *map(self._clean_state, every[1:])]

    def _clean_state(self, image: int) -> Clean:
        with about(image if len(self._images) > 1 else None):
            return read_clean(self._vlm, self._images[image], self._decoding, self._clean.get(image))

    def _caption(self, chosen: Sequence[int]) -> None:
        missing = [i for i in dict.fromkeys(chosen) if i not in self._clean]
        rows = generate_captions(
            self._vlm, [self._images[i] for i in missing], decoding=self._decoding, batch_size=self._rows.size
        )
        self._clean.update({i: row[0] for i, row in zip(missing, rows, strict=True)})

    def _unchanged(self, change: Intervention | None, chosen: Sequence[int]) -> list[list[Caption]]:
        """Captions under nothing, or under what is not confined to image positions of the decoder."""
        if change is not None and len(change.neurons):
            return self._plainly(change, chosen)
        self._caption(chosen)
        return [[self._clean[i]] * (1 if change is None else _draws(change)) for i in chosen]

    def _plainly(self, change: Intervention, chosen: Sequence[int]) -> list[list[Caption]]:
        images = [self._images[i] for i in chosen]
        return generate_captions(self._vlm, images, change, decoding=self._decoding, batch_size=self._rows.size)

    def _change(self, change: Intervention | None) -> NoticedChange | None:
        """What can be noticed of an intervention; None where clean states are of no use for it."""
        if change is None or not len(change.neurons) or not self.states or not _reusable(change):
            return None
        require_own(self._vlm, change.neurons)
        layers = {layer: tuple(units) for layer, units in change.neurons.by_layer().items()}
        if self._engine.inert:
            layers.pop(self._vlm.layers - 1, None)
            if not layers:
                self._caption(range(len(self._images)))
        return NoticedChange(change, layers)

    def _unproved(self, first: int) -> str:
        """Why copied states are not used for interventions that begin at a layer."""
        if first not in self.plain:
            asked = next(reversed(self.used.values()), self._engine)  # what one layer does not allow, others do not
            try:
                self.used[first] = proved(self._vlm, asked, self._decoding, self.states[0], first)
                self.plain[first] = ""
            except Unfit as why:
                self.plain[first] = str(why)
        return self.plain[first]

    def _write_all(self, wanted: list[_Wanted], until: Until | None) -> dict[tuple[int, int], list[Caption]]:
        """(request, image) -> captions by draw."""
        found: dict[tuple[int, int], dict[int, Caption]] = {}
        for batch in self._batches(wanted):
            for one, ids in zip(batch, self._rows.run(batch, partial(self._write, until=until)), strict=True):
                caption = caption_of(self._vlm, ids, self._decoding)
                found.setdefault((one.request, one.image), {})[one.job.draw] = caption
        return {key: [draws[n] for n in range(len(draws))] for key, draws in found.items()}

    def _batches(self, wanted: list[_Wanted]) -> Iterator[list[_Wanted]]:
        """Rows whose prompts are of one shape, which need no padding, by first layer; rows of a change together."""
        shapes: dict[tuple[object, ...], int] = {}
        alone = bool(self._vlm.family.alone)

        def key(one: _Wanted) -> tuple[int, int, int]:
            shape = shapes.setdefault(one.job.state.shape, len(shapes))
            return shape, one.job.change.first, one.request

        for _, group in groupby(sorted(wanted, key=key), key=lambda one: key(one)[0]):
            same = list(group)
            start = 0
            while start < len(same):
                size = 1 if alone else self._size(same[start].job.state)
                yield same[start : start + size]
                start += size

    def _size(self, state: Clean) -> int:
        """Rows of a batch, by what the cache of a row needs and what is free."""
        vlm = self._vlm
        predictions = len(state.fed) + 1
        need = row_bytes(
            cached=sum(
                keys[:, 0].numel() + values[:, 0].numel() for keys, values in zip(state.keys, state.values, strict=True)
            ),
            width=6 * vlm.structure.hidden + 3 * max(vlm.widths),
            positions=state.row.length + self._decoding.max_new_tokens,
            vocabulary=int(getattr(vlm.structure.unembedding, "out_features", 0)),
            predictions=predictions,
            itemsize=state.keys[0].element_size(),
        )
        return min(self._rows.size, rows_that_fit(need, vlm.device))

    def _write(self, batch: Sequence[_Wanted], until: Until | None) -> list[list[int]]:
        """New token ids of each row, without the end of the caption."""
        vlm, decoding = self._vlm, self._decoding
        jobs = tuple(one.job for one in batch)
        engine = reduce(and_, (self.used[first] for first in {job.change.first for job in jobs}))
        around = Pass(vlm, engine, jobs, self._ahead(jobs))
        cache, logits = around.read()
        trails = [Trail() for _ in jobs]
        if logits is None:
            known: list[list[int]] = [[] for _ in jobs]
            over = [False] * len(jobs)
        else:
            known, over, bad, trails = self._checked(around, logits)
            refuse(vlm, [batch[row].image for row in bad], batch[0].job.change.intervention)
            del logits
        longest = decoding.max_new_tokens
        over = [
            end or len(ids) == longest or (until is not None and cut_at_match(vlm, ids, until) != ids)
            for ids, end in zip(known, over, strict=True)
        ]
        open_rows = [row for row, end in enumerate(over) if not end]
        for group in buckets([len(known[row]) for row in open_rows], longest):
            rows = [open_rows[at] for at in group]
            fewest = min(len(known[row]) for row in rows)
            ids = torch.tensor([known[row][:fewest] for row in rows], dtype=torch.long, device=vlm.device)
            resumed = around.resumed(cache, rows, around.length - 1 + fewest)
            below = around.start if engine.share else 0
            start = Start([around.states[row] for row in rows], resumed, ids, below)
            written, bad, chosen_by = write(vlm, engine, decoding, start, longest - fewest, until)
            refuse(vlm, [batch[rows[at]].image for at in bad], batch[0].job.change.intervention)
            for row, new, trail in zip(rows, written, chosen_by, strict=True):
                known[row] = known[row][:fewest] + new
                trails[row] = trails[row].cut(fewest) + trail

        def plainly(row: int, enough: tuple[int, ...]) -> tuple[list[int], Trail]:
            one = batch[row]
            return alone(vlm, self._images, (one.image, one.job.draw), one.job.change.intervention, decoding, enough)

        return settled(vlm, known, trails, plainly)

    def _ahead(self, jobs: Sequence[CaptionRow]) -> int:
        """How far the clean captions are read ahead.

        A token ahead costs the layers from the first changed one on; a step of writing costs all of them, and its
        share of what a step costs however many rows there are.
        """
        layers = self._vlm.layers
        price = (layers - min(job.change.first for job in jobs) + _HEAD) / (layers + _HEAD)
        return self._drafts.length(self._decoding.max_new_tokens, price / (1 + STEP / len(jobs)))

    def _checked(self, around: Pass, logits: Tensor) -> tuple[list[list[int]], list[bool], list[int], list[Trail]]:
        """What is known of each row from the logits behind its draft's tokens.

        Also whether it has ended, the rows that are not finite, and what each was chosen by.
        """
        banned = forbidden(self._vlm, self._decoding)
        if banned:
            logits[..., banned] = -torch.inf
        ends = set(ends_of(self._vlm))
        known: list[list[int]] = []
        over: list[bool] = []
        right: list[int] = []
        bad: list[int] = []
        trails: list[Trail] = []
        ids, values, gaps = chosen(logits)
        finite = values[..., 0].isfinite().tolist()
        read = zip(around.states, around.drafts, ids[..., 0].tolist(), ids[..., 1].tolist(), gaps.tolist(), strict=True)
        for state, draft, row, second, gap in read:
            best = [-1 if token in ends else token for token in row[: len(draft) + 1]]
            pairs = zip(best, state.targets[: len(best)], strict=True)
            same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(best))
            right.append(min(same, len(draft)))
            taken = best[: same + 1]
            if not all(finite[len(known)][: len(taken)]):
                bad.append(len(known))
            known.append([token for token in taken if token >= 0])
            trails.append(Trail(tuple(row), tuple(second), tuple(gap)).cut(len(taken)))
            over.append(-1 in taken)
        self._drafts.note(right, [len(draft) for draft in around.drafts])
        return known, over, bad, trails

    def _cut(self, caption: Caption, until: Until | None) -> Caption:
        ids = cut_at_match(self._vlm, caption.ids, until)
        return caption if len(ids) == len(caption.ids) else caption_of(self._vlm, ids, self._decoding)

    def _remembered(self, key: object, image: int) -> list[Caption]:
        if key is None or (key, image) not in self._known:
            return []
        self._known.move_to_end((key, image))
        return list(self._known[key, image])

    def _remember(self, key: object, image: int, captions: list[Caption]) -> None:
        if key is None:
            return
        self._known[key, image] = captions
        self._held += len(captions)
        while self._held > self._engine.remember:
            self._held -= len(self._known.popitem(last=False)[1])


def _draws(change: Intervention) -> int:
    return change.draws if isinstance(change, Noise) else 1


def _reusable(change: Intervention) -> bool:
    """Whether everything before the intervention's first layer stays as it was, and new tokens are written freely."""
    return change.neurons.part == "text" and change.span in (None, "image") and change.phase == "prefill"
