"""Measuring what interventions do, with intervals and, where there is one, against the truth."""

from .effect import Effect as Effect
from .effect import Labelled as Labelled
from .effect import measure as measure
from .effect import named as named
from .statistics import Estimate as Estimate
from .statistics import bootstrap_effects as bootstrap_effects
from .statistics import bootstrap_mean as bootstrap_mean
from .truth import Agreement as Agreement
from .truth import agreement as agreement
from .truth import planted as planted
