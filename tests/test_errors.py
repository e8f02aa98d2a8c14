"""Errors: one hierarchy, and a misspelt name is answered with the nearest one and all choices."""

from __future__ import annotations

import pytest

from neuronscope import errors
from neuronscope.errors import InvalidSample, NeuronscopeError, suggest

CLASSES = [value for value in vars(errors).values() if isinstance(value, type)]


def test_every_error_can_be_caught_as_one_and_refused_samples_as_another() -> None:
    assert len(CLASSES) >= 11
    assert all(issubclass(error, NeuronscopeError) for error in CLASSES)
    refusals = {"InvalidSample", "ConceptNotNamed", "ConceptStillNamed", "OtherConceptRemoved", "UnsegmentedScript"}
    assert {error.__name__ for error in CLASSES if issubclass(error, InvalidSample)} == refusals


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("giraf", " Did you mean 'giraffe'? Choices: bear, giraffe."),
        ("spaceship", " Choices: bear, giraffe."),
        ("", " Choices: bear, giraffe."),
    ],
)
def test_suggest_offers_the_nearest_choice_only_when_one_is_near(name: str, sentence: str) -> None:
    assert suggest(name, ["bear", "giraffe"]) == sentence
