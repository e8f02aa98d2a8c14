"""Jobs that put the pieces together."""

from .study import Finding as Finding
from .study import Study as Study
from .study import study as study
