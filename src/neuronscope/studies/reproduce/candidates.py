"""How candidates are judged: by the conditions in their order, a few at a time, so that captions share batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...errors import InvalidOption
from ...loading import VLM
from ...locate.validity import REFUSALS, Judged, valid_pairs
from ...models.decoding import Decoding
from ...options import Reach
from ...samples.lexicon import Mode
from ...samples.sample import Sample
from ...types import Json
from .conditions import AlreadyUsed, SizeCheck
from .kept import Kept, Rejection

#: Candidates that are captioned together, at most.
_GROUP = 16


@dataclass(frozen=True)
class Judge:
    """The conditions, one after another."""

    vlm: VLM
    edit: str
    reach: Reach
    max_other_share: float | None
    match: Mode
    decoding: Decoding
    size: SizeCheck
    model: Mapping[str, Json]
    known: Callable[[Sample], Kept | Rejection | None]
    keep: Callable[[Kept | Rejection], None]

    def many(self, samples: Sequence[Sample]) -> list[Kept | Rejection]:
        """Of candidates of the right size: kept, or why not. Their captions are written together."""
        found = [self.known(sample) for sample in samples]
        new = [k for k, one in enumerate(found) if one is None]
        judged = valid_pairs(
            self.vlm,
            [samples[k] for k in new],
            self.edit,
            reach=self.reach,
            mode=self.match,
            decoding=self.decoding,
            max_other_share=self.max_other_share,
        )
        for k, one in zip(new, judged, strict=True):
            made = self._made(samples[k], one)
            found[k] = made
            self.keep(made)
        return [one for one in found if one is not None]

    def _made(self, sample: Sample, judged: Judged) -> Kept | Rejection:
        if isinstance(judged, tuple):
            pair, validity = judged
            try:
                tokens = self.vlm.prepare([pair.original], self.decoding).images[0]
            except REFUSALS as error:
                judged = error
            else:
                return Kept(pair, validity, tokens, self.model, self.decoding, self.vlm.sent(self.decoding))
        return Rejection(sample.concept, sample.image_id, type(judged).__name__, str(judged))


@dataclass
class Scan:
    """The candidates of one concept, from the first on.

    Attributes:
        taken: image -> the concept that it stands for.
        wanted: samples.
        limit: candidates that are looked at, at most.
    """

    judge: Judge
    concept: str
    candidates: Iterator[Sample]
    taken: Mapping[str, str]
    wanted: int
    limit: int | None
    step: Callable[[str], None]
    kept: list[Kept] = field(default_factory=list[Kept])
    rejections: list[Rejection] = field(default_factory=list[Rejection])
    names: set[str] = field(default_factory=set[str])

    def run(self) -> tuple[list[Kept], list[Rejection]]:
        """The first samples that are accepted, and all candidates before the last of them that are not."""
        while len(self.kept) < self.wanted and (group := self._group()):
            several = iter(self.judge.many([one for one in group if isinstance(one, Sample)]))
            for one in group:
                found = next(several) if isinstance(one, Sample) else one
                if isinstance(found, Kept):
                    self.kept.append(found)
                else:
                    self.rejections.append(found)
                if len(self.kept) == self.wanted:
                    break
        return self.kept, self.rejections

    def _group(self) -> list[Sample | Rejection]:
        """The next candidates: as many as are likely to be needed, each of the right size or rejected."""
        looked = len(self.kept) + len(self.rejections)
        lacking = self.wanted - len(self.kept)
        size = min(_GROUP, lacking * (looked + 1) // (len(self.kept) + 1) or 1)
        size = size if self.limit is None else min(size, self.limit - looked)
        found: list[Sample | Rejection] = []
        while sum(isinstance(one, Sample) for one in found) < size and len(found) < _GROUP:
            if self.limit is not None and looked + len(found) >= self.limit:
                break
            name = ""
            try:
                sample = next(self.candidates)  # may raise too: a source that finds an entry damaged
                name = _new_name(sample, self.names)
                self.step(f"looking at {self.concept!r} in image {name}: {len(self.kept)} of {self.wanted} found")
                if sample.image_id in self.taken:
                    raise AlreadyUsed(f"image {sample.image_id} stands for {self.taken[sample.image_id]!r}")
                self.judge.size.check(sample, sample.load().size)
                found.append(sample)
            except StopIteration:
                break
            except REFUSALS as error:
                found.append(Rejection(self.concept, name, type(error).__name__, str(error)))
        return found


def _new_name(sample: Sample, names: set[str]) -> str:
    if not sample.image_id or sample.image_id in names:
        what = f"image_id {sample.image_id!r} twice" if sample.image_id else "a sample without image_id"
        raise InvalidOption(f"source gives {what} for {sample.concept!r}; samples are told apart by it")
    names.add(sample.image_id)
    return sample.image_id
