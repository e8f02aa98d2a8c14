"""Neurons for every noun of captions over many pictures, and their four measurements, as one resumable run."""
