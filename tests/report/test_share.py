"""Sets and edits on the hub, with an API that writes into a folder."""

import shutil
from pathlib import Path

import pytest
import yaml

import neuronscope as ns
from neuronscope.edit import Edit
from neuronscope.errors import InvalidOption, RunMismatch
from neuronscope.report import card, push_to_hub
from neuronscope.sets import load_sets, save_sets


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


# ---- several sets


def test_several_sets_come_back(tmp_path):
    sets = {name: some(3, concept=name) for name in ("bear", "traffic light", "chó", "a/b", "..")}
    hub = Hub(tmp_path / "sent")
    assert push_to_hub(sets, "me/nouns", api=hub) == "https://huggingface.co/datasets/me/nouns"
    assert hub.made[-1] == ("me/nouns", "dataset", "neurons of 5 words")
    assert load_sets(tmp_path / "sent") == sets
    made = (tmp_path / "sent" / "README.md").read_text(encoding="utf-8")
    assert made == card(sets, "me/nouns")
    for told in (
        "for each of 5 words in some-model (weights abc)",
        "| traffic light |",
        "base_model: org/some-model",
    ):
        assert told in made
    assert 'load_sets(snapshot_download("me/nouns", repo_type="dataset"))' in made


def test_sets_of_several_models_are_refused():
    other = some(1, concept="bus", model={"id": "org/other", "fingerprint": "def"})
    with pytest.raises(InvalidOption, match="one model's weights, and these are of abc, def"):
        card({"bear": some(1), "bus": other})
    with pytest.raises(InvalidOption, match="these are of none"):
        card({})


def test_a_folder_of_sets(tmp_path):
    with pytest.raises(InvalidOption, match=r"sets\['cat'\] is a set of 'bear'"):
        save_sets(tmp_path, {"cat": some(1)})
    with pytest.raises(InvalidOption, match=r"sets\[''\]"):
        save_sets(tmp_path, {"": some(1, concept="")})
    with pytest.raises(RunMismatch, match="holds no sets of neurons"):
        load_sets(tmp_path)
    save_sets(tmp_path, {"bear": some(2), "bus": some(2, concept="bus"), "cat": some(2, concept="cat", method="pan")})
    some(1).save(tmp_path / "neurons" / "by hand.json")
    assert set(load_sets(tmp_path)) == {"bear", "bus", "cat"}  # what is called otherwise is people's own
    assert save_sets(tmp_path, {"bear": some(3)}, instead_of="two-stage") == {"bear": "neurons/bear.json"}
    assert {name: len(one) for name, one in load_sets(tmp_path).items()} == {"bear": 3, "cat": 2}
    assert (tmp_path / "neurons" / "by hand.json").is_file()
    (tmp_path / "neurons" / "broken.json").write_text("{")
    with pytest.raises(RunMismatch, match=r"broken\.json cannot be read"):
        load_sets(tmp_path)


# ---- edits


@pytest.mark.parametrize(
    ("editor", "told", "said"),
    [
        (
            ns.Swap(source="bear", target="horse"),
            "it says “horse” in the place of “bear”",
            "swap of 3 neurons, bear -> ",
        ),
        (ns.Ablate(), "by ablate.", "ablate of 3 neurons"),
    ],
)
def test_an_edit_comes_back(demo: ns.VLM, tmp_path, editor, told: str, said: str):
    edit = editor.edit(demo, ns.Neurons.of([(3, 7), (3, 20), (6, 1)]))
    hub = Hub(tmp_path / "sent")
    assert push_to_hub(edit, "me/horse", api=hub) == "https://huggingface.co/me/horse"
    assert hub.made[0] == ("me/horse", "model", True, True)
    assert hub.made[1][2].startswith(said)
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["README.md", "edit.safetensors"]
    again = Edit.load(tmp_path / "sent" / "edit.safetensors", demo)
    assert again.digest == edit.digest
    for name in ("neurons", "editor", "settings", "words", "before", "report", "model"):
        assert getattr(again, name) == getattr(edit, name)
    made = (tmp_path / "sent" / "README.md").read_text(encoding="utf-8")
    assert made == card(edit, "me/horse")
    assert told in made
    assert f"3 neurons of demo (weights {demo.fingerprint})" in made
    assert 'ns.Edit.load(hf_hub_download("me/horse", "edit.safetensors"), vlm)' in made
    size = edit.delta(3).norm() / edit.old[3].norm()
    assert f"| L3    |       2 | {size:18.3f} |" in made
    assert "base_model" not in made  # the bundled model is not on the hub
