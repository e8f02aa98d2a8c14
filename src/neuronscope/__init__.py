"""neuronscope: find, test, see and edit the neurons that hold visual knowledge in multimodal LLMs.

Names are loaded on first use, so that `import neuronscope` needs neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .caption.captioner import Captioner as Captioner
    from .edit import Ablate as Ablate
    from .edit import Amplify as Amplify
    from .edit import Edit as Edit
    from .edit import Embed as Embed
    from .edit import Focused as Focused
    from .edit import Graft as Graft
    from .edit import Learned as Learned
    from .edit import RowNoise as RowNoise
    from .edit import Swap as Swap
    from .edit import Tuned as Tuned
    from .edit import editor as editor
    from .edit import register_editor as register_editor
    from .intervene import Mean as Mean
    from .intervene import Noise as Noise
    from .intervene import Patch as Patch
    from .intervene import Scale as Scale
    from .intervene import Zero as Zero
    from .intervene import recommended_level as recommended_level
    from .loading import VLM as VLM
    from .loading import load as load
    from .locate import Activation as Activation
    from .locate import ActivationDifference as ActivationDifference
    from .locate import Budget as Budget
    from .locate import Ceiling as Ceiling
    from .locate import Discovered as Discovered
    from .locate import Discovery as Discovery
    from .locate import Effects as Effects
    from .locate import Fixed as Fixed
    from .locate import GradTimesActivation as GradTimesActivation
    from .locate import IntegratedGradients as IntegratedGradients
    from .locate import Knee as Knee
    from .locate import Located as Located
    from .locate import Method as Method
    from .locate import Pan as Pan
    from .locate import Pooling as Pooling
    from .locate import Random as Random
    from .locate import RandomLayerMatched as RandomLayerMatched
    from .locate import Ranking as Ranking
    from .locate import Recovery as Recovery
    from .locate import Schwettmann as Schwettmann
    from .locate import ScoredConcept as ScoredConcept
    from .locate import TargetDecoy as TargetDecoy
    from .locate import TwoStage as TwoStage
    from .locate import ceiling as ceiling
    from .locate import discover as discover
    from .locate import effects as effects
    from .locate import equal_size as equal_size
    from .locate import layer_matched as layer_matched
    from .locate import locate_concept as locate_concept
    from .locate import method as method
    from .locate import register_method as register_method
    from .meaning import decode as decode
    from .models import Decoding as Decoding
    from .models import Family as Family
    from .models import register_family as register_family
    from .regions import find_regions as find_regions
    from .regions import outline_boxes as outline_boxes
    from .samples import CocoFolder as CocoFolder
    from .samples import Counterfactual as Counterfactual
    from .samples import ImageList as ImageList
    from .samples import Lexicon as Lexicon
    from .samples import Region as Region
    from .samples import Regions as Regions
    from .samples import Sample as Sample
    from .samples import annotated as annotated
    from .samples import counterfactual as counterfactual
    from .types import Neuron as Neuron
    from .types import Neurons as Neurons
    from .view import Heatmap as Heatmap
    from .view import heatmap as heatmap


_HOME = {
    "edit": (
        "Ablate",
        "Amplify",
        "Edit",
        "Embed",
        "Focused",
        "Graft",
        "Learned",
        "RowNoise",
        "Swap",
        "Tuned",
        "editor",
        "register_editor",
    ),
    "caption": ("Captioner",),
    "intervene": ("Mean", "Noise", "Patch", "Scale", "Zero", "recommended_level"),
    "locate": (
        "Activation",
        "ActivationDifference",
        "Budget",
        "Ceiling",
        "Discovered",
        "Discovery",
        "Effects",
        "Fixed",
        "GradTimesActivation",
        "IntegratedGradients",
        "Knee",
        "Located",
        "Method",
        "Pan",
        "Pooling",
        "Random",
        "RandomLayerMatched",
        "Ranking",
        "Recovery",
        "Schwettmann",
        "ScoredConcept",
        "TargetDecoy",
        "TwoStage",
        "ceiling",
        "discover",
        "effects",
        "equal_size",
        "layer_matched",
        "locate_concept",
        "method",
        "register_method",
    ),
    "loading": ("VLM", "load"),
    "meaning": ("decode",),
    "models": ("Decoding", "Family", "register_family"),
    "regions": ("find_regions", "outline_boxes"),
    "samples": (
        "CocoFolder",
        "Counterfactual",
        "ImageList",
        "Lexicon",
        "Region",
        "Regions",
        "Sample",
        "annotated",
        "counterfactual",
    ),
    "types": ("Neuron", "Neurons"),
    "view": ("Heatmap", "heatmap"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'neuronscope' has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
