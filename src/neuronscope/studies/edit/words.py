"""Several words taken out of what a model says, each suppressed or swapped for a neutral one (Pan et al., abstract).

Each word is a job of its own (study.py): pictures sorted by whether their caption names it, neurons ranked, the edit
made and measured beside random neurons. A word without a neutral one is suppressed: its neurons write nothing. Neurons
of an earlier word are left out of a later one's ranking, so that all edits can be in force together; that is measured
as well, on the pictures that each word held out and on those whose caption names none of the words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...edit import Edit
from ...errors import ConceptNotNamed, InvalidOption
from ...evaluate import named
from ...evaluate.editing import MeasureValues, Probes, Wording
from ...evaluate.editing.measures import compare_readings
from ...evaluate.editing.reading import Answers, read
from ...held import Changing, in_turn, together
from ...loading import VLM
from ...locate import layer_matched
from ...models.usable import unprocessable
from ...samples.lists import Refused
from ...samples.picture_files import Picture, Pictures, gather
from ...types import Neuron, Neurons
from ...words import fold
from .settings import Rewrite
from .study import EditJob, Rewritten
from .words_report import named as named_pair

_ARROW = "->"


@dataclass(frozen=True)
class ListedWord:
    """A word, and the neutral one that takes its place; None where it is suppressed."""

    word: str
    neutral: str | None = None

    def __str__(self) -> str:
        return named_pair(self.word, self.neutral)


def read_words(path: str | Path) -> tuple[ListedWord, ...]:
    """A file of words: in each line one that is suppressed, or `word -> neutral`; empty lines and # lines are not read.

    Raises InvalidOption for a file that cannot be read or holds no word, for a line without a word on a side, and for a
    word that stands there twice or is its own neutral one.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidOption(f"--suppress {file} cannot be read: {error}") from error
    found: dict[str, ListedWord] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, arrow, neutral = (part.strip() for part in line.partition(_ARROW))
        if not word or (arrow and not neutral) or _ARROW in neutral:
            raise InvalidOption(f"--suppress {file}:{number} is no word, and no `word {_ARROW} neutral`: {line!r}")
        if fold(word) in found or fold(word) == fold(neutral):
            raise InvalidOption(f"--suppress {file}:{number} names {word!r} twice")
        found[fold(word)] = ListedWord(word, neutral or None)
    if not found:
        raise InvalidOption(f"--suppress {file} holds no word")
    return tuple(found.values())


@dataclass(frozen=True)
class AllWords:
    """All edits in force at once.

    Attributes:
        measured: word -> its measures, on the pictures that it held out; of other pictures and texts those that name
            no word of the list, the same for every word.
        random: the same with as many random neurons of the same layers edited in the same way; empty without.
    """

    measured: Mapping[ListedWord, Mapping[str, MeasureValues]]
    random: Mapping[ListedWord, Mapping[str, MeasureValues]]


@dataclass(frozen=True)
class Suppressed:
    """What became of a list of words. The model is as it was.

    Attributes:
        words: each word that could be edited, by itself.
        left: the others, and why.
        together: all edits in force at once.
        refused: pictures that cannot be used.
        request: all that was asked for.
    """

    words: Mapping[ListedWord, Rewritten]
    left: Mapping[ListedWord, str]
    together: AllWords
    refused: Sequence[Refused]
    request: Rewrite


