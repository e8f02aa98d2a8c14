"""Finding the neurons that hold a concept: one file per method."""

from .activation import Activation as Activation
from .activation import ActivationDifference as ActivationDifference
from .activation import GradTimesActivation as GradTimesActivation
from .discovery import Discovered as Discovered
from .discovery import Discovery as Discovery
from .discovery import discover as discover
from .integrated_gradients import IntegratedGradients as IntegratedGradients
from .located import Located as Located
from .located import Method as Method
from .pan import Pan as Pan
from .pan import contributions as contributions
from .random import Random as Random
from .random import RandomLayerMatched as RandomLayerMatched
from .random import layer_matched as layer_matched
from .ranking import Ranked as Ranked
from .ranking import Ranking as Ranking
from .registry import METHODS as METHODS
from .registry import equal_size as equal_size
from .registry import method as method
from .registry import register_method as register_method
from .schwettmann import Schwettmann as Schwettmann
from .thresholds import Budget as Budget
from .thresholds import Fixed as Fixed
from .thresholds import Knee as Knee
from .thresholds import TargetDecoy as TargetDecoy
from .two_stage import TwoStage as TwoStage
