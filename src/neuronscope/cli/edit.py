"""`neuronscope edit`: rewrite a word in the weights, measure it beside random neurons, and save the edit."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import output_folder, write_text
from ..types import one_of
from .output import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    emit,
    lines,
    open_model,
    parse_settings,
    progress,
)

if TYPE_CHECKING:
    from ..edit import Edit
    from ..loading import VLM
    from ..samples.picture_files import Picture
    from ..types import Neurons

#: Images an edit is made with, and others that are to stay, at most; half of what there is otherwise.
_MADE_WITH, _KEPT = 8, 24


@dataclass(frozen=True)
class _Kind:
    """What an editor takes: two words, images that are to stay, donors."""

    name: str
    words: bool
    keeps: bool
    donors: bool

    @classmethod
    def of(cls, name: str) -> _Kind:
        """Read from the registry. Raises InvalidOption for an unknown name."""
        from ..edit.registry import EDITORS, editor_options

        one_of("--editor", name, list(EDITORS))
        known, made = editor_options(name), EDITORS[name]
        keeps = "keep" in inspect.signature(getattr(made, "edit", made)).parameters
        return cls(name, "source" in known, keeps, "donors" in known)


@dataclass(frozen=True)
class _Job:
    """What is to be done, checked before anything is loaded.

    Attributes:
        tuned: an option of the editor and the values of which the best is taken.
        donors: of an editor that takes neurons of the target.
        focused: whether its changes are weighted by neuron.
    """

    source: str
    target: str | None
    kind: _Kind
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tuned: tuple[str, tuple[Any, ...]] | None = None
    donors: Neurons | None = None
    focused: bool = False

    @property
    def keeps(self) -> bool:
        """Whether images are put aside that are to stay."""
        return self.kind.keeps or self.tuned is not None or self.focused

    def make(self, vlm: VLM, neurons: Neurons, images: Sequence[Path], kept: Sequence[Path]) -> Edit:
        """The edit of some neurons."""
        from .. import edit as package

        words = {"source": self.source, "target": self.target} if self.kind.words else {}
        donors = {"donors": self.donors} if self.kind.donors else {}
        editor: Any = package.editor(self.kind.name, **words, **donors, **self.settings)
        if self.tuned is not None:
            option, values = self.tuned
            editor = package.Tuned.over(editor, focused=self.focused, **{option: values})
        elif self.focused:
            editor = package.Focused(editor)
        return editor.edit(vlm, neurons, images, **({"keep": kept} if self.keeps else {}))


@dataclass(frozen=True)
class _Groups:
    """Pictures by what they are for."""

    edited: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    kept: tuple[Picture, ...]
    others: tuple[Picture, ...]


def _moved(given: bool) -> None:
    """Say where `edit --repair` went, and exit with 2: bad usage."""
    if given:
        sys.stderr.write("neuronscope: edit --repair is a verb of its own now: neuronscope repair --images COCO\n")
        raise typer.Exit(2)


def run(
    images: Annotated[
        list[str], typer.Option("--images", help="Files or folders; may be repeated. Captions sort them.")
    ],
    source: Annotated[str, typer.Option("--source", help="The word that is to go, as captions name it.")],
    target: Annotated[str | None, typer.Option("--target", help="The word that is to take its place.")] = None,
    editor: Annotated[
        str, typer.Option("--editor", help="swap, embed, graft, learned, ablate, amplify, row-noise.")
    ] = "learned",
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Of the editor, NAME=VALUE, as lambda2=6; of NAME=2,4,8 the best.")
    ] = None,
    neurons: Annotated[Path | None, typer.Option("--neurons", help="neurons.json; else they are ranked.")] = None,
    donors: Annotated[Path | None, typer.Option("--donors", help="The target's neurons.json, for graft.")] = None,
    focused: Annotated[
        bool, typer.Option("--focused", help="Weight the changes so that little is heard on other images.")
    ] = False,
    count: Annotated[int, typer.Option("--count", help="How many are ranked.")] = 20,
    position: Annotated[str, typer.Option("--position", help="Where they are ranked: predict, or image.")] = "predict",
    made_with: Annotated[
        int | None, typer.Option("--made-with", help="Images of the source that the edit is made with; half, up to 8.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="Texts, one a line, read without images; else captions.")
    ] = None,
    prompts: Annotated[list[str] | None, typer.Option("--prompt", help="Another prompt; may be repeated.")] = None,
    controls: Annotated[int, typer.Option("--controls", help="Random sets of neurons.")] = 1,
    bertscore: Annotated[
        str | None, typer.Option("--bertscore", help="Similarity by it, not ROUGE-L: hub id, directory, package:NAME.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", hidden=True, is_eager=True, callback=_moved)] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="Also write a LoRA adapter (needs PEFT).")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of the random sets.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("neuronscope-edit"),
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Make the model say one word where it said another, and measure what else changed.

    Images whose caption names the source are edited with or held out, the rest must stay. Writes edit.safetensors,
    neurons.json, tables.md and tables.json, and with --adapter the folder adapter. The model is left as it was.
    """
    del repair
    job = replace(_job(source, target, editor, option or [], donors), focused=focused)
    if focused and (job.kind.keeps or not job.kind.words):
        raise InvalidOption(f"--focused is for an editor in closed form that replaces a word, not {job.kind.name}")
    _counts(made_with, controls)
    wanted = None if texts is None else _lines(texts)
    from ..edit.ranked import rank_for_edit
    from ..evaluate import metric
    from ..evaluate.editing import Probes, Wording, evaluate_edit
    from ..run.settings import environment
    from ..samples.picture_files import gather
    from ..studies.edit.tables import document, one_table
    from ..types import Neurons as NeuronSet

    given = None if neurons is None else NeuronSet.load(neurons)
    pictures = gather(images)
    folder = output_folder(out)
    with progress(5 + controls, "loading the model") as step:
        vlm = open_model(model, device, dtype)
        step("sorting the images")
        groups = _sorted(vlm, job, pictures.items, made_with)
        paths = {name: [p.path for p in getattr(groups, name)] for name in ("edited", "held_out", "kept", "others")}
        step("choosing neurons")
        at: Any = position
        chosen = given or rank_for_edit(vlm, paths["edited"], source, count, position=at)
        probes = Probes(paths["edited"], paths["held_out"], paths["others"], texts=wanted, prompts=tuple(prompts or ()))
        found = evaluate_edit(
            vlm,
            lambda members: job.make(vlm, members, paths["edited"], paths["kept"]),
            chosen,
            Wording(source, target),
            probes,
            controls=controls,
            seed=seed,
            similarity=None if bertscore is None else metric("bertscore", model=bertscore),
            done=step,
        )
    result = document(found) | {
        "images": {name: [p.name for p in getattr(groups, name)] for name in paths},
        "refused": [{"where": one.where, "reason": one.reason} for one in pictures.refused],
        "environment": environment(),
    }
    found.edit.save(folder / "edit.safetensors")
    chosen.save(folder / "neurons.json")
    if adapter:
        found.edit.save_adapter(folder / "adapter")
    write_text(folder / "tables.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_text(folder / "tables.md", one_table(result) + "\n")
    emit(result, as_json, lambda: lines(one_table(result), f"written to {out}"))


def _job(source: str, target: str | None, editor: str, options: Sequence[str], donors: Path | None) -> _Job:
    """Raises InvalidOption for an unknown editor or setting, and where a target or donors are missing or too many."""
    from ..edit.registry import editor_options
    from ..types import Neurons as NeuronSet

    kind = _Kind.of(editor)
    if kind.words and target is None:
        raise InvalidOption(f"--editor {editor} needs --target: the word that takes the place of {source!r}")
    known = [name for name in editor_options(editor) if name not in ("source", "target", "decoding", "donors")]
    settings = parse_settings(options)
    for name in settings:
        one_of("--set", name, known)
    if kind.donors is not (donors is not None):
        raise InvalidOption(
            f"--editor {editor} needs --donors: a neurons.json of {target!r}, located as those of {source!r} were"
            if kind.donors
            else f"--donors {donors} is for an editor that takes them, such as graft; --editor {editor} does not"
        )
    several = {name: value for name, value in settings.items() if isinstance(value, tuple)}
    if len(several) > 1 or (several and kind.keeps) or (several and not kind.words):
        raise InvalidOption(
            f"--set {', '.join(several)}: several values are tried of one option, of an editor in closed form that "
            "replaces a word"
        )
    single = {name: value for name, value in settings.items() if name not in several}
    given = None if donors is None else NeuronSet.load(donors)
    return _Job(source, target, kind, single, next(iter(several.items()), None), given)


def _counts(made_with: int | None, controls: int) -> None:
    if (made_with is not None and made_with < 1) or controls < 0:
        raise InvalidOption(f"--made-with {made_with} must be at least 1, and --controls {controls} at least 0")


def _lines(path: Path) -> tuple[str, ...]:
    try:
        texts = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise InvalidOption(f"--texts {path} cannot be read: {error}") from error
    if not texts:
        raise InvalidOption(f"--texts {path} holds no text")
    return texts


def _sorted(vlm: VLM, job: _Job, pictures: Sequence[Picture], made_with: int | None) -> _Groups:
    """Raises InvalidOption where too few captions name the source, or too few do not."""
    from ..caption import clean_captions
    from ..evaluate import named

    captions = [caption.text for caption in clean_captions(vlm, [picture.path for picture in pictures])]
    own = tuple(p for p, caption in zip(pictures, captions, strict=True) if named(caption, job.source))
    rest = tuple(p for p in pictures if p not in own)
    edited = min(_MADE_WITH, len(own) // 2) if made_with is None else made_with
    kept = min(_KEPT, len(rest) // 2) if job.keeps else 0
    if not 1 <= edited < len(own) or not len(rest) > kept:
        raise InvalidOption(
            f"of {len(pictures)} images the captions of {len(own)} name {job.source!r} and {len(rest)} do not; needed "
            f"are {edited or 1} that the edit is made with, at least one more to hold out, and at least one without it"
        )
    return _Groups(own[:edited], own[edited:], rest[:kept], rest[kept:])
