"""Published files that transformers does not know, told by their config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def what_to_do(settings: Mapping[str, Any]) -> str:
    """One sentence on what makes a model of a folder with these settings; empty for folders that are one.

    LLaVA's own files call themselves "llava" as those of transformers do, and hold another model.
    """
    if settings.get("model_type") == "mplug_owl2" and "text_config" not in settings:
        return "these are mPLUG-Owl2's own files, of which `neuronscope convert mplug-owl2` makes a checkpoint"
    if "mm_vision_tower" not in settings or "text_config" in settings:
        return ""
    if (settings.get("mm_projector_type") or "linear") == "linear":
        return "these are LLaVA v1's own files, of which `neuronscope convert llava-v1` makes a checkpoint"
    return "these are LLaVA's own files; take the same model in the form of transformers (llava-hf/...)"
