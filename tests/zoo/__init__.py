"""Tiny random models of real families, each from its real config class and with its real processor."""

from __future__ import annotations

import neuronscope as ns

from .animal import Animal as Animal
from .minigpt4 import ANIMALS as _MINIGPT4
from .pan import ANIMALS as _PAN
from .plain import ANIMALS as _PLAIN
from .video import ANIMALS as _VIDEO

#: Name -> animal; several of one family are numbered.
ZOO: dict[str, Animal] = {}
for _animal in (*_PLAIN, *_VIDEO, *_MINIGPT4, *_PAN):
    _name = _animal.model_type
    ZOO[_name if _name not in ZOO else f"{_name}-2"] = _animal


class Loaded(dict[str, ns.VLM]):
    """Animals by name, built when first asked for: one that this release of transformers lacks skips its tests only."""

    def __missing__(self, name: str) -> ns.VLM:
        self[name] = ns.load(ZOO[name].build())
        return self[name]
