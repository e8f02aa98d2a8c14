"""The same evaluation on a Ray cluster."""
