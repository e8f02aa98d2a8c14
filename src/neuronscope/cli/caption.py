"""`neuronscope caption`: greedy captions of images."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import DeviceOption, DtypeOption, JsonOption, ModelOption, emit, lines, open_model


def run(
    images: Annotated[list[str], typer.Argument(help="Image files.")],
    model: ModelOption = "demo",
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Caption images greedily after "The image shows a", 32 new tokens."""
    from ..samples.image import read_image

    pictures = [read_image(path) for path in images]  # every file is read before the model is loaded
    captions = open_model(model, device, dtype).captions(pictures)
    rows = list(zip(images, captions, strict=True))
    document = {"model": model, "captions": [{"image": path, "caption": caption} for path, caption in rows]}
    emit(document, as_json, lambda: lines(*(f"{path}: {caption}" for path, caption in rows)))
