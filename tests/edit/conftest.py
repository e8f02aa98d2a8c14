"""Models that edit tests may change, and what it takes to see that nothing is left of a change."""

import copy
from collections.abc import Callable

import pytest
import torch

import neuronscope as ns

SOME = [(1, 3), (1, 40), (2, 7), (3, 0)]


@pytest.fixture
def own(vlm: ns.VLM) -> ns.VLM:
    """A tiny model of the test's own: a copy, which takes a seventh of the time of another one."""
    return ns.load((copy.deepcopy(vlm.model), vlm.processor), check=False)


@pytest.fixture
def some() -> ns.Neurons:
    """Four neurons in three layers."""
    return ns.Neurons.of(SOME)


@pytest.fixture(scope="session")
def weights() -> Callable[[ns.VLM], dict[str, torch.Tensor]]:
    """Copies of all weights of a model."""
    return lambda vlm: {name: value.detach().clone() for name, value in vlm.model.state_dict().items()}


@pytest.fixture(scope="session")
def changed() -> Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], list[str]]:
    """Names of the weights that differ in any bit."""

    def bits(values: torch.Tensor) -> torch.Tensor:
        return values.contiguous().view(torch.uint8)

    def compare(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[str]:
        assert a.keys() == b.keys()
        return [n for n in a if not torch.equal(bits(a[n]), bits(b[n]))]

    return compare
