"""Hallucination repair: a caption names an object that is not there; edit the neurons behind the word, and measure.

Pictures with annotated objects are split in two by turns. In the first half, for every caption with a wrong object o:

1. rank all neurons by their contribution to o's first token in this picture (edit/ranked.py), at the position before it
   or at the image positions; as an option, minus their mean contribution in pictures that are rightly said to show o;
2. for growing counts of the best neurons, edit; accept the first edit under which the caption no longer names o, names
   no other object wrongly, and loses none that it named rightly, and under which those right mentions of o stay;
3. with no such count, the caption stays as it is.

What is accepted is measured on the second half: right mentions of o, captions that name no o, and, with all of them in
force together (each made anew on the weights that the earlier ones left), CHAIR (chair.py). Random neurons of the same
layers go through the same steps, for what luck can do; edits of as many of them as were accepted stand beside each
figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...caption import Caption, clean_captions
from ...edit import Edit
from ...edit.columns import read_columns
from ...edit.ranked import rank_for_edit
from ...errors import InvalidOption, RunMismatch
from ...evaluate.editing.chair import Named, named_objects
from ...held import Changing, in_turn, together
from ...loading import VLM
from ...locate import layer_matched
from ...models.usable import unprocessable
from ...samples.lists import Refused
from ...samples.objects import AnnotatedFolder, mentions
from ...types import Neurons, one_of, options_of
from ...words import wordless
from .settings import Attempt, Beside, Repair, Repaired, Repairs, Together


@in_turn
def repair(
    vlm: VLM,
    folder: AnnotatedFolder,
    how: Repair | None = None,
    *,
    only: str | None = None,
    captions: Sequence[Caption] | None = None,
    compared: int = 60,
    batch_size: int = 32,
    done: Callable[[str], None] = lambda _: None,
) -> Repairs:
    """Repair the hallucinations of every other picture, and measure on the others what that did.

    Args:
        vlm: the model, without an edit.
        folder: pictures with their objects.
        how: the settings.
        only: repair this object's hallucinations only.
        captions: of all pictures by the unedited model, if they are known, to save time.
        compared: held-out captions without the object that each single edit is compared on, at most.
        batch_size: captions that are generated together.
        done: called with what has been finished, for progress bars.

    Raises InvalidOption for fewer than two pictures, an unknown object, and where no caption of the searched half names
    an object that is not there; RunMismatch for another number of captions than pictures. The model is in every case
    left as it was. Pictures that its processor refuses are left out, and recorded.
    """
    if only is not None:
        one_of("only", only, folder.categories)
    refused: dict[Path, str] = {}
    if captions is None:
        refused = unprocessable(vlm, [one.path for one in folder.pictures])
        folder = replace(folder, pictures=tuple(one for one in folder.pictures if one.path not in refused))
    job = _Job(vlm, folder, how or Repair(), batch_size, captions)
    done("captioned the pictures")
    wrong = [(n, one) for n, one in job.hallucinations() if only in (None, one)]
    if not wrong:
        raise InvalidOption(
            f"none of the captions of {len(job.halves['searched'])} searched pictures names {only or 'an object'} that "
            "is not there: there is nothing to repair. Give more pictures"
        )
    single: list[Repaired] = []
    for n, source in wrong:
        single.append(job.alone(n, source, compared))
        done(f"{len(single)} of {len(wrong)} hallucinations")
    accepted = [(n, made) for (n, _), made in zip(wrong, single, strict=True) if made.found.neurons is not None]
    together, sets = job.in_sequence(accepted)
    done("measured all edits together")
    random = job.at_random(sets)
    done("measured random neurons")
    texts = {half: tuple(job.clean[n].text for n in at) for half, at in job.halves.items()}
    return Repairs(
        job.how,
        {half: tuple(job.pictures[n] for n in at) for half, at in job.halves.items()},
        texts,
        {half: job.named(texts[half], at) for half, at in job.halves.items()},
        tuple(single),
        together,
        random,
        tuple(Refused(path.name, reason) for path, reason in refused.items()),
    )


#: Neurons, the hallucinated word and the word in its place.
_Step: TypeAlias = tuple[Neurons, str, "str | None"]


class _Job:
    """One folder under one set of settings: pictures by number, and what the unedited model says about them."""

    def __init__(
        self, vlm: VLM, folder: AnnotatedFolder, how: Repair, batch_size: int, captions: Sequence[Caption] | None
    ) -> None:
        self.vlm, self.how, self.batch_size = vlm, how, batch_size
        self.pictures, self.categories = folder.pictures, folder.categories
        if len(self.pictures) < 2:
            raise InvalidOption(f"{len(self.pictures)} picture: one half is repaired, the other is measured on")
        every = range(len(self.pictures))
        self.halves = {"searched": every[::2], "held_out": every[1::2]}
        self.clean = tuple(self.captions(every) if captions is None else captions)
        if len(self.clean) != len(self.pictures):
            raise RunMismatch(f"{len(self.clean)} captions belong to {len(self.pictures)} pictures")
        self.said = self.named([one.text for one in self.clean], every)

    def captions(self, at: Sequence[int]) -> list[Caption]:
        """Captions of some pictures by the model as it is."""
        paths = [self.pictures[n].path for n in at]
        if not paths:
            return []
        return clean_captions(self.vlm, paths, decoding=self.how.decoding, batch_size=self.batch_size)

    def named(self, texts: Sequence[str], at: Sequence[int]) -> Named:
        """What captions of some pictures name."""
        return named_objects(texts, [self.pictures[n].objects for n in at], self.categories)

    def hallucinations(self) -> list[tuple[int, str]]:
        """Picture and object, of the searched half; each object once for each caption."""
        return [(n, one) for n in self.halves["searched"] for one in dict.fromkeys(self.said.wrong[n])]

    def examples(self, source: str) -> list[int]:
        """Searched pictures that show an object and are rightly said to."""
        return [n for n in self.halves["searched"] if source in self.said.right[n]][: self.how.right]

    def ranked(self, n: int, source: str, right: Sequence[int]) -> Neurons:
        """The neurons behind a wrong word, by the model as it is; `right` are examples of right mentions by it."""
        return rank_for_edit(
            self.vlm,
            [self.pictures[n].path],
            source,
            max(self.how.counts),
            position=self.how.position,
            against=[self.pictures[k].path for k in right] if self.how.against else (),
            decoding=self.how.decoding,
        )

    def attempt(self, n: int, before: Caption, step: _Step, right: Sequence[int], *, random: bool = False) -> Attempt:
        """Edits of growing size, up to the first that is accepted; `step` holds all ranked neurons."""
        ranked, source, target = step
        was, gone = self.named([before.text], [n]), False
        for count in self.how.counts:
            members = self._drawn(ranked[:count], 0) if random else ranked[:count]
            with self.how.edit(self.vlm, members, source, target):
                after = self.captions([n])[0].text
                now = self.named([after], [n])
                if source in now.wrong[0] or wordless(after):  # to say nothing is no repair
                    continue
                gone = True
                new = set(now.wrong[0]) - set(was.wrong[0])
                if not new and was.right[0] <= now.right[0] and len(self._naming(source, right)) == len(right):
                    return Attempt(members, after, gone)
        return Attempt(gone=gone)

    def beside(self, step: _Step, compared: int) -> Beside:
        """What an edit does to held-out captions."""
        members, source, target = step
        held_out = self.halves["held_out"]
        showing = [n for n in held_out if source in self.said.right[n]]
        rest = [n for n in held_out if source not in (*self.said.right[n], *self.said.wrong[n])]
        drawn = np.random.default_rng(self.how.seed).permutation(len(rest))[:compared]
        others = [rest[k] for k in sorted(drawn.tolist())]
        with self.how.edit(self.vlm, members, source, target):
            texts = [one.text for one in self.captions([*showing, *others])]
        shown, beside = texts[: len(showing)], texts[len(showing) :]
        return Beside(
            tuple(source in mentions(text, self.categories) for text in shown),
            tuple(text == self.clean[n].text for text, n in zip(beside, others, strict=True)),
        )

    def alone(self, n: int, source: str, compared: int) -> Repaired:
        """One hallucination of the unedited model."""
        before = self.clean[n]
        target = self.how.target(self.vlm, self.pictures[n], before, source, self.categories)
        right = self.examples(source)
        step = self.ranked(n, source, right), source, target
        found, luck = (self.attempt(n, before, step, right, random=random) for random in (False, True))
        beside = random = None
        if found.neurons is not None:
            beside = self.beside((found.neurons, source, target), compared)
            random = self.beside((self._drawn(found.neurons, 0), source, target), compared)
        picture = self.pictures[n]
        return Repaired(picture.name, source, target, before.text, found, luck, beside, random, picture.path)

    def in_sequence(self, alone: Sequence[tuple[int, Repaired]]) -> tuple[Together, list[_Step]]:
        """One repair after the other, each on the weights that the earlier ones left; those are what is measured.

        Args:
            alone: number of a picture, and how its hallucination was repaired by itself; it was, in each.
        """
        steps: list[_Step] = []
        with Changing(together) as applied:
            for n, made in alone:
                source, target, members = made.source, made.target, made.found.neurons
                if steps:  # on other weights than those on which it was found by itself
                    before = self.captions([n])[0]
                    if source not in self.named([before.text], [n]).wrong[0]:
                        continue  # an earlier edit has seen to it
                    target = self.how.target(self.vlm, self.pictures[n], before, source, self.categories)
                    right = self._naming(source, self.examples(source))
                    members = self.attempt(n, before, (self.ranked(n, source, right), source, target), right).neurons
                if members is not None:
                    applied.enter(self.how.edit(self.vlm, members, source, target))
                    steps.append((members, source, target))
            captions, new = self._read(steps)
        return self._together(captions, new), steps

    def at_random(self, steps: Sequence[_Step]) -> Together:
        """The same edits on random neurons."""
        drawn = [(self._drawn(members, k), source, target) for k, (members, source, target) in enumerate(steps)]
        with Changing(together) as applied:
            for members, source, target in drawn:
                applied.enter(self.how.edit(self.vlm, members, source, target))
            captions, new = self._read(drawn)
        return self._together(captions, new)

    def _drawn(self, like: Neurons, number: int) -> Neurons:
        # Those of a later step were found with the earlier edits in force, which the model has been rid of since.
        return layer_matched(self.vlm, like.anywhere(), seed=self.how.seed + number)

    def _naming(self, source: str, at: Sequence[int]) -> list[int]:
        """Which of some pictures, all of which show an object, are now said to."""
        texts = [one.text for one in self.captions(at)]
        return [n for n, text in zip(at, texts, strict=True) if source in mentions(text, self.categories)]

    def _read(self, steps: Sequence[_Step]) -> tuple[dict[str, tuple[str, ...]], dict[int, _Columns]]:
        """Captions and changed columns, with the edits in force."""
        texts = [one.text for one in self.captions(range(len(self.pictures)))]
        captions = {half: tuple(texts[n] for n in at) for half, at in self.halves.items()}
        changed = _union(members for members, _, _ in steps).by_layer()
        return captions, {
            layer: _Columns(units, read_columns(self.vlm, layer, units)) for layer, units in changed.items()
        }

    def _together(self, captions: Mapping[str, tuple[str, ...]], new: Mapping[int, _Columns]) -> Together:
        """What was measured, and the edits as one; none of them is in force any more."""
        edit = None
        if new:
            neurons = Neurons.of((layer, unit) for layer, one in new.items() for unit in one.units)
            old = {layer: read_columns(self.vlm, layer, one.units) for layer, one in new.items()}
            settings, columns = options_of(self.how), {layer: one.values for layer, one in new.items()}
            edit = Edit(self.vlm, neurons, old, columns, "repair", settings, model=self.vlm.identity())
        return Together(
            edit, captions, {half: self.named(texts, self.halves[half]) for half, texts in captions.items()}
        )


@dataclass(frozen=True)
class _Columns:
    """Value vectors of some neurons of one layer."""

    units: Sequence[int]
    values: Float[Tensor, "_hidden _units"]


def _union(sets: Iterable[Neurons]) -> Neurons:
    return Neurons.of((neuron.layer, neuron.unit) for neurons in sets for neuron in neurons)
