"""`neuronscope convert`: checkpoints that transformers does not know, as directories that it does."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from .output import JsonOption, emit, table
from .strict import strict

app = typer.Typer(help="Make a checkpoint directory of a model that transformers does not have.", no_args_is_help=True)


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]
    """Without a callback typer would run the only verb of the group without its name."""


@app.command()
@strict
def minigpt4(
    vit: Annotated[Path, typer.Option("--vit", help="eva_vit_g.pth.")],
    llama: Annotated[Path, typer.Option("--llama", help="Directory with Llama-2-chat (or Vicuna), safetensors.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The MiniGPT-4 or MiniGPT-v2 file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory to make.")],
    qformer: Annotated[
        Path | None, typer.Option("--qformer", help="blip2_pretrained_flant5xxl.pth; for the Vicuna versions.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Side of the picture; 448 for MiniGPT-v2, else 224.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", help="Blocks of the tower that are run.")] = 39,
    qformer_depth: Annotated[int, typer.Option("--qformer-depth", help="Layers of the Q-Former.")] = 12,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16, float16, or auto for Llama's.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Convert the published MiniGPT-4 files. Nothing in them is run, and every tensor is accounted for."""
    from ..models.minigpt4.write import convert_files

    report = convert_files(
        vit,
        llama,
        checkpoint,
        out,
        qformer=qformer,
        image_size=image_size,
        dtype=dtype,
        depth=depth,
        qformer_depth=qformer_depth,
    )
    document = {"folder": str(out), **dataclasses.asdict(report)}

    def show() -> None:
        rows: list[tuple[object, object]] = [
            ("model", report.kind),
            ("image tokens", report.layout),
            ("ln_vision", report.ln_vision),
            ("LoRA merged into", f"{report.lora} matrices"),
            ("tensors used", len(report.used)),
            ("tensors ignored", len(report.ignored)),
        ]
        rows += [(f"  {reason}", count) for reason, count in Counter(report.ignored.values()).items()]
        table(f"{out}", ("", ""), rows)

    emit(document, as_json, show)
