"""Notebooks on the bundled model, and how they are executed."""
