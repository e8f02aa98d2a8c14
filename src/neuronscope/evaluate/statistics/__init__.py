"""How sure a score is, and whether a difference is one (METHODS G4)."""

from .bootstrap import Resampled as Resampled
from .bootstrap import bootstrap_trials as bootstrap_trials
from .estimate import Estimate as Estimate
from .estimate import bootstrap_effects as bootstrap_effects
from .estimate import bootstrap_mean as bootstrap_mean
from .significance import Discoveries as Discoveries
from .significance import SignFlip as SignFlip
from .significance import benjamini_hochberg as benjamini_hochberg
from .significance import empirical_p as empirical_p
from .significance import sign_flip as sign_flip
