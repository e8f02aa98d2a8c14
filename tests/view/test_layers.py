import numpy as np
from PIL import Image

import neuronscope as ns
from neuronscope.view import layer_distribution, plot_layers


def test_counts_and_uniform_expectation():
    spread = layer_distribution(ns.Neurons.of([(0, 1), (2, 0), (2, 5)]), (10, 10, 40))
    assert spread.counts.tolist() == [1, 0, 2]
    np.testing.assert_allclose(spread.expected, [0.5, 0.5, 2.0])
    np.testing.assert_allclose(spread.ratio, [2.0, 0.0, 1.0])
    assert not layer_distribution(ns.Neurons(()), (4, 4)).ratio.any()


def test_plot_is_a_picture(tmp_path):
    spread = layer_distribution(ns.Neurons.of([(0, 1)]), (4, 4))
    plot_layers({"a": spread, "b": spread}, tmp_path / "layers.png")
    assert Image.open(tmp_path / "layers.png").width > 100
