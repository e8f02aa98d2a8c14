"""Settings and results of hallucination repair; the procedure is in repair.py.

What takes the word's place is a choice. `ablate` lets the neurons write nothing, so that the rest of the model decides.
`swap` exchanges the word with another object's: the most probable other one where the word was written ("likely"), or
the most probable of those that the picture does show ("shown", which needs the annotation).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ...errors import InvalidOption
from ...fields import check_fields
from ...options import ANNOTATED, MISSING, SETTING, Asking, Form, Loading, Reading, as_python, option, words
from ...types import Neurons, one_of

if TYPE_CHECKING:
    from ...caption import Caption
    from ...edit import Edit
    from ...evaluate.editing.chair import Named
    from ...loading import VLM
    from ...locate.target import Position
    from ...models.decoding import Decoding
    from ...samples.lists import Refused
    from ...samples.objects import AnnotatedFolder, PictureCategories
    from ...samples.synonyms import Synonyms

#: What is done to the neurons: they write nothing, or another word.
RepairBy: TypeAlias = Literal["ablate", "swap"]
#: Which word: the most probable other object, or the most probable that the picture shows.
Toward: TypeAlias = Literal["likely", "shown"]
#: How many neurons are tried by default.
COUNTS = (1, 2, 5, 10, 20, 50, 100)
_BY: tuple[RepairBy, ...] = get_args(RepairBy)
_TOWARD: tuple[Toward, ...] = get_args(Toward)


def _counts(text: str) -> tuple[int, ...]:
    count = int(text)
    return (*(n for n in COUNTS if n < count), count)


def _decoding() -> Decoding:
    from ...models.decoding import Decoding

    return Decoding()


@dataclass(frozen=True, kw_only=True)
class Repair:
    """How hallucinations are repaired.

    Attributes:
        by: see :data:`RepairBy`.
        toward: for "swap", see :data:`Toward`.
        position: where neurons are ranked.
        right: pictures with a right mention of the object, at most, that an edit must leave as they are.
        against: whether their mean contribution is subtracted in ranking. It keeps right mentions better, and repairs
            less.
        counts: how many neurons are tried, in this order.
        seed: of random neurons and of the choice of captions to compare.
        decoding: how captions are written.

    Raises InvalidOption for values out of range.
    """

    by: RepairBy = option("ablate", "--editor", help="ablate, or swap.")
    toward: Toward = "likely"
    position: Position = option("predict", "--position", help="Where they are ranked: predict, or image.")
    right: int = 8
    against: bool = False
    counts: tuple[int, ...] = option(
        COUNTS,
        "--count",
        help="How many neurons are edited, at most.",
        form=Form(_counts, lambda counts: str(counts[-1]), "a whole number"),
    )
    seed: int = option(0, "--seed", help="Of the random sets.")
    decoding: Decoding = field(default_factory=_decoding)

    def __post_init__(self) -> None:
        check_fields(self)
        from ...locate.target import POSITIONS

        one_of("by", self.by, _BY)
        one_of("toward", self.toward, _TOWARD)
        one_of("position", self.position, POSITIONS)
        if self.right < 0 or not self.counts or min(self.counts) < 1:
            raise InvalidOption(f"right={self.right} must be at least 0, and counts={self.counts} at least 1 each")

    def edit(self, vlm: VLM, neurons: Neurons, source: str, target: str | None) -> Edit:
        """The edit of some neurons. `target` is what :meth:`target` says."""
        from ...edit import editor

        words = {} if target is None else {"source": source, "target": target}
        return editor("swap" if words else "ablate", **words, decoding=self.decoding).edit(vlm, neurons)

    def target(
        self, vlm: VLM, picture: PictureCategories, caption: Caption, source: str, categories: Sequence[str]
    ) -> str | None:
        """The word that is to take a hallucinated one's place; None where none is.

        Raises InvalidOption where the picture shows, or the vocabulary spells, no other object.
        """
        if self.by != "swap":
            return None
        import torch

        from ...edit.observe import named_at
        from ...edit.words import spell

        at = named_at(vlm, caption, source)[0]
        row = vlm.prepare([picture.path], self.decoding).extend(caption.ids[:at])
        with torch.no_grad():
            logits = vlm.logits(row)[0, -1]
        known = [one for one in categories if one in picture.objects or self.toward == "likely"]
        first = {one: spell(vlm, one, "target", self.decoding)[0] for one in known if one != source}
        others = [one for one, token in first.items() if token != caption.ids[at]]
        if not others:
            raise InvalidOption(f"{picture.name}: there is no other object to say in the place of {source!r}")
        return max(others, key=lambda one: float(logits[first[one]]))


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What CHAIR is measured by, beside our lexicon.

    Attributes:
        synonyms: a file of the original lists; only ours where not given.
    """

    synonyms: Path | None = option(
        None, "--synonyms", help="CHAIR's original lists (synonyms.txt), to measure by beside our lexicon."
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def lists(self) -> Synonyms | None:
        """Those lists. Raises InvalidOption for a file that cannot be read."""
        from ...samples.synonyms import Synonyms

        return None if self.synonyms is None else Synonyms.read(self.synonyms)


#: Settings of :class:`Repair` without an option of their own.
SETTINGS = ("toward", "right", "against")


@dataclass(frozen=True, kw_only=True)
class RepairJob(Loading, Reading, Measuring):
    """Pictures with their objects, and how the hallucinations of their captions are repaired."""

    images: str = option(MISSING, "--images", help=ANNOTATED)
    source: str | None = option(None, "--source", help="The one object to repair; else any.")
    how: Repair = field(default_factory=Repair)

    def __post_init__(self) -> None:
        check_fields(self)

    def data(self) -> AnnotatedFolder:
        """The pictures and what they show.

        Raises InvalidSample for what is no annotated data, and for an object that the lists of `synonyms` lack.
        """
        from ...samples.objects import AnnotatedFolder

        found, lists = AnnotatedFolder.read(self.images, self.split, allow_outside=self.allow_outside), self.lists()
        if lists is not None:
            lists.shown({name for one in found.pictures for name in one.annotated}, ())
        return found

    def recipe(self) -> dict[str, str]:
        """The command and the Python that make the result again."""
        return {"command": self.command(), "python": self.python()}

    def command(self) -> str:
        """One line for a shell that makes the result again; empty where `how` is what it has no options for."""
        from ...models.decoding import Decoding

        how = self.how
        if _counts(str(how.counts[-1])) != how.counts or Decoding.asked(Asking.of(how.decoding)) != how.decoding:
            return ""
        given = [*words(self), *words(how), *words(Asking.of(how.decoding))]
        for name in SETTINGS:
            if (value := getattr(how, name)) != getattr(Repair, name):
                given += ["--set", SETTING.write((name, value))]
        return shlex.join(["neuronscope", "repair", *given])

    def python(self) -> str:
        """The same with the library."""
        how = f", how={as_python(self.how)}" if self.how != Repair() else ""
        asked = as_python(replace(self, how=Repair()), but=Loading).removesuffix(")")
        return "\n".join(
            [
                "import neuronscope as ns",
                f"from neuronscope.studies.repair.settings import {'Repair, RepairJob' if how else 'RepairJob'}",
                "from neuronscope.studies.repair.study import repair_into",
                "",
                f'repair_into("neuronscope-repair", {self.load_expression()}, {asked}{how}))',
            ]
        )


@dataclass(frozen=True)
class Attempt:
    """What edits of growing size did to one hallucination.

    Attributes:
        neurons: those of the accepted edit; None where none was accepted.
        after: the caption under it; None where none was accepted.
        gone: whether any of the edits took the word out of the caption, accepted or not.
    """

    neurons: Neurons | None = None
    after: str | None = None
    gone: bool = False


@dataclass(frozen=True)
class Beside:
    """What an edit did to held-out captions.

    Attributes:
        kept: for each picture that shows the object and was said to, whether it still is.
        same: for each compared caption that did not name the object, whether it is the same, word for word.
    """

    kept: tuple[bool, ...]
    same: tuple[bool, ...]


@dataclass(frozen=True)
class Repaired:
    """One hallucination.

    Attributes:
        picture, source: where, and what is not there.
        target: what was to take the word's place; None where nothing was.
        before: the caption.
        found: with the located neurons.
        luck: with random neurons of the same layers, every count tried in the same way.
        beside: what the accepted edit did to held-out captions; None where none was accepted.
        random: the same of one of as many random neurons of the same layers.
        path: of the picture, where it is known.
    """

    picture: str
    source: str
    target: str | None
    before: str
    found: Attempt
    luck: Attempt
    beside: Beside | None
    random: Beside | None
    path: Path | None = None


@dataclass(frozen=True)
class Together:
    """All edits in force at once.

    Attributes:
        edit: the columns that all of them changed, as one edit; None where none was accepted.
        captions: half -> captions under it.
        named: half -> what they name.
    """

    edit: Edit | None
    captions: Mapping[str, tuple[str, ...]]
    named: Mapping[str, Named]


@dataclass(frozen=True)
class Repairs:
    """The repair of a folder. The model is as it was.

    Attributes:
        how: the settings.
        pictures: half ("searched", "held_out") -> pictures.
        before: half -> captions of the unedited model.
        named: half -> what those name.
        single: each hallucination of the searched half by itself.
        together, random: all of them, and as many random neurons of the same layers.
        refused: pictures that the processor does not take.
    """

    how: Repair
    pictures: Mapping[str, tuple[PictureCategories, ...]]
    before: Mapping[str, tuple[str, ...]]
    named: Mapping[str, Named]
    single: tuple[Repaired, ...]
    together: Together
    random: Together
    refused: tuple[Refused, ...] = ()
