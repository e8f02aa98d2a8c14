"""How far a set of neurons that was found on some photographs of a concept carries to a photograph that was left out.

    python -m benchmarks.carry_over FOLDER... [--concepts C ...] [--cache DIR] [--limit N] [--out docs/results/natural]

FOLDERs are photographs with boxes or masks in COCO's form. Photograph B is patched from its own edited picture, with
200 neurons that come from B itself, from one other photograph of the concept, from one of another concept, from several
of the concept pooled, from several of another concept pooled, or from nowhere. What they recover of the edit's effect
on the log-probability of B's word is averaged over photographs.

Composites (benchmarks.composites) fill a concept up to five photographs, each of another object. Nothing that shares
the source of its object or of its background with B is used for B.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from rich.console import Console

import neuronscope as ns
from neuronscope.caption import clean_captions
from neuronscope.errors import InvalidSample
from neuronscope.evaluate import named
from neuronscope.intervene import Patch
from neuronscope.locate import Exchange, Ranking, edit_effect, layer_matched, method
from neuronscope.locate.concept import LEAST_EFFECT
from neuronscope.locate.pooling import Join, Scale, pooled, scaled
from neuronscope.locate.scores import Layout, best_first
from neuronscope.locate.target import concept_word
from neuronscope.locate.validity import Validity, check_validity, valid_pair
from neuronscope.locate.views import CORNERS, corner
from neuronscope.models import Decoding
from neuronscope.samples import CocoFolder, Counterfactual

from .carried import WAY, Carried, Row, Tested, pages
from .composites import Background, backgrounds, composites, cutouts
from .natural import SMALLEST

Made = TypeVar("Made")

#: Neurons of a set.
SIZE = 200
#: Photographs of a concept: at least so many, or nothing of it is pooled; no composites beyond so many.
LEAST, MOST = 4, 5
#: Sets of the main ranking drawn for B from single photographs, and from other concepts; of the others it is one.
DRAWS = 2
#: Of these one set is captioned under, too.
CAPTIONED = ("own", "pooled", "pooled, another")
#: What is measured most, and what beside it.
MAIN = "difference-x-gradient-refined"
RANKINGS = (MAIN, "difference-x-gradient-averaged", "difference-x-gradient", "grad-x-activation")


@dataclass(frozen=True)
class Photograph:
    """A pair that may be located in and patched.

    Attributes:
        name: unique.
        kind: "plain" or "composite".
        sources: the photographs that its object and its background come from.
        effect: of its edit on the word's log-probability.
    """

    name: str
    kind: str
    pair: Counterfactual
    validity: Validity
    sources: frozenset[str]
    effect: float

    @property
    def concept(self) -> str:
        """What it shows, and its edit does not."""
        return self.pair.sample.concept


#: What says of a way that corners of each photograph are scored with it.
CORNERED = ", corners"
#: Ways to pool: all of them for the main ranking, the first for the others.
WAYS: tuple[tuple[Scale, str], ...] = (
    WAY,
    ("largest", f"mean{CORNERED}"),
    ("largest", f"median{CORNERED}"),
    ("none", "mean"),
    ("effect", "mean"),
    ("spread", "mean"),
    ("rank", "mean"),
    ("log_rank", "mean"),
    ("largest", "median"),
    ("largest", "least"),
    ("largest", "votes"),
    ("largest", "mean less 0.3"),
    ("largest", "mean less 0.6"),
    ("largest", "mean less 1"),
    ("log_rank", "mean less 0.3"),
)


def kept(cache: Path | None, name: str, make: Callable[[], Made]) -> Made:
    """What `make` makes, or what it made in an earlier run with the same cache."""
    if cache is None:
        return make()
    path = cache / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.pickle"
    if path.is_file():
        return pickle.loads(path.read_bytes())
    made = make()
    path.write_bytes(pickle.dumps(made))
    return made


def photographs(
    vlm: ns.VLM, folders: list[Path], cache: Path | None, concepts: Sequence[str] | None
) -> Iterator[Photograph]:
    """Plain ones, then composites, of every concept that has enough of both."""
    places = ", ".join(str(folder.resolve()) for folder in folders)
    fields = kept(cache, f"backgrounds {places}", lambda: backgrounds(vlm, folders))
    plain = kept(cache, f"plain {places}", lambda: list(_plain(vlm, folders, fields)))
    for concept in dict.fromkeys(pair.sample.concept for pair, _ in plain):
        if concepts is None or concept in concepts:
            given = [(pair, validity) for pair, validity in plain if pair.sample.concept == concept]
            make = partial(_of_concept, vlm, folders, concept, fields, given)
            found = kept(cache, f"photographs {places} {concept}", make)
            if len(found) >= LEAST:
                yield from found


def _plain(vlm: ns.VLM, folders: list[Path], fields: Sequence[Background]) -> Iterator[tuple[Counterfactual, Validity]]:
    """As benchmarks.natural.valid_pairs, but that every photograph is captioned once."""
    says = {field.source: field.caption.text for field in fields}
    for folder in folders:
        source = CocoFolder.open(folder).everything()
        for sample in (sample for concept in source.concepts() for sample in source.samples(concept)):
            if named(says[sample.image_id], sample.concept):
                try:
                    yield valid_pair(vlm, sample)
                except InvalidSample:  # counted in benchmarks.natural
                    continue


def _of_concept(
    vlm: ns.VLM,
    folders: list[Path],
    concept: str,
    fields: Sequence[Background],
    plain: list[tuple[Counterfactual, Validity]],
) -> list[Photograph]:
    found: list[Photograph] = []
    for pair, validity in plain:
        found += _photograph(vlm, "plain", pair, validity, {pair.sample.image_id})
    taken = {source for one in found for source in one.sources}
    objects = [cutout for cutout in cutouts(folders, concept) if cutout.source not in taken]
    if len(found) + len(objects) < LEAST:
        return found
    for made in composites(vlm, objects, fields):
        if len(found) >= MOST:
            break
        found += _photograph(vlm, "composite", made.pair, made.validity, {made.source, made.background})
    return found


def _photograph(
    vlm: ns.VLM, kind: str, pair: Counterfactual, validity: Validity, sources: set[str]
) -> Iterator[Photograph]:
    effect = edit_effect(vlm, pair, concept_word(validity), Decoding())
    if effect >= SMALLEST:
        name = f"{kind} {pair.sample.concept} {pair.sample.image_id}"
        yield Photograph(name, kind, pair, validity, frozenset(sources), effect)


def scores(vlm: ns.VLM, photograph: Photograph, ranking: str, cache: Path | None) -> Float[np.ndarray, "neurons"]:
    """The scores of one ranking on one photograph."""

    def make() -> Float[np.ndarray, "neurons"]:
        chosen = method(ranking)
        assert isinstance(chosen, Ranking)
        ranked = chosen.score(vlm, photograph.pair, photograph.validity)
        return ranked.arrays[ranked.by].values

    return kept(cache, f"scores {ranking} {photograph.name}", make)


def corners(vlm: ns.VLM, photograph: Photograph, cache: Path | None) -> Iterator[Float[np.ndarray, "neurons"]]:
    """The main ranking's scores of those corners of a photograph that can be used, on the scale of its largest."""
    for name in CORNERS:

        def make(name: str = name) -> Float[np.ndarray, "neurons"] | str:
            try:
                pair = corner(photograph.pair, name)
                validity = check_validity(vlm, pair)
            except InvalidSample as error:
                return str(error)
            effect = edit_effect(vlm, pair, concept_word(validity), Decoding())
            if effect < LEAST_EFFECT:
                return f"the edit does {effect:.2f} to the word"
            chosen = method(MAIN)
            assert isinstance(chosen, Ranking)
            ranked = chosen.score(vlm, pair, validity)
            return scaled(ranked.arrays[ranked.by].values, "largest")

        found = kept(cache, f"corner {name} {photograph.name}", make)
        if not isinstance(found, str):
            yield found


