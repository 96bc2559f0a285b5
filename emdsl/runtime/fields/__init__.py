"""Gaussian latents, alone and tied."""
