"""Training the natural model's projector: its texts, its split, and a restart that gives the same bits."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from neuronscope.models import natural
from neuronscope.samples import CocoFolder

sys.path.append(str(Path(__file__).parents[2]))
from training.natural.__main__ import Learner
from training.natural.data import continuation, features, listed, photographs, split


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("A dog sits on a bed. ", " dog sits on a bed."),
        ("Two dogs on a bed.", ""),  # "The image shows a Two dogs" is no sentence
        ("An umbrella", ""),
        ("A", ""),
    ],
)
def test_a_caption_goes_on_from_the_prompt(caption: str, text: str):
    assert continuation(caption) == text


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        (("dog",), " dog."),
        (("dog", "apple"), " dog and an apple."),
        (("dog", "cat", "oven"), " dog, a cat and an oven."),
    ],
)
def test_without_captions_the_objects_are_listed(objects: tuple[str, ...], text: str):
    assert listed(objects) == text


def test_what_is_measured_on_is_not_learnt_from():
    learnt, held = split(50, 0.2, seed=1)
    assert len(held) == 10
    assert sorted([*learnt, *held]) == list(range(50))
    assert not np.array_equal(held, split(50, 0.2, seed=2)[1])
    assert np.array_equal(held, split(50, 0.2, seed=1)[1])


def test_photographs_have_their_objects_the_largest_first(scenes: Path):
    shown = photographs(CocoFolder.open(scenes))
    assert len({one.path for one in shown}) == len(shown) == 80
    assert all(one.objects and one.texts for one in shown)


@pytest.mark.long
def test_a_restart_gives_the_same_bits_and_only_the_projector_learns(scenes: Path, tmp_path: Path):
    if missing := natural.missing():
        pytest.skip(f"the natural model needs {', '.join(missing)}: {natural.INSTALL}")
    model, processor = natural.assemble()
    shown = photographs(CocoFolder.open(scenes))[:3]
    seen = features(model, processor, shown, tmp_path / "features.safetensors")
    assert torch.equal(features(model, processor, shown, tmp_path / "features.safetensors"), seen)
    frozen = {k: v.clone() for k, v in model.state_dict().items() if "multi_modal_projector" not in k}
    shipped = load_file(natural.checkpoint.PROJECTOR)

    def learner(name: str) -> Learner:
        model.model.multi_modal_projector.load_state_dict(shipped)
        options = {"seed": 0, "rate": 1e-3, "batch": 2, "held_out": 0.2, "start": "shipped"}
        return Learner(
            model, processor, shown, seen, argparse.Namespace(out=tmp_path / f"{name}.safetensors", **options)
        )

    whole = learner("whole")
    losses = [whole.advance(np.arange(3)) for _ in range(2)]
    ends = {name: value.clone() for name, value in whole.projector.state_dict().items()}
    first = learner("parts")
    assert [first.advance(np.arange(3)) for _ in range(1)] == losses[:1]
    first.save()
    second = learner("parts")
    second.resume()
    assert second.step == 1
    assert [second.advance(np.arange(3)) for _ in range(1)] == losses[1:]
    assert all(torch.equal(second.projector.state_dict()[name], value) for name, value in ends.items())
    assert not torch.equal(ends["linear_1.weight"], shipped["linear_1.weight"])
    assert all(torch.equal(model.state_dict()[name], value) for name, value in frozen.items())
    other = learner("parts")
    other.args.seed = 1
    with pytest.raises(SystemExit, match="other settings"):
        other.resume()
