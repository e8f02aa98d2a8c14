"""One photograph's result as a picture for the documentation: the object, its edit, its map, and four captions.

python -m benchmarks.photograph chelsea.png cat --box 28,0,335,300 --out docs/images/cat.jpg

The map is the mean activation of the neurons with the largest activation differences, as `neuronscope locate` draws it.
Exchanged neurons have the activations at the image tokens that they have in the edited picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import neuronscope as ns

WIDTH, GAP, LINE = 300, 10, 22
INK, SOFT = (30, 34, 48), (90, 96, 112)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("concept")
    parser.add_argument("--box", required=True, help="x,y,width,height in pixels")
    parser.add_argument("--model", default="natural")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    x, y, w, h = (float(number) for number in args.box.split(","))
    vlm = ns.load(args.model)
    sample = ns.Sample(image=args.image, concept=args.concept, boxes=[(x, y, w, h)])
    pair = ns.counterfactual(sample)
    found = ns.TwoStage().locate(vlm, pair)
    control = ns.layer_matched(vlm, found.neurons)
    exchanged = ns.Patch.take(vlm, found.neurons, pair.edited)
    random = ns.Patch.take(vlm, control, pair.edited)
    said = [
        ("as it is", vlm.captions([pair.original])[0]),
        ("painted over", vlm.captions([pair.edited])[0]),
        (f"{len(found.neurons)} located neurons exchanged", vlm.captions([pair.original], exchanged)[0]),
        (f"{len(control)} random ones exchanged", vlm.captions([pair.original], random)[0]),
    ]
    for label, caption in said:
        print(f"{label}: {caption}")
    for note in found.notes:
        print(f"note: {note}")
    boxed = ns.heatmap(vlm, pair.original, found.neurons).overlay(sample.boxes)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet([pair.original, pair.edited, boxed], said).save(args.out, quality=88)


def sheet(pictures: list[Image.Image], said: list[tuple[str, str]]) -> Image.Image:
    """Pictures side by side, and under them what was said when, one line each."""
    small = [picture.convert("RGB").resize((WIDTH, WIDTH * picture.height // picture.width)) for picture in pictures]
    top = small[0].height + 2 * GAP
    whole = Image.new("RGB", (len(small) * (WIDTH + GAP) + GAP, top + len(said) * LINE + GAP), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(15)
    for index, picture in enumerate(small):
        whole.paste(picture, (GAP + index * (WIDTH + GAP), GAP))
    for index, (label, caption) in enumerate(said):
        line = top + index * LINE
        draw.text((GAP, line), label, fill=SOFT, font=font)
        draw.text((WIDTH + 2 * GAP, line), caption, fill=INK, font=font)
    return whole


if __name__ == "__main__":
    main()
