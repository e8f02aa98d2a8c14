"""Edits of many pairs of words, measured beside random neurons."""
