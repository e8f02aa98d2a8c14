"""From files, or a model at hand, to a proven :class:`VLM`."""

from .load import load as load
from .selfcheck import SelfCheck as SelfCheck
from .selfcheck import self_check as self_check
from .vlm import VLM as VLM
