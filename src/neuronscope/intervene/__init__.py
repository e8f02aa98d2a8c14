"""Changing neurons while the model runs, and reading them."""

from .apply import Intervening as Intervening
from .capture import activations as activations
from .capture import mean_activations as mean_activations
from .operations import Intervention as Intervention
from .operations import Mean as Mean
from .operations import Noise as Noise
from .operations import Patch as Patch
from .operations import Scale as Scale
from .operations import Zero as Zero
from .operations import recommended_level as recommended_level
