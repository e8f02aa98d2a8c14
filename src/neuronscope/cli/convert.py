"""`neuronscope convert`: checkpoints that transformers does not know, as directories that it does."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from .examples import shown
from .output import JsonOption, counted, emit, table
from .strict import strict
from .usage import Verb

OutOption: TypeAlias = Annotated[Path, typer.Option("--out", "-o", help="Directory to make.")]
TokenizerOption: TypeAlias = Annotated[
    Path | None, typer.Option("--tokenizer", help="Directory with its tokenizer, if not the checkpoint's.")
]
DtypeOption: TypeAlias = Annotated[
    str, typer.Option("--dtype", help="float32, bfloat16, float16, or auto for the decoder's.")
]

app = typer.Typer(help="Make a checkpoint directory of a model that transformers does not have.", no_args_is_help=True)


@app.command(cls=Verb, epilog=shown("convert minigpt4"))
@strict
def minigpt4(
    vit: Annotated[Path, typer.Option("--vit", help="eva_vit_g.pth.")],
    llama: Annotated[Path, typer.Option("--llama", help="Directory with Llama-2-chat (or Vicuna), safetensors.")],
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The MiniGPT-4 or MiniGPT-v2 file.")],
    out: OutOption,
    qformer: Annotated[
        Path | None, typer.Option("--qformer", help="blip2_pretrained_flant5xxl.pth; for the Vicuna versions.")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Side of the picture; 448 for MiniGPT-v2, else 224.")
    ] = None,
    depth: Annotated[int, typer.Option("--depth", help="Blocks of the tower that are run.")] = 39,
    qformer_depth: Annotated[int, typer.Option("--qformer-depth", help="Layers of the Q-Former.")] = 12,
    dtype: DtypeOption = "auto",
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
    rows = [("ln_vision", report.ln_vision), ("LoRA merged into", f"{report.lora} matrices")]
    _emit(out, report, rows, as_json)


@app.command("llava-v1", cls=Verb, epilog=shown("convert llava-v1"))
@strict
def llava_v1(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Directory with LLaVA v1 (or a Llama).")],
    vit: Annotated[Path, typer.Option("--vit", help="Directory with CLIP, such as clip-vit-large-patch14.")],
    out: OutOption,
    projector: Annotated[
        Path | None, typer.Option("--projector", help="mm_projector.bin, where it is a file of its own.")
    ] = None,
    tokenizer: TokenizerOption = None,
    conversation: Annotated[
        str, typer.Option("--conversation", help="How it was asked: llama-2, vicuna-v1, or vicuna-v0.")
    ] = "llama-2",
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Convert the published LLaVA v1 files. Nothing in them is run, and every tensor is accounted for."""
    from ..models.llava_v1.convert import convert_files

    report = convert_files(
        checkpoint, vit, out, projector=projector, tokenizer=tokenizer, conversation=conversation, dtype=dtype
    )
    _emit(out, report, [("vision tower", report.tower)], as_json)


@app.command("mplug-owl2", cls=Verb, epilog=shown("convert mplug-owl2"))
@strict
def mplug_owl2(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Directory with mPLUG-Owl2.")],
    out: OutOption,
    tokenizer: TokenizerOption = None,
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Convert the published mPLUG-Owl2 files. Nothing in them is run, and every tensor is accounted for."""
    from ..models.mplug_owl2.convert import convert_files

    _emit(out, convert_files(checkpoint, out, tokenizer=tokenizer, dtype=dtype), [], as_json)


def _emit(out: Path, report: Any, more: list[tuple[str, str]], as_json: bool) -> None:
    """One document, or a table of what became of the files."""

    def show() -> None:
        rows: list[tuple[object, object]] = [
            ("model", report.kind),
            ("image tokens", report.layout),
            ("prompt", report.template),
            *more,
            ("tensors used", len(report.used)),
            ("tensors ignored", len(report.ignored)),
        ]
        rows += [(f"  {reason}", count) for reason, count in Counter(report.ignored.values()).items()]
        table(f"{out}", ("", ""), rows)

    used, ignored = counted(len(report.used), "tensor"), counted(len(report.ignored), "other")
    verdict = f"{report.kind} can be loaded from {out}: it has {used}; {ignored} of the files are not needed."
    emit(verdict, {"folder": str(out), **dataclasses.asdict(report)}, as_json, show)
