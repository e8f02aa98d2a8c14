"""Tiny models of families whose image tokens have no place on the image, built once for all files of this folder."""

import pytest

import neuronscope as ns
from zoo import Loaded


@pytest.fixture(scope="session")
def queried() -> dict[str, ns.VLM]:
    """By name; tests leave them as they are."""
    return Loaded()