class CarryOver:
    """Shares recovered on photographs that were left out."""

    def __init__(self, vlm: ns.VLM, found: list[Photograph], cache: Path | None) -> None:
        self.vlm, self.found, self.cache = vlm, found, cache
        self.layout = Layout(vlm.widths)
        self._known: dict[tuple[str, str, Scale, bool], Float[np.ndarray, "neurons"]] = {}

    def carried(self, tested: Photograph) -> list[Carried]:
        """What sets of every row do to one photograph."""
        rows = list(self._sets(tested))
        masks = [np.isin(np.arange(self.layout.total), chosen) for _, chosen in rows]
        pair, word = tested.pair, concept_word(tested.validity)
        exchange = Exchange.of(self.vlm, pair.original, pair.edited, word, Decoding())
        effects = exchange.effects(masks) / tested.effect
        seen: set[str] = set()
        found: list[Carried] = []
        for (row, chosen), effect in zip(rows, effects, strict=True):
            first = row.origin in CAPTIONED and row.origin not in seen  # the main ranking's, pooled in the first way
            seen.add(row.origin)
            found.append(Carried(row, float(effect), self._gone(tested, chosen) if first else None))
        return found

    def _gone(self, tested: Photograph, chosen: Int[np.ndarray, "size"]) -> bool:
        neurons = ns.Neurons.of(self.layout.split(int(flat)) for flat in chosen)
        with self.vlm.intervene(Patch.take(self.vlm, neurons, tested.pair.edited)):
            caption = clean_captions(self.vlm, [tested.pair.original])[0].text
        return not named(caption, tested.concept)

    def _sets(self, tested: Photograph) -> Iterator[tuple[Row, Int[np.ndarray, "size"]]]:
        rng = np.random.default_rng(zlib.crc32(tested.name.encode()))
        free = [one for one in self.found if not one.sources & tested.sources]
        same = self._shuffled([one for one in free if one.concept == tested.concept], rng)
        groups: dict[str, list[Photograph]] = defaultdict(list)
        for one in self._shuffled([one for one in free if one.concept != tested.concept], rng):
            groups[one.concept].append(one)
        others = [group[: len(same)] for group in groups.values() if len(group) >= LEAST - 1][:DRAWS]
        for ranking in RANKINGS:
            own = self._best([tested], [], Row("own", ranking))
            yield Row("own", ranking), own
            draws = DRAWS if ranking == MAIN else 1
            for one in same[:draws]:
                row = Row("one of the concept", ranking)
                yield row, self._best([one], [], row)
            for group in others[:draws]:
                row = Row("one of another", ranking)
                yield row, self._best(group[:1], [], row)
            if ranking == MAIN:
                matched = ns.Neurons.of(self.layout.split(int(flat)) for flat in own)
                control = layer_matched(self.vlm, matched, seed=int(rng.integers(2**31)))
                yield Row("random", ""), np.array([self.layout.starts[u.layer] + u.unit for u in control])
            for scale, join in WAYS if ranking == MAIN else WAYS[:1]:
                row = Row("pooled", ranking, scale, join, len(same))
                yield row, self._best(same, list(groups.values()), row)
                for group in others if (ranking, scale, join) == (MAIN, *WAYS[0]) else others[:1]:
                    row = Row("pooled, another", ranking, scale, join, len(same))
                    rest = [some for name, some in groups.items() if name != group[0].concept]
                    yield row, self._best(group, [*rest, same], row)
        for count in range(2, len(same)):
            row = Row("pooled", MAIN, photographs=count)
            yield row, self._best(same[:count], [], row)

    def _best(self, some: list[Photograph], others: list[list[Photograph]], row: Row) -> Int[np.ndarray, "size"]:
        join: Join
        join, _, weight = row.join.replace(CORNERED, "").partition(" less ")  # pyright: ignore[reportAssignmentType]
        values = pooled(self._scaled(some, row), join, SIZE)
        if weight:
            values = values - float(weight) * np.mean([pooled(self._scaled(one, row), join, SIZE) for one in others], 0)
        return best_first(values)[:SIZE]

    def _scaled(self, some: list[Photograph], row: Row) -> Float[np.ndarray, "photographs neurons"]:
        cornered = CORNERED in row.join
        for one in some:
            key = (one.name, row.ranking, row.scale, cornered)
            if key not in self._known:
                whole = scaled(scores(self.vlm, one, row.ranking, self.cache), row.scale, one.effect)
                each = [whole, *corners(self.vlm, one, self.cache)] if cornered else [whole]
                self._known[key] = np.mean(each, axis=0)
        return np.stack([self._known[one.name, row.ranking, row.scale, cornered] for one in some])

    @staticmethod
    def _shuffled(some: list[Photograph], rng: np.random.Generator) -> list[Photograph]:
        return [some[k] for k in rng.permutation(len(some))]


