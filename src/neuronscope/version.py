"""The version, for whatever writes it into files: that of the commit which was built or installed."""

from pathlib import Path

#: The release that the sources lead to.
RELEASE = "0.1.0"


def _built() -> str:
    """What the build wrote beside this file; a checkout that was never built says which release it leads to."""
    written = Path(__file__).with_suffix(".txt")
    return written.read_text(encoding="utf-8").strip() if written.is_file() else f"{RELEASE}.dev0"


__version__ = _built()
