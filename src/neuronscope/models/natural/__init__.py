"""The natural model: pretrained language model and vision tower as they are, joined by a projector of ours."""

from .cache import cache_key as cache_key
from .cache import cached as cached
from .checkpoint import RECIPE as RECIPE
from .checkpoint import assemble as assemble
from .checkpoint import build as build
from .packages import INSTALL as INSTALL
from .packages import PACKAGES as PACKAGES
from .packages import missing as missing
