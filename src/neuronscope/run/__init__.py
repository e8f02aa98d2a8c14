"""The run directory: parts that are written once, claims between processes, and what a run was computed with."""
