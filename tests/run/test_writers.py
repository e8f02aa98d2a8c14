"""Where curves go: real TensorBoard files, a real run of Weights & Biases without a network, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neuronscope.errors import InvalidOption
from neuronscope.run.writers import open_writer


@pytest.mark.parametrize(
    ("place", "module", "cure"),
    [
        ("log", "torch.utils.tensorboard", r"--log needs TensorBoard: pip install 'neuronscope\[log\]'"),
        ("wandb:bears", "wandb", r"--log wandb:bears needs wandb: pip install 'neuronscope\[wandb\]'"),
    ],
)
def test_without_what_it_takes_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, module: str, cure: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidOption, match=cure):
        open_writer(place)
    assert not list(tmp_path.iterdir())


def test_a_project_without_a_name_is_refused():
    with pytest.raises(InvalidOption, match="--log wandb: names no project: wandb:PROJECT"):
        open_writer("wandb:")


def test_a_folder_of_curves_of_tensorboard(tmp_path: Path):
    pytest.importorskip("tensorboard")
    writer = open_writer(tmp_path / "log")
    writer.add_scalar("J/pan", 0.5, 3)
    writer.close()
    (found,) = (tmp_path / "log").iterdir()
    assert b"J/pan" in found.read_bytes()


def test_a_run_of_weights_and_biases_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb").teardown()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    writer = open_writer("wandb:bears")
    for tag in ("units", "J/pan"):
        writer.add_scalar(tag, 0.5, 3)
    writer.close()
    (found,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = found.read_bytes()
    assert b"J/pan" in content
    assert b"units" in content


def test_without_a_key_there_is_a_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb").teardown()  # it keeps what it read of the environment
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(InvalidOption, match=r"--log wandb:bears: .*`wandb login` keeps a key"):
        open_writer("wandb:bears")