def in_turn(found: list[Photograph]) -> list[Photograph]:
    """One photograph of each concept, then a second one of each, so that fewer are as balanced as all."""
    groups: dict[str, list[Photograph]] = defaultdict(list)
    for one in found:
        groups[one.concept].append(one)
    return [one for turn in zip_longest(*groups.values()) for one in turn if one is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="natural")
    parser.add_argument("--concepts", nargs="+", default=None, help="these only")
    parser.add_argument("--cache", type=Path, default=None, help="what was computed before, and what is now")
    parser.add_argument("--limit", type=int, default=None, help="photographs that are patched, at most")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    vlm, console = ns.load(args.model), Console(stderr=True)
    if args.cache is not None:
        args.cache.mkdir(parents=True, exist_ok=True)
    found: list[Photograph] = []
    for one in photographs(vlm, args.folders, args.cache, args.concepts):
        found.append(one)
        console.print(f"{len(found)}: {one.name}: {one.validity.original.text}, then {one.validity.edited.text}")
    work = CarryOver(vlm, found, args.cache)
    everything = " ".join(one.name for one in found)
    measured: list[Tested] = []
    for one in in_turn(found)[: args.limit]:
        sets = kept(args.cache, f"carried {one.name} of {everything}", lambda one=one: work.carried(one))
        captions = one.validity.original.text.strip(), one.validity.edited.text.strip()
        measured.append(Tested(one.name, one.concept, one.kind, *captions, one.effect, tuple(sets)))
        console.print(f"{len(measured)}: {one.name}")
    text = pages(measured, MAIN, RANKINGS, WAYS)
    Console().print(text, soft_wrap=True)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        document = {"size": SIZE, "photographs": [one.to_dict() for one in measured]}
        (args.out / "carry_over.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (args.out / "carry_over.md").write_text(f"# Carry-over\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
