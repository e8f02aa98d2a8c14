"""Pan et al.'s four measurements of multi-modal neurons, each beside random neurons (METHODS f, "Metrics")."""

from .invariance import CrossImage as CrossImage
from .invariance import cross_image as cross_image
from .invariance import jaccard as jaccard
from .invariance import joint as joint
from .invariance import overlap as overlap
from .invariance import region_invariance as region_invariance
from .sensitivity import Described as Described
from .sensitivity import describe as describe
from .sensitivity import similarity as similarity
from .sets import CONTROLS as CONTROLS
from .sets import ControlledMean as ControlledMean
from .sets import layer_like as layer_like
from .sets import measured as measured
from .sets import uniform as uniform
from .specificity import Specificity as Specificity
from .specificity import diagonal_margin as diagonal_margin
from .specificity import diagonal_share as diagonal_share
from .specificity import normalised as normalised
from .specificity import specificity as specificity
