"""Changing neurons while the model runs, and captions under such changes."""

from .apply import Intervening as Intervening
from .captioner import Captioner as Captioner
from .captions import Caption as Caption
from .captions import Decoding as Decoding
from .captions import generate_captions as generate_captions
from .capture import activations as activations
from .capture import mean_activations as mean_activations
from .operations import Intervention as Intervention
from .operations import Mean as Mean
from .operations import Noise as Noise
from .operations import Patch as Patch
from .operations import Scale as Scale
from .operations import Zero as Zero
