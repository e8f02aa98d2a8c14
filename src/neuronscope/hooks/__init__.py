"""Hooks: installed on what is needed, validated first, removed in every case."""

from .session import HookSession as HookSession
from .session import Tap as Tap
from .session import check_layer as check_layer
from .session import check_neurons as check_neurons
from .session import check_unit as check_unit
