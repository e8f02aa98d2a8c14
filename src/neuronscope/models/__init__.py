"""Loading models and knowing their parts."""

from .conformance import Report as Report
from .conformance import conformance as conformance
from .families import FAMILIES as FAMILIES
from .families import Family as Family
from .families import register_family as register_family
from .inputs import Inputs as Inputs
from .load import load as load
from .selfcheck import SelfCheck as SelfCheck
from .selfcheck import self_check as self_check
from .vlm import VLM as VLM
