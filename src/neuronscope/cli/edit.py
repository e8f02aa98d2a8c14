"""`neuronscope edit`: rewrite a word in the weights, measure it beside random neurons, and save the edit."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidOption
from ..files import output_folder, write_text
from ..types import one_of
from .output import DeviceOption, DtypeOption, JsonOption, ModelOption, emit, lines, open_model, progress

if TYPE_CHECKING:
    from ..edit import Edit
    from ..models.vlm import VLM
    from ..run.discovery.pictures import Picture
    from ..types import Neurons

#: Images an edit is made with, and others that are to stay, at most; half of what there is otherwise.
_MADE_WITH, _KEPT = 8, 24


@dataclass(frozen=True)
class _Kind:
    """What an editor takes: its class in `neuronscope.edit`, a source and target word, images that are to stay."""

    cls: str
    words: bool = True
    keeps: bool = False


_EDITORS: Mapping[str, _Kind] = {
    "swap": _Kind("Swap"),
    "embed": _Kind("Embed"),
    "learned": _Kind("Learned", keeps=True),
    "ablate": _Kind("Ablate", words=False),
    "amplify": _Kind("Amplify", words=False),
    "row-noise": _Kind("RowNoise", words=False),
}


@dataclass(frozen=True)
class _Job:
    """What is to be done, checked before anything is loaded."""

    source: str
    target: str | None
    kind: _Kind
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def make(self, vlm: VLM, neurons: Neurons, images: Sequence[Path], kept: Sequence[Path]) -> Edit:
        """The edit of some neurons."""
        from .. import edit as package

        words = {"source": self.source, "target": self.target} if self.kind.words else {}
        editor = getattr(package, self.kind.cls)(**words, **self.settings)
        return editor.edit(vlm, neurons, images, **({"keep": kept} if self.kind.keeps else {}))


@dataclass(frozen=True)
class _Groups:
    """Pictures by what they are for."""

    edited: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    kept: tuple[Picture, ...]
    others: tuple[Picture, ...]


def run(
    source: Annotated[str, typer.Option("--source", help="The word that is to go, as captions name it.")],
    images: Annotated[
        list[str], typer.Option("--images", help="Files or folders; may be repeated. Captions sort them.")
    ],
    target: Annotated[str | None, typer.Option("--target", help="The word that is to take its place.")] = None,
    editor: Annotated[str, typer.Option("--editor", help=", ".join(_EDITORS) + ".")] = "learned",
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Of the editor, NAME=VALUE, as lambda2=6; may be repeated.")
    ] = None,
    neurons: Annotated[Path | None, typer.Option("--neurons", help="neurons.json; else they are ranked.")] = None,
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
    job = _job(source, target, editor, option or [])
    _counts(made_with, controls)
    wanted = None if texts is None else _lines(texts)
    from ..edit.ranked import rank_for_edit
    from ..evaluate import metric
    from ..evaluate.editing import Probes, Wording, evaluate_edit
    from ..run.discovery.pictures import gather
    from ..run.editing import document, one_table
    from ..run.settings import environment
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


def _job(source: str, target: str | None, editor: str, options: Sequence[str]) -> _Job:
    """Raises InvalidOption for an unknown editor or setting, and where a target is missing."""
    from .. import edit as package

    one_of("--editor", editor, list(_EDITORS))
    kind = _EDITORS[editor]
    if kind.words and target is None:
        raise InvalidOption(f"--editor {editor} needs --target: the word that takes the place of {source!r}")
    known = [
        name
        for name in inspect.signature(getattr(package, kind.cls)).parameters
        if name not in ("source", "target", "decoding")
    ]
    settings: dict[str, Any] = {}
    for option in options:
        name, _, text = option.partition("=")
        one_of("--set", name, known)
        settings[name] = _value(text)
    return _Job(source, target, kind, settings)


def _value(text: str) -> Any:
    """A number or true, false, null as JSON has them; text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text


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
    from ..evaluate import named
    from ..intervene.captions import generate_captions

    captions = [row[0].text for row in generate_captions(vlm, [picture.path for picture in pictures])]
    own = tuple(p for p, caption in zip(pictures, captions, strict=True) if named(caption, job.source))
    rest = tuple(p for p in pictures if p not in own)
    edited = min(_MADE_WITH, len(own) // 2) if made_with is None else made_with
    kept = min(_KEPT, len(rest) // 2) if job.kind.keeps else 0
    if not 1 <= edited < len(own) or not len(rest) > kept:
        raise InvalidOption(
            f"of {len(pictures)} images the captions of {len(own)} name {job.source!r} and {len(rest)} do not; needed "
            f"are {edited or 1} that the edit is made with, at least one more to hold out, and at least one without it"
        )
    return _Groups(own[:edited], own[edited:], rest[:kept], rest[kept:])
