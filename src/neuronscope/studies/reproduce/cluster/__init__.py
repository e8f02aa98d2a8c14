"""The same run on many machines, with Ray."""
