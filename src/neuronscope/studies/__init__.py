"""Whole jobs: demo, reproduce, discover, edit, repair. None imports another."""
