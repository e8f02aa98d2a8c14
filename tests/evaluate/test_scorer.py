"""What a metric's numbers hang on, told without loading its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from neuronscope.evaluate.captions import releases, scorer
from neuronscope.models.checkpoints import content_digest


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    files = ("config.json", "model.safetensors", "model-00002.safetensors", "tokenizer.json", "vocab.txt")
    for name in (*files, "spiece.model", "preprocessor_config.json"):
        (folder / name).write_text(f"{{}}{name}")
    return folder


@pytest.mark.parametrize("metric", ["bertscore", "clipscore"])
def test_every_file_counts(model: Path, metric: str):
    first = scorer(metric, model=str(model))
    assert scorer(metric, model=str(model)) == first
    seen = {json.dumps(first)}
    for path in sorted(model.iterdir()):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + b"?")
        seen.add(json.dumps(scorer(metric, model=str(model))))
        path.write_bytes(before)
    assert len(seen) == 1 + 7
    assert scorer(metric, model=str(model)) == first


def test_options_count_and_machines_do_not(model: Path, tmp_path: Path):
    first = scorer("bertscore", model=str(model))
    assert scorer("bertscore", model=str(model), layer=3) != first
    assert scorer("bertscore", model=str(model), device="cpu", batch_size=3) == first
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "encoder")
    (moved / "README.md").write_text("says nothing")
    assert scorer("bertscore", model=str(moved)) == first


def test_metrics_without_a_model_and_models_that_are_not_there():
    assert scorer("rouge-l") == {"options": {}, "model": None, "files": None}
    assert scorer("bertscore", model="package:not-there") == {
        "options": {},
        "model": "package:not-there",
        "files": None,
    }
    assert scorer("bertscore", model="nobody/nothing")["files"] is None


def test_releases():
    assert set(releases("bertscore")) == {"bert-score", "transformers"}
    assert set(releases("clipscore")) == {"transformers"}
    assert set(releases("bleu-4")) == {"sacrebleu"}


def test_a_tokenizer_belongs_to_a_loaded_models_fingerprint():
    from neuronscope.testing import WORDS, tiny_model, tiny_tokenizer

    model = tiny_model()
    assert content_digest(model, tiny_tokenizer()) == content_digest(model, tiny_tokenizer())
    assert content_digest(model, tiny_tokenizer()) != content_digest(model, tiny_tokenizer([*WORDS[1:], WORDS[0]]))
