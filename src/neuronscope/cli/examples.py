"""Verb -> commands that its `--help` shows; a test reads each with the verb's own parser."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "neuronscope demo",
        "neuronscope locate bear.jpg bear --box 40,60,200,180 --model DIRECTORY",
        "neuronscope report neuronscope-locate --out page.html",
    ),
    "demo": ("neuronscope demo", "neuronscope demo --concept giraffe --images 5 --out giraffe"),
    "scenes": ("neuronscope scenes --out scenes --count 200",),
    "check": (
        "neuronscope check demo",
        "neuronscope check llava-hf/llava-1.5-7b-hf --dtype 4bit",
        "neuronscope check DIRECTORY --estimate --dtype bfloat16 --card rtx4090 --picture 640x480",
    ),
    "models": ("neuronscope models",),
    "locate": (
        "neuronscope locate bear.jpg bear --box 40,60,200,180",
        "neuronscope locate bear.jpg bear --box auto --detector google/owlv2-base-patch16-ensemble",
        "neuronscope locate bear.jpg bear --mask mask.png --model DIRECTORY --dtype bfloat16",
        'neuronscope locate cat.jpg cat --box 9,9,90,90 --question "What animal is this?" --model DIRECTORY',
        "neuronscope locate bear.jpg bear --box 40,60,200,180 --method grad-x-activation --count 50",
    ),
    "concept": ("neuronscope concept coco bear --photographs 20 --against dog --model DIRECTORY",),
    "truth": ("neuronscope truth bear.jpg bear --box 40,60,200,180",),
    "caption": (
        "neuronscope caption bear.jpg dog.jpg",
        'neuronscope caption bear.jpg --question "What animal is this?" --model DIRECTORY',
    ),
    "decode": (
        "neuronscope decode 3.417 5.2",
        "neuronscope decode neuronscope-locate/neurons.json --top 10",
    ),
    "heatmap": (
        "neuronscope heatmap bear.jpg neuronscope-locate/neurons.json",
        "neuronscope heatmap bear.jpg 3.417 --box 40,60,200,180 --out map.png",
    ),
    "pictures": ("neuronscope pictures neuronscope-locate/neurons.json photographs --out top.png",),
    "index": (
        "neuronscope index photographs --out index",
        "neuronscope index photographs --sets neuronscope-locate/neurons.json --export neurons.jsonl --model DIRECTORY",
    ),
    "neuron": (
        "neuronscope neuron L12.U405 --index index",
        "neuronscope neuron --layer 12 --index index --export layer-12.jsonl",
    ),
    "discover": (
        "neuronscope discover photographs --out discovered",
        "neuronscope discover captions.csv --images photographs --top 50 --model DIRECTORY",
    ),
    "edit": (
        "neuronscope edit --images photographs --source bear --target dog",
        "neuronscope edit --images photographs --suppress words.txt --out fewer-words",
    ),
    "repair": ("neuronscope repair --images coco --out repaired",),
    "reproduce": (
        "neuronscope reproduce --plan --preset paper",
        "neuronscope reproduce --data coco --concepts 5 --out run --model DIRECTORY",
    ),
    "report": ("neuronscope report neuronscope-locate --out page.html",),
    "explore": ("neuronscope explore --images photographs --model DIRECTORY",),
    "convert minigpt4": (
        "neuronscope convert minigpt4 --vit eva_vit_g.pth --llama llama-2-7b-chat --checkpoint minigptv2.pth --out v2",
    ),
    "convert llava-v1": (
        "neuronscope convert llava-v1 --checkpoint llava-v1 --vit clip-vit-large-patch14 --out llava",
    ),
    "convert mplug-owl2": ("neuronscope convert mplug-owl2 --checkpoint mplug-owl2-llama2-7b --out owl2",),
}


def shown(verb: str) -> str:
    """The examples of a verb as lines."""
    return "\n".join(EXAMPLES[verb])
