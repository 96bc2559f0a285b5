"""Discrete latents in chains and networks."""
