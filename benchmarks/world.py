"""Fit the bundled model's measure of being out of its world, and write it beside the weights.

    python -m benchmarks.world [PHOTOGRAPHS ...]

Mean and covariance are of scenes that training could have drawn; the limit is the largest distance of held-out scenes,
as they are, smaller, larger and as JPEGs. PHOTOGRAPHS are folders of pictures that are no
scenes: how many of them lie beyond the limit is written into the file, and decides nothing. Three minutes on one core.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import neuronscope as ns
from neuronscope.loading.load import BUNDLED
from neuronscope.loading.world import ABOUT, FILE, World, features
from neuronscope.samples.image import read_image
from neuronscope.samples.scenes import CONCEPTS, render, sample_scene
from neuronscope.studies.demo.scenes import HELD_OUT, scenes_of

TOWER, LAYERS, SPREAD = "model.vision_tower", (2, 3, 4), (3,)
FITTED, FIRST = 4000, HELD_OUT - 7_000_000
CALIBRATED, HELD = 3000, 30_000_000
#: Of the mean variance, added to every variance.
RIDGE = 1e-3
KNOWS = "drawn scenes of 30 things"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photographs", nargs="*", type=Path)
    args = parser.parse_args()
    vlm = ns.load("demo")
    mean, whiten = fitted(_features(vlm, (_scene(FIRST + k) for k in range(FITTED))))
    whiten = whiten.half().float()  # as it is kept

    def distances(images: Iterable[Image.Image]) -> Float[Tensor, "n"]:
        return torch.linalg.vector_norm((_features(vlm, images) - mean) @ whiten, dim=1)

    held = distances(_scene(HELD + k) for k in range(CALIBRATED))
    kept = [sample.load() for concept in sorted(CONCEPTS) for sample in scenes_of(concept, 5)]
    changed = torch.cat([distances(map(change, kept)) for change in (_same, _larger, _smaller, _jpeg)])
    limit = float(torch.cat([held, changed]).max())
    measured = {"fitted on": FITTED, "held-out scenes": CALIBRATED, "of the demo, in four forms": len(kept)}
    if args.photographs:
        files = sorted(file for folder in args.photographs for file in folder.rglob("*.jpg"))
        beyond = int((distances(map(read_image, files)) > limit).sum())
        measured |= {"photographs": len(files), "photographs beyond": beyond}
    about = {
        "knows": KNOWS,
        "tower": TOWER,
        "layers": list(LAYERS),
        "spread": list(SPREAD),
        "limit": limit,
        "measured": measured,
    }
    save_file({"mean": mean, "whiten": whiten.half()}, str(BUNDLED / FILE), metadata={ABOUT: json.dumps(about)})
    print(json.dumps(about))
    world = World(KNOWS, TOWER, LAYERS, SPREAD, limit, mean, whiten)
    print(f"a grey picture: {world.distance(vlm, Image.new('RGB', (128, 128), (128, 128, 128))):.1f}")


def fitted(values: Float[Tensor, "n features"]) -> tuple[Float[Tensor, "features"], Float[Tensor, "features features"]]:
    """The mean, and a matrix that makes the covariance of what is left the identity, but for the ridge."""
    wide = values.double()
    mean = wide.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov((wide - mean).T))
    return mean.float(), (axes / (variances + RIDGE * variances.mean()).sqrt()).float().contiguous()


def _features(vlm: ns.VLM, images: Iterable[Image.Image]) -> Float[Tensor, "n features"]:
    return torch.stack([features(vlm, image, TOWER, LAYERS, SPREAD) for image in images])


def _scene(seed: int) -> Image.Image:
    return render(sample_scene(seed)).image


def _same(image: Image.Image) -> Image.Image:
    return image


def _larger(image: Image.Image) -> Image.Image:
    return image.resize((400, 400), Image.Resampling.LANCZOS)


def _smaller(image: Image.Image) -> Image.Image:
    return image.resize((64, 64), Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


if __name__ == "__main__":
    main()