@dataclass(frozen=True)
class WordsJob:
    """What is to be done, everything read before anything is loaded."""

    asked: Rewrite
    listed: tuple[ListedWord, ...]
    jobs: tuple[EditJob, ...]
    found: Pictures

    @classmethod
    def of(cls, asked: Rewrite) -> WordsJob:
        """Raises InvalidOption as :func:`suppress` does."""
        if asked.suppress is None:
            raise InvalidOption("suppress=None names no file of words")
        listed = read_words(asked.suppress)
        if asked.settings and all(one.neutral is None for one in listed):
            raise InvalidOption("--set is of the editor of words with a neutral one, and the list has none")
        found = gather(asked.images, split=asked.split, allow_outside=asked.allow_outside)
        return cls(asked, listed, tuple(EditJob.of(_one(asked, word), found) for word in listed), found)

    @in_turn
    def run(self, vlm: VLM, step: Callable[[str], None] = lambda _: None) -> Suppressed:
        """See :func:`suppress`."""
        step("captioning the images")
        usable = self.found.without(unprocessable(vlm, [picture.path for picture in self.found.items]))
        captions = self.jobs[0].captions(vlm, usable.items)
        words: dict[ListedWord, Rewritten] = {}
        left: dict[ListedWord, str] = {}
        taken: list[Neuron] = []
        for listed, job in zip(self.listed, self.jobs, strict=True):
            step(f"{listed}")
            try:
                made = replace(job, found=usable).run(vlm, lambda _: None, captions=captions, taken=taken)
            except (ConceptNotNamed, InvalidOption) as error:
                left[listed] = str(error)
                continue
            words[listed] = made
            taken += made.neurons
        if not words:
            raise InvalidOption(f"none of {len(left)} words could be edited; the first: {next(iter(left.values()))}")
        step("all together")
        return Suppressed(words, left, self._together(vlm, words, usable.items, captions), usable.refused, self.asked)

    def _together(
        self, vlm: VLM, words: Mapping[ListedWord, Rewritten], pictures: Sequence[Picture], captions: Sequence[str]
    ) -> AllWords:
        edited, held_out = (
            list(dict.fromkeys(one.path for made in words.values() for one in getattr(made.groups, group)))
            for group in ("edited", "held_out")
        )
        names = [listed.word for listed in self.listed]
        free = [
            picture.path
            for picture, caption in zip(pictures, captions, strict=True)
            if not any(named(caption, name) for name in names)
        ]
        if not free:
            raise InvalidOption(
                f"the captions of all {len(pictures)} images name a word of the list: give images without any, too"
            )
        job = self.jobs[0]
        probes = Probes(edited, held_out, free, texts=job.texts, decoding=job.decoding)
        before = read(vlm, probes)
        edits = [made.found.edit for made in words.values()]
        random: dict[ListedWord, Mapping[str, MeasureValues]] = {}
        if self.asked.controls:
            random = _compared(vlm, words, self._random(vlm, words), probes, before)
        return AllWords(_compared(vlm, words, edits, probes, before), random)

    def _random(self, vlm: VLM, words: Mapping[ListedWord, Rewritten]) -> list[Edit]:
        """The same edits of random neurons, each word's of its own, none of them a word's."""
        every = Neurons.of((one.layer, one.unit) for made in words.values() for one in made.neurons)
        drawn = layer_matched(vlm, every, seed=self.asked.seed).by_layer()
        edits: list[Edit] = []
        jobs = dict(zip(self.listed, self.jobs, strict=True))
        for listed, made in words.items():
            members = [(layer, drawn[layer].pop()) for layer, units in made.neurons.by_layer().items() for _ in units]
            paths = made.groups.each(lambda picture: picture.path)
            edits.append(jobs[listed].make(vlm, Neurons.of(members), paths["edited"], paths["kept"]))
        return edits


@in_turn
def suppress(vlm: VLM, asked: Rewrite, *, step: Callable[[str], None] = lambda _: None) -> Suppressed:
    """Take the words of a file out of what a model says, one by one and all together, and measure what else changed.

    Args:
        vlm: the model, without an edit; `asked` names one, too, which is not loaded.
        asked: the file, the pictures, and for words with a neutral one the editor.
        step: told what is being done, for progress displays.

    Raises InvalidOption for a file that holds no words, for an editor or setting that is not known, where no word can
    be edited, and where every caption names one. A word that cannot is left out with its reason. The model is in every
    case left as it was.
    """
    return WordsJob.of(asked).run(vlm, step)


def _one(asked: Rewrite, listed: ListedWord) -> Rewrite:
    """What one word's job is asked for."""
    if listed.neutral is None:
        position = asked.position or "image"  # there a word is suppressed, and at the predicting position it is not
        more = {"editor": "ablate", "settings": (), "focused": False, "position": position}
    else:
        more = {"target": listed.neutral}
    return replace(asked, suppress=None, source=listed.word, **more)


def _compared(
    vlm: VLM, words: Mapping[ListedWord, Rewritten], edits: Sequence[Edit], probes: Probes, before: Answers
) -> dict[ListedWord, Mapping[str, MeasureValues]]:
    """Every word's measures with all edits in force."""
    with Changing(together) as applied:
        for edit in edits:
            applied.enter(edit)
        after = read(vlm, probes, texts=before.asked)
    return {one: compare_readings(before, after, Wording(one.word, one.neutral)) for one in words}
