"""Inpainting by diffusion: a Stable Diffusion inpainting pipeline of diffusers, from a local directory.

The prompt asks for nothing in particular, the noise is seeded, and the picture is scaled to whole blocks of the
pipeline's autoencoder and back: the same picture, mask and weights give the same pixels on one machine. Only
safetensors are read and no code of the directory is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from xxhash import xxh3_128

from ..errors import MODEL_ERRORS, InvalidOption, InvalidSample, UnsupportedModel, first_line
from ..fields import shown
from ..files import is_file
from ..parsing import read_json
from ..types import Json

Pixels: TypeAlias = UInt8[np.ndarray, "height width 3"]
Mask: TypeAlias = Bool[np.ndarray, "height width"]
#: Names, times of change and sizes of a pipeline's files.
_State: TypeAlias = tuple[tuple[str, int, int], ...]

#: Pipelines that are known, by the name in model_index.json.
PIPELINES = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
PROMPT, STEPS, GUIDANCE, SEED = "empty background", 30, 7.5, 0
#: Sides in pixels that a picture is scaled to: these pipelines were trained on 512 to 1024.
_SMALLEST, _LARGEST = 512, 1024

_INDEX = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")


def require_pipeline(directory: str) -> Path:
    """The directory of a pipeline, as far as its index tells.

    Raises InvalidOption where diffusers is not installed, or the directory holds no pipeline that is known.
    """
    told = f"diffusion:{shown(directory).strip(chr(39))}"
    if find_spec("diffusers") is None:
        raise InvalidOption(f"{told} needs diffusers, which is not installed: pip install 'neuronscope[diffusion]'")
    folder = Path(directory).expanduser()
    if not directory or not is_file(folder / _INDEX):
        raise InvalidOption(
            f"{told}: there is no {_INDEX} in that directory; `hf download MODEL --local-dir DIRECTORY` fetches one"
        )
    try:
        index: Any = read_json(folder / _INDEX)
        kind = index["_class_name"]
        parts = {name: value for name, value in index.items() if not name.startswith("_") and isinstance(value, list)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidOption(f"{told}: {_INDEX} cannot be read: {first_line(error)}") from error
    if kind not in PIPELINES:
        raise InvalidOption(f"{told} is a {shown(kind)}; these are taken: {', '.join(PIPELINES)}")
    for name, value in parts.items():
        unknown = value[0] if value else ""
        if name != "safety_checker" and unknown is not None and unknown not in _LIBRARIES:
            raise InvalidOption(f"{told}: {_INDEX} takes {name} from {shown(unknown)}, code that is not run")
    return folder


def pipeline(directory: str) -> Diffusion:
    """The pipeline of a directory; the last one is kept, as long as its files stay as they are.

    Raises what :func:`require_pipeline` does, and UnsupportedModel where it cannot be loaded.
    """
    folder = require_pipeline(directory).resolve()
    return _loaded(str(folder), _state(folder))


def told_of(directory: str) -> Mapping[str, Json]:
    """Which pipeline it is, with the fingerprint of its files, and its settings. Raises what require_pipeline does."""
    folder = require_pipeline(directory).resolve()
    return {
        "model": folder.name,
        "fingerprint": _digest(str(folder), _state(folder)),
        "diffusers": version("diffusers"),
        "prompt": PROMPT,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "seed": SEED,
    }


def _state(folder: Path) -> _State:
    return tuple(sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in _files(folder)))


@lru_cache(maxsize=1)
def _loaded(folder: str, state: _State) -> Diffusion:
    del state  # part of the key
    return Diffusion(Path(folder))


class Diffusion:
    """An inpainter (inpainters.py)."""

    def __init__(self, folder: Path) -> None:
        """Load a pipeline, in float32, on the GPU if there is one. Raises UnsupportedModel where that fails."""
        import torch
        from safetensors import SafetensorError

        diffusers: Any = import_module("diffusers")
        self._folder = folder
        kind: Any = read_json(folder / _INDEX)
        maker: Any = getattr(diffusers, kind["_class_name"])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        checker = {"safety_checker": None} if "safety_checker" in kind else {}
        options: Any = {"use_safetensors": True, "local_files_only": True, **checker}
        try:
            self._pipe: Any = maker.from_pretrained(str(folder), **options).to(device, torch.float32)
        except (*MODEL_ERRORS, OSError, ImportError, SafetensorError) as error:
            raise UnsupportedModel(f"diffusion:{folder} cannot be loaded: {first_line(error)}") from error
        self._pipe.set_progress_bar_config(disable=True)

    def fill(self, pixels: Pixels, mask: Mask, radius: float) -> Pixels:
        """The masked pixels as the pipeline draws them; the radius is not used. Raises InvalidSample where it fails."""
        import torch

        del radius
        height, width = mask.shape
        across, down = self._sides(width, height)
        seeded: Any = torch.Generator("cpu").manual_seed(SEED)
        try:
            drawn = self._pipe(
                prompt=PROMPT,
                image=Image.fromarray(pixels).resize((across, down), Image.Resampling.LANCZOS),
                mask_image=Image.fromarray(mask).convert("L").resize((across, down), Image.Resampling.NEAREST),
                height=down,
                width=across,
                strength=1.0,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=seeded,
            ).images[0]
        except MODEL_ERRORS as error:
            raise InvalidSample(f"{self._folder.name} cannot inpaint the picture: {first_line(error)}") from error
        return np.asarray(drawn.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), dtype=np.uint8)

    def told(self) -> Mapping[str, Json]:
        """Model, fingerprint of its files, and settings."""
        return told_of(str(self._folder))

    def _sides(self, width: int, height: int) -> tuple[int, int]:
        """The size that is drawn: whole blocks, neither much smaller nor larger than the pipeline was trained on."""
        block = int(self._pipe.vae_scale_factor)
        least = min(_SMALLEST, int(self._pipe.unet.config.sample_size) * block)
        scale = max(1.0, least / min(width, height))
        scale = min(scale, _LARGEST / max(width, height))
        across, down = (max(block, round(side * scale / block) * block) for side in (width, height))
        return across, down


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt"))


@lru_cache(maxsize=4)
def _digest(root: str, state: _State) -> str:
    digest, folder = xxh3_128(), Path(root)
    for path in (Path(name) for name, _, _ in state):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while piece := file.read(2**24):
                digest.update(piece)
    return digest.hexdigest()[:16]
