"""Hyperparameters that float32 holds exactly, so that peers which round them to it agree."""

B1, B2 = 0.875, 1 - 2.0**-10
"""Decay rates of moments."""
