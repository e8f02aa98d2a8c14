"""Measuring edits: success, generality, locality, portability and fluency, beside random neurons (METHODS f)."""

from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate_edit as evaluate_edit
from .measures import MEASURES as MEASURES
from .measures import MeasureValues as MeasureValues
from .measures import Wording as Wording
from .measures import compare_readings as compare_readings
from .measures import estimate as estimate
from .measures import repetition as repetition
from .reading import Answers as Answers
from .reading import Probes as Probes
from .reading import TextReading as TextReading
from .reading import read as read
