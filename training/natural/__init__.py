"""Training of the natural model's projector, the only part of it that is not pretrained."""
