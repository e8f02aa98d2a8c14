"""Models and their parts: families, inputs, logits."""

from .decoding import Decoding as Decoding
from .families import FAMILIES as FAMILIES
from .families import Family as Family
from .families import register_family as register_family
from .inputs import Inputs as Inputs
from .loaded import LoadedModel as LoadedModel
