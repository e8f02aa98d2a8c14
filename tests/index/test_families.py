"""An index of models whose pictures have different numbers of image tokens, or none: batches change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import neuronscope as ns
from neuronscope.errors import NoImagePositions
from neuronscope.intervene import activations
from report_samples import make_index
from zoo import ZOO


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures")
    for k in range(3):
        Image.effect_noise((60 + 9 * k, 50 + 3 * k), 90).convert("RGB").save(place / f"{k}.png")
    return place


@pytest.mark.parametrize("kind", ["qwen2_vl", "llava_next", "idefics3"])
def test_an_index_is_what_each_picture_alone_gives(kind, folder, tmp_path):
    vlm = ns.load(ZOO[kind].build(), check=False)
    index = make_index(vlm, folder, tmp_path, kept=2)
    layer = index.layers[-1]
    every = ns.Neurons.of([(layer, unit) for unit in range(vlm.widths[layer])])
    seen = [activations(vlm, folder / f"{k}.png", every) for k in range(3)]
    assert [len(one) for one in seen] == [one.tokens for one in index.pictures]
    peaks = np.stack([one.max(0) for one in seen], 1)
    assert np.allclose(index.layer(layer).top_value, -np.sort(-peaks, 1)[:, :2], atol=1e-4)
    assert index.layer(layer).tokens.sum(1).tolist() == [sum(map(len, seen))] * len(every)


def test_a_decoder_without_image_positions_is_refused(folder, tmp_path):
    with pytest.raises(NoImagePositions):
        make_index(ns.load(ZOO["git"].build(), check=False), folder, tmp_path / "none")
    assert not (tmp_path / "none").exists()
