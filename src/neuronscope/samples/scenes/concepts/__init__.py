"""Drawings of the concepts. Importing this package registers every concept."""

from . import animals, belongings, electronics, food, household, sport, street, vehicles

__all__ = ["animals", "belongings", "electronics", "food", "household", "sport", "street", "vehicles"]
