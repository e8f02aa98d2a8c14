"""Whole jobs: demo, locate, reproduce, discover, edit, repair. None imports another."""
