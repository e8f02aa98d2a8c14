"""Building the data set D: a few valid samples of every concept, and a record of what was rejected (METHODS b).

Candidates of a concept are scanned in the seeded order of their source, and the first `per_concept` that meet every
condition are kept. Conditions, in the order in which they are checked (the dear ones last):

- AlreadyUsed: no image stands for two concepts, unless that is allowed; concepts are served in order;
- NoInstance: the concept is annotated there, by more than a crowd;
- AreaOutOfRange, ObjectTooSmall: see conditions.py;
- ConceptNotNamed, ConceptStillNamed, and OtherConceptRemoved in the strict reading: see validity.py;
- InvalidSample: the picture, a box or a mask cannot be used, or the model's processor refuses the picture;
- ImageTokenMismatch: where the image tokens lie on this picture cannot be told.

How many each condition rejected is part of the result: the acceptance rate is itself a finding, and a selection bias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...errors import InvalidOption, InvalidSample
from ...fields import whole
from ...loading import VLM
from ...models.decoding import Decoding
from ...options import Reach
from ...samples.inpainters import recorded, require_edit
from ...samples.lexicon import MODES, Mode
from ...samples.sample import Sample
from ...types import Json, one_of
from .candidates import Judge, Scan
from .conditions import SizeCheck, TooFewSamples
from .kept import CandidateSource, Choosy, Kept, Rejection
from .settings import Limits

SCHEMA = "neuronscope.dataset/1"

#: One concept alone has no other images whose captions could be kept.
MIN_CONCEPTS = 2


@dataclass(frozen=True)
class Dataset:
    """The samples of all concepts, and what became of the other candidates.

    Attributes:
        concepts: what was asked for, in that order.
        per_concept: how many samples of each.
        samples: those of each concept together, in the order found.
        rejections: in the order found.
        settings: everything that decided about them.
    """

    concepts: tuple[str, ...]
    per_concept: int
    samples: tuple[Kept, ...]
    rejections: tuple[Rejection, ...]
    settings: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def of(self, concept: str) -> tuple[Kept, ...]:
        """The samples of a concept. Raises InvalidOption for one that was not asked for."""
        one_of("concept", concept, self.concepts)
        return tuple(kept for kept in self.samples if kept.concept == concept)

    def rejected(self, concept: str | None = None) -> dict[str, int]:
        """Name of a condition -> how many candidates it rejected, most first; of one concept or of all."""
        if concept is not None:
            one_of("concept", concept, self.concepts)
        return dict(Counter(r.reason for r in self.rejections if concept in (None, r.concept)).most_common())

    @property
    def missing(self) -> dict[str, int]:
        """concept -> how many samples it lacks; empty when every concept has all."""
        lacking = {concept: self.per_concept - len(self.of(concept)) for concept in self.concepts}
        return {concept: count for concept, count in lacking.items() if count}

    def complete(self, *, allow_missing: bool = False) -> Dataset:
        """The data set itself, or with `allow_missing` that of the concepts that have a sample, with those they have.

        Raises TooFewSamples, with the reasons, when a concept lacks samples; with `allow_missing` when fewer than two
        concepts have any.
        """
        if not self.missing:
            return self
        enough = tuple(concept for concept in self.concepts if self.of(concept))
        if not allow_missing or len(enough) < MIN_CONCEPTS:
            hint = "" if allow_missing else ". --allow-missing goes on with what there is"
            raise TooFewSamples(
                f"{len(self.missing)} of {len(self.concepts)} concepts have too few samples: "
                f"{'; '.join(self.lacks(concept) for concept in self.missing)}{hint}"
            )
        return replace(self, concepts=enough, samples=tuple(kept for kept in self.samples if kept.concept in enough))

    def lacks(self, concept: str) -> str:
        """How many samples a concept lacks, and what its candidates were rejected for."""
        reasons = ", ".join(f"{n} {why}" for why, n in self.rejected(concept).items()) or "no other candidates"
        return f"{concept} lacks {self.missing[concept]} ({reasons})"

    def to_dict(self) -> dict[str, Any]:
        """One JSON document."""
        return {
            "schema": SCHEMA,
            "settings": {"per_concept": self.per_concept, **self.settings},
            "concepts": {
                concept: {
                    "kept": len(self.of(concept)),
                    "missing": self.missing.get(concept, 0),
                    "rejected": self.rejected(concept),
                }
                for concept in self.concepts
            },
            "samples": [kept.record() for kept in self.samples],
            "rejections": [asdict(rejection) for rejection in self.rejections],
        }


def build(
    vlm: VLM,
    source: CandidateSource,
    concepts: Sequence[str],
    *,
    per_concept: int = 3,
    seed: int = 0,
    edit: str = "telea",
    reach: Reach = "grown",
    max_other_share: float | None = None,
    distinct: bool = True,
    match: Mode = "lexicon",
    decoding: Decoding = Decoding(),
    limits: Limits | None = None,
    limit: int | None = None,
    step: Callable[[str], None] = lambda _: None,
    known: Callable[[Sample], Kept | Rejection | None] = lambda _: None,
    keep: Callable[[Kept | Rejection], None] = lambda _: None,
) -> Dataset:
    """Find valid samples of some concepts. The same arguments give the same data set.

    Args:
        vlm: the model, whose captions decide.
        source: where candidates come from.
        concepts: in the order in which they may take images.
        per_concept: samples wanted of each.
        seed: of the order in which candidates are scanned.
        edit: how the object is taken out of the picture.
        reach: how much of the picture is inpainted; see :func:`neuronscope.locate.validity.valid_pair`.
        max_other_share: the largest share of another object that may go with it; None for any, which is recorded.
        distinct: each image stands for one concept; else for any that it shows.
        match: when a caption counts as naming a concept.
        decoding: caption settings, the same as in the evaluation that follows.
        limits: sizes that objects may have.
        limit: candidates of a concept that are looked at, at most.
        step: told what is being looked at, for progress displays; once for every candidate.
        known: what an earlier start found of a candidate; None for one that was not captioned.
        keep: told what was found of every candidate that was captioned, so that the next start need not do it again.
            Candidates are captioned a few at a time: some may lie behind the last that is needed, and count nowhere.

    A concept with too few samples is listed in `missing`. Raises InvalidOption for options out of range, concepts that
    are unknown or given twice or none, a source whose images have no names or share one, and a model whose resizing
    cannot be measured when `limits` ask for it.
    """
    limits = limits or Limits()
    _check_options(source, concepts, per_concept, edit, match, limit)
    candidates = source.everything() if isinstance(source, Choosy) else source
    model = vlm.record()
    size = SizeCheck(vlm, limits)
    judge = Judge(vlm, edit, reach, max_other_share, match, decoding, size, model, known, keep)
    samples: list[Kept] = []
    rejections: list[Rejection] = []
    for concept in concepts:
        taken = {kept.image_id: kept.concept for kept in samples} if distinct else {}
        stream = iter(candidates.samples(concept, seed=seed))
        kept, rejected = Scan(judge, concept, stream, taken, per_concept, limit, step).run()
        samples += kept
        rejections += rejected
    settings: dict[str, Json] = {
        "model": dict(model),
        "source": type(source).__name__,
        "seed": seed,
        "edit": recorded(edit),
        "reach": reach,
        "max_other_share": max_other_share,
        "distinct": distinct,
        "match": match,
        **decoding.to_dict(),
        "limit": limit,
        **asdict(limits),
    }
    return Dataset(tuple(concepts), per_concept, tuple(samples), tuple(rejections), settings)


def require_candidates(source: CandidateSource, concepts: Sequence[str], per_concept: int, *, seed: int = 0) -> None:
    """Refuse at once, without a model, what cannot become complete: a concept with too few images.

    Raises TooFewSamples. No more images of a concept are looked at than are wanted.
    """
    candidates = source.everything() if isinstance(source, Choosy) else source
    found = {concept: _readable(candidates.samples(concept, seed=seed), per_concept) for concept in concepts}
    short = [f"{concept} is in {count}" for concept, (count, _) in found.items() if count < per_concept]
    if short:
        reason = next((why for count, why in found.values() if why and count < per_concept), "")
        raise TooFewSamples(
            f"{len(short)} of {len(concepts)} concepts are in fewer than {per_concept} images: {', '.join(short)}. "
            f"--allow-missing goes on with what there is{f'. The first that was refused: {reason}' if reason else ''}"
        )


def _readable(candidates: Iterable[Sample], wanted: int) -> tuple[int, str]:
    """How many candidates can be read, of those that are wanted at most, and why the first that cannot is refused."""
    count, stream, reason = 0, iter(candidates), ""
    while count < wanted:
        try:
            next(stream)
        except StopIteration:
            break
        except InvalidSample as error:
            reason = reason or str(error)
            continue
        count += 1
    return count, reason


def _check_options(
    source: CandidateSource, concepts: Sequence[str], per_concept: int, edit: str, match: str, limit: int | None
) -> None:
    require_edit("edit", edit, "exact")
    one_of("match", match, MODES)
    if whole("per_concept", per_concept) < 1 or (limit is not None and limit < 1):
        raise InvalidOption(f"per_concept={per_concept} and limit={limit} must be at least 1")
    if not concepts or len(set(concepts)) < len(concepts):
        raise InvalidOption(f"concepts must name at least one, each once; got {', '.join(concepts) or 'none'}")
    for concept in concepts:
        one_of("concepts", concept, source.concepts())
