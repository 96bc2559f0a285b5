"""Draws: kernels, samples, what they leave unsure."""
