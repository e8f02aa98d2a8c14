"""Procedural scenes: 30 concepts in 10 places, with exact masks, captions and counterfactuals."""

from . import concepts as concepts  # registers the drawings
from . import places as places
from .export import scene_sample as scene_sample
from .export import write_coco as write_coco
from .registry import CONCEPTS as CONCEPTS
from .registry import PLACES as PLACES
from .scene import Item as Item
from .scene import Rendered as Rendered
from .scene import Scene as Scene
from .scene import render as render
from .scene import sample_scene as sample_scene
