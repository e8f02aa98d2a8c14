"""Finding the neurons that hold a concept: one file per method."""

from .located import Located as Located
from .located import Method as Method
from .random import layer_matched as layer_matched
from .thresholds import Budget as Budget
from .thresholds import Fixed as Fixed
from .thresholds import Knee as Knee
from .thresholds import TargetDecoy as TargetDecoy
from .two_stage import TwoStage as TwoStage
