"""Cards of what is shared on the Hugging Face hub: what it is, how it was found or made, and how to take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..edit import Edit
from ..errors import InvalidOption
from ..sets import save_sets
from ..types import Neurons
from .blocks import Block, Section, grid, text
from .cells import number
from .markdown import markdown

#: Rows of a card's table.
_LISTED = 30
NEURONS, EDIT = "neurons.json", "edit.safetensors"


@dataclass(frozen=True)
class Shared:
    """Something that can be shared, ready to be written.

    Attributes:
        title: of its card.
        about: what it is, in a sentence.
        table: heading, columns, rows and how many rows there would be.
        take: the Python that takes it, the name of the repository being REPO.
        model: whose it is.
        kind: of repository.
        said: message of the commit.
        save: writes its files into a folder.
    """

    title: str
    about: str
    table: tuple[str, Sequence[str], Sequence[Sequence[str]], int]
    take: str
    model: Mapping[str, Any]
    kind: Literal["dataset", "model"]
    said: str
    save: Callable[[Path], Any]

    @property
    def place(self) -> str:
        """Where the hub has repositories of its kind."""
        return "https://huggingface.co/datasets/" if self.kind == "dataset" else "https://huggingface.co/"

    def card(self, repo: str) -> str:
        """README.md: front matter that the hub reads, what it is, its table, and how to take it."""
        head = ["---", "library_name: neuronscope", "tags:", "- neuronscope", "- interpretability", "- vision-language"]
        head += [f"base_model: {self.model['id']}"] if _on_hub(self.model) else []
        heading, columns, rows, total = self.table
        listed: list[Block] = [grid(columns, rows)] if rows else [text("It is empty.")]
        if total > len(rows):
            listed.append(text(f"The first {len(rows)} of {total}, best first."))
        weights = "Neurons belong to their weights: neuronscope refuses them on others."
        sections = [Section("about", "", [text(self.about), text(weights)]), Section("table", heading, listed)]
        body = markdown(self.title, sections).rstrip()
        take = self.take.replace('"REPO"', f'"{repo}"')
        return "\n".join([*head, "---", "", body, "", "## Take it", "", "```python", take, "```", ""])


def shared(what: Neurons | Edit | Mapping[str, Neurons]) -> Shared:
    """A set, an edit or several sets, ready to be shared.

    Raises InvalidOption for no sets, and for sets of several models.
    """
    if isinstance(what, Neurons):
        return _one(what)
    return _edit(what) if isinstance(what, Edit) else _several(what)


def _one(neurons: Neurons) -> Shared:
    named = f" that hold “{neurons.concept}”" if neurons.concept else ""
    columns = [name for name in neurons.scores if not name.endswith("_patch")]
    rows = [
        (address, *(f"{neurons.scores[name][k]:.4g}" for name in columns))
        for k, address in enumerate(neurons.addresses[:_LISTED])
    ]
    located = f", located by {neurons.method}" if neurons.method else ""
    return Shared(
        title=f"Neurons of {neurons.concept or _name(neurons.model)}",
        about=f"{_count(len(neurons), 'neuron')}{named} in {_model(neurons.model)}, of its {neurons.part} part, "
        f"at site `{neurons.site}`{located}.",
        table=("Its neurons", ["neuron", *columns], rows, len(neurons)),
        take="from huggingface_hub import hf_hub_download\n\nimport neuronscope as ns\n\n"
        f'neurons = ns.Neurons.load(hf_hub_download("REPO", "{NEURONS}", repo_type="dataset"))',
        model=neurons.model,
        kind="dataset",
        said=f"{len(neurons)} neurons" + (f" of {neurons.concept}" if neurons.concept else ""),
        save=lambda folder: neurons.save(folder / NEURONS),
    )


def _several(sets: Mapping[str, Neurons]) -> Shared:
    models = {neurons.model.get("fingerprint", "unknown") for neurons in sets.values()}
    if len(models) != 1:
        told = ", ".join(sorted(models)) or "none"
        raise InvalidOption(f"sets are to be of one model's weights, and these are of {told}")
    first = next(iter(sets.values()))
    methods = sorted({neurons.method for neurons in sets.values() if neurons.method})
    rows = [(name, _best(neurons), str(len(neurons))) for name, neurons in list(sets.items())[:_LISTED]]
    return Shared(
        title=f"Neurons of {_count(len(sets), 'word')} in {_name(first.model)}",
        about=f"Neurons for each of {_count(len(sets), 'word')} in {_model(first.model)}"
        + (f", located by {', '.join(methods)}." if methods else "."),
        table=("Its words", ["word", "best neuron", "neurons"], rows, len(sets)),
        take="from huggingface_hub import snapshot_download\n\nfrom neuronscope.sets import load_sets\n\n"
        'sets = load_sets(snapshot_download("REPO", repo_type="dataset"))  # word -> its neurons',
        model=first.model,
        kind="dataset",
        said=f"neurons of {_count(len(sets), 'word')}",
        save=lambda folder: save_sets(folder, sets),
    )


def _edit(edit: Edit) -> Shared:
    words = "" if edit.words is None else f": it says “{edit.words.target}” in the place of “{edit.words.source}”"
    by_layer = edit.neurons.by_layer()
    rows = [(f"L{layer}", str(len(units)), number(_size(edit, layer))) for layer, units in by_layer.items()]
    model = edit.model["id"] if _on_hub(edit.model) else "MODEL"
    return Shared(
        title=f"An edit of {_name(edit.model)}" + ("" if edit.words is None else f": {_arrow(edit)}"),
        about=f"New value vectors for {_count(len(edit.neurons), 'neuron')} of {_model(edit.model)}, by "
        f"{edit.editor}{words}. It can be taken back, bit for bit.",
        table=("What it changes", ["layer", "neurons", "size of the change"], rows, len(rows)),
        take="from huggingface_hub import hf_hub_download\n\nimport neuronscope as ns\n\n"
        f'vlm = ns.load("{model}")\nedit = ns.Edit.load(hf_hub_download("REPO", "{EDIT}"), vlm)\n\n'
        'with edit:\n    print(vlm.caption("photo.jpg"))',
        model=edit.model,
        kind="model",
        said=f"{edit.editor} of {_count(len(edit.neurons), 'neuron')}"
        + ("" if edit.words is None else f", {_arrow(edit)}"),
        save=lambda folder: edit.save(folder / EDIT),
    )


def _arrow(edit: Edit) -> str:
    return "" if edit.words is None else f"{edit.words.source} -> {edit.words.target}"


def _size(edit: Edit, layer: int) -> float:
    """The change of a layer as a share of what was there, both as Euclidean norms."""
    before = float(edit.old[layer].double().norm())
    return float(edit.delta(layer).double().norm()) / before if before else 0.0


def _best(neurons: Neurons) -> str:
    return neurons.addresses[0] if neurons.addresses else "-"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _name(model: Mapping[str, Any]) -> str:
    return Path(str(model.get("id", "an unnamed model"))).name


def _model(model: Mapping[str, Any]) -> str:
    return f"{_name(model)} (weights {model.get('fingerprint', 'unknown')})"


def _on_hub(model: Mapping[str, Any]) -> bool:
    """Whether a model's id is one of the hub, "user/name", and no path of this machine."""
    name = str(model.get("id", ""))
    return name.count("/") == 1 and not Path(name).is_absolute() and not name.startswith(".")
