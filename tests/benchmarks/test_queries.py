"""`python -m benchmarks.queries`: a model of its training."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import LlavaForConditionalGeneration

import neuronscope as ns
from neuronscope.loading.load import BUNDLED

sys.path.append(str(Path(__file__).parents[2]))
from training import queries


@pytest.fixture(scope="module")
def untrained() -> ns.VLM:
    teacher = LlavaForConditionalGeneration.from_pretrained(BUNDLED).eval()
    return ns.load((queries.build_blip(teacher, 0).eval(), queries.build_blip_processor()))


def test_a_model_of_the_training_loads_with_its_queries(untrained: ns.VLM):
    tokens = untrained.prepare([Image.new("RGB", (128, 128))]).images[0]
    assert (tokens.count, len(tokens.tiles)) == (32, 0)


def test_a_grey_picture_differs_from_grey_nowhere(untrained: ns.VLM):
    neurons = ns.Neurons.of([(2, 5), (3, 700)])
    heat = ns.heatmap(untrained, Image.new("RGB", (128, 128), (128, 128, 128)), neurons, trace="from-grey")
    assert heat.grids[0].shape == (8, 8)
    assert not heat.grids[0].any()


def test_another_picture_does_somewhere(untrained: ns.VLM, picture: Image.Image):
    heat = ns.heatmap(untrained, picture.resize((128, 128)), ns.Neurons.of([(2, 5)]))
    assert np.isfinite(heat.values).all()
    assert heat.grids[0].any()
