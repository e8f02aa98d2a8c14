"""Pan et al.'s discovery over many images as one resumable job.

Captions, neurons for every noun, and what the four measurements need (METHODS c, f):

    captions     greedy, in batches                                             one part per image
    nouns        the neurons of every noun; with them texts and matrices, whose scores are then at hand
    shuffled     caption and neurons once more, the image's embeddings permuted  one part per image and permutation
    specificity  what each concept's best neuron, and random ones, contribute to the concepts of an image; which neurons
                 those are follows from all images, so they are part of the key
    similarity   the texts scored by a metric
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ...caption import Caption, clean_captions
from ...evaluate.discovery import CONTROLS, describe, similarity
from ...evaluate.discovery.sensitivity import FOUND
from ...held import in_turn
from ...hints import str_of
from ...intervene.permuted import permuted_image
from ...loading import VLM
from ...locate.discovery import Discovered, NounNeurons, discover_in, noun_scores
from ...locate.scores import Layout
from ...models.lens import DecodeNorm
from ...run.directory import Run
from ...run.understood import only_row, understood
from ...samples.picture_files import Picture
from ...types import Neurons
from .concepts import Found, SharedNoun, concepts_of, rows_of
from .settings import DiscoveryPlan

Rows = list[dict[str, Any]]


class DiscoveryRun:
    """A plan on a model and some pictures, in a run directory.

    Args:
        vlm: the model.
        pictures: from :func:`neuronscope.samples.picture_files.gather`.
        plan: the settings.
        run: the directory, opened with :func:`neuronscope.studies.discover.directory.open_discovery`.
        step: told what is being done, for progress displays; once for every unit.
        batch_size: captions written together.
    """

    def __init__(
        self,
        vlm: VLM,
        pictures: Sequence[Picture],
        plan: DiscoveryPlan,
        run: Run,
        *,
        step: Callable[[str], None] = lambda _: None,
        batch_size: int = 32,
    ) -> None:
        self.vlm = vlm
        self.pictures = tuple(pictures)
        self.plan = plan
        self.run = run
        self.step = step
        self._batch_size = batch_size
        self._by_name = {picture.name: picture for picture in pictures}

    def left(self) -> int:
        """How many units are not done. Those of specificity, which follow from the others, are not counted or told."""
        kinds = {"captions": self.keys, "nouns": self.keys, "shuffled": self.shuffles, "similarity": self.compared}
        return sum(len(self.run.missing(kind, keys)) for kind, keys in kinds.items())

    @in_turn
    def work(self) -> None:
        """Do what is left. Several processes may do so at once.

        Raises InvalidSample when a picture can no longer be read.
        """
        self._caption()
        self._each("nouns", self.keys, self._discover)
        self._each("shuffled", self.shuffles, self._shuffle)
        self._each("specificity", self.probed, self._probe)
        self._each("similarity", self.compared, self._compare)

    @cached_property
    def concepts(self) -> tuple[SharedNoun, ...]:
        """The nouns that at least two pictures' captions name, most frequent first, once all neurons are found."""
        with understood(self.run, "nouns"):
            return concepts_of(self.run, self.pictures)

    @property
    def keys(self) -> list[dict[str, str]]:
        """One for each picture."""
        return [picture.key for picture in self.pictures]

    @property
    def shuffles(self) -> list[dict[str, Any]]:
        """One for each picture and permutation."""
        return [{**key, "shuffle": shuffle} for key in self.keys for shuffle in range(self.plan.shuffles)]

    @property
    def compared(self) -> list[dict[str, str]]:
        """One for each picture and metric, with what the metric's numbers hang on."""
        return [{**key, "metric": name, "scorer": by} for name, by in self.scorers.items() for key in self.keys]

    @cached_property
    def scorers(self) -> dict[str, str]:
        """Metric -> a hash of what decides its numbers."""
        return {name: self.plan.scorer(name) for name in self.plan.metrics}

    def _each(self, kind: str, keys: Sequence[Mapping[str, Any]], do: Callable[[Mapping[str, Any]], Rows]) -> None:
        for key in self.run.todo(kind, keys):
            if kind != "specificity":
                self.step(f"{kind}: {key['image']}")
            self.run.write(kind, key, do(key))

    # ---- captions

    def _caption(self) -> None:
        missing = self.run.missing("captions", self.keys)
        for start in range(0, len(missing), self._batch_size):
            with ExitStack() as claims:
                batch = missing[start : start + self._batch_size]
                self._caption_batch([k for k in batch if claims.enter_context(self.run.claim("captions", k))])
        for key in self.run.todo("captions", self.keys):  # what other processes had claimed and did not finish
            self._caption_batch([key])

    def _caption_batch(self, keys: Sequence[Mapping[str, Any]]) -> None:
        for key, caption in zip(keys, self._captions([self._picture(key) for key in keys]), strict=True):
            self.step(f"captions: {key['image']}")
            row = {"caption": caption.full, "text": caption.text, "ids": list(caption.ids)}
            self.run.write("captions", key, [row])

    def _captions(self, pictures: Sequence[Picture]) -> list[Caption]:
        decoding = self.plan.discovery.decoding
        images = [picture.path for picture in pictures]
        return clean_captions(self.vlm, images, decoding=decoding, batch_size=self._batch_size)

    def _known(self, key: Mapping[str, Any]) -> Caption:
        picture = {name: key[name] for name in ("image", "sha256")}
        with understood(self.run, "captions", picture):
            row = only_row(self.run, "captions", picture)
            return Caption(row["text"], row["caption"], tuple(row["ids"]))

    # ---- neurons

    def _discover(self, key: Mapping[str, Any]) -> Rows:
        picture = self._picture(key)
        found = discover_in(self.vlm, picture.path, self._known(key), self.plan.discovery)
        seed = self._seed(picture, "controls")
        self.run.write("texts", key, self._texts(found, seed))
        self.run.write("matrices", key, self._matrices(found, seed))
        return [_noun_row(noun) for noun in found.nouns]

    def _texts(self, found: Discovered, seed: int) -> Rows:
        neurons, tokens = self.plan.described
        norm: DecodeNorm = (
            "none" if self.plan.discovery.norm == "none" else "gain"
        )  # a position's scale orders no words
        described = describe(self.vlm, found, neurons=neurons, tokens=tokens, norm=norm, seed=seed)
        return [
            {"noun": one.noun, "of": one.of, **_addresses(one.neurons), "text": one.text, "named": one.named}
            for one in described
        ]

    def _matrices(self, found: Discovered, seed: int) -> Rows:
        """Of the nouns of one image, as in the paper."""
        if len(found.nouns) < 2:
            return []
        names = [noun.noun.text for noun in found.nouns]
        best = [noun.neurons[:1] for noun in found.nouns]
        rows: Rows = []
        for of, draw, sets in self._with_controls(best, seed):
            for owner, values in zip(names, found.matrix(sets).tolist(), strict=True):
                rows.append({"of": of, "draw": draw, "row": owner, "nouns": names, "values": values})
        return rows

    def _with_controls(self, best: Sequence[Neurons], seed: int) -> Iterator[tuple[str, int, list[Neurons]]]:
        """(name, draw, one neuron for each noun): the found ones, then some draws of both controls."""
        yield FOUND, 0, list(best)
        rng = np.random.default_rng(seed)
        for name, control in CONTROLS.items():
            for draw in range(self.plan.draws):
                yield name, draw, [replace(b, members=control(self.vlm.widths, b, rng), scores={}) for b in best]

    def _shuffle(self, key: Mapping[str, Any]) -> Rows:
        picture = self._picture(key)
        with permuted_image(self.vlm, self.plan.seed + int(key["shuffle"])):
            (caption,) = self._captions([picture])
            found = discover_in(self.vlm, picture.path, caption, self.plan.discovery)
        return [{**_noun_row(noun), "caption": caption.full} for noun in found.nouns]

    # ---- specificity over images

    @cached_property
    def _probes(self) -> list[tuple[str, int, list[Neurons]]]:
        best = [Neurons((concept.best,)) for concept in self.concepts]
        return list(self._with_controls(best, self.plan.seed))

    @cached_property
    def probes_digest(self) -> str:
        """What tells which neurons are probed on which images."""
        named = [[concept.noun, str(concept.best), list(concept.tested)] for concept in self.concepts]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]

    @property
    def probed(self) -> list[dict[str, str]]:
        """The units of kind "specificity": pictures that a concept is tested on; none where nothing can be compared."""
        if len(self.concepts) < 2:
            return []
        tested = {name for concept in self.concepts for name in concept.tested}
        return [{**p.key, "probes": self.probes_digest} for p in self.pictures if p.name in tested]

    def _probe(self, key: Mapping[str, Any]) -> Rows:
        with understood(self.run, "nouns", self._picture(key).key):
            return self._probed(self._picture(key), key)

    def _probed(self, picture: Picture, key: Mapping[str, Any]) -> Rows:
        wanted = {concept.noun for concept in self.concepts if picture.name in concept.tested}
        nouns = [row for row in self.run.read("nouns", picture.key).to_pylist() if row["noun"] in wanted]
        places = [row["tokens"] for row in nouns]
        scores = noun_scores(self.vlm, picture.path, self._known(key), places, self.plan.discovery)
        layout = Layout(self.vlm.widths)
        owners = [concept.noun for concept in self.concepts]
        rows: Rows = []
        for of, draw, sets in self._probes:
            flat = [layout.at(neurons[0]) for neurons in sets]
            for noun, values in zip(nouns, scores[:, flat].tolist(), strict=True):
                rows.append({"of": of, "draw": draw, "noun": noun["noun"], "rows": owners, "values": values})
        return rows

    # ---- similarity

    def _compare(self, key: Mapping[str, Any]) -> Rows:
        picture = self._picture(key)
        with understood(self.run, "texts", picture.key):
            texts = self.run.read("texts", picture.key).to_pylist()
            said = [str_of(row["text"]) for row in texts]
        if not texts:
            return []
        metric = self._metrics[str(key["metric"])]
        scored = similarity(metric, [str(text) for text in said], self._known(key).text, picture.path)
        provenance = json.dumps(dict(scored.provenance), sort_keys=True)
        return [
            {"noun": row["noun"], "of": row["of"], "value": value, "provenance": provenance}
            for row, value in zip(texts, scored.values.tolist(), strict=True)
        ]

    def similar(self) -> list[Found]:
        """What the plan's metrics say of the texts, and no other model under the same name."""
        rows = rows_of(self.run, "similarity", self.pictures) if self.plan.metrics else []
        return [row for row in rows if self.scorers.get(row["metric"]) == row["scorer"]]

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        return {name: self.plan.metric(name) for name in self.plan.metrics}

    def _picture(self, key: Mapping[str, Any]) -> Picture:
        return self._by_name[key["image"]]

    def _seed(self, picture: Picture, what: str) -> int:
        """A seed of its own for every picture, whatever others are in the job."""
        text = f"{self.plan.seed}/{what}/{picture.name}/{picture.digest}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _noun_row(found: NounNeurons) -> dict[str, Any]:
    noun = found.noun
    return {
        "noun": noun.text,
        "surface": noun.surface,
        "start": noun.start,
        "end": noun.end,
        "tokens": list(found.tokens),
        **_addresses(found.neurons),
        "contributions": list(found.neurons.scores["contribution"]),
    }


def _addresses(neurons: Neurons) -> dict[str, list[int]]:
    return {"layers": [neuron.layer for neuron in neurons], "units": [neuron.unit for neuron in neurons]}
