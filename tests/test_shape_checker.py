"""Shapes of the package's tensors are checked while tests run, and functions without tensors are left as they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

import shape_checker
from neuronscope.edit.graft import unit_mean
from neuronscope.locate.scores import Pooled
from neuronscope.parsing import digits


def test_a_wrong_shape_is_noticed():
    unit_mean(torch.ones(3, 2))
    with pytest.raises(TypeCheckError):
        unit_mean(torch.ones(3))
    with pytest.raises(TypeCheckError):
        Pooled(torch.ones(3))  # an array is wanted


def test_what_has_no_tensor_is_not_wrapped():
    assert hasattr(unit_mean, "__wrapped__")
    assert not hasattr(digits, "__wrapped__")


def test_a_function_within_another_is_checked_each_time_it_is_made():
    """By checks that are compiled once, and call the function at hand: also within itself, and after a refusal."""

    def made(factor: float):
        @shape_checker.shapes
        def times(values: Float[Tensor, "rows two"], deeper: Callable[..., Any] | None = None) -> Float[Tensor, "rows"]:
            inner = 0 if deeper is None else deeper(values)
            return factor * values.sum(1) + inner if factor else values

        return times

    two, three, wrong = made(2), made(3), made(0)
    values = torch.ones(4, 2)
    assert two(values).tolist() == [4.0] * 4
    assert three(values).tolist() == [6.0] * 4
    assert two(values, three).tolist() == [10.0] * 4
    assert two(values, deeper=two).tolist() == [8.0] * 4
    for refused, given in ((two, values[0]), (three, values.int()), (wrong, values)):
        with pytest.raises(TypeCheckError):
            refused(given)
        assert two(values).tolist() == [4.0] * 4
    with pytest.raises(TypeCheckError):
        two(values, lambda given: wrong(given))
    with pytest.raises(TypeError, match="missing a required argument"):
        two()
    assert len({code for code in shape_checker._INNER if code.co_name == "times"}) == 1
