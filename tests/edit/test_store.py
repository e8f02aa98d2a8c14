import json
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file

import neuronscope as ns
from neuronscope.edit import Amplify, Edit, Swap
from neuronscope.errors import InvalidOption, NeuronscopeError, RunMismatch


@pytest.fixture
def saved(own, some, pictures, tmp_path):
    edit = Swap(source="bear", target="dog", alpha=0.5).edit(own, some)
    edit.save(tmp_path / "edit.safetensors")
    return edit, tmp_path / "edit.safetensors"


def test_round_trip(own, saved, weights, changed):
    edit, path = saved
    again = Edit.load(path, own)
    assert again.digest == edit.digest
    assert again.neurons == edit.neurons
    assert again.words == edit.words
    assert again.settings == edit.settings
    assert again.settings["alpha"] == 0.5
    assert again.model == own.identity()
    with edit:
        wanted = weights(own)
        assert again.applied  # the same edit
    with again:
        assert not changed(wanted, weights(own))


def test_what_was_said_before_is_kept(own, some, pictures, tmp_path):
    edit = Amplify().edit(own, some, pictures)
    edit.save(tmp_path / "e.safetensors")
    assert Edit.load(tmp_path / "e.safetensors", own).before == edit.before
    assert [one.full for one in edit.before] == own.captions(pictures)


def test_a_loaded_edit_undoes_one_in_force(own, saved, weights, changed):
    before = weights(own)
    edit, path = saved
    edit.apply()
    Edit.load(path, own).revert()
    assert not changed(before, weights(own))


def test_other_weights_are_refused(make_vlm, saved, weights, changed):
    other = make_vlm(seed=1)
    before = weights(other)
    with pytest.raises(RunMismatch, match=r"edit\.safetensors is an edit of .*load the weights that it was made from"):
        Edit.load(saved[1], other)
    assert not changed(before, weights(other))


def damaged(path, change):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        document = json.loads(file.metadata()["neuronscope.edit"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(document, tensors)
    save_file(tensors, path, {"neuronscope.edit": json.dumps(document)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, t: d.update(schema="neuronscope.edit/9"), "schema is 'neuronscope.edit/9'"),
        (lambda d, t: d.pop("words"), "damaged edit: KeyError: 'words'"),
        (lambda d, t: t.pop("2.new"), "damaged edit: KeyError: '2.new'"),
        (lambda d, t: t["2.new"].add_(1), "not those that were saved"),
        (lambda d, t: t["2.new"].fill_(float("nan")), "not finite"),
        (lambda d, t: d.update(neurons={}), "schema None"),
        (lambda d, t: d.update(model=None), "load the weights that it was made from"),
        (lambda d, t: d.update(before=[{"text": "a"}]), "damaged"),
    ],
)
def test_damaged_files(own, saved, change, message):
    damaged(saved[1], change)
    with pytest.raises(RunMismatch, match=message):
        Edit.load(saved[1], own)


def test_files_that_are_no_edits(own, tmp_path):
    with pytest.raises(RunMismatch, match="cannot be read as an edit"):
        Edit.load(tmp_path / "none.safetensors", own)
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(RunMismatch, match="cannot be read as an edit"):
        Edit.load(tmp_path / "text", own)
    save_file({"a": torch.zeros(2)}, tmp_path / "plain.safetensors")
    with pytest.raises(RunMismatch, match="is no edit"):
        Edit.load(tmp_path / "plain.safetensors", own)


def test_an_unwritable_place(saved, tmp_path):
    with pytest.raises(NeuronscopeError, match="cannot be written"):
        saved[0].save(tmp_path / "missing" / "e.safetensors")


def test_a_full_checkpoint(checkpoint, some, pictures, tmp_path, weights, changed):
    vlm = ns.load(checkpoint, device="cpu")
    before = weights(vlm)
    edit = Amplify(factor=-4.0).edit(vlm, some)
    with pytest.raises(InvalidOption, match="holds the unedited model"):
        edit.save_model(checkpoint)
    edit.save_model(tmp_path / "edited")
    assert not changed(before, weights(vlm))
    again = ns.load(tmp_path / "edited", device="cpu")
    with edit:
        assert not changed(weights(vlm), weights(again))
        assert again.captions(pictures) == vlm.captions(pictures)
        edit.save_model(tmp_path / "again")  # also while it is in force
        assert edit.applied
    assert not changed(weights(again), weights(ns.load(tmp_path / "again", device="cpu")))


def test_an_edited_checkpoint_is_called_what_the_model_was_called_with_the_edit_in_force(checkpoint, tmp_path):
    vlm = ns.load(checkpoint, device="cpu")
    plain = vlm.fingerprint
    quiet = Amplify(factor=1.0).edit(vlm, ns.Neurons.of([(1, 3)]))
    quiet.save_model(tmp_path / "quiet")
    assert "neuronscope_edits" not in vars(vlm.model.config)
    edited = ns.load(tmp_path / "quiet", device="cpu")
    assert edited.fingerprint == plain  # nothing was changed
    loud = Amplify(factor=1.001).edit(vlm, ns.Neurons.of([(1, 3)]))
    loud.save_model(tmp_path / "loud")
    with loud:
        assert ns.load(tmp_path / "loud", device="cpu").fingerprint == vlm.fingerprint != plain
    assert vlm.fingerprint == plain
    second = Amplify(factor=2.0).edit(edited, ns.Neurons.of([(2, 5)]))
    second.save_model(tmp_path / "both")
    assert len(ns.load(tmp_path / "both", device="cpu").model.config.neuronscope_edits) == 2


def test_a_model_appears_whole_or_not_at_all(own, some, tmp_path, monkeypatch):
    edit = Amplify(factor=2.0).edit(own, some)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "model.safetensors").write_text("older weights, which would be read in the place of these")
    with pytest.raises(InvalidOption, match="taken exists and is not empty"):
        edit.save_model(taken)
    for error in (RuntimeError("shared tensors"), OSError(28, "No space left on device")):
        monkeypatch.setattr(own.processor, "save_pretrained", Mock(side_effect=error), raising=False)
        with pytest.raises(InvalidOption, match=r"out.*shared tensors|out cannot be written: No space"):
            edit.save_model(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]
    assert not hasattr(own.model.config, "neuronscope_edits")
