"""The version, for whatever writes it into files: that of the commit which was built or installed."""

from importlib import import_module
from importlib.util import find_spec

#: The release that the sources lead to.
RELEASE = "0.1.0"


def _built() -> str:
    """What the build wrote beside this file; a checkout that was never built says which release it leads to."""
    name = f"{__package__}._version"
    return str(import_module(name).__version__) if find_spec(name) is not None else f"{RELEASE}.dev0"


__version__ = _built()
