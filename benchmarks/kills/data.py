"""What the commands are given: a COCO folder of six scenes, and the files of a shrunken MiniGPT-4."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from neuronscope.files import replacing_folder
from neuronscope.samples.boxes import mask_box
from neuronscope.samples.scenes import CONCEPTS, render, sample_scene
from neuronscope.studies.demo.scenes import scene_stream

#: A white bus under a night sky, of which the bundled model says that it shows a white horse, too.
_WRONG = 50_000_003
_WIDTH, _MLP, _DEPTH, _PATCH, _GRID, _HIDDEN = 176, 40, 2, 14, 4, 32


def scenes(folder: Path) -> Path:
    """Six pictures with boxes: four whose captions name a horse, one of them wrongly, and two with a cake."""
    if folder.exists():
        return folder
    horses, cakes = (list(islice(scene_stream(concept, 9), 3)) for concept in ("horse", "cake"))
    ids = {name: number for number, name in enumerate(sorted(CONCEPTS))}
    body = {"images": [], "annotations": [], "categories": [{"id": n, "name": name} for name, n in ids.items()]}
    with replacing_folder(folder, "annotations/instances_scenes.json") as making:
        (making / "images").mkdir()
        (making / "annotations").mkdir()
        for number, scene in enumerate([sample_scene(_WRONG), *horses, *cakes[:2]]):
            drawn = render(scene)
            drawn.image.save(making / "images" / f"{number}.png")
            width, height = drawn.image.size
            body["images"].append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
            body["annotations"] += [
                {
                    "id": 100 * number + n,
                    "image_id": number,
                    "category_id": ids[name],
                    "bbox": list(mask_box(mask)),
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
                for n, (name, mask) in enumerate(drawn.masks.items())
            ]
        (making / "annotations" / "instances_scenes.json").write_text(json.dumps(body), encoding="utf-8")
    return folder


def minigpt4(folder: Path) -> Path:
    """eva_vit_g.pth, minigpt4.pth and llama/ in the published layout, with random weights."""
    if folder.exists():
        return folder
    torch.manual_seed(5)
    with replacing_folder(folder, "minigpt4.pth") as making:
        words = _words()
        config = LlamaConfig(
            vocab_size=len(words),
            hidden_size=_HIDDEN,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
        LlamaForCausalLM(config).save_pretrained(making / "llama")
        words.save_pretrained(making / "llama")
        torch.save(_tower(), making / "eva_vit_g.pth")
        joined = {"llama_proj.weight": torch.randn(_HIDDEN, 4 * _WIDTH), "llama_proj.bias": torch.randn(_HIDDEN)}
        torch.save({"model": joined}, making / "minigpt4.pth")
    return folder


def _words() -> PreTrainedTokenizerFast:
    """Like Llama's: <unk> is 0, no padding token."""
    words = ["<unk>", "<s>", "</s>", "The", "image", "shows", "a", "[", "]", "/", "<", ">", "INST", "Img"]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _tower() -> dict[str, Tensor]:
    wide, mlp = (_WIDTH,), (_MLP,)
    block = {
        "norm1.weight": wide,
        "norm1.bias": wide,
        "attn.q_bias": wide,
        "attn.v_bias": wide,
        "attn.qkv.weight": (3 * _WIDTH, _WIDTH),
        "attn.proj.weight": (_WIDTH, _WIDTH),
        "attn.proj.bias": wide,
        "norm2.weight": wide,
        "norm2.bias": wide,
        "mlp.fc1.weight": (_MLP, _WIDTH),
        "mlp.fc1.bias": mlp,
        "mlp.fc2.weight": (_WIDTH, _MLP),
        "mlp.fc2.bias": wide,
    }
    shapes = {
        "cls_token": (1, 1, _WIDTH),
        "pos_embed": (1, _GRID**2 + 1, _WIDTH),
        "patch_embed.proj.weight": (_WIDTH, 3, _PATCH, _PATCH),
        "patch_embed.proj.bias": wide,
    } | {f"blocks.{i}.{name}": shape for i in range(_DEPTH) for name, shape in block.items()}
    return {name: 0.2 * torch.randn(*shape) for name, shape in shapes.items()}


#: Options that the shrunken files need.
SHRUNKEN = ("--image-size", str(_GRID * _PATCH), "--depth", str(_DEPTH))
