"""Every model is read from its files: that is what is tested here."""

import pytest


@pytest.fixture(autouse=True)
def _read_anew(read_anew: None) -> None:
    """See shared.py."""
