"""`neuronscope caption`: greedy captions of images."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import Asking, Loading, made
from .output import JsonOption, counted, emit, lines, open_model, tell_notice
from .steps import progress
from .takes import Given, takes


@takes(Asking, Loading)
def run(
    parsed: Given,
    images: Annotated[list[str], typer.Argument(help="Image files.", metavar="IMAGE")],
    as_json: JsonOption = False,
) -> None:
    """Caption images greedily after "The image shows a", 32 new tokens; or answer a question about each."""
    from ..models.decoding import Decoding
    from ..samples.image import read_image

    decoding = Decoding.asked(made(Asking, parsed))
    pictures = [read_image(path) for path in images]  # every file is read before the model is loaded
    with progress(1, "loading the model") as step:
        vlm = open_model(made(Loading, parsed))
        notices = [tell_notice(vlm, *each) for each in zip(pictures, images, strict=True)]
        step("captioning")
        captions = vlm.captions(pictures, decoding=decoding)
    rows = list(zip(images, captions, strict=True))
    document = {
        "model": vlm.identity(),
        "decoding": decoding.to_dict(),
        "sent": vlm.sent(decoding),
        "captions": [
            {"image": path, "caption": caption, "notice": told}
            for (path, caption), told in zip(rows, notices, strict=True)
        ],
    }
    asked = f"answered “{decoding.question}” about" if decoding.question else "captioned"
    verdict = f"{vlm.id} {asked} {counted(len(rows), 'picture')}."
    emit(verdict, document, as_json, lambda: lines(*(f"{path}: {caption}" for path, caption in rows)))
