"""All concepts and all places on one sheet, for the documentation.

python -m training.montage --out docs/images/scenes.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from neuronscope.samples.scenes import CONCEPTS, PLACES, Scene, render, sample_scene
from neuronscope.samples.scenes.scene import FRAME

LABEL, GAP, COLUMNS = 18, 6, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/scenes.png"))
    parser.add_argument("--seed", type=int, default=4_000)
    args = parser.parse_args()
    tiles: list[tuple[str, Image.Image]] = []
    for index, name in enumerate(sorted(CONCEPTS)):
        scene = sample_scene(args.seed + index, concepts=[name], count=1)
        tiles.append((name, render(scene).image))
    places = sorted(PLACES)
    tiles += [(name, render(Scene(args.seed + i, name, ())).image) for i, name in enumerate(places)]
    rows = -(-len(tiles) // COLUMNS)
    cell = (FRAME + GAP, FRAME + LABEL + GAP)
    sheet = Image.new("RGB", (COLUMNS * cell[0] + GAP, rows * cell[1] + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (name, picture) in enumerate(tiles):
        x, y = GAP + i % COLUMNS * cell[0], GAP + i // COLUMNS * cell[1]
        sheet.paste(picture, (x, y))
        draw.text((x + 2, y + FRAME + 1), name, fill=(40, 40, 48), font=font)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
