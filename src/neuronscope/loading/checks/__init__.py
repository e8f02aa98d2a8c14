"""Checks that loading a model without a row needs too."""
