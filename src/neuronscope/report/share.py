"""A set of neurons on the Hugging Face hub, with a card that says what it is, how it was found, and how to take it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Protocol

from ..errors import InvalidOption, first_line
from ..files import write_text
from ..given import checked
from ..types import Neurons
from .blocks import Block, Section, grid, text
from .markdown import markdown

#: Neurons that a card lists.
_LISTED = 30
_FILE = "neurons.json"


class Api(Protocol):
    """What is asked of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Make a repository, or take the one that is there."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str) -> Any:
        """Write a folder's files as one commit."""
        ...


@checked
def card(neurons: Neurons, repo: str = "USER/NAME") -> str:
    """README.md of a set: front matter that the hub reads, what it is, how to take it, and its first neurons."""
    model = str(neurons.model.get("id", "an unnamed model"))
    known = "/" in model and not Path(model).is_absolute() and not model.startswith(".")
    head = ["---", "library_name: neuronscope", "tags:", "- neuronscope", "- interpretability", "- vision-language"]
    head += [f"base_model: {model}"] if known and model.count("/") == 1 else []
    named = f" that hold “{neurons.concept}”" if neurons.concept else ""
    count = "1 neuron" if len(neurons) == 1 else f"{len(neurons)} neurons"
    about = (
        f"{count}{named} in {Path(model).name} (weights {neurons.model.get('fingerprint', 'unknown')}), "
        f"of its {neurons.part} part, at site `{neurons.site}`"
        + (f", located by {neurons.method}." if neurons.method else ".")
    )
    take = (
        "from huggingface_hub import hf_hub_download\n\nimport neuronscope as ns\n\n"
        f'neurons = ns.Neurons.load(hf_hub_download("{repo}", "{_FILE}", repo_type="dataset"))'
    )
    names = [name for name in neurons.scores if not name.endswith("_patch")]
    rows = [
        (address, *(f"{neurons.scores[name][k]:.4g}" for name in names))
        for k, address in enumerate(neurons.addresses[:_LISTED])
    ]
    told: list[Block] = [text(about), text("Sets belong to their weights: neuronscope refuses them on others.")]
    listed: list[Block] = [grid(["neuron", *names], rows)] if rows else [text("It is empty.")]
    if len(neurons) > _LISTED:
        listed.append(text(f"The first {_LISTED} of {len(neurons)}, best first."))
    sections = [Section("about", "", told), Section("neurons", "Its neurons", listed)]
    body = markdown(f"Neurons of {neurons.concept or Path(model).name}", sections)
    return "\n".join([*head, "---", "", body.rstrip(), "", "## Take it", "", "```python", take, "```", ""])


@checked
def push_to_hub(neurons: Neurons, repo: str, *, private: bool = True, message: str = "", api: Api | None = None) -> str:
    """Put neurons.json and its card into a data set of the hub, and return its address.

    Args:
        neurons: the set; results of `locate` hold captions and, as the picture's name, a path of this machine: look at
            `neurons.provenance` before it is public.
        repo: "user/name"; it is made where it is not there.
        private: whether others may see a repository that is made now.
        message: of the commit.
        api: what speaks with the hub; `huggingface_hub.HfApi()` with the token of this machine by default.

    Raises InvalidOption for a name that the hub does not take, and where it refuses.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InvalidOption(f'repo={repo!r} is not of the form "user/name"')
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        neurons.save(Path(folder) / _FILE)
        write_text(Path(folder) / "README.md", card(neurons, repo))
        said = message or f"{len(neurons)} neurons" + (f" of {neurons.concept}" if neurons.concept else "")
        try:
            api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=folder, repo_type="dataset", commit_message=said)
        except (OSError, ValueError) as error:  # HTTP errors are OSErrors, names that it does not take ValueErrors
            raise InvalidOption(f"repo={repo!r}: the hub refuses it: {first_line(error)}") from error
    return f"https://huggingface.co/datasets/{repo}"
