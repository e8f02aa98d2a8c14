"""What decides where a picture's tokens lie in a prompt and on the picture, beside the picture's size.

Maps of positions are kept, since measuring one takes as long as a caption; they are kept for one state of the settings
that they were measured with. Asking costs 0.1 ms. Not asked: the code of model and processor, which only somebody who
exchanges methods by hand changes within a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Parts of a processor with settings of their own, which is looked at, or that place nothing.
_PARTS = ("image_processor", "tokenizer", "chat_template", "video_processor")
#: Of settings: lists of names that a class knows, and what is long and says nothing of pictures.
_SILENT = ("_valid_kwargs_names", "id2label", "label2id", "text_config")


def placing(vlm: Any) -> tuple[object, str]:
    """What is another where pictures may get other positions: the family, and settings of processor and config.

    Args:
        vlm: the loaded model.
    """
    processor, config = vlm.processor, vars(vlm.model.config)
    pictures = getattr(processor, "image_processor", None)
    inner = [vars(part) for name, part in config.items() if hasattr(part, "model_type") and name not in _SILENT]
    held = [vars(processor), vars(pictures) if pictures is not None else {}, config, *inner]
    return vlm.family, repr([sorted(_plain(each)) for each in held])


def _plain(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if name not in _SILENT and name not in _PARTS and not hasattr(value, "model_type"):
            yield name, repr(value)
