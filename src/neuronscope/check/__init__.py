"""Does everything that the library claims hold on this very checkpoint? Run by `neuronscope check`."""

from .suite import Report as Report
from .suite import conformance as conformance
