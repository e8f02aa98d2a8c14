"""Pairs of words rewritten in the weights, and measured beside random neurons."""
