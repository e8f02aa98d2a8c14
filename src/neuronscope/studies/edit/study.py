"""One word rewritten: pictures sorted by their captions, the edit made, and measured beside random neurons."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...caption import clean_captions
from ...edit import Edit, Focused, Tuned, editor
from ...edit.ranked import rank_for_edit
from ...edit.registry import EDITORS, editor_options
from ...errors import InvalidOption
from ...evaluate import metric, named
from ...evaluate.captions import require_here
from ...evaluate.editing import Evaluation, Probes, Wording, evaluate_edit
from ...files import clear_result, output_folder, write_text
from ...held import in_turn
from ...loading import VLM
from ...models.decoding import Decoding
from ...models.origin import require_own
from ...models.usable import unprocessable
from ...parsing import read_text
from ...report.kept import keep_pictures
from ...report.result import SHOWN
from ...run.settings import environment
from ...samples.lists import Refused
from ...samples.picture_files import Picture, Pictures, gather
from ...types import Neuron, Neurons, one_of
from .earlier import PAGE, earlier
from .page import MEASURED, SCHEMA, write_page
from .settings import Rewrite
from .tables import document, one_table

#: Images an edit is made with, and others that are to stay, at most; half of what there is otherwise.
_MADE_WITH, _KEPT = 8, 24


@dataclass(frozen=True)
class Groups:
    """Pictures by what they are for: made with, held out, to stay while it is made, and measured to stay."""

    edited: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    kept: tuple[Picture, ...]
    others: tuple[Picture, ...]

    def each(self, what: Callable[[Picture], Any]) -> dict[str, list[Any]]:
        """Group -> something of each of its pictures."""
        return {name: [what(one) for one in pictures] for name, pictures in vars(self).items()}


@dataclass(frozen=True)
class Rewritten:
    """A measured edit. The model is as it was.

    Attributes:
        found: the edit and what was measured.
        neurons: whose value vectors it changes.
        groups: the pictures.
        refused: those that cannot be used.
        asked: what the model was asked, and how that was written.
        request: all that was asked for.
    """

    found: Evaluation
    neurons: Neurons
    groups: Groups
    refused: Sequence[Refused]
    asked: Mapping[str, Any]
    request: Rewrite

    def shown(self) -> list[Path]:
        """Pictures that a page shows: the first of each group, of those that are to stay the changed ones first."""
        return [picture.path for group in MEASURED for picture, _, _ in self._said(group)[:SHOWN]]

    def document(self, kept: Mapping[Path, str]) -> dict[str, Any]:
        """Everything but how it was made, as JSON; `kept` names the copies of pictures that lie beside it."""
        captions = {
            group: [
                {"image": one.name, "before": before, "after": after, "thumbnail": kept.get(one.path, "")}
                for one, before, after in self._said(group)
            ]
            for group in MEASURED
        }
        return document(self.found) | {
            "captions": captions,
            "images": self.groups.each(lambda picture: picture.name),
        }

    def _said(self, group: str) -> list[tuple[Picture, str, str]]:
        """The pictures of a group with their captions before and under the edit; changed ones first in `others`."""
        captions = (getattr(reading, group) for reading in (self.found.before, self.found.after))
        rows = list(zip(getattr(self.groups, group), *captions, strict=True))
        return sorted(rows, key=lambda row: row[1] == row[2]) if group == "others" else rows

    def save(self, folder: str | Path, *, adapter: bool = False) -> dict[str, Any]:
        """Write edit.safetensors, neurons.json, page.html, tables.md, tables.json, and the folder adapter if asked for.

        Returns the document of tables.json. Raises InvalidOption for a folder that cannot be written to.
        """
        target = output_folder(folder)
        clear_result(target, "tables.json", "tables.md", *earlier(target))
        result = (
            {"schema": SCHEMA}
            | self.document(keep_pictures(target, self.shown()))
            | {
                "refused": [{"where": one.where, "reason": one.reason} for one in self.refused],
                "asked": dict(self.asked),
                "recipe": self.request.recipe(adapter=adapter),
                "environment": environment(),
            }
        )
        self.found.edit.save(target / "edit.safetensors")
        self.neurons.save(target / "neurons.json")
        if adapter:
            self.found.edit.save_adapter(target / "adapter")
        write_text(target / "tables.md", one_table(result))
        write_text(target / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
        write_page(target, target / PAGE)
        return result


@in_turn
def rewrite(vlm: VLM, asked: Rewrite, *, step: Callable[[str], None] = lambda _: None) -> Rewritten:
    """Sort pictures by whether their caption names a word, edit it away with some of them, and measure on the others.

    Args:
        vlm: the model, without an edit; `asked` names one, too, which is not loaded.
        asked: the words, the editor, the pictures.
        step: told what is being done, for progress displays.

    Raises InvalidOption for an editor or setting that is not known, for a target or donors that are missing or too
    many, and where too few captions name the source, or too few do not. The model is in every case left as it was.
    """
    return EditJob.of(asked).run(vlm, step)


@dataclass(frozen=True)
class EditJob:
    """What is to be done, all files but the pictures read, before anything is loaded.

    Attributes:
        settings: of the editor, those with one value.
        tuned: an option of the editor and the values of which the best is taken.
        donors: of an editor that takes neurons of the target.
        neurons: None where they are to be ranked.
        found: the pictures, and what cannot be read.
    """

    asked: Rewrite
    settings: Mapping[str, Any]
    tuned: tuple[str, tuple[Any, ...]] | None
    donors: Neurons | None
    neurons: Neurons | None
    texts: tuple[str, ...] | None
    found: Pictures

    @classmethod
    def of(cls, asked: Rewrite, found: Pictures | None = None) -> EditJob:
        """A job, of pictures that are already gathered where they are given.

        Raises InvalidOption as :func:`rewrite` does.
        """
        name = asked.editor
        one_of("--editor", name, list(EDITORS))
        known = editor_options(name)
        words, keeps = "source" in known, _keeps(name)
        if words and asked.target is None:
            raise InvalidOption(f"--editor {name} needs --target: the word that takes the place of {asked.source!r}")
        for option, _ in asked.settings:
            one_of("--set", option, [one for one in known if one not in ("source", "target", "decoding", "donors")])
        if "donors" in known and asked.donors is None:
            raise InvalidOption(
                f"--editor {name} needs --donors: a neurons.json of {asked.target!r}, located as those of "
                f"{asked.source!r} were"
            )
        if "donors" not in known and asked.donors is not None:
            raise InvalidOption(
                f"--donors {asked.donors} is for an editor that takes them, such as graft; --editor {name} does not"
            )
        several = {option: value for option, value in asked.settings if isinstance(value, tuple)}
        if len(several) > 1 or (several and (keeps or not words)):
            raise InvalidOption(
                f"--set {', '.join(several)}: several values are tried of one option, of an editor in closed form that "
                "replaces a word"
            )
        if asked.focused and (keeps or not words):
            raise InvalidOption(f"--focused is for an editor in closed form that replaces a word, not {name}")
        single = {option: value for option, value in asked.settings if option not in several}
        donors, neurons = (_read(path, asked.any_model) for path in (asked.donors, asked.neurons))
        texts = None if asked.texts is None else _lines(asked.texts)
        found = gather(asked.images, split=asked.split, allow_outside=asked.allow_outside) if found is None else found
        tuned = next(iter(several.items()), None)
        if asked.bertscore is not None:
            require_here("bertscore", model=asked.bertscore)
        job = cls(asked, single, tuned, donors, neurons, texts, found)
        job.editor()
        return job

    @in_turn
    def run(
        self,
        vlm: VLM,
        step: Callable[[str], None],
        *,
        captions: Sequence[str] | None = None,
        taken: Sequence[Neuron] = (),
    ) -> Rewritten:
        """See :func:`rewrite`.

        Args:
            vlm: the model.
            step: told what is being done.
            captions: of all pictures, which the processor takes, by the unedited model, if they are known.
            taken: neurons that are not to be ranked, because another edit changes them.
        """
        asked = self.asked
        for given in (self.neurons, self.donors):  # before long work
            if given is not None:
                require_own(vlm, given, "text")
        step("sorting the images")
        usable = self.found
        if captions is None:
            usable = usable.without(unprocessable(vlm, [picture.path for picture in usable.items]))
            captions = self.captions(vlm, usable.items)
        groups = self.sort(usable.items, captions)
        paths = groups.each(lambda picture: picture.path)
        step("choosing neurons")
        chosen = self.neurons or self.rank(vlm, paths["edited"], taken)
        found = evaluate_edit(
            vlm,
            lambda members: self.make(vlm, members, paths["edited"], paths["kept"]),
            chosen,
            Wording(asked.source, asked.target),
            Probes(
                paths["edited"],
                paths["held_out"],
                paths["others"],
                texts=self.texts,
                prompts=asked.prompts,
                decoding=self.decoding,
            ),
            controls=asked.controls,
            seed=asked.seed,
            similarity=None if asked.bertscore is None else metric("bertscore", model=asked.bertscore),
            done=step,
        )
        asked_of = {**self.decoding.to_dict(), "beginning": self.decoding.beginning, "sent": vlm.sent(self.decoding)}
        return Rewritten(found, chosen, groups, usable.refused, asked_of, asked)

    @property
    def decoding(self) -> Decoding:
        """What is asked about the pictures."""
        return Decoding.asked(self.asked)

    @property
    def keeps(self) -> bool:
        """Whether images are put aside that are to stay."""
        return self.tuned is not None or self.asked.focused or _keeps(self.asked.editor)

    def rank(self, vlm: VLM, images: Sequence[Path], taken: Sequence[Neuron]) -> Neurons:
        """The neurons that contribute most to the word in some images, without some."""
        at: Any = self.asked.position or "predict"
        count, decoding = self.asked.count, self.decoding
        found = rank_for_edit(vlm, images, self.asked.source, count + len(taken), position=at, decoding=decoding)
        return (found - taken).top(count, by="contribution") if taken else found

    def make(self, vlm: VLM, neurons: Neurons, images: Sequence[Path], kept: Sequence[Path]) -> Edit:
        """The edit of some neurons."""
        return self.editor().edit(vlm, neurons, images, **({"keep": kept} if self.keeps else {}))

    def editor(self) -> Any:
        """What makes edits. Raises InvalidOption for a setting with a value that it cannot have."""
        fixed = {
            "source": self.asked.source,
            "target": self.asked.target,
            "donors": self.donors,
            "decoding": self.decoding,
        }
        known = editor_options(self.asked.editor)
        made: Any = editor(
            self.asked.editor, **{name: v for name, v in fixed.items() if name in known}, **self.settings
        )
        if self.tuned is not None:
            option, values = self.tuned
            made = Tuned.over(made, focused=self.asked.focused, **{option: values})
        elif self.asked.focused:
            made = Focused(made)
        return made

    def captions(self, vlm: VLM, pictures: Sequence[Picture]) -> list[str]:
        """Of all pictures, by the model as it is."""
        written = clean_captions(vlm, [picture.path for picture in pictures], decoding=self.decoding)
        return [caption.text for caption in written]

    def sort(self, pictures: Sequence[Picture], captions: Sequence[str]) -> Groups:
        """Raises InvalidOption where too few captions name the source, or too few do not."""
        asked = self.asked
        own = tuple(p for p, caption in zip(pictures, captions, strict=True) if named(caption, asked.source))
        rest = tuple(p for p in pictures if p not in own)
        edited = min(_MADE_WITH, len(own) // 2) if asked.made_with is None else asked.made_with
        kept = min(_KEPT, len(rest) // 2) if self.keeps else 0
        if not 1 <= edited < len(own) or not len(rest) > kept:
            raise InvalidOption(
                f"of {len(pictures)} images the captions of {len(own)} name {asked.source!r} and {len(rest)} do not; "
                f"needed are {edited or 1} that the edit is made with, at least one more to hold out, and at least one "
                "without it"
            )
        return Groups(own[:edited], own[edited:], rest[:kept], rest[kept:])


def _keeps(name: str) -> bool:
    """Whether an editor takes images that are to stay."""
    made = EDITORS[name]
    return "keep" in inspect.signature(getattr(made, "edit", made)).parameters


def _read(path: Path | None, any_model: bool) -> Neurons | None:
    if path is None:
        return None
    return Neurons.load(path).anywhere() if any_model else Neurons.load(path)


def _lines(path: Path) -> tuple[str, ...]:
    try:
        texts = tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise InvalidOption(f"--texts {path} cannot be read: {error}") from error
    if not texts:
        raise InvalidOption(f"--texts {path} holds no text")
    return texts
