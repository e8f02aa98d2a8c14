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
    from ..caption.generation import generate_captions
    from ..models import Decoding
    from ..samples.image import read_image

    pictures = [read_image(path) for path in images]  # every file is read before the model is loaded
    decoding = Decoding()
    vlm = open_model(model, device, dtype)
    captions = [row[0].full for row in generate_captions(vlm, pictures, decoding=decoding)]
    rows = list(zip(images, captions, strict=True))
    how = {**decoding.to_dict(), "template": decoding.template or vlm.family.template}
    document = {
        "model": vlm.identity(),
        "decoding": how,
        "captions": [{"image": path, "caption": caption} for path, caption in rows],
    }
    emit(document, as_json, lambda: lines(*(f"{path}: {caption}" for path, caption in rows)))
