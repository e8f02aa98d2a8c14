"""Neurons and edits on the Hugging Face hub, with a card that says what they are and how to take them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..edit import Edit
from ..errors import InvalidOption, first_line
from ..files import write_text
from ..given import checked
from ..types import Neurons
from .cards import shared


class Api(Protocol):
    """What is asked of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> Any:
        """Make a repository, or take the one that is there."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, repo_type: str, commit_message: str) -> Any:
        """Write a folder's files as one commit."""
        ...


@checked
def card(what: Neurons | Edit | Mapping[str, Neurons], repo: str = "USER/NAME") -> str:
    """README.md of what is shared: front matter that the hub reads, what it is, its neurons, and how to take it.

    Raises InvalidOption for no sets, and for sets of several models.
    """
    return shared(what).card(repo)


@checked
def push_to_hub(
    what: Neurons | Edit | Mapping[str, Neurons],
    repo: str,
    *,
    private: bool = True,
    message: str = "",
    api: Api | None = None,
) -> str:
    """Put neurons or an edit and their card into a repository of the hub, and return its address.

    Args:
        what: a set (neurons.json, in a data set), several by their concepts, such as
            :func:`neuronscope.sets.load_sets` reads from a folder of `neuronscope discover` (neurons/CONCEPT.json, in a
            data set), or an edit (edit.safetensors, in a model's repository). Results of `locate` hold captions and, as
            the picture's name, a path of this machine: look at `neurons.provenance` before it is public; edits hold the
            captions of the pictures that they were made with (`edit.before`).
        repo: "user/name"; it is made where it is not there.
        private: whether others may not see a repository that is made now.
        message: of the commit.
        api: what speaks with the hub; `huggingface_hub.HfApi()` with the token of this machine by default.

    Raises InvalidOption for a name that the hub does not take, where it refuses, and as :func:`card` does.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InvalidOption(f'repo={repo!r} is not of the form "user/name"')
    ready = shared(what)
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        ready.save(Path(folder))
        write_text(Path(folder) / "README.md", ready.card(repo))
        try:
            api.create_repo(repo, repo_type=ready.kind, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repo, folder_path=folder, repo_type=ready.kind, commit_message=message or ready.said
            )
        except (OSError, ValueError) as error:  # HTTP errors are OSErrors, names that it does not take ValueErrors
            raise InvalidOption(f"repo={repo!r}: the hub refuses it: {first_line(error)}") from error
    return f"{ready.place}{repo}"
