"""A set on the hub, with an API that writes into a folder."""

import shutil
from pathlib import Path

import pytest
import yaml

import neuronscope as ns
from neuronscope.errors import InvalidOption
from neuronscope.report import card, push_to_hub


class Hub:
    """What would be sent."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder, self.error, self.made = folder, error, []

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        if self.error:
            raise self.error
        self.made.append((repo_id, repo_type, private, exist_ok))

    def upload_folder(self, *, repo_id, folder_path, repo_type, commit_message):
        self.made.append((repo_id, repo_type, commit_message))
        shutil.copytree(folder_path, self.folder)


def some(count: int, **more) -> ns.Neurons:
    members = tuple(ns.Neuron(k % 7, k) for k in range(count))
    scores = {"effect": tuple(float(k) for k in range(count)), "effect_patch": (0.0,) * count}
    about = {"concept": "bear", "method": "two-stage", "model": {"id": "org/some-model", "fingerprint": "abc"}}
    return ns.Neurons(members, scores, **{**about, **more})


def test_what_is_sent_comes_back(tmp_path):
    hub, neurons = Hub(tmp_path / "sent"), some(5)
    assert push_to_hub(neurons, "me/bears", api=hub) == "https://huggingface.co/datasets/me/bears"
    assert hub.made == [("me/bears", "dataset", True, True), ("me/bears", "dataset", "5 neurons of bear")]
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["README.md", "neurons.json"]
    assert ns.Neurons.load(tmp_path / "sent" / "neurons.json") == neurons
    assert (tmp_path / "sent" / "README.md").read_text(encoding="utf-8") == card(neurons, "me/bears")


@pytest.mark.parametrize(
    ("neurons", "told"),
    [
        (some(5), ["5 neurons that hold “bear” in some-model (weights abc)", "located by two-stage", "L0.U0"]),
        (some(40), ["The first 30 of 40", "L1.U29"]),
        (some(1, concept=""), ["1 neuron in some-model"]),
        (some(0), ["It is empty."]),
        (some(2, model={}), ["an unnamed model"]),
        (some(2, model={"id": "/home/me/model", "fingerprint": "f"}), ["in model (weights f)"]),
    ],
)
def test_the_card(neurons, told):
    made = card(neurons, "me/bears")
    _, front, body = made.split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["library_name"] == "neuronscope"
    assert found.get("base_model") == ("org/some-model" if neurons.model.get("id") == "org/some-model" else None)
    assert all(text in body for text in told)
    assert 'hf_hub_download("me/bears", "neurons.json", repo_type="dataset")' in body
    assert "/home/me" not in made
    assert "effect_patch" not in made


@pytest.mark.parametrize("repo", ["bears", "/bears", "me/", "me/my/bears", ""])
def test_names(repo, tmp_path):
    with pytest.raises(InvalidOption, match='is not of the form "user/name"'):
        push_to_hub(some(1), repo, api=Hub(tmp_path / "sent"))


@pytest.mark.parametrize("error", [OSError("403 Forbidden\nmore"), ValueError("no such name")])
def test_a_hub_that_refuses(error, tmp_path):
    with pytest.raises(InvalidOption, match=r"repo='me/bears': the hub refuses it: (403 Forbidden|no such name)$"):
        push_to_hub(some(1), "me/bears", api=Hub(tmp_path / "sent", error))
