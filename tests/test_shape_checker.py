"""Shapes of the package's tensors are checked while tests run, and functions without tensors are left as they are."""

import pytest
import torch
from jaxtyping import TypeCheckError

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
