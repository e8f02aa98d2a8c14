"""Edits away of objects that captions name and pictures do not show."""
