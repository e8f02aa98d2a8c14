"""Training the planted Q-Former model: its layout, its start, and a restart that gives the same bits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from neuronscope.loading.load import BUNDLED

sys.path.append(str(Path(__file__).parents[2]))
from training.cache import open_cache
from training.organism import PATCHES, Layout, build_processor

from training import plant, queries


@pytest.fixture(scope="module")
def teacher() -> Any:
    return LlavaForConditionalGeneration.from_pretrained(BUNDLED).eval()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    open_cache(folder, 12, first_seed=0, workers=1)
    return folder


def test_the_layouts_are_those_of_the_processors(picture: Image.Image):
    for layout, processor, text in (
        (PATCHES, build_processor(), "<image>The image shows a"),
        (queries.LAYOUT, queries.build_blip_processor(), "The image shows a"),
    ):
        ids = processor(images=[picture], text=[text], return_tensors="pt").input_ids[0].tolist()
        assert ids == layout.prompt(processor.tokenizer, 4)
        assert {*ids[layout.image]} == {4}
        assert ids.count(4) == layout.count


def test_a_token_covers_what_its_cells_do():
    cells = np.zeros((2, 64))
    cells[0, 5], cells[1, 62], cells[1, 63] = 3, 1, 2
    found = Layout(joined=2).cover(cells)
    assert found.shape == (2, 32)
    assert (found[0, 2], found[1, 31], found.sum()) == (3, 2, 5)
    assert (PATCHES.cover(cells) == cells).all()


def test_queries_start_at_their_own_cells(teacher: Any, scenes: Path):
    cache = open_cache(scenes, 12, first_seed=0)
    model = queries.build_blip(teacher, 0)
    images, shares = queries.draw(cache, 12, np.random.default_rng(0))
    assert torch.allclose(shares.sum(-1), torch.ones(12, 32))
    features, said = queries.teach(teacher, images)
    assert (features.shape, said.shape) == ((12, 65, 192), (12, 64, 128))
    queries.aim(model, features)
    model.qformer.config._attn_implementation = "eager"
    asked = model.query_tokens.expand(12, -1, -1)
    seen = model.qformer(query_embeds=asked, encoder_hidden_states=features, output_attentions=True)
    looks = [one.mean((0, 1))[:, 1:] for one in seen.cross_attentions if one is not None and one.shape[-1] == 65]
    own = torch.arange(32)
    for turn, look in enumerate(looks):
        assert look[own, 2 * own + turn].mean() > 0.7


def test_a_part_that_was_cut_off_is_made_again_to_the_bit(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plant, "probe", lambda *_, **__: {})

    def run(out: Path) -> dict[str, torch.Tensor]:
        numbers = {"scenes": 12, "batch": 2, "imitate": 1, "steps": 2}
        more = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
        monkeypatch.setattr(sys, "argv", ["queries", "--out", str(out), "--cache", str(scenes), *more])
        queries.main()
        return torch.load(out / "checkpoint.pt", weights_only=True)["model"]

    whole = run(tmp_path / "whole")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plant.Planter, "losses", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    assert (tmp_path / "cut" / "imitate.pt").is_file()
    again = run(tmp_path / "cut")
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert (tmp_path / "cut" / "model" / "planted.json").is_file()
