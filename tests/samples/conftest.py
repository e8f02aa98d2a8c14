from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
from PIL import Image

import neuronscope as ns


@pytest.fixture
def scene() -> Image.Image:
    """48 x 32 px, blue, with a red block at x 10..20, y 8..16."""
    pixels = np.full((32, 48, 3), (20, 40, 200), dtype=np.uint8)
    pixels[8:16, 10:20] = (220, 10, 10)
    return Image.fromarray(pixels)


@pytest.fixture
def sample(scene: Image.Image) -> ns.Sample:
    return ns.Sample(image=scene, concept="bear", boxes=[(10, 8, 10, 8)])


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run it: what the type checker of these tests would stop gets through to the package's own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
