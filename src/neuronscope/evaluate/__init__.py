"""Measuring what interventions do, with intervals and, where there is one, against the truth."""

from .aggregate import Cell as Cell
from .aggregate import Table as Table
from .aggregate import Trials as Trials
from .aggregate import aggregate as aggregate
from .aggregate import check_clean as check_clean
from .captions import CaptionMetric as CaptionMetric
from .captions import Scored as Scored
from .captions import average as average
from .captions import compare as compare
from .captions import metric as metric
from .effect import Effect as Effect
from .effect import Labelled as Labelled
from .effect import measure as measure
from .effect import named as named
from .statistics import Estimate as Estimate
from .statistics import Resampled as Resampled
from .statistics import benjamini_hochberg as benjamini_hochberg
from .statistics import bootstrap_effects as bootstrap_effects
from .statistics import bootstrap_mean as bootstrap_mean
from .statistics import bootstrap_trials as bootstrap_trials
from .statistics import empirical_p as empirical_p
from .statistics import sign_flip as sign_flip
from .truth import Agreement as Agreement
from .truth import agreement as agreement
from .truth import average_precision as average_precision
from .truth import planted as planted
