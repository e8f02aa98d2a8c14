"""Fixtures that tests of all folders share: tiny random models, the bundled and the natural one, pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

import neuronscope as ns
from loaded_once import LoadedOnce, loaded_once
from neuronscope.caption import Caption
from neuronscope.testing import tiny_model, tiny_processor, tiny_vlm

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def reading() -> Iterator[LoadedOnce]:
    """Models are read from their files once a process, unless those or they were changed."""
    with loaded_once() as once:
        yield once


@pytest.fixture
def read_anew(reading: LoadedOnce) -> Iterator[None]:
    """For tests of the reading itself."""
    reading.paused = True
    yield
    reading.paused = False


@pytest.fixture(scope="session")
def make_vlm() -> Callable[..., ns.VLM]:
    """Builds a tiny random LLaVA; arguments as in tiny_vlm."""

    return tiny_vlm


@pytest.fixture(scope="session")
def vlm(make_vlm: Callable[..., ns.VLM]) -> ns.VLM:
    """One tiny random LLaVA for tests that do not change it."""
    return make_vlm()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a checkpoint directory."""
    folder = tmp_path_factory.mktemp("tiny-llava")
    tiny_model().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def picture() -> Image.Image:
    """A noisy 60 x 44 picture."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (44, 60, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Three noisy pictures of different sizes."""
    rng = np.random.default_rng(3)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 40), (32, 64), (50, 33))]


@pytest.fixture(scope="session")
def demo() -> ns.VLM:
    """The bundled model."""
    return ns.load("demo")


@pytest.fixture(scope="session")
def natural_files() -> Path:
    """The natural model's files in the user's cache; tests are skipped where its packages are not installed."""
    from neuronscope.models import natural

    if missing := natural.missing():
        pytest.skip(f"the natural model needs {', '.join(missing)}: {natural.INSTALL}")
    return natural.cached()


@pytest.fixture(scope="session")
def natural_vlm(natural_files: Path) -> ns.VLM:
    """The natural model."""
    return ns.load("natural")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty rendered scenes as a COCO folder; the bundled model never saw them in training."""
    from neuronscope.samples.scenes.export import write_coco

    return write_coco(tmp_path_factory.mktemp("scenes"), count=80, seed=20_000_000)


@pytest.fixture(scope="session")
def few_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO folder of 16 of them, with three bears and two buses that can be located."""
    from neuronscope.samples.scenes.export import write_coco

    return write_coco(tmp_path_factory.mktemp("few-scenes"), count=16, seed=20_000_037)


@pytest.fixture(scope="session")
def real_coco() -> Path:
    """The real photographs, where this machine has them."""
    default = Path(__file__).parents[2] / "shared" / "data" / "coco-mini"
    places = [Path(place) for place in (os.environ.get("NEURONSCOPE_COCO"), default) if place]
    for folder in places:
        if folder.is_dir():
            return folder
    pytest.skip(f"no COCO images: NEURONSCOPE_COCO or the default names no folder ({', '.join(map(str, places))})")


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
def pair() -> ns.Counterfactual:
    """A noisy picture with a 'bear' in a box."""
    rng = np.random.default_rng(11)
    image = Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8))
    return ns.counterfactual(ns.Sample(image=image, concept="bear", boxes=[(4, 4, 16, 16)]))


@pytest.fixture
def speaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the tiny model 'say' given captions about the original and the edited image.

    With `write` it writes captions of its own first, which are thrown away.
    """
    from neuronscope.locate import validity

    real = validity.generate_captions

    def say(vlm: ns.VLM, original: str, edited: str, *, write: bool = False) -> None:
        def caption(text: str) -> list[Caption]:
            ids = vlm.tokenizer(text, add_special_tokens=False).input_ids
            return [Caption(text, f"{ns.Decoding().beginning} {text}", tuple(ids))]

        def captions(*args: Any, **options: Any) -> list[list[Caption]]:
            if write:
                assert len(real(*args, **options)) == 2
            return [caption(original), caption(edited)]

        monkeypatch.setattr(validity, "generate_captions", captions)

    return say


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run it: what the type checker of these tests would stop gets through to the package's own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random detector or segmenter (tiny_regions.py), made when it is asked for."""
    known: dict[str, Path] = {}

    def folder(name: str) -> Path:
        from tiny_regions import MAKERS

        if name == "owlv2":
            pytest.importorskip("scipy")  # of its image processor
        if name not in known:
            known[name] = tmp_path_factory.mktemp(f"tiny-{name}")
            MAKERS[name](known[name])
        return known[name]

    return folder
