"""The release, for whatever writes it into files. hatch reads it from here."""

__version__ = "0.1.0"
